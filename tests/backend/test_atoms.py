"""The compiled kernels on atoms against the plain ones, and the plain ones against convolution and dense algebra."""

import numpy as np
import pytest
from scipy.signal import convolve

from csc_cogd.backend import atoms, compiled_atoms

PRECISIONS = [(np.float32, 1e-5), (np.float64, 1e-13)]
CASES = [(1, 3, 3), (1, 5, 8), (3, 4, 11), (2, 1, 17)]  # channels, height and width of the filters


def problem(rng, case, dtype, circular=True):
    """Filters, some atoms of a 20 x 24 image, its weights and a residual on a canvas, and the image's size."""
    C, h, w = case
    filters = atoms.padded(rng.standard_normal((5, C, h, w)).astype(dtype))
    period = (20, 24) if circular else (20 + h, 24 + w)
    canvas = (C, period[0], period[1] + filters.shape[3])
    places = np.stack([rng.integers(0, n, 60) for n in (5, 20, 24)]).astype(np.int32)
    places = np.unique(places, axis=1)
    weights, residual = (
        (rng.random(canvas) * (rng.random(canvas) < 0.7)).astype(dtype),
        rng.standard_normal(canvas).astype(dtype),
    )
    return filters, places, rng.standard_normal(places.shape[1]).astype(dtype), weights, residual, period


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("circular", [True, False])
def test_atoms_are_added_and_weighed_alike(rng, case, circular, dtype, tolerance):
    filters, places, codes, weights, residual, period = problem(rng, case, dtype, circular)
    sums = [residual.copy(), residual.copy()]
    energies = []
    for module, canvas in zip((atoms, compiled_atoms), sums, strict=True):
        module.add_atoms(places, codes, filters, case[2], period, canvas)
        energies.append(module.energies(places, filters, case[2], period, weights))
    np.testing.assert_allclose(sums[1], sums[0], rtol=tolerance, atol=10 * tolerance)
    np.testing.assert_allclose(energies[1], energies[0], rtol=10 * tolerance, atol=tolerance)


@pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("nonnegative", [True, False])
def test_a_sweep_of_coordinate_descent_agrees(rng, case, nonnegative, dtype, tolerance):
    filters, places, codes, weights, residual, period = problem(rng, case, dtype)
    energy = np.maximum(atoms.energies(places, filters, case[2], period, weights), dtype(0.1))
    thresholds = (0.1 + rng.random(codes.size)).astype(dtype)
    if nonnegative:
        codes = abs(codes)
    results = []
    for module in (atoms, compiled_atoms):
        x, r = codes.copy(), residual.copy()
        moved = [
            module.descend(places, x, energy, thresholds, filters, case[2], period, nonnegative, weights, r, zeros)
            for zeros in (True, False)
        ]
        results.append((x, r, moved))
    for plain, fast in zip(*results, strict=True):
        np.testing.assert_allclose(fast, plain, rtol=100 * tolerance, atol=100 * tolerance)
    assert not nonnegative or results[0][0].min() >= 0


@pytest.mark.parametrize("module", [atoms, compiled_atoms])
def test_a_sweep_keeps_up_the_residual_and_lowers_the_objective(rng, module):
    filters, places, codes, weights, _, period = problem(rng, (2, 4, 5), np.float64)
    image, thresholds = rng.standard_normal(weights.shape), 0.1 + rng.random(codes.size)
    energy = module.energies(places, filters, 5, period, weights)
    codes[::3] = 0
    places, codes, thresholds, energy = places[:, energy > 0], codes[energy > 0], thresholds[energy > 0], energy[energy > 0]

    def difference(x):
        canvas = np.zeros_like(image)
        module.add_atoms(places, x, filters, 5, period, canvas)
        return image - canvas

    def objective(x):
        return 0.5 * (weights * difference(x) ** 2).sum() + (thresholds * abs(x)).sum()

    residual = weights * difference(codes)
    values = [objective(codes)]
    for _ in range(5):
        module.descend(places, codes, energy, thresholds, filters, 5, period, False, weights, residual, True)
        np.testing.assert_allclose(residual, weights * difference(codes), atol=1e-12)
        values.append(objective(codes))
    assert np.all(np.diff(values) < 0)


@pytest.mark.parametrize("module", [atoms, compiled_atoms])
@pytest.mark.parametrize("case", CASES)
def test_a_sparse_map_is_convolved_with_its_filter(rng, module, case):
    C, h, w = case
    d = rng.standard_normal((C, h, w))
    codes = rng.standard_normal((14, 37)) * (rng.random((14, 37)) < 0.1)
    lanes = atoms.padded(d[None])[0]
    canvas = np.zeros((C, 14 + h - 1, 37 + lanes.shape[2] - 1))
    module.add_map(codes, lanes, canvas)
    expected = [convolve(codes, plane) for plane in d]
    np.testing.assert_allclose(canvas[:, :, : 37 + w - 1], expected, atol=1e-12)
    assert not canvas[:, :, 37 + w - 1 :].any()


@pytest.mark.parametrize("module", [atoms, compiled_atoms])
@pytest.mark.parametrize("full", [True, False])
def test_atoms_are_found_where_the_gradient_exceeds_the_thresholds(rng, module, full):
    gradient = rng.standard_normal((9, 21))
    thresholds = 0.3 + rng.random((9, 21) if full else (1, 1))
    for nonnegative in (True, False):
        ratios = (gradient if nonnegative else abs(gradient)) / thresholds
        found, largest, excess, total = module.find_atoms(gradient, thresholds, nonnegative, 1.5)
        np.testing.assert_array_equal(found, np.argwhere(ratios > 1.5).T)
        assert largest == pytest.approx(ratios.max())
        assert excess == pytest.approx((np.maximum(ratios - 1, 0) ** 2 * thresholds**2).sum())
        assert total == pytest.approx((gradient**2).sum())
        assert found.dtype == np.int32
        assert module.find_atoms(gradient, thresholds, nonnegative, np.inf)[0].shape == (2, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradients_that_round_to_either_side_of_the_cut_name_atoms_or_none(rng, dtype):
    for cut in rng.uniform(1, 30, 200):
        thresholds = rng.uniform(0.01, 0.02, (1, 1)).astype(dtype)
        nearly = dtype(cut) * thresholds[0, 0] * (1 + rng.integers(-3, 4, (24, 31)) * np.finfo(dtype).eps)
        gradient = (nearly * rng.choice([-1, 1], nearly.shape)).astype(dtype)
        found, *_ = compiled_atoms.find_atoms(gradient, thresholds, False, cut)
        assert len(np.unique(found, axis=1).T) == found.shape[1]
        ratios = np.abs(gradient[tuple(found)]) / thresholds[0, 0]  # no position lies outside
        np.testing.assert_allclose(ratios, cut, rtol=1e-5)
