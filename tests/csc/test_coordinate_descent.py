"""Coordinate descent on the atoms in use: against ADMM, its optimality conditions, and its promises."""

import numpy as np
import pytest
from scipy.signal import correlate

from csc_cogd import Dictionary, InputError, sparse_code

TIGHT = {"dtype": "float64", "max_iter": 1500, "tol": 1e-7}
DESCENT = {"solver": "coordinate descent"}


@pytest.fixture
def detail(photo):
    from scipy.ndimage import gaussian_filter

    image = photo / 255
    return (image - gaussian_filter(image, 3))[None]


@pytest.fixture
def dictionary(rng):
    filters = rng.standard_normal((5, 6, 5))
    return Dictionary(filters / np.linalg.norm(filters, axis=(1, 2))[:, None, None])


@pytest.fixture
def color_dictionary(rng):
    filters, shapes = np.zeros((4, 3, 9, 5)), np.array([[9, 5], [3, 2], [4, 4], [1, 1]])
    for d, (h, w) in zip(filters, shapes, strict=True):
        d[:, :h, :w] = rng.standard_normal((3, h, w))
    return Dictionary(filters / np.linalg.norm(filters.reshape(4, -1), axis=1)[:, None, None, None], shapes)


@pytest.mark.parametrize("boundary", ["free", "circular"])
@pytest.mark.parametrize("nonnegative", [False, True])
@pytest.mark.parametrize("weighting", ["none", "mask", "confidence"])
def test_it_finds_what_admm_finds(detail, color_dictionary, rng, boundary, nonnegative, weighting):
    images = np.stack([detail, detail[:, ::-1], 0.5 * detail], axis=1)[:, :, :40, :44]
    weights = {"none": None, "mask": rng.random((1, 40, 44)) < 0.6, "confidence": 2 * rng.random(images.shape)}[weighting]
    problem = {"lmbda": 0.05, "weights": weights, "boundary": boundary, "nonnegative": nonnegative}
    ours = sparse_code(images, color_dictionary, **problem, **TIGHT, **DESCENT)
    theirs = sparse_code(images, color_dictionary, **problem, **TIGHT, solver="admm")
    assert ours.objective == pytest.approx(theirs.objective, rel=2e-6)
    assert ours.objective <= theirs.objective * (1 + 1e-9)
    assert ours.history[-1].objective == pytest.approx(ours.objective, rel=1e-12)
    np.testing.assert_allclose(ours.reconstruction, theirs.reconstruction, atol=1e-3)
    assert not nonnegative or ours.codes.min() >= 0


@pytest.mark.parametrize("per_position", [False, True])
def test_the_optimality_conditions_hold(detail, dictionary, rng, per_position):
    l1_weights = 0.5 + rng.random((1, 5, 101, 100)) if per_position else 0.5 + rng.random(5)
    ours = sparse_code(detail, dictionary, lmbda=0.02, l1_weights=l1_weights, **TIGHT, **DESCENT)
    x, thresholds = ours.codes[0], 0.02 * (l1_weights[0] if per_position else l1_weights[:, None, None])
    residual = detail[0] - ours.reconstruction[0]
    gradient = np.array([correlate(residual, d, mode="full") for d in dictionary.filters])
    expected = (thresholds * np.sign(x))[x != 0]
    np.testing.assert_allclose(gradient[x != 0], expected, atol=1e-6)
    assert (abs(gradient) - thresholds).max() < 1e-6


@pytest.mark.parametrize("boundary", ["free", "circular"])
def test_the_result_does_not_depend_on_the_number_of_threads(photo, dictionary, boundary):
    tall = np.tile(photo / 255 - 0.5, (3, 1))  # of several bands, odd and even ones
    run = {"lmbda": 0.1, "boundary": boundary, "max_iter": 8, "tol": 0, "fft": "scipy", **DESCENT}
    codes = [sparse_code(tall[None], dictionary, threads=threads, **run).codes for threads in (1, 2, 3)]
    np.testing.assert_array_equal(codes[1], codes[0])
    np.testing.assert_array_equal(codes[2], codes[0])


def test_images_are_coded_as_each_would_be_alone(detail, dictionary):
    images = np.concatenate([detail, 0.01 * detail, 0.5 * detail[:, ::-1], np.zeros_like(detail)])
    run = {"lmbda": 0.02, "dtype": "float64", "fft": "scipy", "threads": 2, **DESCENT}
    together = sparse_code(images, dictionary, **run)
    for image, codes in zip(images, together.codes, strict=True):
        np.testing.assert_array_equal(sparse_code(image[None], dictionary, **run).codes[0], codes)
    assert together.objective == pytest.approx(together.history[-1].objective)


def test_the_gap_bounds_the_distance_from_the_optimum_and_the_objective_falls(detail, dictionary):
    seen = []
    run = {"lmbda": 0.02, "dtype": "float64", **DESCENT}
    best = sparse_code(detail, dictionary, **run, max_iter=1000, tol=1e-8, callback=seen.append)
    assert best.history == seen
    objectives = np.array([record.objective for record in seen])
    gaps = np.array([record.gap for record in seen])
    assert np.all(np.diff(objectives) <= 1e-12)
    assert np.all(gaps * objectives >= objectives - best.objective - 1e-12)
    assert gaps[-1] < 1e-6
    assert seen[-1].nonzeros == np.count_nonzero(best.codes)
    assert seen[-1].l1 == pytest.approx(0.02 * abs(best.codes).sum())
    assert len(sparse_code(detail, dictionary, **run, callback=lambda record: record.iteration == 2).history) == 2


def test_it_goes_on_from_given_codes(detail, dictionary):
    run = {"lmbda": 0.02, "dtype": "float64", **DESCENT}
    cold = sparse_code(detail, dictionary, **run, max_iter=1000, tol=1e-8)
    warm = sparse_code(detail, dictionary, **run, start=cold.codes, max_iter=1, tol=0)
    assert warm.objective == pytest.approx(cold.objective, rel=1e-9)
    np.testing.assert_allclose(warm.codes, cold.codes, atol=1e-5)


def test_filters_as_large_as_the_image_and_images_of_one_pixel(rng):
    for image_shape, filter_shape in (((5, 6), (5, 6)), ((1, 1), (3, 4)), ((1, 30), (2, 9))):
        dictionary = Dictionary(rng.standard_normal((3, *filter_shape)))
        image = rng.standard_normal((1, *image_shape))
        for boundary in ("free",) if image_shape[0] < filter_shape[0] else ("free", "circular"):
            problem = {"lmbda": 0.1, "boundary": boundary, **TIGHT}
            ours, theirs = (sparse_code(image, dictionary, **problem, solver=s) for s in ("coordinate descent", "admm"))
            assert ours.objective <= theirs.objective * (1 + 1e-9)  # which is slow where codes are many and pixels few
            assert ours.objective == pytest.approx(theirs.objective, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fidelity": "poisson", "images": np.ones((1, 8, 8))}, "works with the fidelity 'least squares' only"),
        ({"gradient_penalty": 0.1}, "doesn't support a gradient penalty"),
        ({"lmbda": 0.0}, "above zero"),
        ({"l1_weights": [1, 1, 0, 1, 1]}, "above zero"),
        ({"rho": 1.0}, "takes no rho"),
    ],
)
def test_what_it_cannot_do_is_said_and_left_to_admm(dictionary, change, message):
    arguments = {"images": np.zeros((1, 8, 8)), "lmbda": 0.1, "max_iter": 2} | change
    images = arguments.pop("images")
    with pytest.raises(InputError, match=message):
        sparse_code(images, dictionary, **arguments, **DESCENT)
    assert not np.isnan(sparse_code(images, dictionary, **arguments).history[-1].rho)  # ADMM's


def test_tiny_lmbda_is_left_to_admm(detail, dictionary):
    automatic = [
        sparse_code(detail, dictionary, lmbda=lmbda, lmbda_relative=True, max_iter=1).history[0] for lmbda in (0.1, 1e-5)
    ]
    assert [record.rho == record.rho for record in automatic] == [False, True]
