// One visit to every code map of small filters, in one pass over the state: what `apply_adjoint`, an inverse FFT, `shrink`, and the
// sum of the atoms of the new codes do, without spectra of the maps.
//
// With q on the images' domain, u - w of filter k is the correlation (A^H q)[i] = sum_ca d_kc[a] q_c[i + a], periodic. A warp
// has 32 columns and ROWS rows of four filters' maps at a time: a value of q that is in a register serves ROWS x 4 products.
// Codes that aren't zero are queued, and their atoms added to the canvas by the whole warp, in fixed point, so that
// the sum doesn't depend on the order.
//
// REAL is float or double; HEIGHT, WIDTH and CHANNELS are the filters'; WARPS is the number of warps in a block.

typedef REAL real;

struct alignas(4 * sizeof(real)) four_t {
    real of[4];  // the same tap of a group's filters
};

#define ROWS 8
#define GROUP 4
#define STATISTICS 7
#define TILE_ROWS (ROWS * WARPS)
#define SPAN_ROWS (TILE_ROWS + HEIGHT - 1)
#define SPAN_COLUMNS (32 + WIDTH - 1)

__device__ inline int wrapped(int i, int period) { return i < period ? i : i % period; }

// filters: (groups, CHANNELS, WIDTH, HEIGHT, GROUP), zeros for the filters that the last group lacks.
// p: (M, K, H, W). out: NULL, or (M, n_maps, H, W) for the new codes, of which no atoms are added then.
// canvas: (M, CHANNELS, H, W), values times fixed_scale. partial: (blocks, STATISTICS).
// Grid: x columns, y rows, z problems times chunks of `chunk` groups; the maps are first_map to first_map + n_maps.
extern "C" __global__ void __launch_bounds__(32 * WARPS) correlate(
    const real* __restrict__ q, const real* __restrict__ filters, real* p, const real* __restrict__ threshold,
    long long t_m, long long t_k, int t_i, int nonnegative, real relaxation, int K, int H, int W,
    int first_map, int n_maps, int chunks, int chunk, real* out, unsigned long long* canvas, double fixed_scale, double* partial
) {
    __shared__ real tile[CHANNELS][SPAN_ROWS][SPAN_COLUMNS];
    __shared__ real queued[WARPS][32 * ROWS];
    __shared__ short queued_place[WARPS][32 * ROWS];
    __shared__ double sums[STATISTICS][WARPS];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, m = blockIdx.z / chunks;
    const int left = blockIdx.x * 32, top = blockIdx.y * TILE_ROWS, first_row = warp * ROWS, x = left + lane;
    const long long pixels = (long long)H * W;

    for (int n = threadIdx.x; n < CHANNELS * SPAN_ROWS * SPAN_COLUMNS; n += 32 * WARPS) {
        int c = n / (SPAN_ROWS * SPAN_COLUMNS), i = n / SPAN_COLUMNS % SPAN_ROWS, j = n % SPAN_COLUMNS;
        tile[c][i][j] = q[((long long)m * CHANNELS + c) * pixels + (long long)wrapped(top + i, H) * W + wrapped(left + j, W)];
    }
    __syncthreads();

    real moments[STATISTICS] = {0, 0, 0, 0, 0, 0, 0};
    const int first_group = first_map / GROUP + blockIdx.z % chunks * chunk;
    const int last_group = min(first_group + chunk, (first_map + n_maps + GROUP - 1) / GROUP);
    for (int group = first_group; group < last_group; ++group) {
        real correlation[GROUP][ROWS];
#pragma unroll
        for (int f = 0; f < GROUP; ++f)
#pragma unroll
            for (int i = 0; i < ROWS; ++i) correlation[f][i] = 0;
        const four_t* d = (const four_t*)filters + (long long)group * CHANNELS * WIDTH * HEIGHT;
        for (int c = 0; c < CHANNELS; ++c) {
#pragma unroll 1
            for (int b = 0; b < WIDTH; ++b) {
                real window[ROWS + HEIGHT - 1];
#pragma unroll
                for (int i = 0; i < ROWS + HEIGHT - 1; ++i) window[i] = tile[c][first_row + i][lane + b];
#pragma unroll
                for (int a = 0; a < HEIGHT; ++a) {
                    const four_t taps = d[a];
#pragma unroll
                    for (int f = 0; f < GROUP; ++f)
#pragma unroll
                        for (int i = 0; i < ROWS; ++i)
                            correlation[f][i] = fma(taps.of[f], window[i + a], correlation[f][i]);
                }
                d += HEIGHT;
            }
        }

#pragma unroll
        for (int f = 0; f < GROUP; ++f) {
            const int k = group * GROUP + f;
            if (k >= first_map + n_maps) break;
            int waiting = 0;
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                const int y = top + first_row + i;
                real v = 0;
                if (x < W && y < H) {
                    const long long at = ((long long)m * K + k) * pixels + (long long)y * W + x;
                    const real t = threshold[m * t_m + k * t_k + ((long long)y * W + x) * t_i];
                    const real low = nonnegative ? -real(1e30) : -t;
                    real state = p[at];
                    const real u_old = min(max(state, low), t), v_old = state - u_old;
                    const real solution = correlation[f][i] + (v_old - u_old);
                    state += relaxation * (solution - v_old);
                    const real u = min(max(state, low), t);
                    v = state - u;
                    p[at] = state;
                    if (out) out[((long long)m * n_maps + k - first_map) * pixels + (long long)y * W + x] = v;
                    moments[0] += (solution - v) * (solution - v);
                    moments[1] += (v - v_old) * (v - v_old);
                    moments[2] += t * fabs(v);
                    moments[3] += v != 0;
                    moments[4] += solution * solution;
                    moments[5] += v * v;
                    moments[6] += u * u;
                }
                if (!out) {
                    const unsigned used = __ballot_sync(0xffffffffu, v != 0);
                    if (v != 0) {
                        const int place = waiting + __popc(used & ((1u << lane) - 1));
                        queued[warp][place] = v;
                        queued_place[warp][place] = (short)(i * 32 + lane);
                    }
                    waiting += __popc(used);
                }
            }
            __syncwarp();
            const real* atom = filters + (long long)group * CHANNELS * WIDTH * HEIGHT * GROUP + f;
            for (int n = 0; n < waiting; ++n) {
                const double code = queued[warp][n] * fixed_scale;
                const int i = top + first_row + queued_place[warp][n] / 32, j = left + queued_place[warp][n] % 32;
                for (int at = lane; at < CHANNELS * HEIGHT * WIDTH; at += 32) {
                    const int c = at / (HEIGHT * WIDTH), a = at / WIDTH % HEIGHT, b = at % WIDTH;
                    const long long value = (long long)(code * atom[((c * WIDTH + b) * HEIGHT + a) * GROUP]);
                    const long long pixel = (long long)wrapped(i + a, H) * W + wrapped(j + b, W);
                    atomicAdd(canvas + ((long long)m * CHANNELS + c) * pixels + pixel, (unsigned long long)value);
                }
            }
            __syncwarp();
        }
    }

#pragma unroll
    for (int s = 0; s < STATISTICS; ++s) {
        double total = moments[s];
        for (int offset = 16; offset > 0; offset /= 2) total += __shfl_down_sync(0xffffffffu, total, offset);
        if (lane == 0) sums[s][warp] = total;
    }
    __syncthreads();
    if (threadIdx.x < STATISTICS) {
        double total = 0;
        for (int w = 0; w < WARPS; ++w) total += sums[threadIdx.x][w];
        long long block = blockIdx.x + (long long)gridDim.x * (blockIdx.y + (long long)gridDim.y * blockIdx.z);
        partial[block * STATISTICS + threadIdx.x] = total;
    }
}

// images = canvas / fixed_scale, and the canvas is emptied for the next sum
extern "C" __global__ void take_sum(unsigned long long* canvas, double fixed_scale, real* images, long long size) {
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    images[i] = (real)((long long)canvas[i] / fixed_scale);
    canvas[i] = 0;
}
