// The kernels of csc_cogd/backend/kernels.py: see there what each of them computes.
//
// Maps are (M, B, pixels) and spectra (M, B, frequencies), the last axis without gaps; other strides are given, in values.
// A thread has one pixel or frequency, a block's z index one map, unless said otherwise. REAL is float or double.

typedef REAL real;

struct complex_t {
    real re, im;
};

__device__ inline complex_t times(complex_t a, complex_t b) {
    return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

__device__ inline complex_t conjugate_times(complex_t a, complex_t b) {
    return {a.re * b.re + a.im * b.im, a.re * b.im - a.im * b.re};
}

__device__ inline long long here() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// Add up COUNT values over the block, and write them to partial[block][COUNT]: the order doesn't depend on the schedule.
template <int COUNT>
__device__ void reduce_block(double (&values)[COUNT], double* partial) {
    __shared__ double sums[COUNT][32];
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
    for (int s = 0; s < COUNT; ++s) {
        for (int offset = 16; offset > 0; offset /= 2) values[s] += __shfl_down_sync(0xffffffffu, values[s], offset);
        if (lane == 0) sums[s][warp] = values[s];
    }
    __syncthreads();
    if (threadIdx.x < COUNT) {
        double total = 0;
        for (int w = 0; w < warps; ++w) total += sums[threadIdx.x][w];
        long long block = blockIdx.x + (long long)gridDim.x * (blockIdx.y + (long long)gridDim.y * blockIdx.z);
        partial[block * COUNT + threadIdx.x] = total;
    }
}

// out[m, b, i] = sum_r conj(a[b, r, i]) q[m, r, i]
extern "C" __global__ void apply_adjoint(
    const complex_t* __restrict__ a, const complex_t* __restrict__ q, complex_t* __restrict__ out,
    int B, int R, long long frequencies
) {
    long long i = here();
    if (i >= frequencies) return;
    int b = blockIdx.z % B, m = blockIdx.z / B;
    complex_t total = {0, 0};
    for (int r = 0; r < R; ++r) {
        complex_t term = conjugate_times(a[((long long)b * R + r) * frequencies + i], q[((long long)m * R + r) * frequencies + i]);
        total.re += term.re;
        total.im += term.im;
    }
    out[((long long)m * B + b) * frequencies + i] = total;
}

// out[m, r, i] (+)= sum_b a[b, r, i] x[m, b, i]; z counts (m, r)
extern "C" __global__ void accumulate_forward(
    const complex_t* __restrict__ a, const complex_t* __restrict__ x, complex_t* __restrict__ out,
    int B, int R, long long frequencies, int add
) {
    long long i = here();
    if (i >= frequencies) return;
    int r = blockIdx.z % R, m = blockIdx.z / R;
    complex_t* target = out + ((long long)m * R + r) * frequencies + i;
    complex_t total = {0, 0};
    if (add) total = *target;
#pragma unroll 4
    for (int b = 0; b < B; ++b) {
        complex_t term = times(a[((long long)b * R + r) * frequencies + i], x[((long long)m * B + b) * frequencies + i]);
        total.re += term.re;
        total.im += term.im;
    }
    *target = total;
}

// x = response (x + kept); `kept` has strides of its own for problems and maps
extern "C" __global__ void filter_spectrum(
    const complex_t* __restrict__ kept, long long kept_m, long long kept_b, const real* __restrict__ response,
    complex_t* x, int B, long long frequencies
) {
    long long i = here();
    if (i >= frequencies) return;
    int b = blockIdx.z % B, m = blockIdx.z / B;
    complex_t add = kept[m * kept_m + b * kept_b + i];
    complex_t* value = x + (long long)blockIdx.z * frequencies + i;
    real h = response[i];
    *value = {(value->re + add.re) * h, (value->im + add.im) * h};
}

// The linear solve on sums of convolutions; a thread has one frequency of one problem, and does all R. COMPLEX_INVERSE: R > 1.
extern "C" __global__ void solve_frequencies(
    complex_t* T, const complex_t* __restrict__ Av, complex_t* Ap, const real* __restrict__ inverse, int inverse_is_complex,
    const real* __restrict__ response, int has_response, real data_factor, real relaxation, real scale, real q_scale,
    complex_t* q, int R, long long frequencies
) {
    long long i = here();
    if (i >= frequencies) return;
    long long base = (long long)blockIdx.z * R * frequencies + i;
    real h = has_response ? response[i] : real(1);
    for (int r = 0; r < R; ++r) {
        complex_t total = {0, 0};
        for (int s = 0; s < R; ++s) {
            long long at = base + s * frequencies, entry = ((long long)r * R + s) * frequencies + i;
            complex_t rhs = {T[at].re - h * (2 * Av[at].re - Ap[at].re), T[at].im - h * (2 * Av[at].im - Ap[at].im)};
            complex_t factor = {inverse_is_complex ? inverse[2 * entry] : inverse[entry], 0};
            if (inverse_is_complex) factor.im = inverse[2 * entry + 1];
            complex_t term = times(factor, rhs);
            total.re += term.re;
            total.im += term.im;
        }
        q[base + r * frequencies] = total;
    }
    for (int r = 0; r < R; ++r) {
        long long at = base + r * frequencies;
        complex_t fit = {T[at].re - data_factor * q[at].re, T[at].im - data_factor * q[at].im};
        Ap[at].re += relaxation * (fit.re - Av[at].re);
        Ap[at].im += relaxation * (fit.im - Av[at].im);
        T[at] = {fit.re * scale, fit.im * scale};
        q[at].re *= q_scale;
        q[at].im *= q_scale;
    }
}

// One value of `shrink`: updates p, returns what x becomes, and adds to the statistics.
__device__ inline real shrink_value(real& p, real x, real t, real low, real relaxation, int offset, double* sums) {
    real u_old = min(max(p, low), t), v_old = p - u_old;
    real solution = offset ? x + (v_old - u_old) : x;
    p += relaxation * (solution - v_old);
    real u = min(max(p, low), t), v = p - u;
    real distance = solution - v, change = v - v_old;
    sums[0] += distance * distance;
    sums[1] += change * change;
    sums[2] += t * fabs(v);
    sums[3] += v != 0;
    sums[4] += solution * solution;
    sums[5] += v * v;
    sums[6] += u * u;
    return offset ? v : v - u;
}

__device__ inline real lower_bound(real t, int nonnegative) { return nonnegative ? -real(1e30) : -t; }

extern "C" __global__ void shrink(
    real* p, long long p_m, long long p_b, real* x, const real* __restrict__ threshold, long long t_m, long long t_b,
    int t_i, int nonnegative, real relaxation, int offset, int B, long long pixels, double* partial
) {
    int b = blockIdx.z % B, m = blockIdx.z / B;
    double sums[7] = {0, 0, 0, 0, 0, 0, 0};
    for (long long i = here(); i < pixels; i += (long long)gridDim.x * blockDim.x) {
        real t = threshold[m * t_m + b * t_b + i * t_i];
        real* value = x + (long long)blockIdx.z * pixels + i;
        *value = shrink_value(p[m * p_m + b * p_b + i], *value, t, lower_bound(t, nonnegative), relaxation, offset, sums);
    }
    reduce_block(sums, partial);
}

extern "C" __global__ void threshold_maps(
    real* p, long long p_m, long long p_b, const real* __restrict__ threshold, long long t_m, long long t_b, int t_i,
    int nonnegative, int B, long long pixels
) {
    long long i = here();
    if (i >= pixels) return;
    int b = blockIdx.z % B, m = blockIdx.z / B;
    real t = threshold[m * t_m + b * t_b + i * t_i];
    real* value = p + m * p_m + b * p_b + i;
    *value -= min(max(*value, lower_bound(t, nonnegative)), t);
}

// Data term 1/2 ||W (v - b)||^2, see `least_squares_step`; images b and squared weights have strides of their own.
extern "C" __global__ void least_squares_step(
    real* p, real* v, const real* __restrict__ x, const real* __restrict__ images, long long b_m, long long b_r,
    const real* __restrict__ squared_weights, long long w_m, long long w_r, real rho, real relaxation,
    int R, long long pixels, double* partial
) {
    int r = blockIdx.z % R, m = blockIdx.z / R;
    double sums[6] = {0, 0, 0, 0, 0, 0};
    for (long long i = here(); i < pixels; i += (long long)gridDim.x * blockDim.x) {
        long long at = (long long)blockIdx.z * pixels + i;
        real image = images[m * b_m + r * b_r + i], weight = squared_weights[m * w_m + r * w_r + i];
        real fit = x[at], v_old = v[at], state = p[at] + relaxation * (fit - v_old);
        real v_new = (weight * image + rho * state) / (weight + rho);
        p[at] = state;
        v[at] = v_new;
        real distance = fit - v_new, change = v_new - v_old, dual = state - v_new, error = fit - image;
        sums[0] += distance * distance;
        sums[1] += change * change;
        sums[2] += fit * fit;
        sums[3] += v_new * v_new;
        sums[4] += dual * dual;
        sums[5] += real(0.5) * weight * error * error;
    }
    reduce_block(sums, partial);
}

// totals = sum over `rows` of partial[rows][count]; one block, thread s of the first `count` groups of 32 adds column s
extern "C" __global__ void add_partial_sums(const double* __restrict__ partial, long long rows, int count, double* totals) {
    int lane = threadIdx.x % 32, s = threadIdx.x / 32;
    if (s >= count) return;
    double total = 0;
    for (long long row = lane; row < rows; row += 32) total += partial[row * count + s];
    for (int offset = 16; offset > 0; offset /= 2) total += __shfl_down_sync(0xffffffffu, total, offset);
    if (lane == 0) totals[s] = total;
}
