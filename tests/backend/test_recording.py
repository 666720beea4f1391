"""Iterations recorded as a CUDA graph: the same results bit for bit as launched one by one, and what isn't recorded."""

import numpy as np
import pytest

from csc_cogd import Dictionary, InputError, learn_dictionary, sparse_code
from csc_cogd.backend import cuda as cuda_backend
from csc_cogd.backend import get_backend
from csc_cogd.backend.cuda.correlation import Correlation
from csc_cogd.csc.filters import solve_filters

SWITCH = "CSC_COGD_CUDA_GRAPHS"


@pytest.fixture
def double(cuda):
    """The double of CuPy, with nothing launched yet."""
    if not hasattr(cuda, "launched"):
        pytest.skip("only the double of CuPy counts the launches of graphs")
    cuda.launched.clear()
    return cuda


def coded(images, dictionary, **settings):
    run = {"lmbda": 0.3, "tol": 0, "max_iter": 16, "device": "cuda", "dtype": "float64"} | settings
    found = sparse_code(images, dictionary, **run)
    return found.codes.tobytes(), found.reconstruction.tobytes(), found.objective


@pytest.mark.parametrize(
    "settings",
    [
        {}, {"transformed": True}, {"gradient_penalty": 0.1}, {"fidelity": "absolute deviation"}, {"fidelity": "poisson"},
        {"lmbda": 0.01, "dtype": "float32"}, {"solver": "fista"}, {"solver": "fista", "lmbda": 0},
    ],
    ids=lambda settings: ",".join(map(str, settings.values())) or "plain",
)  # fmt: skip
def test_codes_are_the_same_bit_for_bit(double, rng, monkeypatch, settings):
    images, dictionary = abs(rng.standard_normal((2, 1, 12, 13))), Dictionary(rng.standard_normal((5, 1, 5, 4)))
    settings = dict(settings)
    if settings.pop("transformed", False):
        monkeypatch.setattr(Correlation, "supports", lambda *arguments: False)
    found = coded(images, dictionary, **settings)
    replays = len(double.launched)
    assert replays >= 5
    monkeypatch.setenv(SWITCH, "off")
    assert coded(images, dictionary, **settings) == found
    assert len(double.launched) == replays


def test_penalties_that_change_are_recorded_anew(double, rng):
    images, dictionary = rng.standard_normal((1, 1, 12, 13)), Dictionary(rng.standard_normal((3, 1, 5, 4)))
    run = {"lmbda": 0.3, "tol": 0, "max_iter": 40, "device": "cuda", "dtype": "float64", "rho_data": 300.0}
    history = sparse_code(images, dictionary, **run).history
    assert len({record.rho for record in history}) > 1
    assert len(set(map(id, double.launched))) > 1


def test_filters_and_learning_are_the_same_bit_for_bit(double, rng, monkeypatch):
    images = rng.standard_normal((3, 12, 13))
    codes = rng.standard_normal((3, 4, 16, 16)) * (rng.random((3, 4, 16, 16)) < 0.1)
    start = Dictionary(rng.standard_normal((4, 5, 4)))

    def learned():
        filters = solve_filters(images, codes, start, max_iter=25, tol=0, device="cuda", dtype="float64").filters
        run = {"lmbda": 0.3, "max_iter": 2, "tol": 0, "device": "cuda", "dtype": "float64"}
        run |= {"code_iterations": 12, "filter_iterations": 12}
        return filters.tobytes(), learn_dictionary(images, 4, (5, 4), **run).dictionary.filters.tobytes()

    found, replays = learned(), len(double.launched)
    assert replays >= 17 + 2 * 2 * 6
    monkeypatch.setenv(SWITCH, "off")
    assert learned() == found
    assert len(double.launched) == replays


def test_where_nothing_can_be_recorded_kernels_are_launched_as_ever(double, rng, monkeypatch):
    images, dictionary = rng.standard_normal((1, 1, 12, 13)), Dictionary(rng.standard_normal((3, 1, 5, 4)))
    found = coded(images, dictionary)

    end_capture = double.Stream.end_capture

    def refuse(stream):
        end_capture(stream)
        raise RuntimeError("cudaErrorStreamCaptureInvalidated")

    monkeypatch.setattr(double.Stream, "end_capture", refuse)
    double.launched.clear()
    assert coded(images, dictionary) == found
    assert not double.launched


def test_work_that_reads_from_the_device_is_done_every_time(double):
    backend, seen, total = get_backend("cuda", dtype="float64"), [], double.zeros(2)
    recording = backend.recording(0)

    def work():
        total.__iadd__(1)
        seen.append(float(total.sum()))

    for _ in range(6):
        recording(work)
    assert seen == [2, 4, 6, 8, 10, 12]
    assert not double.launched


def test_what_a_replay_does_is_what_was_recorded(double):
    backend, total = get_backend("cuda", dtype="float64"), double.zeros(2)
    recording, calls = backend.recording(0), []

    def work():
        calls.append(0)
        total.__iadd__(double.ones(2) * len(calls))

    for _ in range(8):
        recording(work)
    assert len(calls) == 5
    assert double.asnumpy(total).tolist() == [1 + 2 + 3 + 4 + 4 * 5] * 2


def test_large_maps_are_not_recorded(double):
    backend, calls = get_backend("cuda", dtype="float64"), []
    recording = backend.recording(cuda_backend.MOST_RECORDED + 1)
    for _ in range(6):
        recording(lambda: calls.append(0))
    assert len(calls) == 6


def test_an_unknown_setting_is_refused(double, monkeypatch):
    monkeypatch.setenv(SWITCH, "yes")
    with pytest.raises(InputError, match="CSC_COGD_CUDA_GRAPHS must be 'on' or 'off', got 'yes'"):
        get_backend("cuda", dtype=np.float64).recording(0)
