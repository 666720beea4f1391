"""Describe the libraries behind the backend on this machine."""

from __future__ import annotations

from pathlib import Path

from csc_cogd.backend import fft
from csc_cogd.backend.cuda.device import describe_device, open_device
from csc_cogd.backend.selection import get_backend


def fft_library() -> str:
    """Return the name of the FFT library that is used by default, and FFTW's version if it is FFTW.

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
    """Return the folder where Numba keeps compiled kernels, and how many there are.

    The folder is None if none can be written, or kernels aren't compiled.
    """
    backend = get_backend("cpu")
    folder = backend.kernels.apply_adjoint.stats.cache_path if backend.compiled else None
    return (Path(folder), len(list(Path(folder).glob("*.nbi")))) if folder else (None, 0)


def loses_kernels() -> bool:
    """Return whether each process compiles the kernels anew, as they can't be kept."""
    return get_backend("cpu").compiled and kernel_cache()[0] is None


def compiles_kernels(name: str) -> bool:
    """Return whether the kernels of module ``compiled_<name>`` will be compiled when they are first used.

    That takes a minute or so, and is done if none has been kept since the module was written.
    """
    folder = kernel_cache()[0]
    if folder is None:
        return get_backend("cpu").compiled
    written = Path(__file__).with_name(f"compiled_{name}.py").stat().st_mtime
    return all(file.stat().st_mtime < written for file in folder.glob(f"compiled_{name}.*.nbi"))


def cuda_devices() -> dict[str, str]:
    """Return name, memory and driver of each CUDA device, by its name as an argument ``device``.

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
