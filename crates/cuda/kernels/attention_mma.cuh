// Attention on the tensor cores of compute capability 8.0 and later (mma.sync m16n8k16), after
// FlashAttention-2 (Dao 2023): a block keeps 128 queries in registers, keys and values pass through
// shared memory in two stages, softmax is online, and the probabilities go from the registers of
// the first product straight into those of the second.
#pragma once
#include <tensor_cores.cuh>
#include "attention_plain.cuh"
#include "number.cuh"

// Arguments as `attend_plain`, and the tables of `rotate`: q and k of a rotary model are rotated
// here, in shared memory. Shared memory: (128 + 4 · 64) rows of DIM + 8 elements. Grid: (tiles,
// heads), 128 threads.
template <class T, int DIM, bool ALIBI>
__device__ void attend_mma(const T* qkv, const Tile* tiles, const float* slopes, const float* cos,
                           const float* sin, float scale, int hidden, int ld_in, int ld_out, T* out) {
    extern __shared__ __align__(16) unsigned char memory[];
    constexpr int PITCH = DIM + MMA_PADDING;
    constexpr int STAGE = MMA_KEYS * PITCH * sizeof(T), CHUNKS = DIM / 8;
    const unsigned queries = shared_address(memory);
    const unsigned keys = queries + MMA_QUERIES * PITCH * sizeof(T), values = keys + MMA_STAGES * STAGE;

    const Tile tile = tiles[blockIdx.x];
    const int head = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    const T* base = qkv + (size_t)tile.start * ld_in + head * DIM;
    const float slope = ALIBI ? slopes[head] : 0;

    // `rows` rows of q, k or v from `first` on; rows past the sequence's end are zero.
    auto fetch = [&](unsigned to, const T* from, int first, int rows) {
        for (int i = threadIdx.x; i < rows * CHUNKS; i += MMA_WARPS * 32) {
            const int row = i / CHUNKS, c = i % CHUNKS * 8, token = first + row;
            const bool valid = token < tile.len;
            copy_async(to + (row * PITCH + c) * sizeof(T), from + (size_t)(valid ? token : 0) * ld_in + c, valid);
        }
    };
    auto fetch_block = [&](int block) {
        fetch(keys + block % MMA_STAGES * STAGE, base + hidden, block * MMA_KEYS, MMA_KEYS);
        fetch(values + block % MMA_STAGES * STAGE, base + 2 * hidden, block * MMA_KEYS, MMA_KEYS);
        copies_commit();
    };
    // Rotates rows of q or k in shared memory; a row of zeros does not change.
    auto turn = [&](unsigned offset, int first, int rows) {
        constexpr int HALF = DIM / 2, OCTETS = HALF / OCTET;
        for (int i = threadIdx.x; i < rows * OCTETS; i += MMA_WARPS * 32) {
            const int row = i / OCTETS, j = i % OCTETS * OCTET;
            if (first + row >= tile.len) continue;
            T* x = reinterpret_cast<T*>(memory + offset) + row * PITCH + j;
            const int angle = (first + row) * HALF + j;
            rotate_octet(x, HALF, cos + angle, sin + angle);
        }
    };
    const int blocks = (tile.len + MMA_KEYS - 1) / MMA_KEYS;
    fetch(queries, base, tile.query, MMA_QUERIES);
    fetch_block(0);
    if (blocks > 1) {
        fetch_block(1);
        copies_wait<1>();
    } else {
        copies_wait<0>();
    }
    __syncthreads();
    if (!ALIBI) {
        turn(0, tile.query, MMA_QUERIES);
        turn(keys - queries, 0, MMA_KEYS);
        __syncthreads();
    }

    unsigned q[MMA_FRAGMENTS][DIM / 16][4];
    const int first_row = warp * MMA_FRAGMENTS * 16;
#pragma unroll
    for (int f = 0; f < MMA_FRAGMENTS; f++) {
#pragma unroll
        for (int k = 0; k < DIM / 16; k++) {
            const int row = first_row + f * 16 + lane % 16, c = k * 16 + lane / 16 * 8;
            load_matrices(q[f][k], queries + (row * PITCH + c) * sizeof(T));
        }
    }
    // A thread has rows lane / 4 and lane / 4 + 8 of each fragment, columns 2 · (lane % 4) and one
    // on.
    float sum[MMA_FRAGMENTS][DIM / 8][4] = {}, largest[MMA_FRAGMENTS][2], total[MMA_FRAGMENTS][2] = {};
#pragma unroll
    for (int f = 0; f < MMA_FRAGMENTS; f++) largest[f][0] = largest[f][1] = -INFINITY;

    const bool idle = tile.query + first_row >= tile.len; // no query of this warp exists
    for (int block = 0; block < blocks; block++) {
        const int stage = block % MMA_STAGES;
        if (block > 0) {
            // After this no warp still reads the memory of the block before last.
            __syncthreads();
            if (block + 1 < blocks) {
                fetch_block(block + 1);
                copies_wait<1>();
            } else {
                copies_wait<0>();
            }
            __syncthreads();
            if (!ALIBI) {
                turn(keys - queries + stage * STAGE, block * MMA_KEYS, MMA_KEYS);
                __syncthreads();
            }
        }
        if (idle) continue;
        float score[MMA_FRAGMENTS][MMA_KEYS / 8][4] = {};
#pragma unroll
        for (int n = 0; n < MMA_KEYS / 16; n++) {
#pragma unroll
            for (int k = 0; k < DIM / 16; k++) {
                unsigned key[4];
                const int row = n * 16 + lane % 8 + lane / 16 * 8, c = k * 16 + lane / 8 % 2 * 8;
                load_matrices(key, keys + stage * STAGE + (row * PITCH + c) * sizeof(T));
#pragma unroll
                for (int f = 0; f < MMA_FRAGMENTS; f++) {
                    multiply<T>(score[f][2 * n], q[f][k], key[0], key[1]);
                    multiply<T>(score[f][2 * n + 1], q[f][k], key[2], key[3]);
                }
            }
        }
        // Separate from the rest, because most blocks have nothing to mask.
        const int column = block * MMA_KEYS + lane % 4 * 2;
        if ((block + 1) * MMA_KEYS > tile.len) {
#pragma unroll
            for (int f = 0; f < MMA_FRAGMENTS; f++) {
#pragma unroll
                for (int i = 0; i < MMA_KEYS / 2; i++) {
                    if (column + i / 4 * 8 + i % 2 >= tile.len) score[f][i / 4][i % 4] = -INFINITY;
                }
            }
        }
#pragma unroll
        for (int f = 0; f < MMA_FRAGMENTS; f++) {
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const float distance = tile.query + first_row + f * 16 + half * 8 + lane / 4 - column;
                float highest = largest[f][half];
#pragma unroll
                for (int n = 0; n < MMA_KEYS / 8; n++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float& s = score[f][n][half * 2 + i];
                        if (ALIBI) s = s * scale - slope * fabsf(distance - (n * 8 + i));
                        highest = fmaxf(highest, s);
                    }
                }
                highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 1));
                highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, 2));
                // Scores of a rotary model are scaled in the exponent: one multiply-add each.
                const float factor = ALIBI ? 1 : scale, shift = highest * factor;
                const float decay = exp2_fast(largest[f][half] * factor - shift);
                largest[f][half] = highest;
                float weights = 0;
#pragma unroll
                for (int n = 0; n < MMA_KEYS / 8; n++) {
#pragma unroll
                    for (int i = 0; i < 2; i++) {
                        float& s = score[f][n][half * 2 + i];
                        s = exp2_fast(fmaf(s, factor, -shift));
                        weights += s;
                    }
                }
                total[f][half] = total[f][half] * decay + weights;
#pragma unroll
                for (int n = 0; n < DIM / 8; n++) {
                    sum[f][n][half * 2] *= decay;
                    sum[f][n][half * 2 + 1] *= decay;
                }
            }
        }
#pragma unroll
        for (int k = 0; k < MMA_KEYS / 16; k++) {
            unsigned weight[MMA_FRAGMENTS][4];
#pragma unroll
            for (int f = 0; f < MMA_FRAGMENTS; f++) {
                const float(&low)[4] = score[f][2 * k], (&high)[4] = score[f][2 * k + 1];
                weight[f][0] = pair<T>(low[0], low[1]);
                weight[f][1] = pair<T>(low[2], low[3]);
                weight[f][2] = pair<T>(high[0], high[1]);
                weight[f][3] = pair<T>(high[2], high[3]);
            }
#pragma unroll
            for (int n = 0; n < DIM / 16; n++) {
                unsigned value[4];
                const int row = k * 16 + lane % 16, c = n * 16 + lane / 16 * 8;
                load_transposed(value, values + stage * STAGE + (row * PITCH + c) * sizeof(T));
#pragma unroll
                for (int f = 0; f < MMA_FRAGMENTS; f++) {
                    multiply<T>(sum[f][2 * n], weight[f], value[0], value[1]);
                    multiply<T>(sum[f][2 * n + 1], weight[f], value[2], value[3]);
                }
            }
        }
    }
#pragma unroll
    for (int f = 0; f < MMA_FRAGMENTS; f++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float all = total[f][half];
            all += __shfl_xor_sync(~0u, all, 1);
            all += __shfl_xor_sync(~0u, all, 2);
            const int query = tile.query + first_row + f * 16 + half * 8 + lane / 4;
            if (query >= tile.len) continue;
            T* to = out + (size_t)(tile.start + query) * ld_out + head * DIM + lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < DIM / 8; n++) {
                const unsigned both = pair<T>(sum[f][n][half * 2] / all, sum[f][n][half * 2 + 1] / all);
                *reinterpret_cast<unsigned*>(to + n * 8) = both;
            }
        }
    }
}
