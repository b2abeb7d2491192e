// Rotary positions.
#pragma once
#include "number.cuh"

// Rotary positions of q and k in place: component j with j + half by cos and sin of the token's
// position in its sequence, `[positions, half]` each. Tokens at a negative position are left alone:
// attention rotates them. One thread per eight pairs; half is a multiple of eight.
template <class T>
__device__ void rotate(T* qkv, const int* positions, const float* cos, const float* sin, int rows, int heads,
                       int half, int ld) {
    const int octets = half / OCTET, per_row = 2 * heads * octets;
    const size_t at = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (size_t)rows * per_row) return;
    const size_t row = at / per_row;
    if (positions[row] < 0) return;
    const int head = at % per_row / octets, j = at % octets * OCTET;
    const size_t angle = (size_t)positions[row] * half + j;
    rotate_octet(qkv + row * ld + (size_t)head * 2 * half + j, half, cos + angle, sin + angle);
}
