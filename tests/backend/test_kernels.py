"""The compiled kernels against the plain ones, and the plain ones against their formulas."""

import numpy as np
import pytest

from csc_cogd.backend import compiled, kernels

SHAPES = [(1, 1, 1, 9, 7), (2, 3, 1, 8, 5), (1, 4, 3, 6, 6), (3, 2, 2, 5, 8)]  # M, B, R, H, W


def spectra(rng, shape, dtype):
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(dtype)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.complex64, 1e-5), (np.complex128, 1e-13)])
@pytest.mark.parametrize("shape", SHAPES)
def test_spread_gather_and_filter_agree(rng, shape, dtype, tolerance):
    M, B, R, H, W = shape
    operator, q = spectra(rng, (B, R, H, W), dtype), spectra(rng, (M, R, H, W), dtype)
    maps, kept = spectra(rng, (M, B, H, W), dtype), spectra(rng, (M, B, H, W), dtype)
    response = rng.random((H, W)).astype(q.real.dtype)

    def results(module):
        spread, gathered = np.empty_like(maps), np.empty_like(q)
        module.apply_adjoint(operator, q, spread)
        module.accumulate_forward(operator, maps, gathered, False)
        once = gathered.copy()
        module.accumulate_forward(operator, maps, gathered, True)
        filtered = maps.copy()
        module.filter_spectrum(kept, response, filtered)
        return spread, once, gathered, filtered

    for fast, plain in zip(results(compiled), results(kernels), strict=True):
        np.testing.assert_allclose(fast, plain, rtol=tolerance, atol=tolerance * 10)


def test_gather_is_the_adjoint_of_spread(backend, rng):
    operator, q = spectra(rng, (1, 3, 8, 5), complex), spectra(rng, (2, 3, 8, 5), complex)
    maps = spectra(rng, (2, 1, 8, 5), complex)
    operator, q, maps = map(backend.xp.asarray, (operator, q, maps))
    spread, gathered = np.empty_like(maps), np.empty_like(q)
    backend.kernels.apply_adjoint(operator, q, spread)
    backend.kernels.accumulate_forward(operator, maps, gathered, False)
    spread, gathered, maps, q = map(backend.to_host, (spread, gathered, maps, q))
    assert np.vdot(gathered, q) == pytest.approx(np.vdot(maps, spread))


@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("offset", [False, True])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-5), (np.float64, 1e-13)])
def test_shrink_agrees(rng, nonnegative, offset, full, dtype, tolerance):
    p, x = rng.standard_normal((2, 2, 3, 9, 17)).astype(dtype)
    threshold = rng.random((2, 3, 9, 17) if full else (2, 3, 1, 1)).astype(dtype)
    states = [(p.copy(), x.copy()), (p.copy(), x.copy())]
    statistics = [
        module.shrink(*state, threshold, nonnegative, 1.8, offset)
        for module, state in zip((kernels, compiled), states, strict=True)
    ]
    for plain, fast in zip(*states, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(statistics[1], statistics[0], rtol=10 * tolerance)
    for module in (kernels, compiled):
        maps = p.copy()
        module.threshold_maps(maps, threshold, nonnegative)
        expected = np.sign(p) * np.maximum(abs(p) - threshold, 0)
        np.testing.assert_allclose(maps, np.maximum(expected, 0) if nonnegative else expected, atol=tolerance)


def test_nan_is_not_hidden_by_the_compiled_kernel(rng):
    p, x = rng.standard_normal((2, 1, 1, 4, 4))
    x[0, 0, 2, 2] = np.nan
    statistics = compiled.shrink(p, x, np.full((1, 1, 1, 1), 0.1), False, 1.8, False)
    assert np.isnan(p[0, 0, 2, 2])
    assert np.isnan(statistics[0])
