// Embeddings.
#pragma once
#include "number.cuh"

// x[token] = W[id] + A[task][id] B[task] + shift[task]: the embedding with the low-rank update of
// the token's task. `a` is [tasks, vocab, rank], `b` [tasks, rank, hidden], `shift` [1 + tasks,
// hidden] with the summand without a task first. `adapters` has -1 for no task. Grid: one block per
// token.
template <class T>
__device__ void embed(const int* ids, const int* adapters, const T* word, const float* a, const float* b,
                      const float* shift, int vocab, int rank, int shifts, int hidden, int ld, T* x) {
    const int token = blockIdx.x, task = adapters[token];
    const size_t id = ids[token];
    for (int c = threadIdx.x * OCTET; c < hidden; c += blockDim.x * OCTET) {
        float sum[OCTET], row[OCTET];
        load(sum, word + id * hidden + c);
        if (task >= 0) {
            for (int r = 0; r < rank; r++) {
                const float down = a[((size_t)task * vocab + id) * rank + r];
                load(row, b + ((size_t)task * rank + r) * hidden + c);
#pragma unroll
                for (int i = 0; i < OCTET; i++) sum[i] += down * row[i];
            }
        }
        if (shifts > 0) {
            load(row, shift + (size_t)(shifts > 1 ? task + 1 : 0) * hidden + c);
#pragma unroll
            for (int i = 0; i < OCTET; i++) sum[i] += row[i];
        }
        store(x + (size_t)token * ld + c, sum);
    }
}
