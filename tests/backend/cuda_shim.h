// What a CUDA kernel uses, for g++: threads of a block are fibers that take turns, blocks run one after the other. (Long, as
// sources are built with this header alone.)
//
// A fiber runs until it waits at a barrier or a warp collective, then another one of its warp goes on, or of the next warp
// where the whole warp waits. In odd blocks the order of threads is reversed, and shared memory is filled with 0xFF before
// every block (NaN, -1): so a missing barrier shows. Threads that have returned no longer count at barriers.
#pragma once
#include <math.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <type_traits>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static __attribute__((section("shared_memory")))  // "extern __shared__" is replaced before compilation
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

struct uint3 { unsigned x, y, z; };
typedef uint3 dim3;
static uint3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

#define SHIM_VECTORS(T, N)                                                            \
    struct alignas(2 * sizeof(T)) N##2 { T x, y; };                                   \
    struct alignas(16) N##4 { T x, y, z, w; };                                        \
    inline N##2 make_##N##2(T x, T y) { return {x, y}; }                              \
    inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
SHIM_VECTORS(float, float)
SHIM_VECTORS(double, double)
SHIM_VECTORS(int, int)

// ---- fibers ----

namespace shim {

enum { MAX_THREADS = 1024, MAX_WARPS = 32, STACK = 128 << 10, DYNAMIC = 256 << 10, GUARD = 4096 };
enum Kind { SYNC, SHUFFLE, BALLOT, PRODUCT };

struct Warp {
    unsigned live, ready, arrived, at_block;  // bits of lanes; `arrived` wait for the warp, `at_block` for the block
    unsigned mask[32];
    Kind kind[32];
    uint64_t value[32], result[32];
    int source[32];  // lane to read from, or a ballot's vote
};

struct Fragments {
    float *d;
    const unsigned *a, *b;
};

// A lane's part of `d += a b` on tensor cores, 16 x 8 x 8, from the parts of all lanes. Of factors the lower 13 bits don't count.
static void multiply(const uint64_t *parts, int lane) {
    auto of = [&](int l) { return reinterpret_cast<const Fragments *>(parts[l]); };
    auto tf32 = [](unsigned bits) {
        float value;
        bits &= ~0x1fffu;
        memcpy(&value, &bits, 4);
        return value;
    };
    for (int r = 0; r < 4; r++) {
        int row = lane / 4 + 8 * (r / 2), column = 2 * (lane % 4) + r % 2;
        for (int k = 0; k < 8; k++) {
            unsigned a = of(row % 8 * 4 + k % 4)->a[row / 8 + k / 4 * 2], b = of(column * 4 + k % 4)->b[k / 4];
            of(lane)->d[r] += tf32(a) * tf32(b);
        }
    }
}

struct Copy {
    void *to;
    const void *from;
    int bytes, group;
    bool there;
};

struct Copies {
    std::vector<Copy> waiting;
    int closed = 0;  // groups
};

alignas(128) static unsigned char dynamic[DYNAMIC + GUARD];
static Warp warps[MAX_WARPS];
static Copies copies[MAX_THREADS];
static jmp_buf places[MAX_THREADS], home;
static ucontext_t entry, creator;
static int made, current, threads, live;
static bool reverse;
static const char *error;
static void (*kernel)(void **);
static void **arguments;

static inline Warp &warp() { return warps[current >> 5]; }
static inline int lane() { return current & 31; }

__attribute__((noinline)) static void switch_to(int thread) {  // -1: back to launch()
    if (current >= 0) {
        if (_setjmp(places[current])) return;
    }
    current = thread;
    if (thread < 0) _longjmp(home, 1);
    unsigned x = blockDim.x, y = blockDim.y;
    threadIdx = {thread % x, thread / x % y, thread / (x * y)};
    _longjmp(places[thread], 1);
}

// Gives the turn to the next fiber that is ready, of this warp where there is one.
__attribute__((noinline)) static void pass_on() {
    int count = (threads + 31) / 32, start = current < 0 ? (reverse ? count - 1 : 0) : current >> 5;
    for (int step = 0; step < count; step++) {
        int w = (reverse ? start - step + count : start + step) % count;
        unsigned ready = warps[w].ready;
        if (ready) return switch_to(32 * w + (reverse ? 31 - __builtin_clz(ready) : __builtin_ctz(ready)));
    }
    if (live) error = "threads wait at a barrier or a warp collective that others never reach";
    switch_to(-1);
}

static void release_block() {
    int waiting = 0, count = (threads + 31) / 32;
    for (int w = 0; w < count; w++) waiting += __builtin_popcount(warps[w].at_block);
    if (waiting < live) return;
    for (int w = 0; w < count; w++) {
        warps[w].ready |= warps[w].at_block;
        warps[w].at_block = 0;
    }
}

// Lets the lanes of a mask go on, with their results, when all of them that live have arrived.
static void release_warp(Warp &warp, unsigned mask) {
    unsigned all = mask & warp.live;
    if (!all || (warp.arrived & all) != all) return;
    unsigned votes = 0;
    int first = __builtin_ctz(all);
    for (int l = 0; l < 32; l++) {
        if (!(all >> l & 1)) continue;
        if (warp.kind[l] != warp.kind[first] || warp.mask[l] != mask)
            error = "lanes of a warp meet at different collectives";
        if (warp.kind[l] == PRODUCT && all != ~0u) error = "a warp multiplies without some of its lanes";
        votes |= unsigned(warp.source[l] != 0) << l;
    }
    for (int l = 0; l < 32; l++) {
        if (!(all >> l & 1)) continue;
        if (warp.kind[l] == BALLOT) warp.result[l] = votes;
        if (warp.kind[l] == PRODUCT && !error) multiply(warp.value, l);
        if (warp.kind[l] == SHUFFLE) warp.result[l] = all >> warp.source[l] & 1 ? warp.value[warp.source[l]] : ~uint64_t(0);
    }
    warp.arrived &= ~all;
    warp.ready |= all;
}

static uint64_t meet(unsigned mask, Kind kind, uint64_t value, int source) {
    Warp &w = warp();
    int l = lane();
    if (!(mask >> l & 1)) error = "a lane calls a warp collective whose mask leaves it out";
    w.mask[l] = mask, w.kind[l] = kind, w.value[l] = value, w.source[l] = source;
    w.ready &= ~(1u << l);
    w.arrived |= 1u << l;
    release_warp(w, mask);
    if (error) switch_to(-1);
    if (!(w.ready >> l & 1)) pass_on();
    return w.result[l];
}

static void finish() {
    Warp &w = warp();
    unsigned bit = 1u << lane();
    w.live &= ~bit, w.ready &= ~bit;
    live--;
    for (int l = 0; l < 32; l++)
        if (w.arrived >> l & 1) release_warp(w, w.mask[l]);
    if (live && !w.ready && !w.arrived) release_block();
    pass_on();
}

static void run_fiber() {
    if (!_setjmp(places[current])) setcontext(&creator);
    for (;;) {
        kernel(arguments);
        finish();
    }
}

static void make_fibers(int count) {
    static unsigned char *stacks = nullptr;
    if (!stacks) {
        int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
        void *place = mmap(nullptr, size_t(MAX_THREADS) * STACK, PROT_READ | PROT_WRITE, flags, -1, 0);
        if (place == MAP_FAILED) abort();
        stacks = static_cast<unsigned char *>(place);
    }
    for (; made < count; made++) {
        unsigned char *stack = stacks + size_t(made) * STACK;
        mprotect(stack, GUARD, PROT_NONE);  // an overflow of the stack below faults
        getcontext(&entry);
        entry.uc_stack.ss_sp = stack;
        entry.uc_stack.ss_size = STACK;
        entry.uc_link = nullptr;
        makecontext(&entry, run_fiber, 0);
        current = made;
        swapcontext(&creator, &entry);
    }
}

extern "C" char __start_shared_memory[], __stop_shared_memory[];
static char filler __attribute__((section("shared_memory"), used));

__attribute__((noinline)) static void run_block(int shared_bytes) {
    memset(dynamic, 0xFF, shared_bytes + GUARD);
    memset(__start_shared_memory, 0xFF, __stop_shared_memory - __start_shared_memory);
    live = threads;
    for (int t = 0; t < threads; t++) copies[t].waiting.clear(), copies[t].closed = 0;
    for (int w = 0; w < (threads + 31) / 32; w++) {
        int lanes = threads - 32 * w;
        warps[w].live = warps[w].ready = lanes >= 32 ? ~0u : (1u << lanes) - 1;
        warps[w].arrived = warps[w].at_block = 0;
    }
    current = -1;
    if (!_setjmp(home)) pass_on();
    for (int k = 0; k < GUARD && !error; k++)
        if (dynamic[shared_bytes + k] != 0xFF) error = "a thread wrote beyond the dynamic shared memory of its block";
}

// Runs a kernel; returns what went wrong, or null.
static const char *launch(void (*function)(void **), const unsigned *grid, const unsigned *block, void **args, int bytes) {
    kernel = function, arguments = args, error = nullptr;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    threads = block[0] * block[1] * block[2];
    make_fibers(threads);
    size_t blocks = size_t(grid[0]) * grid[1] * grid[2];
    for (size_t b = 0; b < blocks && !error; b++) {
        reverse = b & 1;
        blockIdx = {unsigned(b % grid[0]), unsigned(b / grid[0] % grid[1]), unsigned(b / grid[0] / grid[1])};
        run_block(bytes);
    }
    if (error) made = 0;  // fibers that hang are made anew
    return error;
}

template <class T> uint64_t to_bits(T value) {
    static_assert(sizeof(T) <= 8 && std::is_arithmetic<T>::value, "collectives exchange numbers");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    return bits;
}

template <class T> T from_bits(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof(T));
    return value;
}

template <class To, class From> To as(From value) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    return from_bits<To>(to_bits(value));
}

template <class T> T shuffle(unsigned mask, T value, int source) {
    return from_bits<T>(meet(mask, SHUFFLE, to_bits(value), source));
}

}  // namespace shim

// ---- barriers and warp collectives ----

inline void __syncthreads() {
    shim::Warp &w = shim::warp();
    unsigned bit = 1u << shim::lane();
    w.ready &= ~bit, w.at_block |= bit;
    if (w.ready == 0 && w.arrived == 0) shim::release_block();
    if (!(w.ready & bit)) shim::pass_on();
}
inline void __syncwarp(unsigned mask = ~0u) { shim::meet(mask, shim::SYNC, 0, 0); }
inline unsigned __ballot_sync(unsigned mask, int vote) { return shim::meet(mask, shim::BALLOT, 0, vote != 0); }
inline int __any_sync(unsigned mask, int vote) { return __ballot_sync(mask, vote) != 0; }
inline int __all_sync(unsigned mask, int vote) { return __ballot_sync(mask, !vote) == 0; }

template <class T> T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    return shim::shuffle(mask, value, (shim::lane() & ~(width - 1)) + (source & (width - 1)));
}
template <class T> T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int l = shim::lane(), last = l | (width - 1);
    return shim::shuffle(mask, value, l + int(delta) <= last ? l + int(delta) : l);
}
template <class T> T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int l = shim::lane(), first = l & ~(width - 1);
    return shim::shuffle(mask, value, l - int(delta) >= first ? l - int(delta) : l);
}
template <class T> T __shfl_xor_sync(unsigned mask, T value, int with, int width = 32) {
    int l = shim::lane(), source = l ^ with;
    return shim::shuffle(mask, value, source <= (l | (width - 1)) ? source : l);
}
// ---- tensor cores, and copies to shared memory that are done when they are waited for ----

inline unsigned to_tf32(float x) {  // to nearest, ties away from zero
    unsigned bits = shim::as<unsigned>(x);
    if (x != x) return 0x7fffffffu;
    return (bits & 0x7f800000u) == 0x7f800000u ? bits : (bits + 0x1000u) & ~0x1fffu;
}
inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    shim::Fragments mine = {d, a, b};
    shim::meet(~0u, shim::PRODUCT, reinterpret_cast<uint64_t>(&mine), 0);
}

template <int BYTES> void copy_async(void *to, const void *from, bool there) {
    static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "a copy has 4, 8 or 16 bytes");
    if (uint64_t(to) % BYTES || (there && uint64_t(from) % BYTES)) shim::error = "a copy isn't at a multiple of its size";
    shim::Copies &mine = shim::copies[shim::current];
    mine.waiting.push_back({to, from, BYTES, mine.closed, there});
}
inline void commit_copies() { shim::copies[shim::current].closed++; }
template <int GROUPS> void wait_for_copies() {
    shim::Copies &mine = shim::copies[shim::current];
    size_t done = 0;
    for (; done < mine.waiting.size() && mine.waiting[done].group < mine.closed - GROUPS; done++) {
        const shim::Copy &copy = mine.waiting[done];
        if (copy.there) memcpy(copy.to, copy.from, copy.bytes);
        else memset(copy.to, 0, copy.bytes);
    }
    mine.waiting.erase(mine.waiting.begin(), mine.waiting.begin() + done);
}

inline void __threadfence() {}
inline void __threadfence_block() {}

// ---- atomics: one fiber runs at a time ----

#define SHIM_ATOMIC(name, T, next)          \
    inline T name(T *place, T value) {      \
        T old = *place;                     \
        *place = next;                      \
        return old;                         \
    }
#define SHIM_ATOMICS(T)                                             \
    SHIM_ATOMIC(atomicAdd, T, old + value)                          \
    SHIM_ATOMIC(atomicExch, T, value)                               \
    SHIM_ATOMIC(atomicMin, T, old < value ? old : value)            \
    SHIM_ATOMIC(atomicMax, T, old < value ? value : old)            \
    SHIM_ATOMIC(atomicOr, T, old | value)                           \
    inline T atomicCAS(T *place, T expected, T value) {             \
        T old = *place;                                             \
        if (old == expected) *place = value;                        \
        return old;                                                 \
    }
SHIM_ATOMICS(int)
SHIM_ATOMICS(unsigned)
SHIM_ATOMICS(unsigned long long)
SHIM_ATOMIC(atomicAdd, float, old + value)
SHIM_ATOMIC(atomicAdd, double, old + value)
SHIM_ATOMIC(atomicExch, float, value)

// ---- numbers ----

template <class A, class B> std::common_type_t<A, B> min(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point<T>::value) return fmin(T(a), T(b));  // a NaN loses, as on the device
    else return T(b) < T(a) ? T(b) : T(a);
}
template <class A, class B> std::common_type_t<A, B> max(A a, B b) {
    using T = std::common_type_t<A, B>;
    if constexpr (std::is_floating_point<T>::value) return fmax(T(a), T(b));
    else return T(a) < T(b) ? T(b) : T(a);
}
inline float rsqrt(float x) { return 1 / sqrtf(x); }
inline double rsqrt(double x) { return 1 / sqrt(x); }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
template <class T> T __ldg(const T *place) { return *place; }
inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }
inline int __float_as_int(float x) { return shim::as<int>(x); }
inline unsigned __float_as_uint(float x) { return shim::as<unsigned>(x); }
inline float __int_as_float(int x) { return shim::as<float>(x); }
inline float __uint_as_float(unsigned x) { return shim::as<float>(x); }
inline long long __double_as_longlong(double x) { return shim::as<long long>(x); }
inline double __longlong_as_double(long long x) { return shim::as<double>(x); }
inline long long __float2ll_rn(float x) { return llrintf(x); }
inline long long __double2ll_rn(double x) { return llrint(x); }

// ---- called from Python ----

namespace shim {
template <class... P, size_t... I> void call(void (*kernel)(P...), void **args, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<P> *>(args[I])...);
}
}  // namespace shim

#define SHIM_ENTRY(name, parameters) \
    extern "C" void shim_##name(void **args) { shim::call(name, args, std::make_index_sequence<parameters>()); }

extern "C" const char *shim_launch(
    void (*kernel)(void **), const unsigned *grid, const unsigned *block, void **args, int shared_bytes) {
    return shim::launch(kernel, grid, block, args, shared_bytes);
}
