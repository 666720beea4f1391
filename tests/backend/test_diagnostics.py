"""What the libraries behind the backend are said to be."""

import sys
import threading
from types import SimpleNamespace

import numba
import pytest

from csc_cogd import DeviceError, InputError
from csc_cogd.backend.diagnostics import announce_compiling, cuda_devices, fft_library, kernel_cache
from tests.backend.test_device import driver


def test_each_device_is_told_with_its_driver(monkeypatch):
    cupy = driver(13020, 2)
    names = [b"NVIDIA H100", b"NVIDIA Old"]
    cupy.cuda.runtime.getDeviceProperties = lambda number: {"name": names[number], "totalGlobalMem": 85e9}
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert cuda_devices() == {
        "cuda:0": "NVIDIA H100, 85 GB, driver for CUDA 13.2",
        "cuda:1": "NVIDIA Old, 85 GB, driver for CUDA 13.2",
    }


@pytest.mark.parametrize("cupy", [None, driver(0, None), driver(13020, 0), SimpleNamespace(__version__="13.6.0")])
def test_why_there_is_none_is_an_error(monkeypatch, cupy):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(DeviceError, match=r"^device 'cuda:0': .+"):
        cuda_devices()


def test_the_fft_library_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("CSC_COGD_FFT", "scipy")
    assert fft_library() == "scipy"
    monkeypatch.setenv("CSC_COGD_FFT", "mkl")
    with pytest.raises(InputError, match=r"CSC_COGD_FFT must be .* got 'mkl'"):
        fft_library()
    monkeypatch.setenv("CSC_COGD_FFT", "pyfftw")
    pytest.importorskip("pyfftw")
    assert fft_library().startswith("pyfftw (3.")


def test_the_cache_of_kernels_is_numba_s_own_folder(monkeypatch):
    folder = kernel_cache()
    assert folder is not None
    assert folder.is_dir()
    assert any(folder.glob("*.nbi"))
    monkeypatch.setenv("CSC_COGD_KERNELS", "numpy")
    assert kernel_cache() is None


def test_compiling_is_announced_once_and_only_where_it_takes_long():
    told, slow, again = [], threading.Event(), numba.njit(lambda x: x + 1)

    def say():
        told.append("compiling")
        slow.set()

    announce_compiling(say, after=60)
    numba.njit(lambda x: x * x)(2.0)
    assert not told
    announce_compiling(say, after=0)
    assert numba.njit(lambda x: x + 2)(1) == 3
    assert slow.wait(10)
    assert again(1) == 2
    assert told == ["compiling"]
