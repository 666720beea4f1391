"""What the libraries behind the backend are said to be."""

import os
import sys
from types import SimpleNamespace

import pytest

from csc_cogd import DeviceError, InputError
from csc_cogd.backend.diagnostics import compiles_kernels, cuda_devices, fft_library, kernel_cache
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
    folder, kept = kernel_cache()
    assert folder is not None
    assert folder.is_dir()
    assert kept == len(list(folder.glob("*.nbi")))
    monkeypatch.setenv("CSC_COGD_KERNELS", "numpy")
    assert kernel_cache() == (None, 0)


def test_kernels_are_compiled_where_none_are_kept_or_only_older_ones(monkeypatch, tmp_path):
    monkeypatch.setattr("csc_cogd.backend.diagnostics.kernel_cache", lambda: (tmp_path, 0))
    (tmp_path / "compiled_patches.spread-7.py311.nbi").touch()
    assert compiles_kernels("convolution")
    kept = tmp_path / "compiled_convolution.correlate-7.py311.nbi"
    kept.touch()
    assert not compiles_kernels("convolution")
    os.utime(kept, (0, 0))
    assert compiles_kernels("convolution")
