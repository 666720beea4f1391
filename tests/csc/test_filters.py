"""The filter solve against a dense solver."""

import itertools

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.signal import convolve

from csc_cogd import Dictionary, InputError
from csc_cogd.csc.filters import solve_filters


def dense_solution(images, codes, shapes, weights, channels):
    """Projected filters by SciPy: the norm constraints by SLSQP, every convolution written out as a matrix."""
    K, size = len(shapes), [channels * h * w for h, w in shapes]
    cuts = np.cumsum([0, *size])

    def matrix(n):
        columns = []
        for k, (h, w) in enumerate(shapes):
            for index in range(h * w):
                unit = np.zeros(shapes.max(axis=0))
                unit[:h, :w].flat[index] = 1
                columns.append(convolve(codes[n, k], unit, mode="valid").ravel())
        return np.array(columns).T

    A = [matrix(n) for n in range(len(images))]
    order = [np.arange(c0, c1).reshape(channels, -1) for c0, c1 in itertools.pairwise(cuts)]

    def function(d):
        value, gradient = 0.0, np.zeros_like(d)
        for n in range(len(images)):
            for c in range(channels):
                rows = np.concatenate([part[c] for part in order])
                r = weights[n, c].ravel() * (A[n] @ d[rows] - images[n, c].ravel())
                value += 0.5 * r @ r
                gradient[rows] += A[n].T @ (weights[n, c].ravel() * r)
        return value, gradient

    constraints = [{"type": "ineq", "fun": lambda d, a=a, b=b: 1 - d[a:b] @ d[a:b]} for a, b in itertools.pairwise(cuts)]
    start = np.random.default_rng(0).standard_normal(cuts[-1]) * 0.1
    found = minimize(
        function, start, jac=True, constraints=constraints, method="SLSQP", options={"maxiter": 500, "ftol": 1e-12}
    )
    filters = np.zeros((K, channels, *shapes.max(axis=0)))
    for k, (h, w) in enumerate(shapes):
        filters[k, :, :h, :w] = found.x[cuts[k] : cuts[k + 1]].reshape(channels, h, w)
    return filters


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("n_images", [1, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_agrees_with_a_dense_solver(rng, channels, n_images, masked):
    shapes = np.array([[3, 3], [2, 3]])
    codes = rng.standard_normal((n_images, 2, 9, 8)) * (rng.random((n_images, 2, 9, 8)) < 0.3)
    images = rng.standard_normal((n_images, channels, 7, 6))
    weights = rng.random(images.shape) * 2 * (rng.random(images.shape) < 0.7) if masked else np.ones(images.shape)
    start = np.zeros((2, channels, 3, 3))
    start[:, :, :2] = 0.1
    expected = dense_solution(images, codes, shapes, weights, channels)
    if channels == 1:
        images, weights, start, expected = images[:, 0], weights[:, 0], start[:, 0], expected[:, 0]
    found = solve_filters(
        images, codes, Dictionary(start, shapes), weights=weights, dtype="float64", max_iter=5000, tol=1e-9
    )
    np.testing.assert_allclose(found.filters, expected, atol=2e-3)
    assert np.all(np.linalg.norm(found.filters.reshape(2, -1), axis=1) <= 1 + 1e-9)


@pytest.mark.parametrize(
    ("codes", "start", "message"),
    [
        (np.zeros((1, 2, 8, 8)), np.ones((2, 3, 3)), r"codes must be real numbers of shape \(1, 2, 10, 10\)"),
        (np.full((1, 2, 10, 10), np.nan), np.ones((2, 3, 3)), "codes must be finite"),
        (np.zeros((1, 2, 10, 10)), np.ones((2, 2, 3, 3)), "start must have filters of 1 channels, as the images, got 2"),
    ],
)
def test_what_does_not_fit_is_named(codes, start, message):
    with pytest.raises(InputError, match=message):
        solve_filters(np.zeros((1, 8, 8)), codes, Dictionary(start))
