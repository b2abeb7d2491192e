// LayerNorm with the residual sum before it. One warp per row.
#pragma once
#include "tail.cuh"

// x = LayerNorm(x + residual) · gain + bias over `width` ≤ OCTETS · 256 elements; no residual if it
// is null; and the tail of the layer that reads it.
template <class T, int OCTETS>
__device__ void add_norm(T* x, const T* residual, const float* gain, const float* bias, float eps, int rows,
                         int width, int ld, Reader<T> reader) {
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return;
    x += (size_t)row * ld;
    float sum[OCTETS][OCTET], other[OCTET], mean = 0, variance = 0;
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
        const int c = (o * WARP + lane) * OCTET;
        if (c < width) {
            load(sum[o], x + c);
            if (residual != nullptr) {
                load(other, residual + (size_t)row * ld + c);
#pragma unroll
                for (int i = 0; i < OCTET; i++) sum[o][i] += other[i];
            }
#pragma unroll
            for (int i = 0; i < OCTET; i++) mean += sum[o][i];
        }
    }
    mean = warp_sum(mean) / width;
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
        if ((o * WARP + lane) * OCTET < width) {
#pragma unroll
            for (int i = 0; i < OCTET; i++) {
                sum[o][i] -= mean;
                variance += sum[o][i] * sum[o][i];
            }
        }
    }
    const float scale = rsqrtf(warp_sum(variance) / width + eps);
#pragma unroll
    for (int o = 0; o < OCTETS; o++) {
        const int c = (o * WARP + lane) * OCTET;
        if (c < width) {
            float g[OCTET], b[OCTET];
            load(g, gain + c);
            load(b, bias + c);
#pragma unroll
            for (int i = 0; i < OCTET; i++) sum[o][i] = widen(narrow<T>(sum[o][i] * scale * g[i] + b[i]));
            store(x + c, sum[o]);
        }
    }
    if (reader.a == nullptr) return;
    const int task = reader.adapters[row];
    clear_tail(x + width, task, reader.rank, reader.tail);
    if (task < 0) return;
#pragma unroll
    for (int r = 0; r < GROUP; r++) {
        if (r >= reader.rank) break;
        const T* a = reader.a + ((size_t)task * reader.rank + r) * width;
        float down = 0;
#pragma unroll
        for (int o = 0; o < OCTETS; o++) {
            const int c = (o * WARP + lane) * OCTET;
            if (c < width) {
                load(other, a + c);
#pragma unroll
                for (int i = 0; i < OCTET; i++) down += sum[o][i] * other[i];
            }
        }
        down = warp_sum(down);
        if (lane == 0) x[width + task * reader.rank + r] = narrow<T>(down);
    }
}
