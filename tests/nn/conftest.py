"""Fixtures of the networks' tests."""

import numpy as np
import pytest

from csc_cogd.backend import single_threaded_blas
from tests.nn.cases import RECORD


@pytest.fixture(params=["numpy", "cupy"])
def xp(request):
    """NumPy, and CuPy or its double."""
    return np if request.param == "numpy" else request.getfixturevalue("cuda")


@pytest.fixture(scope="session")
def pytorch():
    """What PyTorch computed: arrays by ``name/what``."""
    with np.load(RECORD) as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="package", autouse=True)
def one_thread():
    """BLAS's threads would wait for each other, on a machine that others use too."""
    with single_threaded_blas():
        yield
