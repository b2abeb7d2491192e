// Every size of the kernels. src/constants.rs reads them here, so that the program that starts the
// kernels has the same ones. The names of `constexpr` and their order are part of the compiled
// files.
#pragma once

// Elements that a thread loads and stores at once: the unit of every row.
constexpr int OCTET = 8;

// attend_plain: warps of a block, queries of a warp, keys of a block, queries of a block; a head is
// at most PLAIN_PARTS times 32 elements wide.
constexpr int PLAIN_WARPS = 8;
constexpr int PLAIN_ROWS = 4;
constexpr int PLAIN_KEYS = 32;
constexpr int PLAIN_QUERIES = PLAIN_WARPS * PLAIN_ROWS;
constexpr int PLAIN_PARTS = 8;

constexpr int WARP = 32;

// Octets of a row that each thread of add_norm_4 and of add_norm_8 keeps in registers.
enum { NARROW_OCTETS = 4, WIDE_OCTETS = 8 };

// The ranks that lora_down computes at once, and the largest for which an operation computes the
// tail of the next layer on the way.
constexpr int GROUP = 4;

// gelu_rows: rows and threads of a block.
constexpr int ACTIVATED_ROWS = 4;
constexpr int ACTIVATED_THREADS = 256;

#if __CUDA_ARCH__ >= 800
// attend_mma: queries, keys and warps of a block, fragments of 16 queries of a warp; stages of keys
// and values, and elements between two rows in shared memory, so that rows of a matrix are in
// different banks.
constexpr int MMA_QUERIES = 128;
constexpr int MMA_KEYS = 64;
constexpr int MMA_WARPS = 4;
constexpr int MMA_FRAGMENTS = MMA_QUERIES / MMA_WARPS / 16;
enum { MMA_STAGES = 2, MMA_PADDING = 8 };
#endif

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
// attend_hopper: width of a head, keys of a block, warpgroups that multiply, queries of a block,
// stages of keys and values, threads of a block; rows and bytes of one bulk copy, bytes of a stage
// of keys.
constexpr int HOPPER_DIM = 64;
constexpr int HOPPER_KEYS = 128;
constexpr int HOPPER_GROUPS = 3;
constexpr int HOPPER_QUERIES = 64 * HOPPER_GROUPS;
constexpr int HOPPER_STAGES = 2;
constexpr int HOPPER_THREADS = 128 * (1 + HOPPER_GROUPS);
constexpr int BOX_ROWS = 64;
constexpr int BOX_BYTES = BOX_ROWS * HOPPER_DIM * 2;
constexpr int STAGE_BYTES = HOPPER_KEYS * HOPPER_DIM * 2;
#endif
