"""A history of timings: ``pytest benchmarks/test_history.py --benchmark-autosave``, from commit to commit on one machine.

Each run is saved in ``.benchmarks`` with its commit; ``--benchmark-compare`` shows it beside the last one. Small cases, one
thread, float32: what they are worth is a warning that something has become slower, not a figure to tell.
"""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.data import camera

from csc_cogd import Dictionary, inpaint, learn_dictionary, sparse_code
from csc_cogd.biharmonic import fill_biharmonic

ITERATIONS = {"admm": 40, "coordinate descent": 4, "fista": 40}


@pytest.fixture(scope="module")
def image():
    """A photograph, 128 x 128, in [0, 1]."""
    return camera()[100:228, 200:328] / 255


@pytest.fixture(scope="module")
def detail(image):
    """It without its local mean, (1, 128, 128)."""
    return (image - gaussian_filter(image, 4))[None]


@pytest.fixture(scope="module")
def missing():
    """Half of the pixels."""
    return np.random.default_rng(0).random((128, 128)) < 0.5


def timed(benchmark, function, *arguments, **options):
    """Five calls after one that compiles."""
    return benchmark.pedantic(function, arguments, options, rounds=5, warmup_rounds=1)


@pytest.mark.parametrize("solver", ITERATIONS)
def test_code_solve(benchmark, detail, missing, solver):
    run = {"lmbda": 0.015, "weights": ~missing, "max_iter": ITERATIONS[solver], "tol": 0.0, "threads": 1, "solver": solver}
    result = timed(benchmark, sparse_code, detail, Dictionary.default(), **run)
    assert result.codes.any()


def test_learning_round(benchmark, detail):
    result = timed(benchmark, learn_dictionary, detail, 32, 8, lmbda=0.05, max_iter=1, threads=1)
    assert result.dictionary.n_filters == 32


def test_inpainting(benchmark, image, missing):
    restored = timed(benchmark, inpaint, image, missing, threads=1)
    assert np.isfinite(restored).all()


def test_biharmonic_pilot(benchmark, image, missing):
    filled = timed(benchmark, fill_biharmonic, image[None], missing[None])
    assert (filled[0] == image)[~missing].all()
