// Attention without tensor cores, in f32, for any head: for f32 states and older cards, and the
// reference of the faster kernels. Online softmax over blocks of 32 keys; nothing of size length².
#pragma once
#include "number.cuh"

// A block of queries of one sequence: the token where the sequence starts, its length, the first
// query.
struct Tile {
    int start, len, query;
};


// out = softmax(q kᵀ · scale - slope |distance|) v. `qkv` is [tokens, 3 · hidden] with rows `ld_in`
// apart; `slopes` is null or has one per head; scale and slopes include log2(e). Grid: (tiles,
// heads). Shared memory: (2 · 32 + 32) rows of dim + 1 floats.
template <class T>
__device__ void attend_plain(const T* qkv, const Tile* tiles, const float* slopes, float scale, int hidden,
                             int dim, int ld_in, int ld_out, T* out) {
    extern __shared__ float shared[];
    const Tile tile = tiles[blockIdx.x];
    const int head = blockIdx.y, warp = threadIdx.x / 32, lane = threadIdx.x % 32, pitch = dim + 1;
    float *queries = shared, *keys = queries + PLAIN_QUERIES * pitch, *values = keys + PLAIN_KEYS * pitch;
    const T* base = qkv + (size_t)tile.start * ld_in + head * dim;
    const float slope = slopes == nullptr ? 0 : slopes[head];

    for (int i = threadIdx.x; i < PLAIN_QUERIES * dim; i += blockDim.x) {
        const int row = i / dim, c = i % dim, token = tile.query + row;
        queries[row * pitch + c] = token < tile.len ? widen(base[(size_t)token * ld_in + c]) : 0;
    }
    float sum[PLAIN_ROWS][PLAIN_PARTS] = {}, largest[PLAIN_ROWS], total[PLAIN_ROWS];
    for (int r = 0; r < PLAIN_ROWS; r++) largest[r] = -INFINITY, total[r] = 0;
    const float* mine = queries + warp * PLAIN_ROWS * pitch;

    for (int first = 0; first < tile.len; first += PLAIN_KEYS) {
        __syncthreads();
        for (int i = threadIdx.x; i < PLAIN_KEYS * dim; i += blockDim.x) {
            const int row = i / dim, c = i % dim, token = first + row;
            const T* from = base + (size_t)token * ld_in + c;
            keys[row * pitch + c] = token < tile.len ? widen(from[hidden]) : 0;
            values[row * pitch + c] = token < tile.len ? widen(from[2 * hidden]) : 0;
        }
        __syncthreads();
        float score[PLAIN_ROWS] = {};
        for (int c = 0; c < dim; c++) {
            const float key = keys[lane * pitch + c];
#pragma unroll
            for (int r = 0; r < PLAIN_ROWS; r++) score[r] += mine[r * pitch + c] * key;
        }
#pragma unroll
        for (int r = 0; r < PLAIN_ROWS; r++) {
            const int query = tile.query + warp * PLAIN_ROWS + r, key = first + lane;
            const float s = key < tile.len ? score[r] * scale - slope * fabsf((float)(query - key)) : -INFINITY;
            float highest = fmaxf(largest[r], s);
#pragma unroll
            for (int other = 16; other > 0; other /= 2)
                highest = fmaxf(highest, __shfl_xor_sync(~0u, highest, other));
            const float decay = exp2f(largest[r] - highest);
            const float weight = exp2f(s - highest);
            largest[r] = highest;
            total[r] = total[r] * decay + warp_sum(weight);
            score[r] = weight;
#pragma unroll
            for (int p = 0; p < PLAIN_PARTS; p++) sum[r][p] *= decay;
        }
        for (int key = 0; key < PLAIN_KEYS; key++) {
            float weight[PLAIN_ROWS];
#pragma unroll
            for (int r = 0; r < PLAIN_ROWS; r++) weight[r] = __shfl_sync(~0u, score[r], key);
#pragma unroll
            for (int p = 0; p < PLAIN_PARTS; p++) {
                if (p * 32 + lane < dim) {
                    const float value = values[key * pitch + p * 32 + lane];
#pragma unroll
                    for (int r = 0; r < PLAIN_ROWS; r++) sum[r][p] += weight[r] * value;
                }
            }
        }
    }
    for (int r = 0; r < PLAIN_ROWS; r++) {
        const int query = tile.query + warp * PLAIN_ROWS + r;
        if (query >= tile.len) continue;
        T* to = out + (size_t)(tile.start + query) * ld_out + head * dim;
#pragma unroll
        for (int p = 0; p < PLAIN_PARTS; p++) {
            if (p * 32 + lane < dim) to[p * 32 + lane] = narrow<T>(sum[r][p] / total[r]);
        }
    }
}
