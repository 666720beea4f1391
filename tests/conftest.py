"""Fixtures that tests of several folders share."""

import os
import shutil
import signal
from functools import lru_cache
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from csc_cogd import DeviceError
from csc_cogd.backend import diagnostics, get_backend, selection
from csc_cogd.backend.cuda import CudaBackend, device
from csc_cogd.backend.cuda.device import open_device

worker = os.environ.get("PYTEST_XDIST_WORKER")
if worker and hasattr(os, "sched_setaffinity"):  # a processor each: threads of several workers would wait for each other
    processors = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {processors[int(worker.removeprefix("gw")) % len(processors)]})

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell, where what is started ignores it, too
    signal.signal(signal.SIGINT, signal.default_int_handler)

VARIANTS = [("pyfftw", "numba"), ("pyfftw", "numpy"), ("scipy", "numba"), ("scipy", "numpy")]


hypothesis.settings.register_profile("patient", deadline=None)  # a first example may have to wait for a compiler
hypothesis.settings.load_profile("patient")


@pytest.fixture(autouse=True)
def _kept_kernels(monkeypatch):
    """Commands say the same on a machine that hasn't compiled kernels yet."""
    monkeypatch.setattr(diagnostics, "announce_compiling", lambda say: None)


@pytest.fixture
def cuda(monkeypatch):
    """CuPy where a GPU answers; else a double of it in main memory, which device "cuda" is led to."""
    cupy = pytest.importorskip("cupy", reason="CuPy isn't installed: pip install '.[nvrtc]', or '.[cuda13]' for a GPU")
    try:
        open_device("cuda")
    except DeviceError:
        if shutil.which("g++") is None:
            pytest.skip("there is neither a GPU nor g++ to build the kernels for the CPU")
        from tests.backend import fake_cupy

        monkeypatch.setattr(device, "open_device", lambda name: int(name.partition(":")[2] or 0))
        monkeypatch.setattr(device, "usable_devices", lambda: ["cuda:0"])
        open_double = lru_cache(lambda process, dtype, number: CudaBackend(dtype, number, fake_cupy, 227 << 10))
        monkeypatch.setattr(selection, "_cuda_backend", open_double)
        return fake_cupy
    return cupy


@pytest.fixture(params=[*VARIANTS, ("cuda",)], ids="-".join)
def backend(request):
    """Every backend, in double precision; the CPU's with two threads."""
    if request.param == ("cuda",):
        request.getfixturevalue("cuda")
        return get_backend("cuda", dtype="float64")
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
    """A 96 x 96 piece of a photograph, gray, uint8."""
    from skimage.data import camera

    return camera()[100:196, 200:296].copy()


def read_only(array):
    """A view that can't be written to: catches in-place changes of inputs."""
    view = np.asarray(array).view()
    view.setflags(write=False)
    return view
