"""Strided convolution by phases: the kernels against each other, and against sums written out."""

import numpy as np
import pytest

from csc_cogd.backend import compiled_polyphase, polyphase

KERNELS = [polyphase, compiled_polyphase]
CASES = [(1, 7, 2), (3, 5, 2), (1, 4, 1), (2, 6, 3), (1, 3, 3)]  # channels, size, stride


def phases_of(image, stride):
    """Phases of an image whose sides are multiples of the stride, (C s^2, h, w)."""
    return np.stack([plane[a::stride, b::stride] for plane in image for a in range(stride) for b in range(stride)])


def gathered(module, phases, channels, size, stride, row, rows):
    columns = np.full((channels * size**2, rows, phases.shape[2] - (-(-size // stride) - 1)), np.nan)
    module.gather(phases, size, stride, row, columns)
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
    module.scatter(others, size, stride, 1, back)
    np.testing.assert_allclose((columns * others).sum(), (phases * back).sum(), rtol=1e-12)


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
