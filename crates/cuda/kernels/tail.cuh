// Low-rank tails behind rows of states. `ld` is the distance of rows in elements; behind a row's
// `width` elements is room for its tail.
#pragma once
#include "number.cuh"

// A layer that reads the rows: its A, [tasks, rank, width], for low-rank tails of `tail` elements
// (see `lora_down`); null if it has none, or a rank above GROUP.
template <class T> struct Reader {
    const T* a;
    const int* adapters;
    int rank, tail;
};

// Zeros in the tail's slots of all tasks but `task`, by one warp. `x` is where the tail starts.
template <class T> __device__ inline void clear_tail(T* x, int task, int rank, int tail) {
    for (int slot = threadIdx.x % WARP; slot < tail; slot += WARP) {
        if (task < 0 || slot / rank != task) x[slot] = narrow<T>(0);
    }
}

// The low-rank tail of each row: tail[task · rank + r] = x · A[task][r] in the slots of the row's
// task, 0 in those of the others. W has B of all tasks in the same columns, so that one matrix
// product over `width + tail` columns adds every row's own update. `a` is [tasks, rank, width].
// One warp per row.
template <class T>
__device__ void lora_down(T* x, const int* adapters, const T* a, int rows, int rank, int width, int tail,
                          int ld) {
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return;
    x += (size_t)row * ld;
    const int task = adapters[row];
    clear_tail(x + width, task, rank, tail);
    if (task < 0) return;
    for (int first = 0; first < rank; first += GROUP) {
        float sum[GROUP] = {};
        const T* group = a + ((size_t)task * rank + first) * width;
        for (int c = lane * OCTET; c < width; c += WARP * OCTET) {
            float state[OCTET], weight[OCTET];
            load(state, x + c);
#pragma unroll
            for (int r = 0; r < GROUP; r++) {
                if (first + r < rank) {
                    load(weight, group + (size_t)r * width + c);
#pragma unroll
                    for (int i = 0; i < OCTET; i++) sum[r] += state[i] * weight[i];
                }
            }
        }
#pragma unroll
        for (int r = 0; r < GROUP; r++) {
            const float down = warp_sum(sum[r]);
            if (lane == 0 && first + r < rank) x[width + task * rank + first + r] = narrow<T>(down);
        }
    }
}
