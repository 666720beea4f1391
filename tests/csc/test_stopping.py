"""When solvers stop: where the objective is known to be close to the optimum, however small the weight of the l1 term."""

import numpy as np
import pytest

from csc_cogd import Dictionary, reconstruct_images, sparse_code
from csc_cogd.csc.solvers import SOLVERS


@pytest.fixture(scope="module")
def dictionary():
    return Dictionary(np.random.default_rng(1).standard_normal((3, 6, 6)))


@pytest.fixture(scope="module")
def coded(dictionary):
    """An image that is a sum of few atoms."""
    rng = np.random.default_rng(0)
    codes = np.where(rng.random((1, 3, 32, 32)) < 0.005, rng.standard_normal((1, 3, 32, 32)), 0)
    return reconstruct_images(codes, dictionary, boundary="circular", dtype="float64")


@pytest.mark.parametrize("lmbda", [1e-3, 1])
@pytest.mark.parametrize("solver", SOLVERS[1:])
def test_the_objective_is_as_close_to_the_optimum_as_asked_for(coded, dictionary, solver, lmbda):
    problem = {"lmbda": lmbda, "boundary": "circular", "dtype": "float64"}
    best = sparse_code(coded, dictionary, **problem, solver="coordinate descent", tol=1e-9).objective
    for tol in (1e-1, 1e-3):
        found = sparse_code(coded, dictionary, **problem, solver=solver, tol=tol, max_iter=5000)
        assert found.history[-1].gap <= tol
        assert found.objective * (1 - tol) <= best


@pytest.mark.parametrize(
    "change",
    [
        {"fidelity": "absolute deviation"},
        {"fidelity": "poisson", "background": 0.5},
        {"gradient_penalty": 0.1},
        {"nonnegative": True},
        {"l1_weights": np.array([0.5, 1, 2])},
    ],
    ids=lambda change: next(iter(change)) + str(next(iter(change.values()))),
)
def test_the_gap_of_admm_bounds_the_distance_from_the_optimum(coded, dictionary, change):
    images, weights = abs(coded), np.random.default_rng(2).random(coded.shape) < 0.7
    problem = {"lmbda": 0.3, "weights": weights, "solver": "admm", "dtype": "float64"} | change
    best = sparse_code(images, dictionary, **problem, tol=0, max_iter=1500).objective
    for tol in (0.3, 0.1):
        found = sparse_code(images, dictionary, **problem, tol=tol, max_iter=1500)
        gap = found.history[-1].gap
        assert (found.objective - best) / found.objective - 1e-6 <= gap <= tol


def test_looking_at_the_gap_of_admm_changes_nothing_but_the_end(coded, dictionary):
    problem = {"lmbda": 0.1, "boundary": "circular", "solver": "admm", "fft": "scipy"}
    stopped = sparse_code(coded, dictionary, **problem, tol=1e-2, max_iter=1000)
    looked_at = [record.iteration for record in stopped.history if not np.isnan(record.gap)]
    assert len(looked_at) > 1
    assert looked_at[-1] == len(stopped.history)
    blind = sparse_code(coded, dictionary, **problem, tol=0, max_iter=len(stopped.history))
    np.testing.assert_array_equal(blind.codes, stopped.codes)


def test_where_codes_are_not_penalised_the_residuals_decide(coded, dictionary):
    l1_weights = np.ones((1, 3, 32, 32))
    l1_weights[0, 0, :4] = 0
    problem = {"lmbda": 1, "l1_weights": l1_weights, "boundary": "circular"}
    last = sparse_code(coded, dictionary, **problem, tol=1e-3, max_iter=2000).history[-1]
    assert np.isnan(last.gap)
    assert max(last.primal_residual, last.dual_residual) < 1e-3
