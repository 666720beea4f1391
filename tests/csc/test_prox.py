"""Proximal operators: Moreau's identity, optimality, projections."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from csc_cogd.backend import get_backend
from csc_cogd.csc.prox import (
    FilterProjection,
    MaskedAbsoluteDeviation,
    MaskedLeastSquares,
    MaskedPoissonLikelihood,
    SoftThreshold,
)

BACKEND = get_backend(dtype="float64")
finite = st.floats(-100, 100, allow_subnormal=False)
maps = arrays(np.float64, (1, 1, 4, 5), elements=finite)
EVERYWHERE = (slice(0, 1), slice(0, 1))


def soft(p, lmbda, rho, nonnegative=False):
    prox = SoftThreshold(BACKEND, np.full((1, 1, 1, 1), lmbda), nonnegative)
    prox.set_rho(rho)
    v = p.copy()
    prox.prox_inplace(v, EVERYWHERE)
    return v


@given(maps, st.floats(0.01, 10), st.floats(0.1, 10))
def test_moreau_identity_of_the_l1_norm(p, lmbda, rho):
    # prox of f = lmbda |.|, step 1/rho, plus 1/rho times the prox of its conjugate: the projection onto |.| <= lmbda
    conjugate = np.clip(rho * p, -lmbda, lmbda)
    np.testing.assert_allclose(soft(p, lmbda, rho) + conjugate / rho, p, atol=1e-12)


@given(maps, maps, st.floats(0.01, 10), st.booleans())
def test_prox_of_l1_is_nonexpansive_and_optimal(p, other, lmbda, nonnegative):
    v = soft(p, lmbda, 2.0, nonnegative)
    assert np.linalg.norm(v - soft(other, lmbda, 2.0, nonnegative)) <= np.linalg.norm(p - other) + 1e-9

    def objective(z):
        return lmbda * abs(z).sum() + ((z - p) ** 2).sum()

    z = np.maximum(other, 0) if nonnegative else other
    assert objective(v) <= objective(z) + 1e-9
    assert not nonnegative or v.min() >= 0


@given(maps, maps, arrays(np.float64, (1, 1, 4, 5), elements=st.floats(0, 3)), st.floats(0.1, 10))
def test_prox_of_the_data_term_is_optimal_and_its_dual_state_inverts_it(p, b, weights, rho):
    data = MaskedLeastSquares(b, weights)
    v = data.prox(p, rho)
    gradient = weights**2 * (v - b) + rho * (v - p)
    np.testing.assert_allclose(gradient, 0, atol=1e-9)
    np.testing.assert_allclose(data.dual_state(v, rho), p, atol=1e-8)
    assert data.value(v) == pytest.approx(0.5 * (weights**2 * (v - b) ** 2).sum())


some_missing = arrays(np.float64, (1, 1, 4, 5), elements=st.one_of(st.just(0.0), st.floats(0.1, 3)))


@given(maps, maps, some_missing, st.floats(0.1, 10))
def test_moreau_identity_and_dual_state_of_the_absolute_deviation(p, b, weights, rho):
    data = MaskedAbsoluteDeviation(b, weights)
    v = data.prox(p, rho)
    # rho (p - v) is the prox of the conjugate, the projection of rho (p - b) onto |.| <= W
    np.testing.assert_allclose(rho * (p - v), np.clip(rho * (p - b), -weights, weights), atol=1e-9)
    away = abs(v - b) > 1e-9
    np.testing.assert_allclose(data.dual_state(v, rho)[away], p[away], atol=1e-9)
    assert data.value(v) == pytest.approx((weights * abs(v - b)).sum())


counts = arrays(np.float64, (1, 1, 4, 5), elements=st.one_of(st.just(0.0), st.integers(1, 1000).map(float)))


@given(maps, counts, some_missing, maps, st.floats(0.01, 10))
def test_prox_of_the_poisson_likelihood_is_optimal(p, b, weights, background, rho):
    data = MaskedPoissonLikelihood(b, weights, background)
    v = data.prox(p, rho)
    s, known = v + background, weights > 0
    np.testing.assert_array_equal(v[~known], p[~known])
    assert s[known].min(initial=0) >= -1e-12
    # s times the stationarity condition, in which nothing is divided by s; where s = 0, the gradient may point outside
    condition = weights * (s - b) + rho * s * (v - p)
    scale = (1 + abs(p) + abs(background) + b + weights / rho) ** 2 * (weights + rho)
    np.testing.assert_allclose((condition / scale)[known], 0, atol=1e-9)
    clear = known & (s > 1e-3 * (1 + b))
    assert (weights + rho * (v - p) >= -1e-6 * scale)[known & (b == 0)].all()
    np.testing.assert_allclose(data.dual_state(v, rho)[clear], p[clear], rtol=1e-6, atol=1e-4)


@given(maps, maps, counts, some_missing, st.floats(0.01, 10))
def test_prox_of_the_poisson_likelihood_is_nonexpansive_and_no_point_is_better(p, other, b, weights, rho):
    data = MaskedPoissonLikelihood(b, weights, np.full_like(b, 2.0))
    v = data.prox(p, rho)
    assert np.linalg.norm(v - data.prox(other, rho)) <= np.linalg.norm(p - other) * (1 + 1e-9) + 1e-6

    def objective(z):
        return data.value(z) + rho / 2 * ((z - p) ** 2).sum()

    assert objective(v) <= objective(np.maximum(other, b / 100 - 2)) * (1 + 1e-6) + 1e-6


def test_value_of_the_poisson_likelihood_is_that_of_scipy_stats(rng):
    from scipy.stats import poisson

    b, s = rng.integers(0, 30, (1, 1, 6, 6)).astype(float), 0.1 + 20 * rng.random((1, 1, 6, 6))
    data = MaskedPoissonLikelihood(b, np.ones((1, 1, 1, 1)), np.full_like(b, 0.1))
    assert data.value(s - 0.1) == pytest.approx((poisson.logpmf(b, b) - poisson.logpmf(b, s)).sum())
    step = 1e-6 * rng.standard_normal(s.shape)
    slope = (data.value(s - 0.1 + step) - data.value(s - 0.1 - step)) / 2
    assert slope == pytest.approx((data.gradient(s - 0.1) * step).sum(), rel=1e-4)


@settings(max_examples=50)
@given(arrays(np.float64, (2, 3, 6, 7), elements=finite))
def test_filter_projection_is_feasible_idempotent_and_nearest(p):
    shapes = np.array([[2, 3], [4, 4], [6, 1]])
    prox, index = FilterProjection(BACKEND, shapes), (slice(0, 2), slice(0, 3))
    v = p.copy()
    prox.prox_inplace(v, index)
    for k, (height, width) in enumerate(shapes):
        assert np.linalg.norm(v[:, k]) <= 1 + 1e-12
        assert not v[:, k, height:].any()
        assert not v[:, k, :, width:].any()
    again = v.copy()
    prox.prox_inplace(again, index)
    np.testing.assert_allclose(again, v, atol=1e-12)
    # the residual of a projection onto a convex set makes an obtuse angle with the set: here with 0 and with v / 2
    assert np.vdot(p - v, -v) <= 1e-9 * (1 + np.vdot(p, p))
    assert np.vdot(p - v, v / 2 - v) <= 1e-9 * (1 + np.vdot(p, p))


def test_states_of_the_filter_prox_advance_as_douglas_rachford(rng):
    prox, index = FilterProjection(BACKEND, np.array([[2, 2]])), (slice(0, 2), slice(0, 1))
    p, x = rng.standard_normal((2, 2, 1, 5, 5))
    v = p.copy()
    prox.prox_inplace(v, index)
    expected = p + 1.5 * (x - v)
    new = x.copy()
    prox.step(p, new, index, 1.5, False)
    np.testing.assert_allclose(p, expected)
    w = expected.copy()
    prox.prox_inplace(w, index)
    np.testing.assert_allclose(new, 2 * w - expected)
