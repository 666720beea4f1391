"""What the libraries behind the backend are on this machine, for people to read."""

from __future__ import annotations

from pathlib import Path

from csc_cogd.backend import fft
from csc_cogd.backend.cuda.device import describe_device, open_device
from csc_cogd.backend.selection import get_backend


def fft_library() -> str:
    """Name of the FFT library that is used by default, and FFTW's version where it is FFTW.

    Raises
    ------
    InputError
        If ``CSC_COGD_FFT`` names none, or one that isn't installed.
    """
    if fft.choose_provider() != "pyfftw":
        return "scipy"
    import pyfftw

    return f"pyfftw ({pyfftw.fftw_version})"


def kernel_cache() -> tuple[Path | None, int]:
    """The folder where Numba keeps the kernels that it compiled, and how many it has there.

    The folder is None where none can be written, or where kernels aren't compiled.
    """
    backend = get_backend("cpu")
    folder = backend.kernels.apply_adjoint.stats.cache_path if backend.compiled else None
    return (Path(folder), len(list(Path(folder).glob("*.nbi")))) if folder else (None, 0)


def cuda_devices() -> dict[str, str]:
    """Name, memory and driver of each CUDA device, or why it can't be used, by what ``device`` is to be for it.

    Raises
    ------
    DeviceError
        If there is none, or CuPy or the driver is missing; the message says what to do.
    """
    open_device("cuda:0")
    import cupy

    driver = cupy.cuda.runtime.driverGetVersion()
    suffix = f", driver for CUDA {driver // 1000}.{driver % 1000 // 10}"
    return {f"cuda:{number}": describe_device(number) + suffix for number in range(cupy.cuda.runtime.getDeviceCount())}
