// Every kernel, under its name in the compiled module: OPERATION_DTYPE. `compile` compiles it for
// each architecture, whose tensor cores determine which kernels it has.
#include "activation.cuh"
#include "attention_plain.cuh"
#include "embed.cuh"
#include "norm.cuh"
#include "pool.cuh"
#include "rotate.cuh"
#if __CUDA_ARCH__ >= 800
#include "attention_mma.cuh"
#endif
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#include "attention_hopper.cuh"
#endif

#define ROW_KERNELS(NAME, T)                                                                                   \
    extern "C" __global__ void embed_##NAME(const int* ids, const int* adapters, const T* word, const float* a, \
                                            const float* b, const float* shift, int vocab, int rank,           \
                                            int shifts, int hidden, int ld, T* x) {                            \
        embed(ids, adapters, word, a, b, shift, vocab, rank, shifts, hidden, ld, x);                           \
    }                                                                                                          \
    extern "C" __global__ void add_norm_4_##NAME(T* x, const T* residual, const float* gain, const float* bias, \
                                                 float eps, int rows, int width, int ld, const T* a,            \
                                                 const int* adapters, int rank, int tail) {                    \
        add_norm<T, NARROW_OCTETS>(x, residual, gain, bias, eps, rows, width, ld, {a, adapters, rank, tail});              \
    }                                                                                                          \
    extern "C" __global__ void add_norm_8_##NAME(T* x, const T* residual, const float* gain, const float* bias, \
                                                 float eps, int rows, int width, int ld, const T* a,            \
                                                 const int* adapters, int rank, int tail) {                    \
        add_norm<T, WIDE_OCTETS>(x, residual, gain, bias, eps, rows, width, ld, {a, adapters, rank, tail});              \
    }                                                                                                          \
    extern "C" __global__ void lora_down_##NAME(T* x, const int* adapters, const T* a, int rows, int rank,     \
                                                int width, int tail, int ld) {                                 \
        lora_down(x, adapters, a, rows, rank, width, tail, ld);                                                \
    }                                                                                                          \
    extern "C" __global__ void gelu_##NAME(const T* x, T* y, int rows, int width, int ld_x, int ld_y) {        \
        activate<T, GELU>(x, y, rows, width, ld_x, ld_y);                                                      \
    }                                                                                                          \
    extern "C" __global__ void __launch_bounds__(ACTIVATED_THREADS)                                            \
        gelu_rows_##NAME(T* x, int rows, int width, int ld, const T* a, const int* adapters, int rank,         \
                         int tail) {                                                                           \
        gelu_rows<T>(x, rows, width, ld, {a, adapters, rank, tail});                                           \
    }                                                                                                          \
    extern "C" __global__ void geglu_##NAME(const T* x, T* y, int rows, int width, int ld_x, int ld_y) {       \
        activate<T, GEGLU>(x, y, rows, width, ld_x, ld_y);                                                     \
    }                                                                                                          \
    extern "C" __global__ void reglu_##NAME(const T* x, T* y, int rows, int width, int ld_x, int ld_y) {       \
        activate<T, REGLU>(x, y, rows, width, ld_x, ld_y);                                                     \
    }                                                                                                          \
    extern "C" __global__ void rotate_##NAME(T* qkv, const int* positions, const float* cos, const float* sin, \
                                             int rows, int heads, int half, int ld) {                          \
        rotate(qkv, positions, cos, sin, rows, heads, half, ld);                                               \
    }                                                                                                          \
    extern "C" __global__ void pool_##NAME(const T* x, const int2* spans, int width, int ld, float* sums) {    \
        pool(x, spans, width, ld, sums);                                                                       \
    }                                                                                                          \
    extern "C" __global__ void __launch_bounds__(PLAIN_WARPS * 32)                                             \
        attend_plain_##NAME(const T* qkv, const Tile* tiles, const float* slopes, float scale, int hidden,     \
                            int dim, int ld_in, int ld_out, T* out) {                                          \
        attend_plain(qkv, tiles, slopes, scale, hidden, dim, ld_in, ld_out, out);                              \
    }

ROW_KERNELS(f32, float)
ROW_KERNELS(f16, f16)
#if __CUDA_ARCH__ >= 800
ROW_KERNELS(bf16, bf16)

#define MMA_KERNELS(NAME, T, DIM)                                                                              \
    extern "C" __global__ void __launch_bounds__(MMA_WARPS * 32)                                               \
        attend_mma_rope_##DIM##_##NAME(const T* qkv, const Tile* tiles, const float* slopes, const float* cos, \
                                      const float* sin, float scale, int hidden, int ld_in, int ld_out,        \
                                      T* out) {                                                                \
        attend_mma<T, DIM, false>(qkv, tiles, slopes, cos, sin, scale, hidden, ld_in, ld_out, out);            \
    }                                                                                                          \
    extern "C" __global__ void __launch_bounds__(MMA_WARPS * 32)                                               \
        attend_mma_alibi_##DIM##_##NAME(const T* qkv, const Tile* tiles, const float* slopes, const float* cos,\
                                      const float* sin, float scale, int hidden, int ld_in, int ld_out,        \
                                      T* out) {                                                                \
        attend_mma<T, DIM, true>(qkv, tiles, slopes, cos, sin, scale, hidden, ld_in, ld_out, out);             \
    }

MMA_KERNELS(f16, f16, 32)
MMA_KERNELS(f16, f16, 64)
MMA_KERNELS(bf16, bf16, 32)
MMA_KERNELS(bf16, bf16, 64)
#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define HOPPER_KERNELS(NAME, T)                                                                                \
    extern "C" __global__ void __launch_bounds__(HOPPER_THREADS, 1)                                            \
        attend_hopper_rope_##NAME(const __grid_constant__ TensorMap map, const Tile* tiles,                    \
                                  const float* slopes, float scale, int hidden, int ld_out, T* out) {          \
        attend_hopper<T, false>(map, tiles, slopes, scale, hidden, ld_out, out);                               \
    }                                                                                                          \
    extern "C" __global__ void __launch_bounds__(HOPPER_THREADS, 1)                                            \
        attend_hopper_alibi_##NAME(const __grid_constant__ TensorMap map, const Tile* tiles,                   \
                                  const float* slopes, float scale, int hidden, int ld_out, T* out) {          \
        attend_hopper<T, true>(map, tiles, slopes, scale, hidden, ld_out, out);                                \
    }

HOPPER_KERNELS(f16, f16)
HOPPER_KERNELS(bf16, bf16)
#endif
