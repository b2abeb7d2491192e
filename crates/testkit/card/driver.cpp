// The functions of NVIDIA's driver that the program calls, as of CUDA 12.0, for cards that are this
// processor: memory is the machine's, and a kernel is its own source, compiled for the processor.
// Every operation is done when its call returns.
//
// Environment variables configure the cards:
//   KOKESHI_CARD_CAPABILITIES  one card for each, `12.0` if unset; empty for none
//   KOKESHI_CARD_DRIVER        the driver's version, `12000` if unset
//   KOKESHI_CARD_MEMORY        bytes of each card's memory, 8 GiB if unset
//   KOKESHI_CARD_INIT          the result of cuInit
//   KOKESHI_CARD_OPEN          the result of retaining a card's context
#include "threads.h"
#define __CUDA_ARCH__ 800
#include "kokeshi.cu"

#include <chrono>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <utility>

namespace {
enum { OK = 0, INVALID = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_DEVICE = 101 };
enum { NOT_FOUND = 500, NOT_SUPPORTED = 801 };

long setting(const char* name, long otherwise) {
    const char* value = std::getenv(name);
    return value && *value ? std::atol(value) : otherwise;
}

std::vector<std::pair<int, int>> cards() {
    const char* value = std::getenv("KOKESHI_CARD_CAPABILITIES");
    std::vector<std::pair<int, int>> cards;
    for (const char* at = value ? value : "12.0"; *at;) {
        char* end;
        const int major = std::strtol(at, &end, 10), minor = *end == '.' ? std::strtol(end + 1, &end, 10) : 0;
        cards.push_back({major, minor});
        at = *end == ',' ? end + 1 : "";
    }
    return cards;
}

// Memory of cards: each allocation ends before a page without access, and freed memory has no
// access either.
struct Memory {
    std::mutex lock;
    std::map<uintptr_t, std::pair<void*, size_t>> allocations;
    size_t used = 0;

    int allocate(uint64_t* address, size_t bytes) {
        std::lock_guard guard(lock);
        if (bytes == 0) return INVALID;
        const size_t most = setting("KOKESHI_CARD_MEMORY", 8L << 30);
        const size_t page = sysconf(_SC_PAGESIZE), whole = (bytes + page - 1) / page * page + page;
        if (used + whole > most) return OUT_OF_MEMORY;
        void* from = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (from == MAP_FAILED) return OUT_OF_MEMORY;
        mprotect((char*)from + whole - page, page, PROT_NONE);
        const uintptr_t at = ((uintptr_t)from + whole - page - bytes) / 16 * 16;
        std::memset((void*)at, 0xff, bytes);
        allocations[at] = {from, whole};
        used += whole;
        *address = at;
        return OK;
    }

    int release(uint64_t address) {
        std::lock_guard guard(lock);
        const auto allocation = allocations.find(address);
        if (allocation == allocations.end()) return INVALID;
        munmap(allocation->second.first, allocation->second.second);
        used -= allocation->second.second;
        allocations.erase(allocation);
        return OK;
    }
} card_memory;

using Call = void (*)(void**);

template <auto KERNEL> struct Caller;
template <class... A, void (*KERNEL)(A...)> struct Caller<KERNEL> {
    static void call(void** arguments) { spread(arguments, std::index_sequence_for<A...>()); }
    template <size_t... I> static void spread(void** arguments, std::index_sequence<I...>) {
        KERNEL(*(std::remove_const_t<A>*)arguments[I]...);
    }
};

#define KERNEL(NAME) {#NAME, Caller<NAME>::call}
#define OF_ROWS(T)                                                                                                     \
    KERNEL(embed_##T), KERNEL(add_norm_4_##T), KERNEL(add_norm_8_##T), KERNEL(lora_down_##T), KERNEL(gelu_##T),        \
        KERNEL(gelu_rows_##T), KERNEL(geglu_##T), KERNEL(reglu_##T), KERNEL(rotate_##T), KERNEL(pool_##T),             \
        KERNEL(attend_plain_##T)
#define OF_TENSOR_CORES(T)                                                                                             \
    KERNEL(attend_mma_rope_32_##T), KERNEL(attend_mma_rope_64_##T), KERNEL(attend_mma_alibi_32_##T),                   \
        KERNEL(attend_mma_alibi_64_##T)

const std::map<std::string, Call> KERNELS = {OF_ROWS(f32), OF_ROWS(f16), OF_ROWS(bf16), OF_TENSOR_CORES(f16),
                                             OF_TENSOR_CORES(bf16)};

// The names of a module's kernels, read from its portable code.
using Module = std::set<std::string>;
} // namespace

extern "C" {
int cuInit(unsigned) { return cards().empty() ? NO_DEVICE : setting("KOKESHI_CARD_INIT", OK); }
int cuDriverGetVersion(int* version) {
    *version = setting("KOKESHI_CARD_DRIVER", 12000);
    return OK;
}
int cuDeviceGetCount(int* count) {
    *count = cards().size();
    return OK;
}
int cuDeviceGet(int* device, int ordinal) {
    if (ordinal < 0 || ordinal >= (int)cards().size()) return INVALID_DEVICE;
    *device = ordinal;
    return OK;
}
int cuDeviceGetName(char* name, int bytes, int device) {
    std::snprintf(name, bytes, "processor %d", device);
    return OK;
}
int cuDeviceTotalMem_v2(size_t* bytes, int) {
    *bytes = setting("KOKESHI_CARD_MEMORY", 8L << 30);
    return OK;
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
    const auto [major, minor] = cards()[device];
    // 75 and 76: the capability; 115: whether there are memory pools.
    *value = attribute == 75 ? major : attribute == 76 ? minor : attribute == 115;
    return OK;
}
int cuDevicePrimaryCtxRetain(void** context, int device) {
    *context = (void*)(intptr_t)(device + 1);
    return setting("KOKESHI_CARD_OPEN", OK);
}
int cuDevicePrimaryCtxRelease_v2(int) { return OK; }
static thread_local void* context_of_thread = nullptr;
int cuCtxSetCurrent(void* context) {
    context_of_thread = context;
    return OK;
}
int cuCtxGetCurrent(void** context) {
    *context = context_of_thread;
    return OK;
}
int cuStreamCreate(void** stream, unsigned) {
    *stream = new char;
    return OK;
}
int cuStreamDestroy_v2(void* stream) {
    delete (char*)stream;
    return OK;
}
int cuStreamSynchronize(void*) { return OK; }

using Clock = std::chrono::steady_clock;
int cuEventCreate(void** event, unsigned) {
    *event = new Clock::time_point;
    return OK;
}
int cuEventDestroy_v2(void* event) {
    delete (Clock::time_point*)event;
    return OK;
}
int cuEventRecord(void* event, void*) {
    *(Clock::time_point*)event = Clock::now();
    return OK;
}
int cuEventSynchronize(void*) { return OK; }
int cuEventElapsedTime(float* ms, void* start, void* end) {
    const auto time = *(Clock::time_point*)end - *(Clock::time_point*)start;
    *ms = std::chrono::duration<float, std::milli>(time).count();
    return OK;
}

int cuMemAlloc_v2(uint64_t* address, size_t bytes) { return card_memory.allocate(address, bytes); }
int cuMemFree_v2(uint64_t address) { return card_memory.release(address); }
int cuMemAllocAsync(uint64_t* address, size_t bytes, void*) { return card_memory.allocate(address, bytes); }
int cuMemFreeAsync(uint64_t address, void*) { return card_memory.release(address); }
int cuMemsetD8Async(uint64_t to, unsigned char value, size_t bytes, void*) {
    std::memset((void*)to, value, bytes);
    return OK;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void* from, size_t bytes, void*) {
    std::memcpy((void*)to, from, bytes);
    return OK;
}
int cuMemcpyDtoHAsync_v2(void* to, uint64_t from, size_t bytes, void*) {
    std::memcpy(to, (const void*)from, bytes);
    return OK;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void*) {
    std::memmove((void*)to, (const void*)from, bytes);
    return OK;
}

int cuModuleLoadData(Module** module, const char* image) {
    if (std::strncmp(image, "//", 2) != 0) return INVALID; // machine code of a card
    *module = new Module;
    for (const char* at = image; (at = std::strstr(at, ".entry "));) {
        at += std::strlen(".entry ");
        (*module)->insert({at, std::strcspn(at, "(\n ")});
    }
    return OK;
}
int cuModuleUnload(Module* module) {
    delete module;
    return OK;
}
int cuModuleGetFunction(Call* function, const Module* module, const char* name) {
    const auto found = KERNELS.find(name);
    if (found == KERNELS.end() || !module->count(name)) return NOT_FOUND;
    *function = found->second;
    return OK;
}
int cuTensorMapEncodeTiled() { return NOT_SUPPORTED; } // for Hopper's kernels alone
int cuFuncSetAttribute(Call, int, int) { return OK; }
int cuLaunchKernel(Call kernel, unsigned grid_x, unsigned grid_y, unsigned, unsigned block_x, unsigned, unsigned,
                   unsigned shared_bytes, void*, void** arguments, void**) {
    if (block_x == 0 || block_x > 1024 || grid_x == 0 || grid_y == 0 || grid_y > 65535 || shared_bytes > 227 << 10) {
        return INVALID;
    }
    static thread_local Block block;
    gridDim = {(int)grid_x, (int)grid_y, 1}, blockDim = {(int)block_x, 1, 1};
    const std::function<void()> thread = [&] { kernel(arguments); };
    for (unsigned y = 0; y < grid_y; y++) {
        for (unsigned x = 0; x < grid_x; x++) {
            // NaN, so that a read before the first write shows.
            std::memset(memory, 0xff, shared_bytes);
            std::memset(shared, 0xff, shared_bytes);
            blockIdx = {(int)x, (int)y, 0};
            block.run(block_x, thread);
        }
    }
    return OK;
}
}
