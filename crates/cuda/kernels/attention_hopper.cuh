// Attention on Hopper (sm_90a) for heads of 64, after FlashAttention-3 (Shah et al. 2024): one
// warpgroup copies keys and values with the bulk copy engine, three have 64 queries each and
// multiply with wgmma; the scores of the next block are computed while the values of this one are
// weighted.
#pragma once
#include "attention_mma.cuh"

// cuda.h is not among the compiler's own headers; the kernel only passes the bytes on.
struct alignas(64) TensorMap {
    unsigned char bytes[128];
};
using uint64_t = unsigned long long;

__device__ inline void barrier_init(unsigned barrier, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals));
}
__device__ inline void barrier_expect(unsigned barrier, int bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes) : "memory");
}
__device__ inline void barrier_arrive(unsigned barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
// Waits until the phase of this parity is over.
__device__ inline void barrier_wait(unsigned barrier, int parity) {
    asm volatile("{.reg .pred p; "
                 "again: mbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1; "
                 "@!p bra again; }" ::"r"(barrier), "r"(parity)
                 : "memory");
}
// Copies 64 rows of 64 elements, 128 bytes each, swizzled; rows past the tensor are zero.
__device__ inline void bring(unsigned to, const TensorMap* map, unsigned barrier, int column, int row) {
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%3, %4}], [%2];" ::"r"(to), "l"(map), "r"(barrier), "r"(column), "r"(row)
                 : "memory");
}

// The descriptor with which wgmma finds a matrix of 128-byte rows in shared memory, swizzled in
// atoms of 8 rows (1024 bytes).
__device__ inline uint64_t descriptor(unsigned at) {
    return (uint64_t)((at & 0x3ffff) >> 4) | (uint64_t)1 << 16 | (uint64_t)(1024 >> 4) << 32 | (uint64_t)1 << 62;
}

__device__ inline void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void products_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int LEFT> __device__ inline void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}
// Tells the compiler that registers may have changed: a product may still be writing them.
template <int N> __device__ inline void changed(float (&x)[N]) {
#pragma unroll
    for (int i = 0; i < N; i++) asm volatile("" : "+f"(x[i])::"memory");
}

// sum (+)= q kᵀ over 16 components, [64, 16] · [16, 128], both from shared memory.
template <class T> __device__ inline void scores(float (&sum)[64], uint64_t a, uint64_t b, int add);
// sum += p v over 16 keys, [64, 16] · [16, 64]; p from registers, v with the keys in rows.
template <class T> __device__ inline void weigh(float (&sum)[32], const unsigned (&a)[4], uint64_t b);

template <>
__device__ inline void scores<bf16>(float (&sum)[64], uint64_t a, uint64_t b, int add) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %66, 0; "
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "
        "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
        "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, p, 1, "
        "1, 0, 0; "
        "}"
        :
        "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]), "+f"(sum[6]),
        "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]),
        "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]),
        "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]), "+f"(sum[24]),
        "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]), "+f"(sum[30]),
        "+f"(sum[31]), "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]), "+f"(sum[36]),
        "+f"(sum[37]), "+f"(sum[38]), "+f"(sum[39]), "+f"(sum[40]), "+f"(sum[41]), "+f"(sum[42]),
        "+f"(sum[43]), "+f"(sum[44]), "+f"(sum[45]), "+f"(sum[46]), "+f"(sum[47]), "+f"(sum[48]),
        "+f"(sum[49]), "+f"(sum[50]), "+f"(sum[51]), "+f"(sum[52]), "+f"(sum[53]), "+f"(sum[54]),
        "+f"(sum[55]), "+f"(sum[56]), "+f"(sum[57]), "+f"(sum[58]), "+f"(sum[59]), "+f"(sum[60]),
        "+f"(sum[61]), "+f"(sum[62]), "+f"(sum[63])
        : "l"(a), "l"(b), "r"(add));
}

template <>
__device__ inline void scores<f16>(float (&sum)[64], uint64_t a, uint64_t b, int add) {
    asm volatile(
        "{.reg .pred p; setp.ne.b32 p, %66, 0; "
        "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "
        "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
        "%29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "
        "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, %64, %65, p, 1, "
        "1, 0, 0; "
        "}"
        :
        "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]), "+f"(sum[6]),
        "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]),
        "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]),
        "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]), "+f"(sum[24]),
        "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]), "+f"(sum[30]),
        "+f"(sum[31]), "+f"(sum[32]), "+f"(sum[33]), "+f"(sum[34]), "+f"(sum[35]), "+f"(sum[36]),
        "+f"(sum[37]), "+f"(sum[38]), "+f"(sum[39]), "+f"(sum[40]), "+f"(sum[41]), "+f"(sum[42]),
        "+f"(sum[43]), "+f"(sum[44]), "+f"(sum[45]), "+f"(sum[46]), "+f"(sum[47]), "+f"(sum[48]),
        "+f"(sum[49]), "+f"(sum[50]), "+f"(sum[51]), "+f"(sum[52]), "+f"(sum[53]), "+f"(sum[54]),
        "+f"(sum[55]), "+f"(sum[56]), "+f"(sum[57]), "+f"(sum[58]), "+f"(sum[59]), "+f"(sum[60]),
        "+f"(sum[61]), "+f"(sum[62]), "+f"(sum[63])
        : "l"(a), "l"(b), "r"(add));
}

template <>
__device__ inline void weigh<bf16>(float (&sum)[32], const unsigned (&a)[4], uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, "
        "%10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, "
        "%29, %30, %31}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1; "
        :
        "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]), "+f"(sum[6]),
        "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]),
        "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]),
        "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]), "+f"(sum[24]),
        "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]), "+f"(sum[30]),
        "+f"(sum[31])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

template <>
__device__ inline void weigh<f16>(float (&sum)[32], const unsigned (&a)[4], uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, "
        "%11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, "
        "%30, %31}, {%32, %33, %34, %35}, %36, 1, 1, 1, 1; "
        :
        "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3]), "+f"(sum[4]), "+f"(sum[5]), "+f"(sum[6]),
        "+f"(sum[7]), "+f"(sum[8]), "+f"(sum[9]), "+f"(sum[10]), "+f"(sum[11]), "+f"(sum[12]),
        "+f"(sum[13]), "+f"(sum[14]), "+f"(sum[15]), "+f"(sum[16]), "+f"(sum[17]), "+f"(sum[18]),
        "+f"(sum[19]), "+f"(sum[20]), "+f"(sum[21]), "+f"(sum[22]), "+f"(sum[23]), "+f"(sum[24]),
        "+f"(sum[25]), "+f"(sum[26]), "+f"(sum[27]), "+f"(sum[28]), "+f"(sum[29]), "+f"(sum[30]),
        "+f"(sum[31])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// One warpgroup's part of online softmax: scores of [64, 128] to weights, sums rescaled later by
// `decay`. A thread has rows lane / 4 and lane / 4 + 8 of its warp's 16, columns 8 n + 2 · (lane %
// 4) and one on.
template <bool ALIBI>
__device__ inline void softmax(float (&score)[64], float (&largest)[2], float (&total)[2], float (&decay)[2],
                               float scale, float slope, int query, int first_key, int len) {
    const int column = first_key + threadIdx.x % 4 * 2;
    // Separate from the rest, because most blocks have nothing to mask: two instructions less per
    // score.
    if (first_key + HOPPER_KEYS > len) {
#pragma unroll
        for (int i = 0; i < 64; i++) {
            if (column + i / 4 * 8 + i % 2 >= len) score[i] = -INFINITY;
        }
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const float distance = query + half * 8 - column;
        float highest = largest[half];
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float& s = score[n * 4 + half * 2 + i];
                if (ALIBI) s = s * scale - slope * fabsf(distance - (n * 8 + i));
                highest = fmaxf(highest, s);
            }
        }
        highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 1));
        highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 2));
        const float factor = ALIBI ? 1 : scale, shift = highest * factor;
        decay[half] = exp2_fast(largest[half] * factor - shift);
        largest[half] = highest;
        float weights = 0;
#pragma unroll
        for (int n = 0; n < HOPPER_KEYS / 8; n++) {
#pragma unroll
            for (int i = 0; i < 2; i++) {
                float& s = score[n * 4 + half * 2 + i];
                s = exp2_fast(fmaf(s, factor, -shift));
                weights += s;
            }
        }
        total[half] = total[half] * decay[half] + weights;
    }
}

// Arguments as `attend_plain`; `map` is that of qkv with boxes of 64 rows and 64 columns. Grid:
// (tiles of 192 queries, heads), 512 threads.
template <class T, bool ALIBI>
__device__ void attend_hopper(const TensorMap& map, const Tile* tiles, const float* slopes, float scale,
                              int hidden, int ld_out, T* out) {
    extern __shared__ __align__(1024) unsigned char memory[];
    // Atoms of the swizzle start at multiples of 1024 bytes.
    const unsigned start = (shared_address(memory) + 1023) / 1024 * 1024;
    const unsigned queries = start, keys = queries + HOPPER_GROUPS * BOX_BYTES;
    const unsigned values = keys + HOPPER_STAGES * STAGE_BYTES, barriers = values + HOPPER_STAGES * STAGE_BYTES;
    const unsigned queries_full = barriers;
    auto keys_full = [&](int stage) { return barriers + 8 + stage * 8; };
    auto values_full = [&](int stage) { return barriers + 8 + (HOPPER_STAGES + stage) * 8; };
    auto keys_empty = [&](int stage) { return barriers + 8 + (2 * HOPPER_STAGES + stage) * 8; };
    auto values_empty = [&](int stage) { return barriers + 8 + (3 * HOPPER_STAGES + stage) * 8; };

    const Tile tile = tiles[blockIdx.x];
    const int head = blockIdx.y, group = threadIdx.x / 128, lane = threadIdx.x % 32;
    const int blocks = (tile.len + HOPPER_KEYS - 1) / HOPPER_KEYS;
    if (threadIdx.x == 0) {
        barrier_init(queries_full, 1);
        for (int stage = 0; stage < HOPPER_STAGES; stage++) {
            barrier_init(keys_full(stage), 1);
            barrier_init(values_full(stage), 1);
            barrier_init(keys_empty(stage), HOPPER_GROUPS * 4);
            barrier_init(values_empty(stage), HOPPER_GROUPS * 4);
        }
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
    }
    __syncthreads();

    if (group == 0) {
        asm volatile("setmaxnreg.dec.sync.aligned.u32 24;");
        if (threadIdx.x == 0) {
            const int column = head * HOPPER_DIM;
            barrier_expect(queries_full, HOPPER_GROUPS * BOX_BYTES);
            for (int i = 0; i < HOPPER_GROUPS; i++) {
                bring(queries + i * BOX_BYTES, &map, queries_full, column, tile.start + tile.query + i * BOX_ROWS);
            }
            for (int block = 0; block < blocks; block++) {
                const int stage = block % HOPPER_STAGES, parity = block / HOPPER_STAGES % 2 ^ 1;
                const int row = tile.start + block * HOPPER_KEYS;
                const unsigned key = keys + stage * STAGE_BYTES, value = values + stage * STAGE_BYTES;
                barrier_wait(keys_empty(stage), parity);
                barrier_expect(keys_full(stage), STAGE_BYTES);
                bring(key, &map, keys_full(stage), hidden + column, row);
                bring(key + BOX_BYTES, &map, keys_full(stage), hidden + column, row + BOX_ROWS);
                barrier_wait(values_empty(stage), parity);
                barrier_expect(values_full(stage), STAGE_BYTES);
                bring(value, &map, values_full(stage), 2 * hidden + column, row);
                bring(value + BOX_BYTES, &map, values_full(stage), 2 * hidden + column, row + BOX_ROWS);
            }
        }
    } else {
        asm volatile("setmaxnreg.inc.sync.aligned.u32 160;");
        const int query = tile.query + (group - 1) * 64 + threadIdx.x % 128 / 32 * 16 + lane / 4;
        const float slope = ALIBI ? slopes[head] : 0;
        const uint64_t q = descriptor(queries + (group - 1) * BOX_BYTES);
        float score[64], sum[32] = {}, largest[2] = {-INFINITY, -INFINITY}, total[2] = {}, decay[2];
        unsigned weight[HOPPER_KEYS / 16][4];

        // Begins the scores of a block. 16 components are 32 bytes: 2 in the units of a descriptor.
        auto begin_scores = [&](int stage) {
            const uint64_t k = descriptor(keys + stage * STAGE_BYTES);
            changed(score);
            products_begin();
#pragma unroll
            for (int i = 0; i < HOPPER_DIM / 16; i++) scores<T>(score, q + 2 * i, k + 2 * i, i > 0);
            products_commit();
        };
        // Begins the weighing of a block's values. 16 keys are 2048 bytes.
        auto begin_weigh = [&](int stage) {
            const uint64_t v = descriptor(values + stage * STAGE_BYTES);
            changed(sum);
            products_begin();
#pragma unroll
            for (int i = 0; i < HOPPER_KEYS / 16; i++) weigh<T>(sum, weight[i], v + (2048 >> 4) * i);
            products_commit();
        };
        auto release = [&](unsigned barrier) {
            if (lane == 0) barrier_arrive(barrier);
        };
        auto keep_weights = [&]() {
#pragma unroll
            for (int i = 0; i < HOPPER_KEYS / 16; i++) {
                weight[i][0] = pair<T>(score[8 * i], score[8 * i + 1]);
                weight[i][1] = pair<T>(score[8 * i + 2], score[8 * i + 3]);
                weight[i][2] = pair<T>(score[8 * i + 4], score[8 * i + 5]);
                weight[i][3] = pair<T>(score[8 * i + 6], score[8 * i + 7]);
            }
        };

        barrier_wait(queries_full, 0);
        barrier_wait(keys_full(0), 0);
        begin_scores(0);
        products_wait<0>();
        changed(score);
        release(keys_empty(0));
        softmax<ALIBI>(score, largest, total, decay, scale, slope, query, 0, tile.len);
        keep_weights();
        for (int block = 1; block < blocks; block++) {
            const int stage = block % HOPPER_STAGES, parity = block / HOPPER_STAGES % 2;
            const int before = (block - 1) % HOPPER_STAGES, parity_before = (block - 1) / HOPPER_STAGES % 2;
            barrier_wait(keys_full(stage), parity);
            begin_scores(stage);
            barrier_wait(values_full(before), parity_before);
            begin_weigh(before);
            products_wait<1>();
            changed(score);
            release(keys_empty(stage));
            softmax<ALIBI>(score, largest, total, decay, scale, slope, query, block * HOPPER_KEYS, tile.len);
            products_wait<0>();
            changed(sum);
            release(values_empty(before));
#pragma unroll
            for (int i = 0; i < 32; i++) sum[i] *= decay[i / 2 % 2];
            keep_weights();
        }
        const int stage = (blocks - 1) % HOPPER_STAGES;
        barrier_wait(values_full(stage), (blocks - 1) / HOPPER_STAGES % 2);
        begin_weigh(stage);
        products_wait<0>();
        changed(sum);
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float all = total[half];
            all += __shfl_xor_sync(~0u, all, 1);
            all += __shfl_xor_sync(~0u, all, 2);
            const int token = query + half * 8;
            if (token < tile.len) {
                T* to = out + (size_t)(tile.start + token) * ld_out + head * HOPPER_DIM + lane % 4 * 2;
                const float part = 1 / all;
#pragma unroll
                for (int n = 0; n < HOPPER_DIM / 8; n++) {
                    const float* two = sum + n * 4 + half * 2;
                    *reinterpret_cast<unsigned*>(to + n * 8) = pair<T>(two[0] * part, two[1] * part);
                }
            }
        }
    }
}
