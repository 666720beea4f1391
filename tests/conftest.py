"""Fixtures that tests of several folders share."""

import os
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from csc_cogd.backend import get_backend

VARIANTS = [("pyfftw", "numba"), ("pyfftw", "numpy"), ("scipy", "numba"), ("scipy", "numpy")]


hypothesis.settings.register_profile("patient", deadline=None)  # a first example may have to wait for a compiler
hypothesis.settings.load_profile("patient")


@pytest.fixture(params=VARIANTS, ids="-".join)
def backend(request):
    """Every CPU backend, in double precision, with two threads."""
    fft, kernels = request.param
    if fft == "pyfftw":
        pytest.importorskip("pyfftw")
    return get_backend(dtype="float64", threads=2, fft=fft, kernels=kernels)


@pytest.fixture
def rng():
    return np.random.default_rng(20261123)


@pytest.fixture(scope="session")
def research_data():
    """The folder of research data that doesn't ship with the project."""
    folder = os.environ.get("CSC_COGD_DATA")
    if not folder:
        pytest.skip("CSC_COGD_DATA is unset: it names the folder of research data that this test reads")
    return Path(folder)


@pytest.fixture(scope="session")
def photo():
    """A 96 x 96 piece of a photograph, grey, uint8."""
    from skimage.data import camera

    return camera()[100:196, 200:296].copy()


def read_only(array):
    """A view that can't be written to: catches in-place changes of inputs."""
    view = np.asarray(array).view()
    view.setflags(write=False)
    return view
