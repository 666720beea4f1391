// estimate_patches of csc_cogd/backend/patches.py: see there.
//
// A block has one group of similar patches, a warp estimates one patch. Planes are (P, H, W), corners pairs of a row and a
// column. REAL is float or double.

typedef REAL real;
typedef unsigned long long wide;

#define ALL 0xffffffffu
#define FIXED_POINT 1099511627776.0  // 2^40: estimates are summed in units of its inverse, in any order with the same result
#define LARGEST 2048                 // of an estimate that can be summed so
#define LOST (1 << 30)               // marks a pixel for which an estimate is larger, or not a number

struct __align__(16) quad {
    real v[4];
};

// The lower triangle of a system, and its right side as one more row, lies in panels of 4 columns: a panel that begins with
// column j holds its columns one after the other, each from row j on to row `last`, in memory of `last` + 4 - j values.
__device__ inline int panel_start(int j, int last) { return j * (last + 4) - j / 2 * (j - 4); }

// Loops that needn't be unrolled aren't: the code must stay in the instruction cache.

// Rows i, i + 32, ... less what the columns before j explain of them; lanes beyond the last row repeat it.
template <int M>
__device__ inline void eliminate(real (&entry)[M][4], const real* L, int i, int j, int last) {
    int at[M];
#pragma unroll
    for (int m = 0; m < M; ++m) at[m] = min(i + 32 * m, last);
    const real* panel = L;
#pragma unroll 1
    for (int before = 0; before < j; before += 4) {
        int height = last + 4 - before;
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            const real* column = panel + r * height - before;
            quad pivot = *(const quad*)(column + j);
#pragma unroll
            for (int m = 0; m < M; ++m) {
                real mine = column[at[m]];
#pragma unroll
                for (int c = 0; c < 4; ++c) entry[m][c] = fma(-mine, pivot.v[c], entry[m][c]);
            }
        }
        panel += 4 * height;
    }
}

// What the factors of a panel's diagonal block are, of which lane c holds row j + c: 1 / L_cc and L_dc.
struct pivots {
    real inverse[4], below[4][4];
};

// Entries of C + noise I where values are known, 1 on the diagonal beyond; the right side x in row `last`.
template <int M>
__device__ inline void factor_rows(
    real* L, const real* C, const int* places, const real* x, int i, int j, int count, int last, int ld, real noise,
    real smallest, pivots& pivot, bool first
) {
    real entry[M][4];
#pragma unroll
    for (int m = 0; m < M; ++m) {
        int k = i + 32 * m, place = k < count ? places[k] : 0;
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            real value = k < count && j + c < count ? C[places[j + c] * ld + place] : real(0);
            if (k == j + c) value += k < count ? noise : real(1);
            entry[m][c] = k == last ? x[j + c] : value;
        }
    }
    eliminate<M>(entry, L, i, j, last);
#pragma unroll
    for (int c = 0; c < 4; ++c) {
        if (first) pivot.inverse[c] = rsqrt(max(__shfl_sync(ALL, entry[0][c], c), smallest));
#pragma unroll
        for (int m = 0; m < M; ++m) entry[m][c] *= pivot.inverse[c];
#pragma unroll
        for (int d = c + 1; d < 4; ++d) {
            if (first) pivot.below[d][c] = __shfl_sync(ALL, entry[0][c], d);
#pragma unroll
            for (int m = 0; m < M; ++m) entry[m][d] = fma(-entry[m][c], pivot.below[d][c], entry[m][d]);
        }
    }
    int height = last + 4 - j;
    real* panel = L + panel_start(j, last) - j;
#pragma unroll
    for (int m = 0; m < M; ++m)
        if (i + 32 * m <= last)
#pragma unroll
            for (int c = 0; c < 4; ++c) panel[c * height + i + 32 * m] = entry[m][c];
}

// A warp solves (C_KK + noise I) x = b by Cholesky factors L L^T, for the K = `count` places; x holds b before, and zeros up
// to a multiple of 4. The row of the right side becomes L^-1 b as the others become those of L.
__device__ inline void solve_system(
    real* L, const real* C, const int* places, real* x, real* inverses, int count, int ld, real noise, real smallest
) {
    int lane = threadIdx.x % 32, last = (count + 3) / 4 * 4;
#pragma unroll 1
    for (int j = 0; j < last; j += 4) {
        pivots pivot;
        int i = j + lane;
        if (last - j < 32) factor_rows<1>(L, C, places, x, i, j, count, last, ld, noise, smallest, pivot, true);
        else factor_rows<2>(L, C, places, x, i, j, count, last, ld, noise, smallest, pivot, true);
#pragma unroll 1
        for (int start = j + 64; start <= last; start += 64)
            factor_rows<2>(L, C, places, x, start + lane, j, count, last, ld, noise, smallest, pivot, false);
        if (lane < 4) {
            real inverse = pivot.inverse[0];
#pragma unroll
            for (int c = 1; c < 4; ++c) inverse = lane == c ? pivot.inverse[c] : inverse;
            inverses[i] = inverse;
        }
        __syncwarp();
    }
#pragma unroll 1
    for (int j = last - 4; j >= 0; j -= 4) {
        int height = last + 4 - j;
        const real* panel = L + panel_start(j, last) - j;
        real rest[4] = {0, 0, 0, 0};
#pragma unroll 1
        for (int i = j + 4 + lane; i < last; i += 32) {
            real value = x[i];
#pragma unroll
            for (int c = 0; c < 4; ++c) rest[c] = fma(panel[c * height + i], value, rest[c]);
        }
        if (j + 4 < last)
#pragma unroll
            for (int offset = 16; offset > 0; offset /= 2)
#pragma unroll
                for (int c = 0; c < 4; ++c) rest[c] += __shfl_xor_sync(ALL, rest[c], offset);
        real mine = 0;
#pragma unroll
        for (int c = 3; c >= 0; --c) {
            real value = (panel[c * height + last] - rest[c]) * inverses[j + c];
#pragma unroll
            for (int d = 0; d < c; ++d) rest[d] = fma(panel[d * height + j + c], value, rest[d]);
            if (lane == c) mine = value;
        }
        if (lane < 4) x[j + lane] = mine;
        __syncwarp();
    }
}

__device__ inline long long to_fixed(float x) { return __float2ll_rn(x * (float)FIXED_POINT); }
__device__ inline long long to_fixed(double x) { return __double2ll_rn(x * FIXED_POINT); }

// Mean, and covariance (ld, ld) with its diagonal raised, of n patches; `likes` holds (n, ld) values, zero beyond D.
__device__ inline void fit_gaussian(
    real* likes, real* mean, real* C, int n, int D, int ld, real pilot_noise, real shrinkage, real floor
) {
    for (int d = threadIdx.x; d < ld; d += blockDim.x) {
        real total = 0;
        for (int k = 0; k < n; ++k) total += likes[k * ld + d];
        total /= n;
        for (int k = 0; k < n; ++k) likes[k * ld + d] -= total;
        mean[d] = total;
    }
    __syncthreads();
    int tiles = ld / 4;
    for (int t = threadIdx.x; t < tiles * (tiles + 1) / 2; t += blockDim.x) {  // 4 x 4 entries of the lower triangle
        int down = (int)((sqrtf(8.0f * t + 1) - 1) / 2);
        while (down * (down + 1) / 2 > t) --down;
        while ((down + 1) * (down + 2) / 2 <= t) ++down;
        int d = 4 * down, e = 4 * (t - down * (down + 1) / 2);
        real sum[4][4] = {};
#pragma unroll 2
        for (int k = 0; k < n; ++k) {
            quad a = *(const quad*)(likes + k * ld + d), b = *(const quad*)(likes + k * ld + e);
#pragma unroll
            for (int r = 0; r < 4; ++r)
#pragma unroll
                for (int c = 0; c < 4; ++c) sum[r][c] = fma(a.v[r], b.v[c], sum[r][c]);
        }
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
            for (int c = 0; c < 4; ++c) C[(d + r) * ld + e + c] = C[(e + c) * ld + d + r] = sum[r][c] / n;
    }
    __syncthreads();
    real trace = 0;
    for (int d = threadIdx.x % 32; d < D; d += 32) trace += C[d * ld + d] - pilot_noise;
    for (int offset = 16; offset > 0; offset /= 2) trace += __shfl_xor_sync(ALL, trace, offset);
    __syncthreads();
    if (trace <= 0)
        for (int k = threadIdx.x; k < ld * ld; k += blockDim.x) C[k] = 0;
    else
        for (int d = threadIdx.x; d < D; d += blockDim.x) C[d * ld + d] += floor + shrinkage * trace / D - pilot_noise;
    __syncthreads();
}

struct pictures {
    const real *pilot, *observed;
    const unsigned char* known;
    int P, H, W;
};

// Memory of a block: C (ld, ld), mean (ld), where a patch's values lie behind its corner (ld), and for each warp a system,
// x (ld), inverses (ld) and places (ld); where the systems will be, the patches lie before, (N, ld).
__device__ inline void estimate_groups(
    real* memory, const pictures& of, const int* matches, int groups, int N, int size, int solved, int system, real noise,
    real pilot_noise, real shrinkage, real floor, wide* sums, int* numbers
) {
    int D = of.P * size * size, ld = (D + 3) / 4 * 4;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    real *C = memory, *mean = C + ld * ld, *likes = mean + 2 * ld;
    int* offsets = (int*)(mean + ld);
    real *L = likes + warp * (system + 3 * ld), *x = L + system, *inverses = x + ld;
    int* places = (int*)(inverses + ld);
    bool complete_too = noise > 0;
    noise = max(noise, floor);
    for (int d = threadIdx.x; d < D; d += blockDim.x)
        offsets[d] = (d / (size * size) * of.H + d / size % size) * of.W + d % size;
    __syncthreads();

    for (int g = blockIdx.x; g < groups; g += gridDim.x) {
        const int* group = matches + (long long)g * N * 2;
        int n = 0;
        for (int k = lane; k < N + lane; k += 32) n += __popc(__ballot_sync(ALL, k < N && group[2 * min(k, N - 1)] >= 0));
        for (int k = warp; k < n; k += warps) {
            const real* from = of.pilot + group[2 * k] * of.W + group[2 * k + 1];
            for (int d = lane; d < ld; d += 32) likes[k * ld + d] = d < D ? from[offsets[d]] : real(0);
        }
        __syncthreads();
        fit_gaussian(likes, mean, C, n, D, ld, pilot_noise, shrinkage, floor);

        for (int k = warp; k < min(n, solved); k += warps) {
            int corner = group[2 * k] * of.W + group[2 * k + 1], count = 0;
#pragma unroll 1
            for (int start = 0; start < D; start += 32) {
                int d = min(start + lane, D - 1), pixel = corner + offsets[d];
                bool is_known = start + lane < D && of.known[pixel];
                unsigned votes = __ballot_sync(ALL, is_known);
                if (is_known) {
                    int c = count + __popc(votes & ((1u << lane) - 1));
                    places[c] = d, x[c] = of.observed[pixel] - mean[d];
                }
                count += __popc(votes);
            }
            if (count == D && !complete_too) continue;
            if (lane < (4 - count % 4) % 4) x[count + lane] = 0;
            __syncwarp();
            solve_system(L, C, places, x, inverses, count, ld, noise, noise * real(1e-3));
#pragma unroll 1
            for (int start = 0; start < D; start += 32) {
                int d = start + lane;
                if (d >= D) continue;
                real value = mean[d], odd = 0;
                int c = 0;
                for (; c + 1 < count; c += 2) {
                    value = fma(C[places[c] * ld + d], x[c], value);
                    odd = fma(C[places[c + 1] * ld + d], x[c + 1], odd);
                }
                if (c < count) value = fma(C[places[c] * ld + d], x[c], value);
                value += odd;
                int pixel = corner + offsets[d];
                if (!complete_too && of.known[pixel]) value = of.observed[pixel];
                if (fabs(value) <= LARGEST) atomicAdd(&sums[pixel], (wide)to_fixed(value));
                else atomicOr(&numbers[pixel % (of.H * of.W)], LOST);
                if (d < size * size) atomicAdd(&numbers[pixel], 1);
            }
            __syncwarp();
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(256) estimate_patches(
    const real* __restrict__ pilot, const real* __restrict__ observed, const unsigned char* __restrict__ known,
    const int* __restrict__ matches, int groups, int N, int P, int H, int W, int size, int solved, int system,
    real noise, real pilot_noise, real shrinkage, real floor, wide* sums, int* numbers
) {
    extern __shared__ quad shared_memory[];
    estimate_groups(
        (real*)shared_memory, {pilot, observed, known, P, H, W}, matches, groups, N, size, solved, system, noise,
        pilot_noise, shrinkage, floor, sums, numbers
    );
}

// The same for patches that don't fit into shared memory: `scratch` holds what a block needs, for every block.
extern "C" __global__ void __launch_bounds__(256) estimate_large_patches(
    const real* __restrict__ pilot, const real* __restrict__ observed, const unsigned char* __restrict__ known,
    const int* __restrict__ matches, int groups, int N, int P, int H, int W, int size, int solved, int system,
    real noise, real pilot_noise, real shrinkage, real floor, wide* sums, int* numbers,
    real* scratch, long long block_scratch
) {
    estimate_groups(
        scratch + blockIdx.x * block_scratch, {pilot, observed, known, P, H, W}, matches, groups, N, size, solved, system,
        noise, pilot_noise, shrinkage, floor, sums, numbers
    );
}

// Adds the sums (P, H, W) of rows `top` and on to `total` and the numbers (H, W) to `weight`, both (P, rows, W); NaN where
// an estimate was lost.
extern "C" __global__ void add_estimates(
    const wide* __restrict__ sums, const int* __restrict__ numbers, int P, int H, int W, int top, int rows,
    real* __restrict__ total, real* __restrict__ weight
) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= rows * W) return;
    int number = numbers[top * W + i];
    for (int p = 0; p < P; ++p) {
        real sum = (double)(long long)sums[(p * H + top) * W + i] / FIXED_POINT;
        total[p * rows * W + i] += number & LOST ? sqrt(real(-1)) : sum;
        weight[p * rows * W + i] += number & ~LOST;
    }
}
