"""Which device is taken, and what is said where it can't be."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from csc_cogd import DeviceError, Dictionary, InputError, sparse_code
from csc_cogd.backend import choose_device, device_of, get_backend, selection, usable_devices
from csc_cogd.backend.cuda import device


class CudaError(RuntimeError):
    pass


def driver(version, count):
    """A module like CuPy on a machine with so many devices, of which the second is too old."""

    def get_device_count():
        if count is None:
            raise CudaError("cudaErrorInsufficientDriver")
        return count

    runtime = SimpleNamespace(
        CUDARuntimeError=CudaError, getDeviceCount=get_device_count, driverGetVersion=lambda: version,
        runtimeGetVersion=lambda: 13020, getDevice=lambda: 0,
    )  # fmt: skip
    used = []

    def open_device(number):
        return SimpleNamespace(compute_capability="61" if number == 1 else "90", use=lambda: used.append(number))

    libraries = {"cufft": None, "cublas": None, "cusolver": None, "nvrtc": SimpleNamespace(getVersion=lambda: (13, 2))}
    cuda = SimpleNamespace(runtime=runtime, Device=open_device, **libraries)
    return SimpleNamespace(__version__="14.2.0", cuda=cuda, used=used)


@pytest.mark.parametrize(
    ("cupy", "name", "message"),
    [
        (None, "cuda", r"CuPy isn't installed: pip install 'csc-cogd\[cuda13\]'"),
        (driver(0, None), "cuda", "there is no NVIDIA driver: install it, or use device 'cpu'"),
        (
            driver(12040, None),
            "cuda:1",
            "too old, for CUDA 12.4, and CuPy's CUDA is 13.2: update it, or use device 'cpu'",
        ),
        (driver(13020, None), "cuda", "CUDA failed to start .cudaErrorInsufficientDriver.: reinstall"),
        (driver(13020, 0), "cuda", "no such device, there is none"),
        (driver(13020, 2), "cuda:2", "no such device, the last one is cuda:1: use another one"),
        (driver(13020, 2), "cuda:1", "its compute capability is 61, 70 is needed"),
        (SimpleNamespace(__version__="13.6.0"), "cuda", "CuPy 13.6.0 is too old, 14 is needed"),
    ],
)
def test_an_explicit_device_never_falls_back(monkeypatch, cupy, name, message):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(DeviceError, match=f"device '{name}': .*{message}"):
        get_backend(name)


def test_a_broken_installation_is_told_from_none(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise ImportError("libnvrtc.so.13: cannot open shared object file", name="cupy._core")

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(DeviceError, match=r"CuPy doesn't load \(libnvrtc"):
        get_backend("cuda")


def test_cupy_without_the_libraries_of_cuda_is_refused(monkeypatch):
    def missing():
        raise RuntimeError("libnvrtc.so.13 is missing\nInstall it")

    cupy = driver(13020, 1)
    cupy.cuda.nvrtc.getVersion = missing
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(DeviceError, match=r"CUDA's libraries are missing \(libnvrtc.so.13 is missing\): pip install"):
        get_backend("cuda")


def test_the_device_is_made_current(monkeypatch):
    cupy = driver(13020, 3)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert [device.open_device(name) for name in ("cuda", "cuda:2")] == [0, 2] == cupy.used


def test_devices_that_are_too_old_are_not_shared_out(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", driver(13020, 3))
    assert usable_devices() == ["cuda:0", "cuda:2"]


def test_auto_takes_a_gpu_that_answers_and_says_why_if_none_does(monkeypatch):
    selection._answering_device.cache_clear()
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert choose_device() == ("cpu", "CuPy isn't installed")
    assert get_backend("auto").xp is np
    monkeypatch.setattr(selection, "find_spec", lambda name: True)
    monkeypatch.setitem(sys.modules, "cupy", driver(0, None))
    assert choose_device() == ("cpu", "there is no NVIDIA driver")
    selection._answering_device.cache_clear()
    cupy = driver(13020, 1)
    cupy.cuda.runtime.getDeviceProperties = lambda number: {"name": b"H100", "totalGlobalMem": 80e9}
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert choose_device() == ("cuda", "H100, 80 GB")
    assert choose_device(threads=2) == ("cpu", "threads is a setting of the CPU")
    monkeypatch.setenv("CSC_COGD_FFT", "scipy")
    assert choose_device() == ("cpu", "CSC_COGD_FFT is a setting of the CPU")
    selection._answering_device.cache_clear()


def test_settings_of_the_cpu_are_refused_on_a_gpu(cuda):
    for name, value in (("threads", 2), ("fft", "scipy"), ("kernels", "numpy")):
        with pytest.raises(InputError, match=f"{name} is a setting of the CPU, not of 'cuda': leave it out"):
            get_backend("cuda", **{name: value})
    assert get_backend("cuda", fft="auto") is get_backend("cuda:0")


def test_arrays_stay_on_their_device(cuda):
    array = cuda.zeros((1, 8, 8))
    assert device_of(array, "auto") == device_of(array, "cuda") == "cuda:0"
    assert device_of(np.zeros(3), "cpu") == "cpu"
    with pytest.raises(InputError, match="images is on cuda:0, but device 'cpu' is asked for"):
        sparse_code(array, Dictionary(np.ones((1, 2, 2))), lmbda=0.1, device="cpu")
