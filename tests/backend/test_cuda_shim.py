"""The stand-in for a GPU that tests of CUDA kernels run on."""

import numpy as np
import pytest

from tests.backend.cuda_on_cpu import HAVE_COMPILER, HostModule

pytestmark = pytest.mark.skipif(not HAVE_COMPILER, reason="g++ isn't installed: no kernel can be built for the CPU")

SOURCE = """
typedef REAL real;
typedef unsigned long long wide;

extern "C" __global__ void __launch_bounds__(256) sum_blocks(const real* __restrict__ x, real* out, int n) {
    __shared__ real parts[32];
    int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
    real total = 0;
    for (int k = blockIdx.x * blockDim.x + threadIdx.x; k < n; k += gridDim.x * blockDim.x) total += x[k];
    #pragma unroll
    for (int d = 16; d; d >>= 1) total += __shfl_down_sync(0xffffffffu, total, d);
    if (lane == 0) parts[warp] = total;
    __syncthreads();
    if (warp == 0) {
        total = lane < (blockDim.x >> 5) ? parts[lane] : real(0);
        for (int d = 16; d; d >>= 1) total += __shfl_down_sync(0xffffffffu, total, d);
        if (lane == 0) out[blockIdx.x] = total;
    }
}

// even numbers to the front, in order, as a warp does it
extern "C" __global__ void compact(const int* x, int* out, int* count) {
    bool keep = x[threadIdx.x] % 2 == 0;
    unsigned votes = __ballot_sync(0xffffffffu, keep);
    if (keep) out[__popc(votes & ((1u << threadIdx.x) - 1))] = x[threadIdx.x];
    if (threadIdx.x == 0) *count = __popc(votes) * 100 + __ffs(votes);
}

// the first warp leaves before the barrier, the second works alone for a while
extern "C" __global__ void diverge(int* out) {
    extern __shared__ int scratch[];
    int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    if (warp == 0) return;
    if (warp == 1)
        for (int k = 0; k < 5; k++) {
            scratch[lane] = k + lane;
            __syncwarp();
            int next = scratch[(lane + 1) % 32];
            __syncwarp();
            scratch[lane] = next;
        }
    if (warp == 2 && lane >= 16) return;
    int lower = __shfl_sync(0xffffffffu, (int)threadIdx.x, 3, 16);
    __syncthreads();
    out[threadIdx.x] = 1000 * scratch[lane] + lower;
}

extern "C" __global__ void count_up(int* a, wide* b, float* c, double* d) {
    atomicAdd(a, 2);
    atomicAdd(b, (wide)blockIdx.y + blockIdx.z);
    atomicAdd(c, 0.5f);
    if (atomicAdd(&d[threadIdx.y], 1.0) < 0) d[0] = -1e9;
}

extern "C" __global__ void unwritten(real* out) {
    extern __shared__ real dynamic[];
    __shared__ int fixed[2];
    out[blockIdx.x] = dynamic[0];
    out[blockIdx.x + gridDim.x] = fixed[1];
    dynamic[0] = 0, fixed[1] = 0;
}

extern "C" __global__ void lost(int* out) {
    if (threadIdx.x < 7) __syncwarp();
    else __syncthreads();
}

extern "C" __global__ void overrun(int n) {
    extern __shared__ unsigned char bytes[];
    bytes[n] = 1;
}

// one product of a warp: registers of a lane lie side by side
extern "C" __global__ void multiply(const float* a, const float* b, float* d) {
    unsigned first[4], second[2];
    float sums[4];
    for (int r = 0; r < 4; r++) first[r] = to_tf32(a[4 * threadIdx.x + r]), sums[r] = d[4 * threadIdx.x + r];
    for (int r = 0; r < 2; r++) second[r] = __float_as_uint(b[2 * threadIdx.x + r]);
    multiply_add(sums, first, second);
    for (int r = 0; r < 4; r++) d[4 * threadIdx.x + r] = sums[r];
}

extern "C" __global__ void copy_later(const float* x, float* out) {
    __shared__ float here[3];
    copy_async<4>(here, x, true);
    commit_copies();
    copy_async<4>(here + 1, x + 1, true);
    copy_async<4>(here + 2, x, false);
    commit_copies();
    out[0] = here[0];
    wait_for_copies<1>();
    out[1] = here[0], out[2] = here[1];
    wait_for_copies<0>();
    out[3] = here[1], out[4] = here[2];
}

extern "C" __global__ void kinds(real* out, int a, long long b, real c, bool d, const unsigned char* e) {
    out[0] = a, out[1] = b, out[2] = c, out[3] = d, out[4] = e ? e[0] : -1;
}
"""


@pytest.fixture(scope="module", params=["float32", "float64"])
def module(request):
    """The kernels above and their number type."""
    return HostModule(SOURCE, {"REAL": {"float32": "float", "float64": "double"}[request.param]}), np.dtype(request.param)


def test_a_block_sums_by_shuffles_and_a_barrier(module, rng):
    kernels, real = module
    x = rng.integers(-50, 50, 100_000).astype(real)
    out = np.empty(200, real)
    kernels.get_function("sum_blocks")((200,), (256,), (x, out, x.size))
    padded = np.append(x, np.zeros(-x.size % (200 * 256))).reshape(-1, 200, 256)
    np.testing.assert_array_equal(out, padded.sum(axis=(0, 2)))


def test_a_ballot_tells_which_lanes_agree(module, rng):
    x = rng.integers(0, 1000, 32).astype(np.int32)
    out, count = np.zeros(32, np.int32), np.zeros(1, np.int32)
    module[0].get_function("compact")((1,), (32,), (x, out, count))
    even = x[x % 2 == 0]
    np.testing.assert_array_equal(out[: even.size], even)
    assert count[0] == 100 * even.size + np.argmax(x % 2 == 0) + 1


def test_warps_may_part_and_threads_return_before_a_barrier(module):
    out = np.full(2 * 128, -1, np.int32)
    for block in range(2):
        module[0].get_function("diverge")((1 + block,), (128,), (out,), shared_mem=128)
    lanes = np.arange(32)
    moved = 4 + (lanes + 1) % 32  # the last round writes k + lane = 4 + lane, and shifts it by one
    expected = np.concatenate([1000 * moved + 32 * warp + lanes // 16 * 16 + 3 for warp in (1, 2, 3)])
    here = np.r_[32:80, 96:128]
    np.testing.assert_array_equal(out[here], expected[here - 32])
    assert (out[:32] == -1).all()
    assert (out[80:96] == -1).all()


def test_atomics_count_every_thread_of_every_block(module):
    a, b = np.zeros(1, np.int32), np.zeros(1, np.uint64)
    c, d = np.zeros(1, np.float32), np.zeros(4)
    module[0].get_function("count_up")((2, 3, 2), (5, 4), (a, b, c, d))
    assert (a[0], c[0]) == (2 * 240, 120)
    assert b[0] == 20 * 2 * sum(y + z for y in range(3) for z in range(2))
    np.testing.assert_array_equal(d, 60)


def test_shared_memory_holds_nothing_at_first(module):
    kernels, real = module
    out = np.zeros(6, real)
    kernels.get_function("unwritten")((3,), (1,), (out,), shared_mem=16)
    assert np.isnan(out[:3]).all()
    assert (out[3:] == -1).all()


def test_a_barrier_that_some_never_reach_is_an_error_and_the_next_launch_works(module):
    kernels, _ = module
    out = np.zeros(1, np.int32)
    with pytest.raises(RuntimeError, match="others never reach"):
        kernels.get_function("lost")((1,), (64,), (out,))
    kernels.get_function("lost")((1,), (7,), (out,))


def test_writing_beyond_shared_memory_is_an_error(module):
    function = module[0].get_function("overrun")
    function((1,), (1,), (15,), shared_mem=16)
    with pytest.raises(RuntimeError, match="beyond"):
        function((1,), (1,), (16,), shared_mem=16)
    with pytest.raises(ValueError, match="shared memory"):
        function((1,), (1,), (15,), shared_mem=50_000)
    function.max_dynamic_shared_size_bytes = 50_000
    function((1,), (1,), (15,), shared_mem=50_000)


def test_arguments_are_what_the_kernel_reads_or_refused(module):
    kernels, real = module
    function, out = kernels.get_function("kinds"), np.zeros(5, real)
    function((1,), (1,), (out, 7, 2**40, real.type(0.5), True, np.array([True])))
    np.testing.assert_array_equal(out, [7, 2**40, 0.5, 1, 1])
    function((1,), (1,), (out, np.int32(-7), np.int64(1), real.type(2), np.bool_(False), None))
    np.testing.assert_array_equal(out, [-7, 1, 2, 0, -1])
    good = [out, 1, 1, real.type(1), True, None]
    frozen = out.copy()
    frozen.setflags(write=False)
    wrong = [(0, out.astype(np.float16)), (0, 3), (1, 2**31), (1, 1.0), (1, np.int64(1)), (2, True), (3, 1), (4, 1)]
    for place, value in [*wrong, (3, np.float16(1))]:
        with pytest.raises(TypeError, match=f"argument {place}"):
            function((1,), (1,), (*good[:place], value, *good[place + 1 :]))
    with pytest.raises(ValueError, match="read-only"):
        function((1,), (1,), (frozen, *good[1:]))
    with pytest.raises(TypeError, match="6 arguments"):
        function((1,), (1,), (out,))
    with pytest.raises(ValueError, match="no kernel"):
        kernels.get_function("none")


def rounded(x, away=True):
    """To 10 bits behind the point: to the nearest, ties away from zero; or towards zero."""
    mantissa, exponent = np.frexp(x)
    scaled = np.abs(mantissa) * 2**11
    return (np.copysign(np.floor(scaled + 0.5 * away), x) * 2.0 ** (exponent - 11)).astype(np.float32)


def test_tensor_cores_multiply_fragments_as_the_manual_lays_them_out(module, rng):
    """PTX ISA, matrix fragments of mma.m16n8k8 for .tf32: `g` is groupID, `t` is threadID_in_group."""
    g, t = np.divmod(np.arange(32), 4)
    A, B, C = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 8), (8, 8), (16, 8)))
    A[0, :2] = [1 + 2**-11, -1 - 2**-11]  # ties
    a = np.stack([A[g, t], A[g + 8, t], A[g, t + 4], A[g + 8, t + 4]], axis=1)
    b = np.stack([B[t, g], B[t + 4, g]], axis=1)
    d = np.stack([C[g, 2 * t], C[g, 2 * t + 1], C[g + 8, 2 * t], C[g + 8, 2 * t + 1]], axis=1)
    module[0].get_function("multiply")((1,), (32,), (a, b, d))
    expected = C + rounded(A).astype(float) @ rounded(B, away=False)  # factors are cut off where nobody rounds them
    found = np.empty((16, 8), np.float32)
    found[g, 2 * t], found[g, 2 * t + 1], found[g + 8, 2 * t], found[g + 8, 2 * t + 1] = d.T
    np.testing.assert_allclose(found, expected, rtol=0, atol=5e-6)


def test_a_product_without_some_lanes_is_an_error(module):
    arrays = [np.zeros(128, np.float32) for _ in range(3)]
    with pytest.raises(RuntimeError, match="without some of its lanes"):
        module[0].get_function("multiply")((1,), (16,), arrays)


def test_copies_are_there_when_they_were_waited_for(module):
    out = np.zeros(5, np.float32)
    module[0].get_function("copy_later")((1,), (1,), (np.array([3, 4], np.float32), out))
    np.testing.assert_array_equal(out, [np.nan, 3, np.nan, 4, 0])


def test_a_source_that_does_not_compile_is_an_error():
    with pytest.raises(RuntimeError, match=r"kernel\.cu:2"):
        HostModule('\nextern "C" __global__ void f(int* x) { *x = nothing; }', {})
