// The kernels of csc_cogd/backend/polyphase.py: see there what each of them computes, and what phases are.
//
// Images lie below one another, `height` rows of codes and `height + beyond` rows of phases each. No sum depends on the
// schedule: what a pixel is given is added up by its own thread, in the order of the filters' weights. REAL is float or double.

typedef REAL real;

__device__ inline long long here() { return (long long)blockIdx.x * blockDim.x + threadIdx.x; }

// columns[tap, i, j] = phases[phase of tap, row of i + down, j + right]; a thread a value
extern "C" __global__ void gather(
    const real* __restrict__ phases, real* __restrict__ columns, int size, int stride, int height, int row, int rows, int width,
    int tall, int wide, long long values
) {
    long long k = here();
    if (k >= values) return;
    int j = k % width;
    long long above = k / width;
    int i = above % rows, tap = above / rows;
    int c = tap / (size * size), a = tap / size % size, b = tap % size, beyond = (size + stride - 1) / stride - 1;
    int phase = (c * stride + a % stride) * stride + b % stride, y = row + i + (row + i) / height * beyond + a / stride;
    columns[k] = phases[((long long)phase * tall + y) * wide + j + b / stride];
}

// phases[p, y, x] += the sum of all columns that meet it; a thread a phase's value, from row `first` on
extern "C" __global__ void scatter(
    const real* __restrict__ columns, real* __restrict__ phases, int size, int stride, int height, int row, int rows, int width,
    int tall, int wide, int first, int count, long long values
) {
    long long k = here();
    if (k >= values) return;
    int x = k % wide;
    long long above = k / wide;
    int y = first + above % count, phase = above / count;
    int c = phase / (stride * stride), beyond = (size + stride - 1) / stride - 1;
    int image = y / (height + beyond), place = y % (height + beyond);
    real total = 0;
    for (int a = phase / stride % stride, down = 0; a < size; a += stride, ++down) {
        int i = image * height + place - down - row;
        if (place < down || place - down >= height || i < 0 || i >= rows) continue;
        for (int b = phase % stride, right = 0; b < size; b += stride, ++right)
            if (x >= right && x - right < width) {
                long long tap = ((long long)c * size + a) * size + b;
                total += columns[(tap * rows + i) * width + x - right];
            }
    }
    phases[((long long)phase * tall + y) * wide + x] += total;
}

// out[m, start + j] = S(codes[m, start + j] - step[m, j], t0[m] + t1[m] sigma[start + j]); a thread a value
extern "C" __global__ void shrink(
    const real* codes, const real* __restrict__ step, const real* __restrict__ t0, const real* __restrict__ t1,
    const real* __restrict__ sigma, real* out, long long places, long long start, long long n, long long values
) {
    long long k = here();
    if (k >= values) return;
    long long m = k / n, j = start + k % n;
    real threshold = t0[m] + t1[m] * sigma[j], moved = codes[m * places + j] - step[k];
    out[m * places + j] = moved - min(max(moved, -threshold), threshold);
}

// gradient = 0 where codes are; t0_gradient[m] -= its sum by the codes' signs, t1_gradient[m] that times sigma; a block a map
extern "C" __global__ void shrink_backward(
    const real* __restrict__ codes, real* gradient, const real* __restrict__ sigma, real* t0_gradient, real* t1_gradient,
    long long n
) {
    __shared__ double sums[2][256];
    long long m = blockIdx.x;
    double total = 0, weighted = 0;
    for (long long j = threadIdx.x; j < n; j += blockDim.x) {
        real code = codes[m * n + j], value = code != 0 ? gradient[m * n + j] : (real)0;
        gradient[m * n + j] = value;
        double signed_value = code > 0 ? value : -value;
        total += signed_value;
        weighted += signed_value * sigma[j];
    }
    sums[0][threadIdx.x] = total;
    sums[1][threadIdx.x] = weighted;
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) {
            sums[0][threadIdx.x] += sums[0][threadIdx.x + half];
            sums[1][threadIdx.x] += sums[1][threadIdx.x + half];
        }
    }
    if (threadIdx.x == 0) {
        t0_gradient[m] -= (real)sums[0][0];
        t1_gradient[m] -= (real)sums[1][0];
    }
}
