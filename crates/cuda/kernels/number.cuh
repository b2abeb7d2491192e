// The dtypes of states and weights: float, __half or __nv_bfloat16. They are types of memory;
// arithmetic is f32 everywhere. All rows start at multiples of 16 bytes.
#pragma once
#include "constants.cuh"
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#define INFINITY __int_as_float(0x7f800000)

using bf16 = __nv_bfloat16;
using f16 = __half;

__device__ inline float widen(float x) { return x; }
__device__ inline float widen(f16 x) { return __half2float(x); }
__device__ inline float widen(bf16 x) { return __bfloat162float(x); }

template <class T> __device__ inline T narrow(float x);
template <> __device__ inline float narrow<float>(float x) { return x; }
template <> __device__ inline f16 narrow<f16>(float x) { return __float2half_rn(x); }
template <> __device__ inline bf16 narrow<bf16>(float x) { return __float2bfloat16_rn(x); }

template <class T> struct alignas(16) Octet { T at[OCTET]; };

template <class T> __device__ inline void load(float (&to)[OCTET], const T* from) {
    const Octet<T> octet = *reinterpret_cast<const Octet<T>*>(from);
#pragma unroll
    for (int i = 0; i < OCTET; i++) to[i] = widen(octet.at[i]);
}

template <class T> __device__ inline void store(T* to, const float (&from)[OCTET]) {
    Octet<T> octet;
#pragma unroll
    for (int i = 0; i < OCTET; i++) octet.at[i] = narrow<T>(from[i]);
    *reinterpret_cast<Octet<T>*>(to) = octet;
}

// Rotates eight pairs, component j with j + half of a head, by cos and sin of their angles.
template <class T> __device__ inline void rotate_octet(T* x, int half, const float* cos, const float* sin) {
    float first[OCTET], second[OCTET], c[OCTET], s[OCTET];
    load(first, x);
    load(second, x + half);
    load(c, cos);
    load(s, sin);
#pragma unroll
    for (int i = 0; i < OCTET; i++) {
        const float rotated = first[i] * c[i] - second[i] * s[i];
        second[i] = second[i] * c[i] + first[i] * s[i];
        first[i] = rotated;
    }
    store(x, first);
    store(x + half, second);
}

__device__ inline float warp_sum(float x) {
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) x += __shfl_xor_sync(~0u, x, lane);
    return x;
}
