// Threads of a block as fibers of one thread: each runs until it waits for its warp or its block.
#pragma once
#include "numbers.h"
#include <algorithm>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <ucontext.h>
#include <vector>

struct Index {
    int x = 0, y = 0, z = 0;
};

inline thread_local Index threadIdx, blockIdx, blockDim, gridDim;

// Dynamic shared memory, by its names in the kernels. It has the size of the largest that any card
// has, so that a kernel that exceeds the size of its launch is not noticed.
constexpr size_t MOST_SHARED = 256 << 10;
inline thread_local float shared[MOST_SHARED / sizeof(float)];
inline thread_local __attribute__((aligned(1024))) unsigned char memory[MOST_SHARED];

class Block {
    // A meeting point of `members` threads that have not ended.
    struct Meeting {
        int members = 0, arrived = 0;
        unsigned turn = 0;
        void arrive() {
            if (++arrived >= members) open();
        }
        void leave() {
            if (--members > 0 && arrived >= members) open();
        }
        void open() { arrived = 0, turn++; }
    };
    struct Fiber {
        ucontext_t context;
        jmp_buf at;
        std::unique_ptr<char[]> stack;
        bool begun = false, ended = false;
        const Meeting* waits_for = nullptr;
        unsigned turn = 0;
        // Exchanges of its warp that it took part in.
        unsigned exchanges = 0;
    };
    struct Warp {
        Meeting meeting;
        // Two, because a fast lane may start the next exchange while a slow one still reads this
        // one.
        alignas(16) unsigned char slots[2][32 * 64];
    };

    static constexpr size_t STACK = 128 << 10;
    std::vector<Fiber> fibers;
    std::vector<Warp> warps;
    Meeting all;
    const std::function<void()>* kernel = nullptr;
    jmp_buf scheduler;
    int current = 0;

    void wait(Meeting& meeting) {
        Fiber& fiber = fibers[current];
        fiber.waits_for = &meeting, fiber.turn = meeting.turn;
        meeting.arrive();
        if (meeting.turn != fiber.turn) return;
        if (_setjmp(fiber.at) == 0) _longjmp(scheduler, 1);
    }

    static void enter() {
        Block& block = *running;
        (*block.kernel)();
        Fiber& fiber = block.fibers[block.current];
        fiber.ended = true;
        block.all.leave();
        block.warps[block.current / 32].meeting.leave();
        _longjmp(block.scheduler, 1);
    }

    void resume(int i) {
        Fiber& fiber = fibers[i];
        current = i;
        threadIdx.x = i;
        if (_setjmp(scheduler) != 0) return;
        if (fiber.begun) _longjmp(fiber.at, 1);
        fiber.begun = true;
        getcontext(&fiber.context);
        fiber.context.uc_stack = {fiber.stack.get(), 0, STACK};
        fiber.context.uc_link = nullptr;
        makecontext(&fiber.context, enter, 0);
        setcontext(&fiber.context);
    }

  public:
    static thread_local Block* running;

    void run(int threads, const std::function<void()>& what) {
        running = this, kernel = &what;
        while ((int)fibers.size() < threads) {
            fibers.emplace_back();
            fibers.back().stack.reset(new char[STACK]);
        }
        warps.resize((threads + 31) / 32);
        all = {threads};
        for (int i = 0; i < (int)warps.size(); i++) warps[i].meeting = {std::min(32, threads - 32 * i)};
        for (int i = 0; i < threads; i++) {
            Fiber& fiber = fibers[i];
            fiber.begun = fiber.ended = false, fiber.waits_for = nullptr, fiber.exchanges = 0;
        }
        for (int left = threads; left > 0;) {
            bool moved = false;
            for (int i = 0; i < threads; i++) {
                Fiber& fiber = fibers[i];
                if (fiber.ended || (fiber.waits_for && fiber.waits_for->turn == fiber.turn)) continue;
                moved = true;
                resume(i);
                left -= fibers[i].ended;
            }
            if (!moved) {
                std::fprintf(stderr, "card: the threads of a block wait for each other\n");
                std::abort();
            }
        }
    }

    void wait_for_block() { wait(all); }

    // The value of each lane of the warp, once all have passed theirs.
    template <class T> const T* exchange(const T& mine) {
        static_assert(sizeof(T) <= 64);
        Fiber& fiber = fibers[current];
        Warp& warp = warps[current / 32];
        T* values = reinterpret_cast<T*>(warp.slots[fiber.exchanges++ % 2]);
        std::memcpy(values + current % 32, &mine, sizeof(T));
        wait(warp.meeting);
        return values;
    }
};

inline thread_local Block* Block::running = nullptr;

inline void __syncthreads() { Block::running->wait_for_block(); }
inline float __shfl_xor_sync(unsigned, float x, int lane) {
    return Block::running->exchange(x)[threadIdx.x % 32 ^ lane];
}
inline float __shfl_sync(unsigned, float x, int from) { return Block::running->exchange(x)[from]; }
