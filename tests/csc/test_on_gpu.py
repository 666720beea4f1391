"""The engine on the CUDA backend: the same results as on the CPU, arrays that stay where they are, few waits."""

import numpy as np
import pytest

from csc_cogd import (
    CogradientRule,
    Dictionary,
    InputError,
    debias,
    lambda_max,
    learn_dictionary,
    learn_dictionary_online,
    reconstruct_images,
    sparse_code,
)
from csc_cogd.backend import cuda as cuda_backend
from csc_cogd.backend.cuda.correlation import Correlation
from csc_cogd.csc.filters import solve_filters

CPU = {"device": "cpu", "dtype": "float64"}
GPU = {"device": "cuda", "dtype": "float64"}


@pytest.fixture(params=[1, 3], ids=["gray", "color"])
def problem(request, rng, cuda):
    """Two images, a dictionary of six filters, and weights."""
    C = request.param
    weights = rng.random((2, 1, 20, 24)) < 0.7
    return rng.standard_normal((2, C, 20, 24)), Dictionary(rng.standard_normal((6, C, 5, 4))), weights


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"gradient_penalty": 0.1}, {"nonnegative": True}, {"boundary": "circular"}, {"l1_weights": np.arange(1, 7)},
        {"l1_weights": np.linspace(0.5, 2, 24 * 27).reshape(24, 27)}, {"lmbda": 0.01}, {"rho": 0.5},
        {"fidelity": "absolute deviation"}, {"fidelity": "poisson"},
    ],
    ids=lambda settings: ",".join(settings) or "plain",
)  # fmt: skip
@pytest.mark.parametrize("correlated", [True, False], ids=["correlated", "transformed"])
def test_codes_are_those_of_the_cpu(problem, monkeypatch, settings, correlated):
    images, dictionary, weights = problem
    if not correlated:
        monkeypatch.setattr(Correlation, "supports", lambda *arguments: False)
    run = {"weights": weights, "lmbda": 0.3, "max_iter": 45, "tol": 0} | settings
    if settings.get("fidelity") == "poisson":
        images = abs(images)
    if "boundary" not in settings and "l1_weights" in settings and np.ndim(settings["l1_weights"]) == 2:
        run["l1_weights"] = np.broadcast_to(settings["l1_weights"], (2, 6, 24, 27))
    expected = sparse_code(images, dictionary, solver="admm", **run, **CPU)
    found = sparse_code(images, dictionary, **run, **GPU)
    np.testing.assert_allclose(found.codes, expected.codes, atol=1e-8)
    np.testing.assert_allclose(found.reconstruction, expected.reconstruction, atol=1e-8)
    assert found.objective == pytest.approx(expected.objective, rel=1e-8)
    assert found.history[-1].iteration == 45
    assert found.history[-1].nonzeros == expected.history[-1].nonzeros


def test_single_precision_is_within_rounding(problem):
    images, dictionary, weights = problem
    run = {"weights": weights, "lmbda": 0.3, "max_iter": 100, "tol": 0, "solver": "admm"}
    expected = sparse_code(images, dictionary, **run, **CPU).codes
    found = sparse_code(images, dictionary, **run, device="cuda").codes
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) < 1e-4 * np.linalg.norm(expected)


def test_visits_of_any_size_give_the_same(problem, monkeypatch):
    images, dictionary, weights = problem
    run = {"weights": weights, "lmbda": 0.3, "max_iter": 12, "tol": 0, "gradient_penalty": 0.05, **GPU}
    whole = sparse_code(images, dictionary, **run)
    monkeypatch.setattr(cuda_backend, "WORKSPACE", 1)
    np.testing.assert_allclose(sparse_code(images, dictionary, **run).codes, whole.codes, atol=1e-12)


def test_a_run_repeats_bit_for_bit(problem):
    images, dictionary, weights = problem
    run = {"weights": weights, "lmbda": 0.3, "max_iter": 30, "tol": 0, "device": "cuda"}
    assert len({sparse_code(images, dictionary, **run).codes.tobytes() for _ in range(2)}) == 1


def test_arrays_of_cupy_come_back_as_such(problem, cuda):
    images, dictionary, weights = problem
    on_gpu = {"images": cuda.asarray(images), "weights": cuda.asarray(weights)}
    run = {"dictionary": dictionary, "lmbda": 0.3, "max_iter": 10, "dtype": "float64"}
    start = sparse_code(**on_gpu, **run)
    assert isinstance(start.codes, cuda.ndarray)
    assert isinstance(start.reconstruction, cuda.ndarray)
    again = sparse_code(**on_gpu, **run, start=start.codes)
    run |= {"start": cuda.asnumpy(start.codes), "device": "cuda"}
    expected = sparse_code(images, weights=weights, **run)
    np.testing.assert_allclose(cuda.asnumpy(again.codes), expected.codes, atol=1e-10)
    rebuilt = reconstruct_images(start.codes, dictionary)
    np.testing.assert_allclose(cuda.asnumpy(rebuilt), cuda.asnumpy(start.reconstruction), atol=1e-10)
    on_cpu = reconstruct_images(cuda.asnumpy(start.codes), dictionary, device="cpu")
    np.testing.assert_allclose(cuda.asnumpy(rebuilt), on_cpu, atol=1e-10)
    refitted = debias(on_gpu["images"], start.codes, dictionary, weights=on_gpu["weights"], dtype="float64")
    assert isinstance(refitted, cuda.ndarray)
    learned = learn_dictionary(on_gpu["images"], 3, 4, lmbda=0.3, max_iter=2, dtype="float64")
    assert isinstance(learned.codes, cuda.ndarray)
    assert isinstance(learned.dictionary.filters, np.ndarray)


def test_wrong_values_on_the_device_are_named(problem, cuda):
    images, dictionary, _ = problem
    images[0, 0, 3, 3] = np.nan
    with pytest.raises(InputError, match="NaN or infinite values where the weight is positive"):
        sparse_code(cuda.asarray(images), dictionary, lmbda=0.1)
    with pytest.raises(InputError, match="'coordinate descent' runs on the CPU only"):
        sparse_code(np.nan_to_num(images), dictionary, lmbda=0.1, solver="coordinate descent", device="cuda")


@pytest.mark.parametrize("solver", [{"rho": 1.0}, {"solver": "fista"}], ids=["admm", "fista"])
def test_nothing_is_read_from_the_device_between_measurements(problem, cuda, solver):
    if not hasattr(cuda, "transfers"):
        pytest.skip("only the double of CuPy counts what is read from the device")
    images, dictionary, weights = problem
    run = {"weights": weights, "lmbda": 0.3, "tol": 0, **solver, **GPU}
    reads = {}
    for iterations in (20, 29, 30, 40):
        cuda.transfers.clear()
        sparse_code(images, dictionary, max_iter=iterations, **run)
        reads[iterations] = len(cuda.transfers)
    assert reads[40] - reads[30] == reads[30] - reads[20] == 2  # ADMM's sums of both splits, FISTA's and its data term
    assert reads[29] == reads[30]


def test_learning_reads_as_little_whatever_the_iterations_and_visits(problem, cuda, monkeypatch):
    if not hasattr(cuda, "transfers"):
        pytest.skip("only the double of CuPy counts what is read from the device")
    images, _, weights = problem
    run = {"lmbda": 0.3, "weights": weights, "tol": 0, "filter_iterations": 3, **GPU}

    def reads(rounds, code_iterations):
        cuda.transfers.clear()
        learn_dictionary(images, 4, (5, 4), max_iter=rounds, code_iterations=code_iterations, **run)
        return len(cuda.transfers)

    a_round = reads(2, 3) - reads(1, 3)
    assert reads(2, 9) - reads(1, 9) == a_round == 6  # the sums of both solvers' two splits, and what has been reached
    monkeypatch.setattr(cuda_backend, "WORKSPACE", 1)
    assert reads(2, 3) - reads(1, 3) == a_round


def test_figures_of_the_dictionary_are_those_of_the_cpu(problem):
    images, dictionary, weights = problem
    w = {"weights": weights, "l1_weights": np.arange(1, 7)}
    found, expected = (lambda_max(images, dictionary, **w, device=device) for device in ("cuda", "cpu"))
    assert found == pytest.approx(expected)
    codes = sparse_code(images, dictionary, weights=weights, lmbda=0.5, solver="admm", **CPU).codes
    found, expected = (debias(images, codes, dictionary, weights=weights, **on) for on in (GPU, CPU))
    np.testing.assert_allclose(found, expected, atol=1e-8)
    found, expected = (solve_filters(images, codes, dictionary, max_iter=20, tol=0, **on).filters for on in (GPU, CPU))
    np.testing.assert_allclose(found, expected, atol=1e-10)


@pytest.mark.parametrize(
    "settings", [{}, {"cogd": CogradientRule(eta=0.01)}, {"zero_mean": True}, {"gradient_penalty": 0.1}]
)
def test_learning_is_that_of_the_cpu(problem, settings):
    images, _, weights = problem
    run = {"lmbda": 0.3, "weights": weights, "max_iter": 3, "tol": 0} | settings
    found, expected = (learn_dictionary(images, (3, 2), (3, 5), **run, **on) for on in (GPU, CPU))
    np.testing.assert_allclose(found.dictionary.filters, expected.dictionary.filters, atol=1e-10)
    np.testing.assert_allclose(found.codes, expected.codes, atol=1e-9)
    assert found.objective == pytest.approx(expected.objective)


def test_learning_goes_on_from_a_checkpoint(problem, tmp_path):
    images, _, _ = problem
    run = {"lmbda": 0.3, "tol": 0, "cogd": CogradientRule(), "checkpoint_every": 2, **GPU}
    whole = learn_dictionary(images, 4, 3, max_iter=4, **run)
    learn_dictionary(images, 4, 3, max_iter=2, checkpoint=tmp_path / "run.npz", **run)
    resumed = learn_dictionary(images, 4, 3, max_iter=4, checkpoint=tmp_path / "run.npz", **run)
    assert resumed.dictionary.filters.tobytes() == whole.dictionary.filters.tobytes()


def test_online_learning_is_that_of_the_cpu(problem):
    images, _, _ = problem
    run = {"lmbda": 0.3, "max_iter": 3, "batch_size": 2, "crop": 12, "code_iterations": 5, "filter_iterations": 3}
    found, expected = (learn_dictionary_online(images, 4, 3, **run, **on).dictionary.filters for on in (GPU, CPU))
    np.testing.assert_allclose(found, expected, atol=1e-10)


def test_fista_is_that_of_the_cpu(problem):
    images, dictionary, weights = problem
    run = {"weights": weights, "lmbda": 0.3, "max_iter": 30, "tol": 0, "solver": "fista"}
    found, expected = (sparse_code(images, dictionary, **run, **on) for on in (GPU, CPU))
    np.testing.assert_allclose(found.codes, expected.codes, atol=1e-10)
    assert found.history[-1].gap == pytest.approx(expected.history[-1].gap)


def test_a_domain_of_one_row_has_a_threshold_for_every_column(cuda, rng):
    images, dictionary = rng.standard_normal((1, 1, 40)), Dictionary(rng.standard_normal((3, 1, 4)))
    run = {"lmbda": 0.3, "max_iter": 20, "tol": 0, "boundary": "circular", "l1_weights": 0.2 + rng.random((1, 3, 1, 40))}
    found, expected = (sparse_code(images, dictionary, solver="admm", **run, **on).codes for on in (GPU, CPU))
    np.testing.assert_allclose(found, expected, atol=1e-10)
