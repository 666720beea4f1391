"""Strided convolution by phases: the kernels against each other, and against sums written out."""

import numpy as np
import pytest

from csc_cogd.backend import compiled_polyphase, polyphase
from csc_cogd.backend.cuda import polyphase as on_gpu

KERNELS = [polyphase, compiled_polyphase]
CASES = [(1, 7, 2), (3, 5, 2), (1, 4, 1), (2, 6, 3), (1, 3, 3)]  # channels, size, stride


def phases_of(image, stride):
    """Phases of an image whose sides are multiples of the stride, (C s^2, h, w)."""
    return np.stack([plane[a::stride, b::stride] for plane in image for a in range(stride) for b in range(stride)])


def gathered(module, phases, channels, size, stride, row, rows, height=99):
    columns = np.full((channels * size**2, rows, phases.shape[2] - (-(-size // stride) - 1)), np.nan)
    module.gather(phases, size, stride, row, height, columns)
    return columns


@pytest.mark.parametrize("module", KERNELS)
@pytest.mark.parametrize(("channels", "size", "stride"), CASES)
def test_columns_are_what_filters_meet(rng, module, channels, size, stride):
    image = rng.standard_normal((channels, 8 * stride, 9 * stride))
    columns = gathered(module, phases_of(image, stride), channels, size, stride, 1, 3)
    for i in range(3):
        for j in range(columns.shape[2]):
            top, left = (i + 1) * stride, j * stride
            patch = image[:, top : top + size, left : left + size]
            np.testing.assert_array_equal(columns[:, i, j], patch.ravel())


@pytest.mark.parametrize("module", KERNELS)
@pytest.mark.parametrize(("channels", "size", "stride"), CASES)
def test_scattering_is_the_adjoint_of_gathering(rng, module, channels, size, stride):
    phases = rng.standard_normal((channels * stride**2, 8, 9))
    columns = gathered(module, phases, channels, size, stride, 1, 4)
    others, back = rng.standard_normal(columns.shape), np.zeros_like(phases)
    module.scatter(others, size, stride, 1, 99, back)
    np.testing.assert_allclose((columns * others).sum(), (phases * back).sum(), rtol=1e-12)


@pytest.mark.parametrize("module", KERNELS)
@pytest.mark.parametrize(("channels", "size", "stride"), CASES)
def test_images_below_one_another_are_each_by_itself(rng, module, channels, size, stride):
    beyond, height = -(-size // stride) - 1, 5
    images = rng.standard_normal((3, channels * stride**2, height + beyond, 9))
    stacked = np.concatenate(images, axis=1)
    columns = gathered(module, stacked, channels, size, stride, 0, 3 * height, height)
    apart = [gathered(module, phases, channels, size, stride, 0, height) for phases in images]
    np.testing.assert_array_equal(columns, np.concatenate(apart, axis=1))
    across = gathered(module, stacked, channels, size, stride, 3, 9, height)  # a band that begins and ends within images
    np.testing.assert_array_equal(across, columns[:, 3:12])
    back, others = np.zeros_like(stacked), np.zeros_like(images)
    module.scatter(across, size, stride, 3, height, back)
    full = np.zeros_like(columns)
    full[:, 3:12] = across
    for number, into in enumerate(others):
        module.scatter(full[:, number * height : (number + 1) * height].copy(), size, stride, 0, height, into)
    np.testing.assert_allclose(back, np.concatenate(others, axis=1), atol=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("channels", "size", "stride"), CASES)
def test_a_gpu_computes_the_same(cuda, rng, channels, size, stride, dtype):
    beyond, height, close = -(-size // stride) - 1, 5, {"rtol": 1e-5, "atol": 1e-5}
    phases = rng.standard_normal((channels * stride**2, 3 * (height + beyond), 9)).astype(dtype)
    for row, rows in [(0, 15), (3, 9)]:
        plain = np.full((channels * size**2, rows, 9 - beyond), np.nan, dtype)
        polyphase.gather(phases, size, stride, row, height, plain)
        columns, back = cuda.asarray(np.full_like(plain, np.nan)), phases.copy()
        on_gpu.gather(cuda.asarray(phases), size, stride, row, height, columns)
        np.testing.assert_array_equal(columns.get(), plain)
        polyphase.scatter(plain, size, stride, row, height, back)
        there = cuda.asarray(phases)
        on_gpu.scatter(columns, size, stride, row, height, there)
        np.testing.assert_allclose(there.get(), back, **close)
    codes, step = rng.standard_normal((5, 400)).astype(dtype), rng.standard_normal((5, 300)).astype(dtype)
    t0, t1, sigma = (rng.random(n).astype(dtype) for n in (5, 5, 400))
    out, first, second = np.zeros_like(codes), np.zeros_like(t0), np.zeros_like(t1)
    there = [cuda.asarray(each) for each in (codes, step, t0, t1, sigma, out, first, second)]
    on_gpu.shrink(*there[:5], 70, there[5])
    polyphase.shrink(codes, step, t0, t1, sigma, 70, out)
    np.testing.assert_allclose(there[5].get(), out, **close)
    assert 0 < np.count_nonzero(out) < step.size
    gradient = rng.standard_normal(codes.shape).astype(dtype)
    passed = cuda.asarray(gradient)
    on_gpu.shrink_backward(there[5], passed, there[4], *there[6:])
    polyphase.shrink_backward(out, gradient, sigma, first, second)
    for found, expected in zip((passed, *there[6:]), (gradient, first, second), strict=True):
        np.testing.assert_allclose(found.get(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_kernels_agree(rng, dtype):
    codes, step = rng.standard_normal((5, 40)).astype(dtype), rng.standard_normal((5, 12)).astype(dtype)
    t0, t1, sigma = (rng.random(n).astype(dtype) for n in (5, 5, 40))
    results = []
    for module in KERNELS:
        out = np.zeros_like(codes)
        module.shrink(codes, step, t0, t1, sigma, 7, out)
        gradient, first, second = step[:, :12].copy(), np.zeros_like(t0), np.zeros_like(t1)
        module.shrink_backward(out[:, 7:19].copy(), gradient, sigma[7:19].copy(), first, second)
        results.append((out, gradient, first, second))
    for plain, fast in zip(*results, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=1e-5, atol=1e-6)
    assert not results[0][0][:, :7].any()
    assert not results[0][0][:, 19:].any()
