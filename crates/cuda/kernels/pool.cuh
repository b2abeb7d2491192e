// Sums of states over spans.
#pragma once
#include "number.cuh"

// Sums of states over token ranges `spans` (first, end), in f64: 8192 states summed in f32 lose up
// to three decimal digits. Grid: (spans, columns); only the first `width` columns, which the caller
// asks for, are summed.
template <class T>
__device__ void pool(const T* x, const int2* spans, int width, int ld, float* sums) {
    const int2 span = spans[blockIdx.x];
    const int c = blockIdx.y * blockDim.x + threadIdx.x;
    if (c >= width) return;
    double sum = 0;
#pragma unroll 8
    for (int token = span.x; token < span.y; token++) sum += widen(x[(size_t)token * ld + c]);
    sums[(size_t)blockIdx.x * width + c] = (float)sum;
}
