// Convolution of images whose channels lie side by side, as a product of matrices whose columns are gathered on the way. (Long,
// as a source includes no other.)
//
// A block has TILE_M x TILE_N results; a warp WARP_M x WARP_N of them, in registers. Both factors pass through shared memory,
// DEPTH products of a result at a time, and are fetched some steps before they are needed. Channels of a group are counted up
// to a multiple of four, so that four at a time are fetched, in one go where they stand at a multiple of 16 bytes; what isn't
// there (padding, channels beyond the last one, taps beyond the last one) is fetched as zero.
//
// Images are (N, H, W, C), kernels (O, I, J, C / groups), results (N, P, Q, O), and none has 2^31 values. REAL is float or
// double; with TENSOR, for float, products are tensor cores', of factors rounded to TF32.

typedef REAL real;

#define DEPTH 16  // four times four values: what is copied at a time
#define THREADS (32 * WARPS_M * WARPS_N)
#define WARP_M (TILE_M / WARPS_M)
#define WARP_N (TILE_N / WARPS_N)
#define SHARED (48 * 1024)

#ifdef __CUDACC__  // tests have these from cuda_shim.h

// Copies 4, 8 or 16 bytes to shared memory, or writes zeros there; it is done when it is waited for.
template <int BYTES> __device__ inline void copy_async(void* to, const void* from, bool there) {
#if __CUDA_ARCH__ >= 800
    const unsigned place = (unsigned)__cvta_generic_to_shared(to);
    const int bytes = there ? BYTES : 0;
    if (BYTES == 16) asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(from), "r"(bytes) : "memory");
    else asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(place), "l"(from), "n"(BYTES), "r"(bytes) : "memory");
#else
    for (int word = 0; word < BYTES / 4; ++word) ((int*)to)[word] = there ? ((const int*)from)[word] : 0;
#endif
}

// Closes a group of copies.
__device__ inline void commit_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Waits for all groups of this thread's copies but the last `GROUPS`.
template <int GROUPS> __device__ inline void wait_for_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(GROUPS) : "memory");
#endif
}

#if TENSOR
__device__ inline unsigned to_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return bits;
}

// Adds to d (16 x 8) the product of a (16 x 8) and b (8 x 8), which a warp holds as the PTX manual lays them out for
// mma.m16n8k8: of lane l, with g = l / 4 and t = l % 4, a[r] is row g + 8 (r % 2), column t + 4 (r / 2); b[r] is row t + 4 r,
// column g; d[r] is row g + 8 (r / 2), column 2 t + r % 2.
__device__ inline void multiply_add(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

#endif

// Copies the first `count` of four values to shared memory, and zeros for the others; in one go only all or none.
__device__ inline void copy_four(real* to, const real* from, int count, bool whole) {
    if (whole) {
#pragma unroll
        for (int e = 0; e < 4; e += 16 / (int)sizeof(real)) copy_async<16>(to + e, from + e, count > 0);
    } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) copy_async<(int)sizeof(real)>(to + e, from + (e < count ? e : 0), e < count);
    }
}

// Where value k of a row of a tile in shared memory is: rows lie DEEP, each in one piece, or wide, all values k in one piece.
// What lanes of a warp read together is in different banks.
template <int ROWS, bool DEEP> struct Tile {
    static const int stride = DEEP ? DEPTH + 4 : ROWS + 8, size = (DEEP ? ROWS : DEPTH) * stride;
    __device__ static int at(int row, int k) { return DEEP ? row * stride + k : k * stride + row; }
};

// The results of a warp, and which of the block's they are.
struct Sums {
#if TENSOR
    float of[WARP_M / 16][WARP_N / 8][4];
#else
    real of[WARP_M / 4][WARP_N / 8];
#endif
    int lane, top, left;

    __device__ Sums() {
        const int warp = threadIdx.x / 32;
        lane = threadIdx.x % 32, top = warp / WARPS_N * WARP_M, left = warp % WARPS_N * WARP_N;
#pragma unroll
        for (int i = 0; i < (int)(sizeof(of) / sizeof(of[0])); ++i)
#pragma unroll
            for (int j = 0; j < WARP_N / 8; ++j)
#if TENSOR
#pragma unroll
                for (int r = 0; r < 4; ++r) of[i][j][r] = 0;
#else
                of[i][j] = 0;
#endif
    }

    template <class A, class B> __device__ void add(const real* a, const real* b) {
#if TENSOR
        const int g = lane / 4, t = lane % 4;
#pragma unroll
        for (int k = 0; k < DEPTH; k += 8) {
            unsigned first[WARP_M / 16][4], second[WARP_N / 8][2];
#pragma unroll
            for (int i = 0; i < WARP_M / 16; ++i)
#pragma unroll
                for (int r = 0; r < 4; ++r)
                    first[i][r] = to_tf32(a[A::at(top + 16 * i + g + r % 2 * 8, k + t + r / 2 * 4)]);
#pragma unroll
            for (int j = 0; j < WARP_N / 8; ++j)
#pragma unroll
                for (int r = 0; r < 2; ++r) second[j][r] = to_tf32(b[B::at(left + 8 * j + g, k + t + 4 * r)]);
#pragma unroll
            for (int i = 0; i < WARP_M / 16; ++i)
#pragma unroll
                for (int j = 0; j < WARP_N / 8; ++j) multiply_add(of[i][j], first[i], second[j]);
        }
#else
#pragma unroll 4
        for (int k = 0; k < DEPTH; ++k) {
            real first[WARP_M / 4], second[WARP_N / 8];
#pragma unroll
            for (int i = 0; i < WARP_M / 4; ++i) first[i] = a[A::at(top + 4 * i + lane / 8, k)];
#pragma unroll
            for (int j = 0; j < WARP_N / 8; ++j) second[j] = b[B::at(left + 8 * j + lane % 8, k)];
#pragma unroll
            for (int i = 0; i < WARP_M / 4; ++i)
#pragma unroll
                for (int j = 0; j < WARP_N / 8; ++j) of[i][j] = fma(first[i], second[j], of[i][j]);
        }
#endif
    }

    // Calls write(row, column, value) for each result, with its place in the block's.
    template <class Write> __device__ void each(Write write) const {
#if TENSOR
#pragma unroll
        for (int i = 0; i < WARP_M / 16; ++i)
#pragma unroll
            for (int j = 0; j < WARP_N / 8; ++j)
#pragma unroll
                for (int r = 0; r < 4; ++r)
                    write(top + 16 * i + lane / 4 + r / 2 * 8, left + 8 * j + lane % 4 * 2 + r % 2, of[i][j][r]);
#else
#pragma unroll
        for (int i = 0; i < WARP_M / 4; ++i)
#pragma unroll
            for (int j = 0; j < WARP_N / 8; ++j) write(top + 4 * i + lane / 8, left + 8 * j + lane % 8, of[i][j]);
#endif
    }
};

// The product of two matrices, of which `source.fetch(a, b)` has the next DEPTH columns and rows copied to shared memory.
template <class A, class B, class Source> __device__ void multiply(Source& source, int steps, Sums& sums) {
    const int size = A::size + B::size, fitting = SHARED / (size * (int)sizeof(real));
    const int stages = fitting < 4 ? fitting : 4;
    static_assert(stages > 1, "tiles are too large for shared memory");
    __shared__ __align__(16) real memory[stages][size];
#pragma unroll
    for (int step = 0; step < stages - 1; ++step) {
        if (step < steps) source.fetch(memory[step], memory[step] + A::size);
        commit_copies();  // an empty group counts, too
    }
    for (int step = 0; step < steps; ++step) {
        wait_for_copies<stages - 2>();
        __syncthreads();  // now everyone's copies are there, and the stage that was read in the step before is free
        const int next = step + stages - 1;
        if (next < steps) source.fetch(memory[next % stages], memory[next % stages] + A::size);
        commit_copies();
        sums.add<A, B>(memory[step % stages], memory[step % stages] + A::size);
    }
}

// Which product of a result comes next: a channel of a group, and row and column among the taps.
struct Tap {
    int channel, row, column;

    __device__ void move(int by, int channels, int columns) {
        for (channel += by; channel >= channels; channel -= channels)
            if (++column == columns) column = 0, ++row;
    }
};

__device__ inline int fours(int channels) { return (channels + 3) / 4 * 4; }

// Rows of a deep tile, each a pixel of results: what taps meet in images, whose rows and columns grow, or fall, by `turn`.
struct Gather {
    static const int rows = TILE_M * 4 / THREADS;
    const real* images;
    int H, W, C, first_channel, channels, turn;
    bool whole;
    int image[rows], row[rows], column[rows];

    __device__ int row_of(int r) const { return (threadIdx.x + r * THREADS) / 4; }
    __device__ void place(int r, int n, int h, int w) { image[r] = n * H * W, row[r] = h, column[r] = w; }
    __device__ void leave_out(int r) { image[r] = 0, row[r] = column[r] = -(1 << 30); }

    __device__ void fetch(real* tile, const Tap& tap, bool there) const {
#pragma unroll
        for (int r = 0; r < rows; ++r) {
            const int h = row[r] + turn * tap.row, w = column[r] + turn * tap.column;
            const bool inside = there && (unsigned)h < (unsigned)H && (unsigned)w < (unsigned)W;
            const int from = inside ? (image[r] + h * W + w) * C + first_channel + tap.channel : 0;
            real* to = tile + Tile<TILE_M, true>::at(row_of(r), threadIdx.x % 4 * 4);
            copy_four(to, images + from, inside ? channels - tap.channel : 0, whole);
        }
    }
};

struct Forward {
    Gather pixels;
    const real* w;
    int O, I, J, first, last;  // output channels of this tile
    bool whole;
    Tap tap;

    __device__ void fetch(real* a, real* b) {
        const bool there = tap.row < I;
        pixels.fetch(a, tap, there);
#pragma unroll
        for (int r = 0; r < (TILE_N * 4 + THREADS - 1) / THREADS; ++r) {
            const int place = threadIdx.x + r * THREADS, o = first + place / 4;
            if (place >= TILE_N * 4) break;
            const bool inside = there && o < last;
            const int from = inside ? ((o * I + tap.row) * J + tap.column) * pixels.channels + tap.channel : 0;
            real* to = b + Tile<TILE_N, true>::at(place / 4, place % 4 * 4);
            copy_four(to, w + from, inside ? pixels.channels - tap.channel : 0, whole);
        }
        tap.move(DEPTH, fours(pixels.channels), J);
    }
};

// Grid: x pixels, y output channels of a group, z groups. Bias: NULL, or (O,).
extern "C" __global__ void __launch_bounds__(THREADS) convolve(
    const real* __restrict__ x, const real* __restrict__ w, const real* __restrict__ bias, real* __restrict__ y,
    int N, int H, int W, int C, int P, int Q, int O, int I, int J, int stride_h, int stride_w, int pad_h, int pad_w,
    int groups, int whole_x, int whole_w
) {
    const int pixels = N * P * Q, g = blockIdx.z, per_group = O / groups;
    const int first = g * per_group + blockIdx.y * TILE_N, last = (g + 1) * per_group;
    Forward source;
    source.pixels.images = x, source.pixels.H = H, source.pixels.W = W, source.pixels.C = C;
    source.pixels.channels = C / groups, source.pixels.first_channel = g * (C / groups);
    source.pixels.turn = 1, source.pixels.whole = whole_x;
#pragma unroll
    for (int r = 0; r < Gather::rows; ++r) {
        const int m = blockIdx.x * TILE_M + source.pixels.row_of(r);
        if (m < pixels) source.pixels.place(r, m / (P * Q), m / Q % P * stride_h - pad_h, m % Q * stride_w - pad_w);
        else source.pixels.leave_out(r);
    }
    source.w = w, source.O = O, source.I = I, source.J = J, source.first = first, source.last = last, source.whole = whole_w;
    source.tap = {0, 0, 0};
    source.tap.move(threadIdx.x % 4 * 4, fours(C / groups), J);
    Sums sums;
    multiply<Tile<TILE_M, true>, Tile<TILE_N, true>>(source, (I * J * fours(C / groups) + DEPTH - 1) / DEPTH, sums);
    sums.each([&](int i, int j, real value) {
        const int m = blockIdx.x * TILE_M + i, o = first + j;
        if (m < pixels && o < last) y[m * O + o] = bias ? value + bias[o] : value;
    });
}

struct ImagesGradient {
    static const int rows = (TILE_N * 4 + THREADS - 1) / THREADS;
    Gather pixels;
    const real* w;
    int I, J, taps_i, taps_j, first_i, first_j, stride_h, stride_w, C, first;  // channels of this tile, of the group's C
    bool whole;
    Tap tap, tap_of_row[rows];

    __device__ void fetch(real* a, real* b) {
        pixels.fetch(a, tap, tap.row < taps_i);
#pragma unroll
        for (int r = 0; r < rows; ++r) {
            const int place = threadIdx.x + r * THREADS, c = first + place % (TILE_N / 4) * 4;
            if (place >= TILE_N * 4) break;
            Tap& mine = tap_of_row[r];
            const bool inside = mine.row < taps_i && mine.channel < pixels.channels && c < C;
            const int o = pixels.first_channel + mine.channel;
            const int i = first_i + mine.row * stride_h, j = first_j + mine.column * stride_w;
            real* to = b + Tile<TILE_N, false>::at(place % (TILE_N / 4) * 4, place / (TILE_N / 4));
            copy_four(to, w + (inside ? ((o * I + i) * J + j) * C + c : 0), inside ? C - c : 0, whole);
            mine.move(DEPTH, fours(pixels.channels), taps_j);
        }
        tap.move(DEPTH, fours(pixels.channels), taps_j);
    }
};

// Pixels a stride apart met the same taps: a block's are those of one such phase. Grid: x pixels, y channels of a group,
// z phases times groups.
extern "C" __global__ void __launch_bounds__(THREADS) images_gradient(
    const real* __restrict__ dy, const real* __restrict__ w, real* __restrict__ dx,
    int N, int H, int W, int C, int P, int Q, int O, int I, int J, int stride_h, int stride_w, int pad_h, int pad_w,
    int groups, int whole_dy, int whole_w
) {
    const int across = min(stride_w, W), phase = blockIdx.z / groups, g = blockIdx.z % groups;
    const int top = phase / across, left = phase % across;
    const int rows = (H - top + stride_h - 1) / stride_h, columns = (W - left + stride_w - 1) / stride_w;
    const int count = N * rows * columns, per_group = O / groups;
    if (blockIdx.x * TILE_M >= count) return;
    ImagesGradient source;
    source.w = w, source.I = I, source.J = J, source.stride_h = stride_h, source.stride_w = stride_w;
    source.first_i = (top + pad_h) % stride_h, source.first_j = (left + pad_w) % stride_w;
    source.taps_i = source.first_i < I ? (I - source.first_i + stride_h - 1) / stride_h : 0;
    source.taps_j = source.first_j < J ? (J - source.first_j + stride_w - 1) / stride_w : 0;
    source.C = C / groups, source.first = blockIdx.y * TILE_N, source.whole = whole_w;
    source.pixels.images = dy, source.pixels.H = P, source.pixels.W = Q, source.pixels.C = O;
    source.pixels.channels = per_group, source.pixels.first_channel = g * per_group;
    source.pixels.turn = -1, source.pixels.whole = whole_dy;
#pragma unroll
    for (int r = 0; r < Gather::rows; ++r) {
        const int m = blockIdx.x * TILE_M + source.pixels.row_of(r);
        const int p = m / columns % rows + (top + pad_h) / stride_h, q = m % columns + (left + pad_w) / stride_w;
        if (m < count) source.pixels.place(r, m / (rows * columns), p, q);
        else source.pixels.leave_out(r);
    }
    source.tap = {0, 0, 0};
    source.tap.move(threadIdx.x % 4 * 4, fours(per_group), source.taps_j);
#pragma unroll
    for (int r = 0; r < ImagesGradient::rows; ++r) {
        source.tap_of_row[r] = {0, 0, 0};
        source.tap_of_row[r].move((threadIdx.x + r * THREADS) / (TILE_N / 4), fours(per_group), source.taps_j);
    }
    Sums sums;
    const int steps = (source.taps_i * source.taps_j * fours(per_group) + DEPTH - 1) / DEPTH;
    multiply<Tile<TILE_M, true>, Tile<TILE_N, false>>(source, steps, sums);
    sums.each([&](int i, int j, real value) {
        const int m = blockIdx.x * TILE_M + i, c = source.first + j;
        if (m >= count || c >= source.C) return;
        const int h = top + m / columns % rows * stride_h, column = left + m % columns * stride_w;
        dx[((m / (rows * columns) * H + h) * W + column) * C + g * source.C + c] = value;
    });
}

struct WeightsGradient {
    static const int rows = TILE_M * 4 / THREADS, gradient_rows = (TILE_N * 4 + THREADS - 1) / THREADS;
    const real *x, *dy;
    int H, W, C, P, Q, O, stride_h, stride_w, top, left, channel, channels, first, last;  // of a tap, and of dy's channels
    bool there, whole_x, whole_dy;
    int pixel, end, image[rows], p[rows], q[rows];

    __device__ void fetch(real* a, real* b) {
#pragma unroll
        for (int r = 0; r < rows; ++r) {
            const int place = threadIdx.x + r * THREADS, k = place / (TILE_M / 4);
            const int h = p[r] * stride_h + top, w = q[r] * stride_w + left;
            const bool inside = there && pixel + k < end && (unsigned)h < (unsigned)H && (unsigned)w < (unsigned)W;
            real* to = a + Tile<TILE_M, false>::at(place % (TILE_M / 4) * 4, k);
            copy_four(to, x + (inside ? ((image[r] * H + h) * W + w) * C + channel : 0), inside ? channels : 0, whole_x);
            q[r] += DEPTH % Q, p[r] += DEPTH / Q % P, image[r] += DEPTH / (P * Q);
            if (q[r] >= Q) q[r] -= Q, ++p[r];
            if (p[r] >= P) p[r] -= P, ++image[r];
        }
#pragma unroll
        for (int r = 0; r < gradient_rows; ++r) {
            const int place = threadIdx.x + r * THREADS, k = place / (TILE_N / 4), o = first + place % (TILE_N / 4) * 4;
            if (place >= TILE_N * 4) break;
            const bool inside = pixel + k < end && o < last;
            real* to = b + Tile<TILE_N, false>::at(place % (TILE_N / 4) * 4, k);
            copy_four(to, dy + (inside ? (pixel + k) * O + o : 0), inside ? last - o : 0, whole_dy);
        }
        pixel += DEPTH;
    }
};

// Sums over `chunk` pixels of results: partial is (pieces, O, I, J, C / groups). Grid: x taps times channels of a group,
// y output channels of a group, z pieces times groups.
extern "C" __global__ void __launch_bounds__(THREADS) weights_gradient(
    const real* __restrict__ x, const real* __restrict__ dy, real* __restrict__ partial,
    int N, int H, int W, int C, int P, int Q, int O, int I, int J, int stride_h, int stride_w, int pad_h, int pad_w,
    int groups, int whole_x, int whole_dy, int chunk
) {
    const int piece = blockIdx.z / groups, g = blockIdx.z % groups, channels = C / groups, width = fours(channels);
    const int place = blockIdx.x * TILE_M + threadIdx.x % (TILE_M / 4) * 4, tap = place / width, channel = place % width;
    WeightsGradient source;
    source.x = x, source.dy = dy, source.H = H, source.W = W, source.C = C, source.P = P, source.Q = Q, source.O = O;
    source.stride_h = stride_h, source.stride_w = stride_w, source.top = tap / J - pad_h, source.left = tap % J - pad_w;
    source.there = tap < I * J, source.channel = g * channels + channel, source.channels = channels - channel;
    source.first = g * (O / groups) + blockIdx.y * TILE_N, source.last = (g + 1) * (O / groups);
    source.whole_x = whole_x, source.whole_dy = whole_dy;
    source.pixel = piece * chunk, source.end = min(N * P * Q, source.pixel + chunk);
#pragma unroll
    for (int r = 0; r < WeightsGradient::rows; ++r) {
        const int m = source.pixel + (threadIdx.x + r * THREADS) / (TILE_M / 4);
        source.image[r] = m / (P * Q), source.p[r] = m / Q % P, source.q[r] = m % Q;
    }
    Sums sums;
    multiply<Tile<TILE_M, false>, Tile<TILE_N, false>>(source, (source.end - source.pixel + DEPTH - 1) / DEPTH, sums);
    partial += (long long)piece * O * I * J * channels;
    sums.each([&](int i, int j, real value) {
        const int m = blockIdx.x * TILE_M + i, o = source.first + j, c = m % width;
        if (m < I * J * width && c < channels && o < source.last) partial[(o * I * J + m / width) * channels + c] = value;
    });
}
