"""What all tests of the command line share."""

import sys

import pytest


@pytest.fixture(autouse=True)
def _without_cupy(monkeypatch):
    """Commands run on the CPU, whatever this machine has."""
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture(autouse=True)
def _with_compiled_kernels(monkeypatch):
    """Commands say the same on a machine that hasn't compiled kernels yet."""
    monkeypatch.setattr("csc_cogd.backend.diagnostics.compiles_kernels", lambda name: False)
