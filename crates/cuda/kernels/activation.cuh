// Activations after a linear layer.
#pragma once
#include "tail.cuh"

// GELU by the error function, with which the models were trained.
__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

enum Activation { GELU, GEGLU, REGLU };

// y = activation(x), row by row. A gated one reads `2 · width` elements, gates first. For GELU y
// may be x. One thread per octet.
template <class T, Activation ACTIVATION>
__device__ void activate(const T* x, T* y, int rows, int width, int ld_x, int ld_y) {
    const int octets = width / OCTET;
    const size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (size_t)rows * octets) return;
    const size_t row = at / octets;
    const int c = at % octets * OCTET;
    float gate[OCTET], value[OCTET];
    load(gate, x + row * ld_x + c);
    if (ACTIVATION != GELU) load(value, x + row * ld_x + width + c);
#pragma unroll
    for (int i = 0; i < OCTET; i++) {
        if (ACTIVATION == GELU) gate[i] = gelu(gate[i]);
        if (ACTIVATION == GEGLU) gate[i] = gelu(gate[i]) * value[i];
        if (ACTIVATION == REGLU) gate[i] = fmaxf(gate[i], 0) * value[i];
    }
    store(y + row * ld_y + c, gate);
}

// GELU in place, and the tail of the layer that reads it. A block has 256 threads and
// ACTIVATED_ROWS rows, which mostly have one task: its A is then read once for all of them.
template <class T>
__device__ void gelu_rows(T* x, int rows, int width, int ld, Reader<T> reader) {
    __shared__ float parts[ACTIVATED_THREADS / WARP][ACTIVATED_ROWS][GROUP];
    const int first = blockIdx.x * ACTIVATED_ROWS, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int task[ACTIVATED_ROWS];
    bool same = true;
#pragma unroll
    for (int i = 0; i < ACTIVATED_ROWS; i++) {
        task[i] = first + i < rows ? reader.adapters[first + i] : -1;
        same = same && (task[i] == task[0] || first + i >= rows);
    }
    float down[ACTIVATED_ROWS][GROUP] = {};
    for (int c = threadIdx.x * OCTET; c < width; c += ACTIVATED_THREADS * OCTET) {
        float state[ACTIVATED_ROWS][OCTET], weight[OCTET];
#pragma unroll
        for (int i = 0; i < ACTIVATED_ROWS; i++) {
            if (first + i < rows) load(state[i], x + (size_t)(first + i) * ld + c);
        }
#pragma unroll
        for (int i = 0; i < ACTIVATED_ROWS; i++) {
            if (first + i >= rows) continue;
#pragma unroll
            for (int j = 0; j < OCTET; j++) state[i][j] = widen(narrow<T>(gelu(state[i][j])));
            store(x + (size_t)(first + i) * ld + c, state[i]);
        }
#pragma unroll
        for (int r = 0; r < GROUP; r++) {
            if (r >= reader.rank) break;
            if (same && task[0] >= 0) load(weight, reader.a + ((size_t)task[0] * reader.rank + r) * width + c);
#pragma unroll
            for (int i = 0; i < ACTIVATED_ROWS; i++) {
                if (task[i] < 0) continue;
                if (!same) load(weight, reader.a + ((size_t)task[i] * reader.rank + r) * width + c);
#pragma unroll
                for (int j = 0; j < OCTET; j++) down[i][r] += state[i][j] * weight[j];
            }
        }
    }
#pragma unroll
    for (int i = 0; i < ACTIVATED_ROWS; i++) {
#pragma unroll
        for (int r = 0; r < GROUP; r++) {
            const float sum = warp_sum(down[i][r]);
            if (lane == 0) parts[warp][i][r] = sum;
        }
    }
    __syncthreads();
    if (warp >= ACTIVATED_ROWS || first + warp >= rows) return;
    // One warp per row from here on.
    T* tail = x + (size_t)(first + warp) * ld + width;
    const int mine = reader.adapters[first + warp];
    clear_tail(tail, mine, reader.rank, reader.tail);
    if (mine < 0 || lane >= reader.rank) return;
    float sum = 0;
    for (int part = 0; part < ACTIVATED_THREADS / WARP; part++) sum += parts[part][warp][lane];
    tail[mine * reader.rank + lane] = narrow<T>(sum);
}
