"""FISTA: against ADMM and dense linear algebra, its optimality conditions, and its promises."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.signal import correlate

from csc_cogd import Dictionary, InputError, lambda_max, reconstruct_images, sparse_code

TIGHT = {"dtype": "float64", "max_iter": 1500, "tol": 1e-7}
FISTA = {"solver": "fista"}


@pytest.fixture
def detail(photo):
    image = photo[:48, :44] / 255
    return (image - gaussian_filter(image, 3))[None]


@pytest.fixture
def dictionary(rng):
    filters = rng.standard_normal((5, 6, 5))
    return Dictionary(filters / np.linalg.norm(filters, axis=(1, 2))[:, None, None])


@pytest.fixture
def color_dictionary(rng):
    filters = rng.standard_normal((4, 3, 5, 4))
    return Dictionary(filters / np.linalg.norm(filters.reshape(4, -1), axis=1)[:, None, None, None])


@pytest.mark.parametrize("boundary", ["free", "circular"])
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("weighting", ["none", "mask", "confidence"])
def test_it_finds_what_admm_finds_in_color(detail, color_dictionary, rng, boundary, nonnegative, weighting):
    images = np.stack([detail, detail[:, ::-1], 0.5 * detail], axis=1)[:, :, :30, :32]
    weights = {"none": None, "mask": rng.random((1, 30, 32)) < 0.6, "confidence": 2 * rng.random(images.shape)}[weighting]
    problem = {"lmbda": 0.05, "weights": weights, "boundary": boundary, "nonnegative": nonnegative}
    ours = sparse_code(images, color_dictionary, **problem, **TIGHT, **FISTA)
    theirs = sparse_code(images, color_dictionary, **problem, **TIGHT, solver="admm")
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-6)
    assert ours.history[-1].objective == ours.objective
    np.testing.assert_allclose(ours.reconstruction, theirs.reconstruction, atol=1e-3)
    assert not nonnegative or ours.codes.min() >= 0


@pytest.mark.parametrize("per_position", [False, True])
def test_the_optimality_conditions_hold(detail, dictionary, rng, per_position):
    l1_weights = 0.5 + rng.random((1, 5, 53, 48)) if per_position else 0.5 + rng.random(5)
    ours = sparse_code(detail, dictionary, lmbda=0.02, l1_weights=l1_weights, **TIGHT | {"tol": 1e-8}, **FISTA)
    x, thresholds = ours.codes[0], 0.02 * (l1_weights[0] if per_position else l1_weights[:, None, None])
    residual = detail[0] - ours.reconstruction[0]
    gradient = np.array([correlate(residual, d, mode="full") for d in dictionary.filters])
    expected = (thresholds * np.sign(x))[x != 0]
    np.testing.assert_allclose(gradient[x != 0], expected, atol=1e-5)
    assert (abs(gradient) - thresholds).max() < 1e-5


def test_the_objective_is_that_of_the_returned_codes(detail, dictionary, rng):
    weights = rng.random(detail.shape) < 0.7
    for max_iter in (1, 7, 40):
        ours = sparse_code(
            detail, dictionary, lmbda=0.02, weights=weights, dtype="float64", max_iter=max_iter, tol=0, **FISTA
        )
        fit = reconstruct_images(ours.codes, dictionary)
        np.testing.assert_allclose(ours.reconstruction, fit, atol=1e-10)
        expected = 0.5 * np.sum((weights * (fit - detail)) ** 2) + 0.02 * abs(ours.codes).sum()
        assert ours.objective == pytest.approx(expected, rel=1e-10)
        last = ours.history[-1]
        assert last.objective == ours.objective == last.data_term + last.l1
        assert last.nonzeros == np.count_nonzero(ours.codes)


def test_a_step_from_zero_has_the_length_of_the_largest_eigenvalue(rng):
    """Against the matrix of the circular convolutions, with weights: the step is 1 / (||A||^2 max W^2)."""
    filters, images = rng.standard_normal((3, 2, 3, 4)), rng.standard_normal((1, 2, 8, 8))
    weights, lmbda = 1.5 * rng.random((1, 2, 8, 8)), 0.2
    units = np.eye(3 * 64).reshape(-1, 3, 8, 8)
    A = reconstruct_images(units, Dictionary(filters), boundary="circular", dtype="float64").reshape(3 * 64, -1).T
    step = 1 / (np.linalg.norm(A, 2) ** 2 * weights.max() ** 2)
    moved = step * A.T @ (weights**2 * images).ravel()
    expected = np.sign(moved) * np.maximum(abs(moved) - step * lmbda, 0)
    run = {"lmbda": lmbda, "weights": weights, "boundary": "circular", "dtype": "float64", "max_iter": 1}
    ours = sparse_code(images, Dictionary(filters), **run, **FISTA)
    np.testing.assert_allclose(ours.codes.ravel(), expected, atol=1e-12)


def test_without_penalty_it_is_least_squares(rng, dictionary):
    image = rng.standard_normal((1, 12, 9))
    ours = sparse_code(image, dictionary, lmbda=0, **TIGHT | {"tol": 0, "max_iter": 300}, **FISTA)
    assert ours.objective < 1e-9
    A = reconstruct_images(np.eye(5 * 17 * 13).reshape(-1, 5, 17, 13), dictionary, dtype="float64").reshape(-1, 108).T
    smallest = np.linalg.lstsq(A, image.ravel(), rcond=None)[0]  # of least norm, where descent from zero leads
    np.testing.assert_allclose(ours.codes.ravel(), smallest, atol=1e-4)
    unpenalised = sparse_code(image, dictionary, lmbda=0.1, l1_weights=[1, 1, 0, 1, 1], **TIGHT, **FISTA)
    assert np.isnan(unpenalised.history[-1].gap)
    theirs = sparse_code(image, dictionary, lmbda=0.1, l1_weights=[1, 1, 0, 1, 1], **TIGHT, solver="admm")
    assert unpenalised.objective == pytest.approx(theirs.objective, rel=1e-4, abs=1e-6)


def test_the_gap_bounds_the_distance_from_the_optimum(detail, dictionary):
    seen = []
    run = {"lmbda": 0.02, "dtype": "float64", **FISTA}
    best = sparse_code(detail, dictionary, **run, max_iter=1500, tol=1e-9, callback=seen.append)
    assert best.history == seen
    objectives, gaps = (np.array([getattr(record, name) for record in seen]) for name in ("objective", "gap"))
    assert np.all(gaps * objectives >= objectives - best.objective - 1e-12)
    assert gaps[-1] < 1e-6
    assert seen[-1].dual_residual < 1e-4 * seen[0].dual_residual
    loose = sparse_code(detail, dictionary, **run, max_iter=1500, tol=1e-2)
    assert loose.history[-1].converged(1e-2)
    assert not loose.history[-2].converged(1e-2)
    zero = sparse_code(detail, dictionary, **run | {"lmbda": 1.01 * lambda_max(detail, dictionary)})
    assert not zero.codes.any()
    assert len(zero.history) == 1


def test_restarts_make_it_converge_linearly_where_the_problem_is_strongly_convex(rng):
    blur = Dictionary(np.outer([0.3, 1, 0.3], [0.3, 1, 0.3])[None])
    image = rng.standard_normal((1, 40, 40))
    run = {"lmbda": 0.05, "boundary": "circular", "dtype": "float64", "max_iter": 250, "tol": 0}
    objectives = [record.objective for record in sparse_code(image, blur, **run, **FISTA).history]
    best = sparse_code(image, blur, **run | {"max_iter": 5000, "tol": 1e-13}, solver="coordinate descent").objective
    errors = np.array(objectives) - best
    assert errors[-1] < 1e-9 * errors[0]


def test_it_goes_on_from_given_codes(detail, dictionary):
    images = np.concatenate([detail, 0.5 * detail[:, ::-1]])
    run = {"lmbda": 0.02, "dtype": "float64", **FISTA}
    cold = sparse_code(images, dictionary, **run, max_iter=1000, tol=1e-8)
    warm = sparse_code(images, dictionary, **run, start=cold.codes, max_iter=3, tol=0)
    assert warm.objective == pytest.approx(cold.objective, rel=1e-9)
    np.testing.assert_allclose(warm.codes, cold.codes, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fidelity": "poisson"}, "solver 'fista' works with the fidelity 'least squares' only: use 'auto' or 'admm'"),
        ({"gradient_penalty": 0.1}, "'fista' doesn't support a gradient penalty"),
        ({"rho": 1.0}, "'fista' takes no rho and no rho_data"),
        ({"rho_data": 1.0}, "'fista' takes no rho and no rho_data"),
    ],
)
def test_what_it_cannot_do_is_said(dictionary, change, message):
    with pytest.raises(InputError, match=message):
        sparse_code(np.ones((1, 8, 8)), dictionary, **{"lmbda": 0.1} | change, **FISTA)
