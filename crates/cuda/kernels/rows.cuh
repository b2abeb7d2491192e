// Operations on rows of states: one warp a row where a row is reduced, one thread eight numbers where
// it is not. `ld` is the distance of rows in numbers; behind a row's `width` numbers may lie its
// low-rank tail (see `lora_down`).
#pragma once
#include "number.cuh"

constexpr int WARP = 32;

// x[token] = W[id] + A[task][id] B[task] + shift[task]: the embedding with the low-rank update of
// the token's task. `a` is [tasks, vocab, rank], `b` [tasks, rank, hidden], `shift` [1 + tasks, hidden]
// with the summand without a task first. `adapters` holds -1 for no task. Grid: a block a token.
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

// A layer that reads the rows: its A, [tasks, rank, width], for low-rank tails of `tail` numbers (see
// `lora_down`); null where it has none, or a rank above GROUP.
constexpr int GROUP = 4;

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

// x = LayerNorm(x + residual) · gain + bias over `width` ≤ OCTETS · 256 numbers; no residual if it is
// null; and the tail of the layer that reads it. One warp a row.
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

// The low-rank tail of each row: tail[task · rank + r] = x · A[task][r] in the slots of the row's
// task, 0 in those of the others. W has B of all tasks in the same columns, so that one matrix
// product over `width + tail` columns adds every row's own update. `a` is [tasks, rank, width].
// One warp a row.
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

// GELU by the error function, as the models were trained.
__device__ inline float gelu(float x) { return 0.5f * x * (1.0f + erff(x * 0.70710678118654752f)); }

enum Activation { GELU, GEGLU, REGLU };

// y = activation(x), row by row. A gated one takes `2 · width` numbers, gates first. For GELU y may be
// x. One thread eight numbers.
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

// GELU in place, and the tail of the layer that reads it. A block has 256 threads and ACTIVATED_ROWS rows,
// which mostly have one task: its A is then read once for all of them.
constexpr int ACTIVATED_ROWS = 4, ACTIVATED_THREADS = 256;

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
    // One warp a row from here on.
    T* tail = x + (size_t)(first + warp) * ld + width;
    const int mine = reader.adapters[first + warp];
    clear_tail(tail, mine, reader.rank, reader.tail);
    if (mine < 0 || lane >= reader.rank) return;
    float sum = 0;
    for (int part = 0; part < ACTIVATED_THREADS / WARP; part++) sum += parts[part][warp][lane];
    tail[mine * reader.rank + lane] = narrow<T>(sum);
}

// Rotary positions of q and k in place: component j with j + half by cos and sin of the token's place
// in its sequence, `[positions, half]` each. Tokens at a negative place are left alone: attention turns
// them itself. One thread eight pairs; half is a multiple of eight.
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

// Sums of states over token ranges `spans` (first, end), in f64: 8192 states summed in f32 lose up to
// three decimal digits. Grid: (spans, columns); only the first `width` columns, those that the caller
// wants, are summed.
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
