// What networks do to each value, or to each channel, by itself; and the optimiser's step.
//
// Images are (rows, C): channels lie side by side, a row is a pixel. Where C is a multiple of 4 and arrays stand at multiples
// of 16 bytes, which `whole` says, a thread takes four channels at a time. Sums of a channel are added up in slabs of rows,
// and those in a fixed order, in double precision. REAL is float or double.

typedef REAL real;

#define THREADS 256
#define SIDE 32     // of the squares that are transposed
#define FINISHED 8  // channels that a block finishes

template <int V> struct alignas(V == 1 ? sizeof(real) : 16) pack {
    real of[V];
};

template <int V> __device__ inline pack<V> load(const real* values, unsigned at) { return ((const pack<V>*)values)[at]; }
template <int V> __device__ inline void store(real* values, unsigned at, const pack<V>& value) { ((pack<V>*)values)[at] = value; }

// ---- layout ----

// (n, R, S) to (n, S, R), by squares that pass through shared memory. Grid: x squares of all n.
extern "C" __global__ void __launch_bounds__(THREADS) transpose(
    const real* __restrict__ from, real* __restrict__ to, int R, int S
) {
    __shared__ real square[SIDE][SIDE + 1];
    const int down = (R + SIDE - 1) / SIDE, across = (S + SIDE - 1) / SIDE, lane = threadIdx.x % SIDE;
    const int r0 = blockIdx.x / across % down * SIDE, s0 = blockIdx.x % across * SIDE;
    const long long first = (long long)(blockIdx.x / (across * down)) * R * S;
    for (int i = threadIdx.x / SIDE; i < SIDE; i += THREADS / SIDE)
        if (r0 + i < R && s0 + lane < S) square[i][lane] = from[first + (long long)(r0 + i) * S + s0 + lane];
    __syncthreads();
    for (int i = threadIdx.x / SIDE; i < SIDE; i += THREADS / SIDE)
        if (s0 + i < S && r0 + lane < R) to[first + (long long)(s0 + i) * R + r0 + lane] = square[lane][i];
}

// ---- sums ----

// Sums a pair of numbers over the rows of a slab: partial is (slabs, 2, C). Grid: x channels, y slabs; a block has `across`
// packs of channels, a power of two.
template <int V, class Pair>
__device__ void sum_slab(Pair pair, int rows, int C, int across, int slab_rows, double* __restrict__ partial) {
    __shared__ double sums[2 * V][THREADS];
    const int column = threadIdx.x % across, c = blockIdx.x * across + column, width = C / V;
    const int first = blockIdx.y * slab_rows, last = min(first + slab_rows, rows);
    real a[V], b[V];
#pragma unroll
    for (int e = 0; e < V; ++e) a[e] = b[e] = 0;
    if (c < width) {
        pair.prepare(c);
#pragma unroll 4
        for (int row = first + threadIdx.x / across; row < last; row += THREADS / across)
            pair.add((unsigned)row * width + c, a, b);
    }
#pragma unroll
    for (int e = 0; e < V; ++e) sums[2 * e][threadIdx.x] = a[e], sums[2 * e + 1][threadIdx.x] = b[e];
    for (int half = THREADS / 2; half >= across; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half)
#pragma unroll
            for (int e = 0; e < 2 * V; ++e) sums[e][threadIdx.x] += sums[e][threadIdx.x + half];
    }
    if (threadIdx.x < across && c < width)
#pragma unroll
        for (int e = 0; e < V; ++e) {
            double* target = partial + (long long)blockIdx.y * 2 * C + c * V + e;
            target[0] = sums[2 * e][threadIdx.x], target[C] = sums[2 * e + 1][threadIdx.x];
        }
}

// x - origin and its square, where the origin is the channel's first value: so they don't cancel however far that is from 0.
template <int V> struct Moments {
    const real* x;
    pack<V> origin;

    __device__ void prepare(int c) { origin = load<V>(x, c); }
    __device__ void add(unsigned at, real* a, real* b) const {
        const pack<V> value = load<V>(x, at);
#pragma unroll
        for (int e = 0; e < V; ++e) {
            const real distance = value.of[e] - origin.of[e];
            a[e] += distance;
            b[e] = fma(distance, distance, b[e]);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) sum_moments(
    const real* __restrict__ x, int rows, int C, int across, int slab_rows, int whole, double* __restrict__ partial
) {
    if (whole) sum_slab<4>(Moments<4>{x}, rows, C, across, slab_rows, partial);
    else sum_slab<1>(Moments<1>{x}, rows, C, across, slab_rows, partial);
}

// dy and dy (x - mean).
template <int V> struct Products {
    const real *dy, *x, *mean;
    pack<V> middle;

    __device__ void prepare(int c) { middle = load<V>(mean, c); }
    __device__ void add(unsigned at, real* a, real* b) const {
        const pack<V> gradient = load<V>(dy, at), value = load<V>(x, at);
#pragma unroll
        for (int e = 0; e < V; ++e) {
            a[e] += gradient.of[e];
            b[e] = fma(gradient.of[e], value.of[e] - middle.of[e], b[e]);
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) sum_products(
    const real* __restrict__ dy, const real* __restrict__ x, const real* __restrict__ mean,
    int rows, int C, int across, int slab_rows, int whole, double* __restrict__ partial
) {
    if (whole) sum_slab<4>(Products<4>{dy, x, mean}, rows, C, across, slab_rows, partial);
    else sum_slab<1>(Products<1>{dy, x, mean}, rows, C, across, slab_rows, partial);
}

// Sum over the first axis of (slabs, size), in a fixed order, of `across` values a block, a power of two: the first so many
// threads get them, where `there`. All threads have to call it.
template <class T>
__device__ double sum_slabs(const T* __restrict__ partial, int slabs, long long size, long long at, bool there, int across) {
    __shared__ double sums[THREADS];
    double total = 0;
    if (there) {
#pragma unroll 4
        for (int slab = threadIdx.x / across; slab < slabs; slab += THREADS / across) total += partial[slab * size + at];
    }
    __syncthreads();  // the sums before this one have been read
    sums[threadIdx.x] = total;
    for (int half = THREADS / 2; half >= across; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
    }
    return sums[threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(THREADS) add_slabs(
    const real* __restrict__ partial, int slabs, int size, int across, real* __restrict__ totals
) {
    const int at = blockIdx.x * across + threadIdx.x % across;
    const double total = sum_slabs(partial, slabs, size, at, at < size, across);
    if (threadIdx.x < across && at < size) totals[at] = (real)total;
}

// result: (2, C), mean and biased variance.
extern "C" __global__ void __launch_bounds__(THREADS) finish_moments(
    const double* __restrict__ partial, int slabs, int C, int rows, const real* __restrict__ x, real* __restrict__ result
) {
    const int c = blockIdx.x * FINISHED + threadIdx.x % FINISHED;
    const double first = sum_slabs(partial, slabs, 2 * C, c, c < C, FINISHED);
    const double second = sum_slabs(partial, slabs, 2 * C, C + c, c < C, FINISHED);
    if (threadIdx.x >= FINISHED || c >= C) return;
    const double distance = first / rows;
    result[c] = (real)(x[c] + distance);
    result[C + c] = (real)max(second / rows - distance * distance, 0.0);
}

// result: (2, C), the two sums.
extern "C" __global__ void __launch_bounds__(THREADS) finish_products(
    const double* __restrict__ partial, int slabs, int C, real* __restrict__ result
) {
    const int c = blockIdx.x * FINISHED + threadIdx.x % FINISHED;
    const double first = sum_slabs(partial, slabs, 2 * C, c, c < C, FINISHED);
    const double second = sum_slabs(partial, slabs, 2 * C, C + c, c < C, FINISHED);
    if (threadIdx.x < FINISHED && c < C) result[c] = (real)first, result[C + c] = (real)second;
}

// Of batch norm's gradient, from the sums of products: result is (5, C), dgamma, dbeta, and the factors of dy and of
// x - mean and what is added, in `combine`, to get dx. `rows` is 0 where the statistics aren't the batch's.
extern "C" __global__ void __launch_bounds__(THREADS) finish_gradient(
    const double* __restrict__ partial, int slabs, int C, int rows, const real* __restrict__ gamma,
    const real* __restrict__ variance, real epsilon, real* __restrict__ result
) {
    const int c = blockIdx.x * FINISHED + threadIdx.x % FINISHED;
    const double dbeta = sum_slabs(partial, slabs, 2 * C, c, c < C, FINISHED);
    const double product = sum_slabs(partial, slabs, 2 * C, C + c, c < C, FINISHED);
    if (threadIdx.x >= FINISHED || c >= C) return;
    const real inverse = rsqrt(variance[c] + epsilon), scale = gamma[c] * inverse;
    const real dgamma = (real)product * inverse;
    result[c] = dgamma;
    result[C + c] = (real)dbeta;
    result[2 * C + c] = scale;
    result[3 * C + c] = rows ? -scale * inverse * dgamma / rows : real(0);
    result[4 * C + c] = rows ? -scale * (real)dbeta / rows : real(0);
}

// ---- each value ----

// Calls work.apply for every pack of values, after work.prepare for its channels.
template <int V, class Work> __device__ void each_pack(Work work, int size, int C) {
    const unsigned packs = size / V, width = C / V, step = gridDim.x * THREADS, skip = step % width;
    unsigned at = blockIdx.x * THREADS + threadIdx.x, c = at % width;
    if (at < packs) work.prepare(c);
    for (; at < packs; at += step) {
        work.apply(at);
        if (skip) {
            c += skip;
            if (c >= width) c -= width;
            work.prepare(c);
        }
    }
}

template <int V> struct Affine {
    const real *x, *factors, *terms;
    real* y;
    pack<V> scale, shift;

    __device__ void prepare(unsigned c) { scale = load<V>(factors, c), shift = load<V>(terms, c); }
    __device__ void apply(unsigned at) const {
        pack<V> value = load<V>(x, at);
#pragma unroll
        for (int e = 0; e < V; ++e) value.of[e] = fma(scale.of[e], value.of[e], shift.of[e]);
        store<V>(y, at, value);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) affine(
    const real* __restrict__ x, const real* __restrict__ scale, const real* __restrict__ shift, real* __restrict__ y,
    int size, int C, int whole
) {
    if (whole) each_pack<4>(Affine<4>{x, scale, shift, y}, size, C);
    else each_pack<1>(Affine<1>{x, scale, shift, y}, size, C);
}

template <int V> struct Normalize {
    const real *x, *gamma, *beta, *mean, *variance;
    real epsilon, *y;
    pack<V> scale, shift, middle;

    __device__ void prepare(unsigned c) {
        const pack<V> spread = load<V>(variance, c);
        scale = load<V>(gamma, c), shift = load<V>(beta, c), middle = load<V>(mean, c);
#pragma unroll
        for (int e = 0; e < V; ++e) scale.of[e] *= rsqrt(spread.of[e] + epsilon);
    }
    __device__ void apply(unsigned at) const {
        pack<V> value = load<V>(x, at);
#pragma unroll
        for (int e = 0; e < V; ++e) value.of[e] = fma(scale.of[e], value.of[e] - middle.of[e], shift.of[e]);
        store<V>(y, at, value);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) normalize(
    const real* __restrict__ x, const real* __restrict__ gamma, const real* __restrict__ beta,
    const real* __restrict__ mean, const real* __restrict__ variance, real epsilon, real* __restrict__ y,
    int size, int C, int whole
) {
    if (whole) each_pack<4>(Normalize<4>{x, gamma, beta, mean, variance, epsilon, y}, size, C);
    else each_pack<1>(Normalize<1>{x, gamma, beta, mean, variance, epsilon, y}, size, C);
}

template <int V> struct Combine {
    const real *a, *x, *a_factors, *x_factors, *mean, *terms;
    real* y;
    pack<V> a_scale, x_scale, middle, shift;

    __device__ void prepare(unsigned c) {
        a_scale = load<V>(a_factors, c), x_scale = load<V>(x_factors, c);
        middle = load<V>(mean, c), shift = load<V>(terms, c);
    }
    __device__ void apply(unsigned at) const {
        pack<V> first = load<V>(a, at), second = load<V>(x, at);
#pragma unroll
        for (int e = 0; e < V; ++e) {
            const real moved = fma(x_scale.of[e], second.of[e] - middle.of[e], shift.of[e]);
            first.of[e] = fma(a_scale.of[e], first.of[e], moved);
        }
        store<V>(y, at, first);
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) combine(
    const real* __restrict__ a, const real* __restrict__ x, const real* __restrict__ a_scale,
    const real* __restrict__ x_scale, const real* __restrict__ mean, const real* __restrict__ shift,
    real* __restrict__ y, int size, int C, int whole
) {
    if (whole) each_pack<4>(Combine<4>{a, x, a_scale, x_scale, mean, shift, y}, size, C);
    else each_pack<1>(Combine<1>{a, x, a_scale, x_scale, mean, shift, y}, size, C);
}

// Writes what `value` gets of every place: four at a time where `whole` says that all arrays stand at multiples of 16 bytes.
template <class Value> __device__ void each_value(Value value, real* __restrict__ y, int size, int whole) {
    const unsigned step = gridDim.x * THREADS, first = blockIdx.x * THREADS + threadIdx.x, packs = whole ? size / 4 : 0;
    for (unsigned at = first; at < packs; at += step) {
        pack<4> result;
        value.template get<4>(at, result);
        store<4>(y, at, result);
    }
    for (unsigned at = packs * 4 + first; at < size; at += step) {
        pack<1> result;
        value.template get<1>(at, result);
        store<1>(y, at, result);
    }
}

struct Clip {
    const real* x;
    real top;

    template <int V> __device__ void get(unsigned at, pack<V>& result) const {
        const pack<V> value = load<V>(x, at);
#pragma unroll
        for (int e = 0; e < V; ++e) {
            const real low = value.of[e] <= 0 ? real(0) : value.of[e];  // and not the other way round: NaN has to stay
            result.of[e] = low > top ? top : low;
        }
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) clip(
    const real* __restrict__ x, real top, real* __restrict__ y, int size, int whole
) {
    each_value(Clip{x, top}, y, size, whole);
}

struct ClipGradient {
    const real *dy, *y;
    real top;

    template <int V> __device__ void get(unsigned at, pack<V>& result) const {
        const pack<V> gradient = load<V>(dy, at), value = load<V>(y, at);
#pragma unroll
        for (int e = 0; e < V; ++e)
            result.of[e] = gradient.of[e] * (value.of[e] > 0 && value.of[e] < top ? real(1) : real(0));
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) clip_gradient(
    const real* __restrict__ dy, const real* __restrict__ y, real top, real* __restrict__ dx, int size, int whole
) {
    each_value(ClipGradient{dy, y, top}, dx, size, whole);
}

struct Add {
    const real *a, *b;

    template <int V> __device__ void get(unsigned at, pack<V>& result) const {
        const pack<V> first = load<V>(a, at), second = load<V>(b, at);
#pragma unroll
        for (int e = 0; e < V; ++e) result.of[e] = first.of[e] + second.of[e];
    }
};

extern "C" __global__ void __launch_bounds__(THREADS) add(
    const real* __restrict__ a, const real* __restrict__ b, real* __restrict__ y, int size, int whole
) {
    each_value(Add{a, b}, y, size, whole);
}

// ---- a training step's small change ----

// moved: (2, C), running statistics towards those of a batch of `count` values a channel, whose variance is made unbiased.
extern "C" __global__ void __launch_bounds__(THREADS) move_statistics(
    const real* __restrict__ running_mean, const real* __restrict__ running_variance, const real* __restrict__ mean,
    const real* __restrict__ variance, real momentum, real unbiased, int C, real* __restrict__ moved
) {
    const int c = blockIdx.x * THREADS + threadIdx.x;
    if (c >= C) return;
    moved[c] = (1 - momentum) * running_mean[c] + momentum * mean[c];
    moved[C + c] = (1 - momentum) * running_variance[c] + momentum * (variance[c] * unbiased);
}

// A step of gradient descent with momentum for many parameters at once: `places` has the addresses of parameter, gradient
// and velocity (0 without momentum), and the number of values, of each; a block's parameter and first value are in `pieces`.
extern "C" __global__ void __launch_bounds__(THREADS) momentum_step(
    const unsigned long long* __restrict__ places, const int* __restrict__ pieces, const real* __restrict__ decays,
    real learning_rate, real momentum, int nesterov, int piece
) {
    const int number = pieces[2 * blockIdx.x], first = pieces[2 * blockIdx.x + 1];
    real* array = (real*)places[4 * number];
    const real* gradient = (const real*)places[4 * number + 1];
    real* velocity = (real*)places[4 * number + 2];
    const long long size = (long long)places[4 * number + 3], last = min(size, (long long)first + piece);
    const real decay = decays[number];
    for (long long at = first + threadIdx.x; at < last; at += THREADS) {
        const real value = array[at], slope = decay ? gradient[at] + decay * value : gradient[at];
        real direction = slope;
        if (velocity) {
            const real speed = momentum * velocity[at] + slope;
            velocity[at] = speed;
            direction = nesterov ? slope + momentum * speed : speed;
        }
        array[at] = value - learning_rate * direction;
    }
}
