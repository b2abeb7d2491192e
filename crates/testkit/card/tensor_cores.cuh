// The kernels' file of this name in C++ instead of the card's instructions: addresses in shared
// memory are offsets, and each lane computes its own part of a product. Layouts of matrices over
// the lanes: PTX ISA, "Matrix Fragments for mma.m16n8k16" and "ldmatrix".
#pragma once
#include "number.cuh"
#include "threads.h"

inline unsigned shared_address(const void* at) { return (const unsigned char*)at - memory; }

inline void copy_async(unsigned to, const void* from, bool valid) {
    if (valid) std::memcpy(memory + to, from, 16);
    else std::memset(memory + to, 0, 16);
}
inline void copies_commit() {}
template <int LEFT> inline void copies_wait() {}

inline void load_matrices(unsigned (&to)[4], unsigned from) {
    const int lane = threadIdx.x % 32;
    const unsigned* rows = Block::running->exchange(from);
    for (int i = 0; i < 4; i++) std::memcpy(&to[i], memory + rows[8 * i + lane / 4] + lane % 4 * 4, 4);
}
inline void load_transposed(unsigned (&to)[4], unsigned from) {
    const int lane = threadIdx.x % 32;
    const unsigned* rows = Block::running->exchange(from);
    for (int i = 0; i < 4; i++) {
        uint16_t both[2];
        for (int j = 0; j < 2; j++) std::memcpy(&both[j], memory + rows[8 * i + lane % 4 * 2 + j] + lane / 4 * 2, 2);
        std::memcpy(&to[i], both, 4);
    }
}

// A lane's part of both matrices: two elements of each register.
struct Fragments {
    float a[8], b[4];
};

template <class T, int REGISTERS> inline void widen_halves(float* to, const unsigned (&from)[REGISTERS]) {
    T halves[2 * REGISTERS];
    std::memcpy(halves, from, sizeof(halves));
    for (int i = 0; i < 2 * REGISTERS; i++) to[i] = widen(halves[i]);
}

template <class T> inline void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    const int group = threadIdx.x % 32 / 4, column = threadIdx.x % 4 * 2;
    Fragments mine;
    widen_halves<T>(mine.a, a);
    widen_halves<T>(mine.b, {b0, b1});
    const Fragments* lanes = Block::running->exchange(mine);
    for (int i = 0; i < 4; i++) {
        const int upper = i / 2; // row group + 8 · upper, column `column` + i % 2
        float product = 0;
        for (int k = 0; k < 16; k++) {
            const Fragments& left = lanes[group * 4 + k % 8 / 2];
            const Fragments& right = lanes[(column + i % 2) * 4 + k % 8 / 2];
            product += left.a[(upper + k / 8 * 2) * 2 + k % 2] * right.b[k / 8 * 2 + k % 2];
        }
        sum[i] += product;
    }
}

template <class T> inline unsigned pair(float low, float high) {
    const T halves[2] = {narrow<T>(low), narrow<T>(high)};
    unsigned both;
    std::memcpy(&both, halves, 4);
    return both;
}

inline float exp2_fast(float x) { return std::exp2(x); }
