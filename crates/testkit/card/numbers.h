// Two-byte floats, and the keywords of CUDA that the kernels use.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>

#undef INFINITY
#define __device__
#define __global__
#define __grid_constant__
#define __shared__ thread_local
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __launch_bounds__(...)

template <class To, class From> inline To bits_of(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    std::memcpy(&to, &from, sizeof(to));
    return to;
}

struct __half {
    _Float16 value;
};
struct __nv_bfloat16 {
    uint16_t bits;
};
struct int2 {
    int x, y;
};

inline float __int_as_float(int bits) { return bits_of<float>(bits); }
inline float __half2float(__half x) { return x.value; }
inline __half __float2half_rn(float x) { return {(_Float16)x}; }
inline float __bfloat162float(__nv_bfloat16 x) { return bits_of<float>((uint32_t)x.bits << 16); }
// To the nearest, ties to the even one.
inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    if (std::isnan(x)) return {0x7fff};
    const uint32_t bits = bits_of<uint32_t>(x);
    return {(uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
inline float rsqrtf(float x) { return 1 / std::sqrt(x); }
