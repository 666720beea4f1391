"""The code solve: against SPORCO, against dense linear algebra, and its options."""

import numpy as np
import pytest
from scipy.optimize import linprog, minimize
from scipy.signal import correlate

from csc_cogd import Dictionary, InputError, lambda_max, reconstruct_images, sparse_code
from csc_cogd.csc.solvers import SOLVERS
from tests.conftest import read_only

every_solver = pytest.mark.parametrize("solver", SOLVERS[1:])
TIGHT = {"dtype": "float64", "max_iter": 1500, "tol": 1e-7}
COMPARED = ("admm", "coordinate descent")


@pytest.fixture
def filters(rng):
    filters = rng.standard_normal((6, 5, 5))
    return filters / np.linalg.norm(filters, axis=(1, 2))[:, None, None]


@pytest.fixture
def color_filters(rng):
    filters = rng.standard_normal((5, 3, 4, 4))
    return filters / np.linalg.norm(filters.reshape(5, -1), axis=1)[:, None, None, None]


@pytest.fixture
def detail(photo):
    """A photograph without its local mean, (1, 40, 44), in [0, 1] units."""
    from scipy.ndimage import gaussian_filter

    image = photo[:40, :44] / 255
    return (image - gaussian_filter(image, 3))[None]


def objective(codes, images, filters, lmbda, weights=1.0):
    fit = reconstruct_images(codes, Dictionary(filters), boundary="circular", dtype="float64")
    return 0.5 * np.sum((weights * (fit - images)) ** 2) + lmbda * abs(codes).sum()


@pytest.mark.filterwarnings("ignore")
class TestAgainstSporco:
    """On SPORCO's own, circular problem, in double precision, to 1e-4 of the objective or better."""

    @pytest.fixture(autouse=True)
    def one_thread(self, monkeypatch):
        """Its transforms of small images take many times as long by threads that wait for each other."""
        monkeypatch.setattr("sporco.fft.pyfftw_threads", 1)

    def test_complete_grey_image(self, detail, filters):
        from sporco.admm.cbpdn import ConvBPDN

        options = ConvBPDN.Options({"MaxMainIter": 500, "RelStopTol": 1e-5})
        theirs = ConvBPDN(np.moveaxis(filters, 0, -1), detail[0], 0.02, options).solve()
        expected = objective(np.moveaxis(theirs.squeeze(), -1, 0)[None], detail, filters, 0.02)
        for solver in COMPARED:
            ours = sparse_code(detail, Dictionary(filters), lmbda=0.02, boundary="circular", **TIGHT, solver=solver)
            assert ours.objective == pytest.approx(expected, rel=1e-4)
            assert objective(ours.codes, detail, filters, 0.02) == pytest.approx(ours.objective, rel=1e-9)
            assert ours.history[-1].objective == pytest.approx(expected, rel=1e-4)

    def test_masked_grey_image(self, detail, filters, rng):
        from sporco.admm.cbpdn import ConvBPDNMaskDcpl

        weights = (rng.random(detail.shape) < 0.6).astype(float)
        options = ConvBPDNMaskDcpl.Options({"MaxMainIter": 400, "RelStopTol": 1e-5})
        theirs = ConvBPDNMaskDcpl(np.moveaxis(filters, 0, -1), detail[0], 0.02, weights[0], options).solve()
        expected = objective(np.moveaxis(theirs.squeeze(), -1, 0)[None], detail, filters, 0.02, weights)
        problem = {"lmbda": 0.02, "weights": weights, "boundary": "circular", **TIGHT}
        for solver in COMPARED:
            ours = sparse_code(detail, Dictionary(filters), **problem, solver=solver)
            assert ours.objective == pytest.approx(expected, rel=2e-5)

    def test_color_image_with_color_filters(self, color_filters):
        from skimage.data import astronaut
        from sporco.admm.cbpdn import ConvBPDN

        image = astronaut()[100:136, 200:240] / 255.0 - 0.5
        options = ConvBPDN.Options({"MaxMainIter": 500, "RelStopTol": 1e-5})
        theirs = ConvBPDN(color_filters.transpose(2, 3, 1, 0), image, 0.05, options, dimK=0)
        images = image.transpose(2, 0, 1)[None]
        expected = objective(np.moveaxis(theirs.solve().squeeze(), -1, 0)[None], images, color_filters, 0.05)
        for solver in COMPARED:
            ours = sparse_code(images, Dictionary(color_filters), lmbda=0.05, boundary="circular", **TIGHT, solver=solver)
            assert ours.objective == pytest.approx(expected, rel=1e-4)


def dense_operator(filters, size):
    """The matrix of the valid sum of convolutions, column by column."""
    K, h, w = filters.shape
    shape = (1, K, size[0] + h - 1, size[1] + w - 1)
    columns = []
    for index in range(np.prod(shape)):
        unit = np.zeros(shape)
        unit.flat[index] = 1
        columns.append(reconstruct_images(unit, Dictionary(filters), dtype="float64").ravel())
    return np.array(columns).T, shape


@every_solver
@pytest.mark.parametrize("per_filter", [False, True])
@pytest.mark.parametrize("nonnegative", [False, True])
def test_free_boundary_agrees_with_a_dense_solver(rng, filters, nonnegative, per_filter, solver):
    filters, image = filters[:3, :3, :3], rng.standard_normal((1, 6, 5))
    weights = rng.random((1, 6, 5)) * 2
    A, shape = dense_operator(filters, (6, 5))
    l1_weights = np.array([0.5, 1.0, 2.0]) if per_filter else 0.2 + rng.random(shape)
    w = np.broadcast_to(l1_weights[:, None, None] if per_filter else l1_weights[0], shape[1:]).ravel() * 0.3

    def function(z):  # x = z+ - z-, both non-negative
        x = z[: w.size] - z[w.size :]
        r = weights.ravel() * (A @ x - image.ravel())
        g = A.T @ (weights.ravel() * r)
        return 0.5 * r @ r + w @ (z[: w.size] + z[w.size :]), np.concatenate([g + w, -g + w])

    upper = [(0, None)] * w.size + [(0, 0 if nonnegative else None)] * w.size
    dense = minimize(function, np.zeros(2 * w.size), jac=True, bounds=upper, options={"maxiter": 5000, "ftol": 1e-14})
    ours = sparse_code(
        image,
        Dictionary(filters),
        lmbda=0.3,
        weights=weights,
        l1_weights=l1_weights,
        nonnegative=nonnegative,
        solver=solver,
        **TIGHT,
    )
    assert ours.objective == pytest.approx(dense.fun, rel=1e-5)
    assert not nonnegative or ours.codes.min() >= 0
    assert ours.codes.shape == shape


def test_absolute_deviation_agrees_with_linear_programming(rng, filters):
    filters, image = filters[:3, :3, :3], rng.standard_normal((1, 6, 5))
    weights = rng.random((1, 6, 5)) * (rng.random((1, 6, 5)) < 0.8)
    A, _ = dense_operator(filters, (6, 5))
    lmbda, (M, n) = 0.2, A.shape
    # minimise W t + lmbda (x+ + x-) over x+, x-, t >= 0 where -t <= A (x+ - x-) - b <= t
    costs = np.concatenate([np.full(2 * n, lmbda), weights.ravel()])
    bounds = np.block([[A, -A, -np.eye(M)], [-A, A, -np.eye(M)]])
    program = linprog(costs, bounds, np.concatenate([image.ravel(), -image.ravel()]))
    ours = sparse_code(
        image, Dictionary(filters), lmbda=lmbda, weights=weights, fidelity="absolute deviation",
        rho=1.0, dtype="float64", max_iter=2000, tol=1e-7, threads=1,
    )  # fmt: skip
    assert ours.objective == pytest.approx(program.fun, rel=3e-4)
    assert ours.history[-1].objective == pytest.approx(program.fun, rel=3e-4)


@pytest.mark.parametrize("with_background", [False, True])
def test_poisson_likelihood_agrees_with_a_dense_solver(rng, filters, with_background):
    filters = filters[:3, :3, :3]
    background = 4 + 4 * rng.random((1, 6, 5)) if with_background else np.zeros((1, 6, 5))
    counts = rng.poisson(8, (1, 6, 5)) + 1.0
    weights = (rng.random((1, 6, 5)) < 0.8) * 1.5
    A, _ = dense_operator(filters, (6, 5))
    known, lmbda, least = weights.ravel() > 0, 0.3, 0.3
    A, b, w, offset = A[known], counts.ravel()[known], weights.ravel()[known], background.ravel()[known]

    def function(z):
        s = A @ (z[: len(z) // 2] - z[len(z) // 2 :]) + offset
        t = np.maximum(s, least)  # below, the parabola that goes on from there, lest L-BFGS-B steps out of the domain
        value = t - b + b * np.log(b / t) + (1 - b / t) * (s - t) + b / t**2 * (s - t) ** 2 / 2
        g = A.T @ (w * (1 - b / t + b / t**2 * (s - t)))
        return w @ value + lmbda * z.sum(), np.concatenate([g + lmbda, -g + lmbda])

    start, positive = np.zeros(2 * A.shape[1]), [(0, None)] * (2 * A.shape[1])
    dense = minimize(function, start, jac=True, bounds=positive, options={"maxiter": 9000, "maxfun": 20000, "ftol": 1e-14})
    ours = sparse_code(
        counts, Dictionary(filters), lmbda=lmbda, weights=weights, fidelity="poisson",
        background=background if with_background else None, threads=1, **TIGHT,
    )  # fmt: skip
    assert ours.objective == pytest.approx(dense.fun, rel=1e-4)
    assert (ours.reconstruction + background)[weights > 0].min() > least  # the parabola had no part in it


def test_impulse_noise_is_ignored_by_the_absolute_deviation(filters, rng):
    codes = rng.standard_normal((1, 6, 44, 44)) * (rng.random((1, 6, 44, 44)) < 0.01)
    image = reconstruct_images(codes, Dictionary(filters))
    noisy = np.where(rng.random(image.shape) < 0.1, rng.choice([-2, 2], image.shape), image)
    errors = {}
    for fidelity, weights in (("least squares", (0.2, 0.5, 1.0, 2.0)), ("absolute deviation", (0.5, 1.0))):
        fits = [sparse_code(noisy, Dictionary(filters), lmbda=lmbda, fidelity=fidelity) for lmbda in weights]
        errors[fidelity] = min(((fit.reconstruction - image) ** 2).mean() for fit in fits)
    assert errors["absolute deviation"] < 0.2 * errors["least squares"]


@pytest.mark.parametrize("fidelity", ["absolute deviation", "poisson"])
def test_data_terms_ignore_missing_pixels_and_work_in_single_precision(detail, filters, rng, fidelity):
    counts = np.round(100 * (detail - detail.min()))
    weights = rng.random(detail.shape) < 0.7
    run = {"lmbda": 1.0, "max_iter": 60, "weights": weights, "fidelity": fidelity, "tol": 0}
    single = sparse_code(np.where(weights, counts, np.nan), Dictionary(filters), **run)
    double = sparse_code(np.where(weights, counts, 7e5), Dictionary(filters), dtype="float64", **run)
    assert single.reconstruction.dtype == np.float32
    assert single.objective == pytest.approx(double.objective, rel=1e-3)
    again = sparse_code(counts, Dictionary(filters), dtype="float64", start=double.codes, **run | {"max_iter": 2})
    assert again.objective <= double.objective * 1.05


def test_gradient_penalty_satisfies_the_optimality_conditions(detail, filters):
    mu, lmbda = 0.05, 0.02
    ours = sparse_code(detail, Dictionary(filters), lmbda=lmbda, gradient_penalty=mu, **TIGHT)
    x = ours.codes[0]
    residual = ours.reconstruction[0] - detail[0]
    gradient = np.array([correlate(residual, d, mode="full") for d in filters])
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))  # codes are zero around the domain
    laplacian = sum(np.roll(padded, s, axis)[:, 1:-1, 1:-1] - x for s in (1, -1) for axis in (1, 2))
    gradient -= mu * laplacian
    np.testing.assert_allclose(gradient[x != 0], -lmbda * np.sign(x[x != 0]), atol=1e-5)
    assert abs(gradient).max() <= lmbda * (1 + 1e-3)


def test_above_lambda_max_all_codes_are_zero(detail, filters):
    dictionary = Dictionary(filters)
    limit = lambda_max(detail, dictionary)
    above = sparse_code(detail, dictionary, lmbda=1.01, lmbda_relative=True, **TIGHT)
    below = sparse_code(detail, dictionary, lmbda=0.9, lmbda_relative=True, **TIGHT)
    assert above.lmbda == pytest.approx(1.01 * limit)
    assert not above.codes.any()
    assert below.codes.any()


@pytest.mark.parametrize("channels", [1, 3])
def test_single_precision_is_within_a_thousandth_of_double(detail, filters, color_filters, channels):
    images = detail if channels == 1 else np.stack([detail, detail[:, ::-1], detail * 0.5], axis=1)
    dictionary = Dictionary(filters if channels == 1 else color_filters)
    single = sparse_code(images, dictionary, lmbda=0.02, max_iter=300, tol=1e-5)
    double = sparse_code(images, dictionary, lmbda=0.02, max_iter=300, tol=1e-5, dtype="float64")
    assert single.codes.dtype == single.reconstruction.dtype == np.float32
    assert single.objective == pytest.approx(double.objective, rel=1e-3)
    np.testing.assert_allclose(single.reconstruction, double.reconstruction, atol=1e-3 * abs(images).max())


@every_solver
def test_the_result_depends_on_neither_threads_nor_fft_library_nor_kernels(detail, filters, solver, monkeypatch):
    images = np.concatenate([detail, detail[:, ::-1]])
    run = {"lmbda": 0.02, "max_iter": 30, "tol": 0, "dtype": "float64", "solver": solver}
    one, two = (sparse_code(images, Dictionary(filters), threads=threads, **run) for threads in (1, 2))
    np.testing.assert_array_equal(one.codes, two.codes)
    others = [sparse_code(images, Dictionary(filters), fft="scipy", **run)]
    if solver != "coordinate descent":
        monkeypatch.setenv("CSC_COGD_KERNELS", "numpy")
        others.append(sparse_code(images, Dictionary(filters), **run))
    for other in others:
        np.testing.assert_allclose(other.codes, one.codes, atol=1e-9)
        assert other.objective == pytest.approx(one.objective)


def test_adding_few_atoms_gives_what_transforming_every_map_gives(detail, filters, color_filters, monkeypatch):
    from csc_cogd.csc import synthesis

    color = np.stack([detail, detail[:, ::-1], detail * 0.5], axis=1)
    for images, dictionary in ((detail, Dictionary(filters)), (color, Dictionary(color_filters))):
        for boundary in ("free", "circular"):
            results = []
            for cost in (0, 1e9):  # never and always worth it
                monkeypatch.setattr(synthesis, "COST_OF_TRANSFORM", cost)
                results.append(sparse_code(
                    images, dictionary, lmbda=0.02, max_iter=80, tol=0, boundary=boundary, solver="admm", dtype="float64",
                ))  # fmt: skip
            assert results[0].codes.any()
            np.testing.assert_allclose(results[1].codes, results[0].codes, atol=1e-10)
            np.testing.assert_allclose(results[1].reconstruction, results[0].reconstruction, atol=1e-10)


def test_adapting_the_penalties_keeps_the_way_and_reaches_the_same_solution(detail, filters):
    """A penalty that starts far off is mended by adaption, without a jump of the objective."""
    from csc_cogd.csc import settings

    run = {"lmbda": 0.02, "dtype": "float64", "solver": "admm"}
    best = sparse_code(detail, Dictionary(filters), **run, max_iter=1500, tol=1e-7)
    original, settings.RHO_PER_LMBDA = settings.RHO_PER_LMBDA, 2000.0
    try:
        adapted = sparse_code(detail, Dictionary(filters), **run, max_iter=500, tol=0)
    finally:
        settings.RHO_PER_LMBDA = original
    first = adapted.history[0].rho
    fixed = sparse_code(detail, Dictionary(filters), **run, max_iter=500, tol=0, rho=first)
    assert adapted.history[-1].rho < first
    assert adapted.history[-1].rho >= first / 10.0001
    assert adapted.objective < fixed.objective
    assert adapted.objective == pytest.approx(best.objective, rel=1e-3)
    changes = [i for i in range(1, 500) if adapted.history[i].rho != adapted.history[i - 1].rho]
    for i in changes:
        assert adapted.history[i].objective < 1.05 * adapted.history[i - 1].objective


def test_several_images_are_coded_as_each_would_be_alone(detail, filters):
    images = np.concatenate([detail, 0.5 * detail[:, ::-1]])
    together = sparse_code(images, Dictionary(filters), lmbda=0.02, rho=1.0, max_iter=40, tol=0, dtype="float64")
    for n in range(2):
        alone = sparse_code(images[n : n + 1], Dictionary(filters), lmbda=0.02, rho=1.0, max_iter=40, tol=0, dtype="float64")
        np.testing.assert_allclose(alone.codes[0], together.codes[n], atol=1e-10)


@pytest.mark.parametrize("mu", [0.0, 0.05])
def test_warm_start_from_the_solution_stays_there(detail, filters, mu):
    problem = {"lmbda": 0.02, "gradient_penalty": mu}
    cold = sparse_code(detail, Dictionary(filters), **problem, **TIGHT)
    warm = sparse_code(detail, Dictionary(filters), start=cold.codes, max_iter=5, tol=0, dtype="float64", **problem)
    assert warm.objective == pytest.approx(cold.objective, rel=1e-6)
    np.testing.assert_allclose(warm.codes, cold.codes, atol=1e-5)


def test_missing_pixels_may_be_nan_and_have_no_influence(detail, filters, rng):
    weights = rng.random(detail.shape) < 0.7
    run = {"lmbda": 0.02, "max_iter": 20, "weights": weights}
    with_nan = sparse_code(np.where(weights, detail, np.nan), Dictionary(filters), **run)
    with_junk = sparse_code(np.where(weights, detail, 7e5), Dictionary(filters), **run)
    np.testing.assert_array_equal(with_nan.codes, with_junk.codes)


def test_scaling_images_and_lmbda_together_scales_the_codes(detail, filters):
    small = sparse_code(detail, Dictionary(filters), lmbda=0.02, max_iter=50, dtype="float64")
    large = sparse_code(detail * 1e4, Dictionary(filters), lmbda=200, max_iter=50, dtype="float64")
    np.testing.assert_allclose(large.codes, small.codes * 1e4, rtol=1e-6, atol=1e-6)


def test_history_callback_and_stopping(detail, filters):
    seen = []
    result = sparse_code(detail, Dictionary(filters), lmbda=0.02, tol=1e-3, max_iter=1000, callback=seen.append)
    assert seen == result.history
    last = result.history[-1]
    assert [record.iteration for record in seen] == list(range(1, last.iteration + 1))
    assert last.gap <= 1e-3 < result.history[-2].gap
    assert last.objective == pytest.approx(last.data_term + last.l1)
    assert last.l1 == pytest.approx(0.02 * abs(result.codes).sum(), rel=1e-4)
    assert last.nonzeros == np.count_nonzero(result.codes)
    stopped = sparse_code(detail, Dictionary(filters), lmbda=0.02, callback=lambda record: record.iteration == 3)
    assert len(stopped.history) == 3


def test_inputs_are_not_changed(detail, filters):
    weights = read_only(np.ones(detail.shape, np.float32))
    sparse_code(read_only(detail.astype(np.float32)), Dictionary(filters), lmbda=0.02, weights=weights, max_iter=3)


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": np.zeros((8, 8))}, r"images\[None\]"),
        ({"images": np.zeros((1, 2, 8, 8))}, "images are of 2 channels, but the filters have 1"),
        ({"images": np.zeros((1, 8, 8), complex)}, "got complex"),
        ({"images": np.zeros((0, 8, 8))}, "images must be of shape"),
        ({"images": np.full((1, 8, 8), np.nan)}, "give these weight zero"),
        ({"dictionary": np.zeros((2, 3, 3))}, "dictionary must be a csc_cogd.Dictionary"),
        ({"lmbda": -1}, "lmbda must be a finite number >= 0, got -1"),
        ({"lmbda": np.nan}, "lmbda must be .* got nan"),
        ({"weights": np.ones((1, 9, 8))}, "weights must broadcast to the images' shape"),
        ({"weights": -np.ones((1, 8, 8))}, "weights must be finite numbers >= 0: 0 is missing"),
        ({"weights": np.zeros((1, 8, 8))}, "nothing is observed"),
        ({"l1_weights": [1, 2]}, "l1_weights must broadcast to the codes' shape"),
        ({"l1_weights": -1}, "l1_weights must be finite numbers >= 0"),
        ({"max_iter": 0}, "max_iter must be an integer >= 1, got 0"),
        ({"tol": -1}, "tol must be a number >= 0, got -1"),
        ({"relaxation": 2}, "relaxation must be between 0 and 2, got 2"),
        ({"gradient_penalty": -1}, "gradient_penalty must be .* got -1"),
        ({"boundary": "mirror"}, "boundary must be one of 'free', 'circular', got 'mirror'"),
        ({"start": np.zeros((1, 6, 8, 8))}, r"start must be real numbers of shape \(1, 6, 12, 12\)"),
        ({"images": np.zeros((1, 3, 8)), "boundary": "circular"}, "images must not be smaller than the filters"),
        ({"dtype": "int8"}, "float32"),
        ({"solver": "simplex"}, "solver must be one of .* got 'simplex'"),
        ({"rho": -1}, "rho must be a finite positive number, got -1"),
        ({"rho_data": np.nan}, "rho_data must be .* got nan"),
        ({"images": np.ma.masked_equal(np.eye(8)[None], 1)}, "images must not have masked values"),
        ({"images": np.full((1, 8, 8), 1e30), "lmbda": 1e28}, "scale them"),
        ({"fidelity": "cauchy"}, "fidelity must be one of .* got 'cauchy'"),
        ({"fidelity": "absolute deviation", "background": 1}, "background doesn't go with 'absolute deviation'"),
        ({"fidelity": "poisson", "images": -np.ones((1, 8, 8))}, "aren't counts"),
        ({"fidelity": "poisson", "background": np.ones((1, 9, 8))}, "background must broadcast to"),
        ({"fidelity": "poisson", "background": np.nan}, "background must be finite"),
        (
            {"fidelity": "poisson", "lmbda_relative": True},
            "lmbda_relative works with least squares only, not with 'poisson': give lmbda itself",
        ),
    ],
)
def test_what_does_not_fit_is_named(filters, change, message):
    arguments = {"images": np.zeros((1, 8, 8)), "dictionary": Dictionary(filters), "lmbda": 0.1, "max_iter": 2} | change
    with pytest.raises(InputError, match=message):
        sparse_code(arguments.pop("images"), arguments.pop("dictionary"), **arguments)
