// Depthwise convolution of images whose channels lie side by side: directly, a thread has STRIP results of four channels in a
// row, or of one channel. Kernels pass through shared memory.
//
// Images are (N, H, W, C), kernels (C, I, J), results (N, P, Q, C), and none has 2^31 values. A block has `across` packs of
// channels, a power of two, and THREADS / across strips at a time. Four channels at a time, which `whole` says, need C to be a
// multiple of 4, and arrays at multiples of 16 bytes. REAL is float or double.

typedef REAL real;

#define THREADS 256
#define STRIP 4
#define TAPS 4

template <int V> struct alignas(V == 1 ? sizeof(real) : 16) pack {
    real of[V];
};

template <int V> __device__ inline pack<V> load(const real* values, unsigned at) { return ((const pack<V>*)values)[at]; }

// kernels[tap][channel] of a block's channels
template <int V> __device__ void take_kernels(const real* w, int C, int taps, int across, real* kernels) {
    const int first = blockIdx.y * across * V;
    for (int n = threadIdx.x; n < taps * across * V; n += THREADS) {
        const int c = n / taps, tap = n % taps;
        kernels[tap * across * V + c] = first + c < C ? w[(first + c) * taps + tap] : real(0);
    }
    __syncthreads();
}

// The row or column of `source` that a tap of a target's row or column meets, or -1. Forward, sources are pixels and targets
// results; backward the other way round.
template <bool FORWARD> __device__ inline int met(int target, int tap, int stride, int pad, int sources) {
    const int at = FORWARD ? target * stride + tap - pad : target + pad - tap;
    if (FORWARD || stride == 1) return at >= 0 && at < sources ? at : -1;
    return at >= 0 && at % stride == 0 && at / stride < sources ? at / stride : -1;
}

// Images (N, H, W, C) from sources (N, rows, columns, C).
template <bool FORWARD, int V>
__device__ void correlate(
    const real* source, const real* w, real* target, int N, int rows, int columns, int C, int H, int W, int I, int J,
    int stride_h, int stride_w, int pad_h, int pad_w, int across, real* kernels
) {
    take_kernels<V>(w, C, I * J, across, kernels);
    const int column = threadIdx.x % across, c = blockIdx.y * across + column, width = C / V;
    const int along = (W + STRIP - 1) / STRIP, strips = N * H * along, beside = THREADS / across;
    if (c >= width) return;
    for (int strip = blockIdx.x * beside + threadIdx.x / across; strip < strips; strip += gridDim.x * beside) {
        const int left = strip % along * STRIP, h = strip / along % H, n = strip / along / H;
        real sums[STRIP][V];
#pragma unroll
        for (int s = 0; s < STRIP; ++s)
#pragma unroll
            for (int e = 0; e < V; ++e) sums[s][e] = 0;
        for (int i = 0; i < I; ++i) {
            const int row = met<FORWARD>(h, i, stride_h, pad_h, rows);
            if (row < 0) continue;
            for (int j = 0; j < J; ++j) {
                const pack<V> kernel = load<V>(kernels, (i * J + j) * across + column);
#pragma unroll
                for (int s = 0; s < STRIP; ++s) {
                    const int at = met<FORWARD>(left + s, j, stride_w, pad_w, columns);
                    if (at < 0) continue;
                    const pack<V> value = load<V>(source, ((n * rows + row) * columns + at) * width + c);
#pragma unroll
                    for (int e = 0; e < V; ++e) sums[s][e] = fma(kernel.of[e], value.of[e], sums[s][e]);
                }
            }
        }
#pragma unroll
        for (int s = 0; s < STRIP; ++s)
            if (left + s < W)
#pragma unroll
                for (int e = 0; e < V; ++e) target[(((n * H + h) * W + left + s) * width + c) * V + e] = sums[s][e];
    }
}

// Grid: x strips of results, y channels.
extern "C" __global__ void __launch_bounds__(THREADS) convolve(
    const real* __restrict__ x, const real* __restrict__ w, real* __restrict__ y, int N, int H, int W, int C, int P, int Q,
    int I, int J, int stride_h, int stride_w, int pad_h, int pad_w, int across, int whole
) {
    extern __shared__ __align__(16) real kernels[];
    if (whole) correlate<true, 4>(x, w, y, N, H, W, C, P, Q, I, J, stride_h, stride_w, pad_h, pad_w, across, kernels);
    else correlate<true, 1>(x, w, y, N, H, W, C, P, Q, I, J, stride_h, stride_w, pad_h, pad_w, across, kernels);
}

// Grid: x strips of pixels, y channels.
extern "C" __global__ void __launch_bounds__(THREADS) images_gradient(
    const real* __restrict__ dy, const real* __restrict__ w, real* __restrict__ dx, int N, int H, int W, int C, int P, int Q,
    int I, int J, int stride_h, int stride_w, int pad_h, int pad_w, int across, int whole
) {
    extern __shared__ __align__(16) real kernels[];
    if (whole) correlate<false, 4>(dy, w, dx, N, P, Q, C, H, W, I, J, stride_h, stride_w, pad_h, pad_w, across, kernels);
    else correlate<false, 1>(dy, w, dx, N, P, Q, C, H, W, I, J, stride_h, stride_w, pad_h, pad_w, across, kernels);
}

template <int V>
__device__ void sum_products(
    const real* x, const real* dy, real* partial, int N, int H, int W, int C, int P, int Q, int I, int J,
    int stride_h, int stride_w, int pad_h, int pad_w, int across, int chunk
) {
    __shared__ real shared[TAPS * V][THREADS];
    const int column = threadIdx.x % across, c = blockIdx.y * across + column, width = C / V, groups = (J + TAPS - 1) / TAPS;
    const int i = blockIdx.z / groups, j = blockIdx.z % groups * TAPS;
    const int first = blockIdx.x * chunk, last = min(N * P * Q, first + chunk);
    real sums[TAPS][V];
#pragma unroll
    for (int t = 0; t < TAPS; ++t)
#pragma unroll
        for (int e = 0; e < V; ++e) sums[t][e] = 0;
    if (c < width)
        for (int m = first + threadIdx.x / across; m < last; m += THREADS / across) {
            const int h = m / Q % P * stride_h + i - pad_h, left = m % Q * stride_w + j - pad_w, n = m / Q / P;
            if ((unsigned)h >= (unsigned)H) continue;
            const pack<V> gradient = load<V>(dy, m * width + c);
#pragma unroll
            for (int t = 0; t < TAPS; ++t) {
                if (j + t >= J || (unsigned)(left + t) >= (unsigned)W) continue;
                const pack<V> value = load<V>(x, ((n * H + h) * W + left + t) * width + c);
#pragma unroll
                for (int e = 0; e < V; ++e) sums[t][e] = fma(gradient.of[e], value.of[e], sums[t][e]);
            }
        }
#pragma unroll
    for (int t = 0; t < TAPS; ++t)
#pragma unroll
        for (int e = 0; e < V; ++e) shared[t * V + e][threadIdx.x] = sums[t][e];
    for (int half = THREADS / 2; half >= across; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
#pragma unroll
            for (int s = 0; s < TAPS * V; ++s) shared[s][threadIdx.x] += shared[s][threadIdx.x + half];
    }
    if (threadIdx.x < across && c < width)
        for (int t = 0; t < TAPS && j + t < J; ++t)
            for (int e = 0; e < V; ++e)
                partial[(long long)blockIdx.x * C * I * J + ((c * V + e) * I + i) * J + j + t] = shared[t * V + e][threadIdx.x];
}

// Sums over `chunk` pixels of results: partial is (pieces, C, I, J). Grid: x pieces, y channels, z rows of taps, TAPS each.
extern "C" __global__ void __launch_bounds__(THREADS) weights_gradient(
    const real* __restrict__ x, const real* __restrict__ dy, real* __restrict__ partial,
    int N, int H, int W, int C, int P, int Q, int I, int J, int stride_h, int stride_w, int pad_h, int pad_w,
    int across, int whole, int chunk
) {
    if (whole) sum_products<4>(x, dy, partial, N, H, W, C, P, Q, I, J, stride_h, stride_w, pad_h, pad_w, across, chunk);
    else sum_products<1>(x, dy, partial, N, H, W, C, P, Q, I, J, stride_h, stride_w, pad_h, pad_w, across, chunk);
}
