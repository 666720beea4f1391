// match_patches of csc_cogd/backend/patches.py: see there.
//
// A block has one reference patch. Planes are (P, H, W), corners pairs of a row and a column. REAL is float or double.

typedef REAL real;
typedef unsigned long long wide;

#define ALL 0xffffffffu
#define THREADS 128
#define STRIP 4  // candidates below each other, of which a thread sums the distances at the same time

template <class T> struct bits_of;
template <> struct bits_of<float> {
    typedef unsigned type;
    static __device__ type get(float x) { return __float_as_uint(x); }
};
template <> struct bits_of<double> {
    typedef wide type;
    static __device__ type get(double x) { return (wide)__double_as_longlong(x); }
};
typedef bits_of<real>::type bits;
#define NONE (~(bits)0)

// Bits that are ordered as the distances are, numbers before NaN.
__device__ inline bits key_of(real distance) { return distance == distance ? bits_of<real>::get(distance) : NONE >> 1; }

// How many keys come before (limit, place), or are there.
__device__ inline int count_keys(const bits* keys, int length, bits limit, int place, int* partial) {
    int count = 0;
    for (int k = threadIdx.x; k < length; k += THREADS) {
        bits key = keys[k];
        count += __popc(__ballot_sync(ALL, key < limit || (key == limit && k <= place)));
    }
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = count;
    __syncthreads();
    return partial[0] + partial[1] + partial[2] + partial[3];
}

// `rows` x `columns` candidates at most. Shared memory: the window, (P, rows in full strips + size - 1, columns + size - 1);
// keys of all candidates, in full blocks; keys and places of the N best.
extern "C" __global__ void __launch_bounds__(THREADS) match_patches(
    const real* __restrict__ guide, const int* __restrict__ corners, int P, int H, int W, int size, int radius,
    int rows, int columns, int N, int* __restrict__ matches
) {
    extern __shared__ real window[];
    __shared__ int partial[2][THREADS / 32], chosen;
    int strips = (rows + STRIP - 1) / STRIP, width = columns + size - 1, height = strips * STRIP + size - 1;
    int cells = rows * columns, length = (cells + THREADS - 1) / THREADS * THREADS;
    bits* keys = (bits*)(window + P * height * width);
    bits* best = keys + length;
    int* places = (int*)(best + N);

    int row = corners[2 * blockIdx.x], column = corners[2 * blockIdx.x + 1];
    int top = max(row - radius, 0), left = max(column - radius, 0);
    int inside = min(row + radius, H - size) - top + 1, across = min(column + radius, W - size) - left + 1;
    int i0 = row - top, j0 = column - left, reference = i0 * columns + j0;
    for (int line = threadIdx.x / 32; line < P * height; line += THREADS / 32) {
        int i = top + line % height;
        const real* from = guide + ((long long)(line / height) * H + i) * W + left;
        for (int j = threadIdx.x % 32; j < width; j += 32)
            window[line * width + j] = i < H && left + j < W ? from[j] : real(0);
    }
    for (int k = threadIdx.x; k < length; k += THREADS) keys[k] = NONE;
    if (threadIdx.x == 0) chosen = 0;
    __syncthreads();

    for (int s = threadIdx.x; s < strips * columns; s += THREADS) {
        int j = s % columns, i = s / columns * STRIP;
        real d0 = 0, d1 = 0, d2 = 0, d3 = 0;
        for (int p = 0; p < P; ++p)
            for (int b = 0; b < size; ++b) {
                const real* mine = window + (p * height + i) * width + j + b;
                const real* other = window + (p * height + i0) * width + j0 + b;
                real v0 = mine[0], v1 = mine[width], v2 = mine[2 * width];
                for (int a = 0; a < size; ++a) {
                    real v3 = mine[(a + 3) * width], value = other[a * width];
                    d0 = fma(v0 - value, v0 - value, d0);
                    d1 = fma(v1 - value, v1 - value, d1);
                    d2 = fma(v2 - value, v2 - value, d2);
                    d3 = fma(v3 - value, v3 - value, d3);
                    v0 = v1, v1 = v2, v2 = v3;
                }
            }
        if (j >= across) continue;
        int at = i * columns + j;
        if (i < inside && at != reference) keys[at] = key_of(d0);
        if (i + 1 < inside && at + columns != reference) keys[at + columns] = key_of(d1);
        if (i + 2 < inside && at + 2 * columns != reference) keys[at + 2 * columns] = key_of(d2);
        if (i + 3 < inside && at + 3 * columns != reference) keys[at + 3 * columns] = key_of(d3);
    }
    __syncthreads();

    // the limit up to which there are as many as wanted, by bisection; among equals the first places
    int wanted = min(N, inside * across) - 1, turn = 0, place = cells;
    bits limit = 0;
    for (bits high = NONE >> 1; limit < high; turn ^= 1) {
        bits middle = limit + (high - limit) / 2;
        int count = count_keys(keys, length, middle, cells, partial[turn]);
        if (count >= wanted) high = middle;
        if (count == wanted) limit = middle;
        if (count < wanted) limit = middle + 1;
    }
    int count = count_keys(keys, length, limit, cells, partial[turn]);
    if (count > wanted) {
        place = 0;
        for (int high = cells - 1; place < high;) {
            turn ^= 1;
            int middle = (place + high) / 2;
            if (count_keys(keys, length, limit, middle, partial[turn]) < wanted) place = middle + 1;
            else high = middle;
        }
    }
    if (wanted > 0)
        for (int k = threadIdx.x; k < cells; k += THREADS) {
            bits key = keys[k];
            if (key > limit || (key == limit && k > place)) continue;
            int slot = atomicAdd(&chosen, 1);
            best[slot] = key, places[slot] = k;
        }
    __syncthreads();

    int* found = matches + (long long)blockIdx.x * N * 2;
    for (int k = threadIdx.x; k < N; k += THREADS) {
        if (k >= wanted) {  // the last ones, and the reference in front
            int at = k == wanted ? 0 : k;
            found[2 * at] = at ? -1 : row, found[2 * at + 1] = at ? -1 : column;
            continue;
        }
        bits key = best[k];
        int at = places[k], rank = 1;
        for (int other = 0; other < wanted; ++other) rank += best[other] < key || (best[other] == key && places[other] < at);
        found[2 * rank] = top + at / columns, found[2 * rank + 1] = left + at % columns;
    }
}
