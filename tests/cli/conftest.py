"""What all tests of the command line share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _without_cupy(monkeypatch):
    """Commands run on the CPU, whatever this machine has."""
    monkeypatch.setitem(sys.modules, "cupy", None)
