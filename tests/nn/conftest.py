"""Fixtures of the networks' tests."""

import numpy as np
import pytest

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
