"""Choose the backend: the one place where `device`, `dtype`, `threads` and `fft` are interpreted."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from csc_cogd.backend.arrays import on_gpu
from csc_cogd.backend.cpu import Backend
from csc_cogd.backend.fft import HAS_PYFFTW
from csc_cogd.errors import DeviceError, InputError

PROVIDERS = ("pyfftw", "estimated", "scipy")
"""``"estimated"`` is pyFFTW with plans that are not measured: a transform takes 1.1 to 1.8 times as long, but no plan takes
the tenths of a second that a new size costs otherwise, and results repeat bit for bit from process to process."""
ENVIRONMENT_VARIABLE = "CSC_COGD_FFT"


def get_backend(
    device: str = "auto",
    *,
    dtype: Any = "float32",
    threads: int | None = None,
    fft: str | None = None,
    kernels: str | None = None,
) -> Backend:
    """Return the backend for a device; one per distinct setting, so that plans and threads are reused.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "cuda:N"}
        ``"auto"`` takes a GPU where CuPy is installed and a device answers, unless `threads`, `fft` or `kernels` ask for
        something that only the CPU has; see :func:`choose_device`. ``"cuda"`` is the current device, 0 unless
        changed, and never falls back; ``"cuda:N"`` makes device N this thread's current one.
    dtype : {"float32", "float64"}
    threads : int, optional
        Of the CPU; default: the processors this process may use.
    fft : {"auto", "estimated", "pyfftw", "scipy"}, optional
        Of the CPU; default: the environment variable ``CSC_COGD_FFT``, else pyFFTW where installed. ``"estimated"`` is that
        default with plans that aren't measured: no time to start, and results that repeat bit for bit in other processes.
    kernels : {"auto", "numba", "numpy"}, optional
        Of the CPU; default: the environment variable ``CSC_COGD_KERNELS``, else Numba where it is
        installed and ``NUMBA_DISABLE_JIT`` isn't set.

    Raises
    ------
    InputError
        For a value that is none of the above, and for settings of the CPU on a CUDA device.
    DeviceError
        If a CUDA device is asked for and can't be used; the message says why.
    """
    if device not in ("auto", "cpu") and not re.fullmatch(r"cuda(:\d+)?", str(device)):
        raise InputError("device", f"must be 'auto', 'cpu', 'cuda' or 'cuda:N', got {device!r}")
    try:
        known = np.dtype(dtype) in (np.float32, np.float64)
    except TypeError:
        known = False
    if not known:
        raise InputError("dtype", f"must be 'float32' or 'float64', got {dtype!r}")
    dtype = np.dtype(dtype)
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError("threads", f"must be an integer >= 1, got {threads}")
    provider, chosen_kernels = choose_provider(fft), choose_kernels(kernels)
    if device == "auto":
        device, _ = choose_device(threads, fft, kernels)
    if device == "cpu":
        if threads is None:
            threads = usable_processors()
        # a forked child has its parent's cache but not its threads
        return _cpu_backend(os.getpid(), dtype, threads, provider, chosen_kernels)
    if asked := _settings_of_the_cpu(threads, fft, kernels):
        raise InputError(asked, f"is a setting of the CPU, not of {device!r}", "leave it out, or use {device} 'cpu'")
    from csc_cogd.backend.cuda.device import open_device

    return _cuda_backend(os.getpid(), dtype, open_device(device))


def device_of(array: Any, device: str, name: str = "images") -> str:
    """Return the device to compute on: that of `array` if it is on a GPU, and ``"auto"`` or ``"cuda"`` asked for.

    Raises
    ------
    InputError
        If the array is on another device than the one asked for.
    """
    if not on_gpu(array):
        return device
    there = f"cuda:{array.device.id}"
    if device not in ("auto", "cuda", there):
        raise InputError(name, f"is on {there}, but device {device!r} is asked for", "move it there first")
    return there


def choose_device(threads: int | None = None, fft: str | None = None, kernels: str | None = None) -> tuple[str, str]:
    """Return the device that ``"auto"`` chooses with these settings, and the reason, for display."""
    variables = filter(os.environ.get, (ENVIRONMENT_VARIABLE, "CSC_COGD_KERNELS"))
    if asked := _settings_of_the_cpu(threads, fft, kernels) or next(variables, ""):
        return "cpu", f"{asked} is a setting of the CPU"
    if find_spec("cupy") is None:
        return "cpu", "CuPy isn't installed"
    return _answering_device(os.getpid())


def usable_processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def physical_memory() -> float | None:
    """Return the bytes of memory that this machine has; None if that is unknown."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None


def usable_devices() -> list[str]:
    """Return the names of the CUDA devices of this machine, ``"cuda:0"`` and so on, if :func:`get_backend` found one."""
    from csc_cogd.backend.cuda import device

    return device.usable_devices()


def _settings_of_the_cpu(threads: int | None, fft: str | None, kernels: str | None) -> str:
    """Return the first of the settings that only the CPU has; empty if none is given."""
    for name, value in (("threads", threads), ("fft", fft), ("kernels", kernels)):
        if value not in (None, "auto", "estimated"):
            return name
    return ""


@lru_cache(maxsize=2)
def _answering_device(process: int) -> tuple[str, str]:
    from csc_cogd.backend.cuda.device import describe_device, open_device

    try:
        return "cuda", describe_device(open_device("cuda"))
    except DeviceError as error:
        return "cpu", error.problem


@lru_cache(maxsize=8)
def _cpu_backend(process: int, dtype: np.dtype, threads: int, fft: str, kernels: str) -> Backend:
    return Backend(dtype, threads, fft, kernels)


@lru_cache(maxsize=8)
def _cuda_backend(process: int, dtype: np.dtype, device: int) -> Backend:
    import cupy

    from csc_cogd.backend.cuda import CudaBackend

    return CudaBackend(dtype, device, cupy, cupy.cuda.Device(device).attributes["MaxSharedMemoryPerBlockOptin"])


def choose_provider(name: str | None = None) -> str:
    """Return the FFT provider to use: `name`, else ``$CSC_COGD_FFT``, else the fastest one installed.

    ``"estimated"`` leaves the library open, as ``"auto"`` does: that is what restoring asks for.
    """
    source, asked = "fft", name
    if name in (None, "auto", "estimated") and (variable := os.environ.get(ENVIRONMENT_VARIABLE)):
        source, name = ENVIRONMENT_VARIABLE, variable
    if name in (None, "auto", "estimated"):
        return "scipy" if not HAS_PYFFTW else "estimated" if "estimated" in (asked, name) else "pyfftw"
    if name not in PROVIDERS:
        raise InputError(source, f"must be 'auto', 'estimated', 'pyfftw' or 'scipy', got {name!r}")
    if name == "pyfftw" and not HAS_PYFFTW:
        raise InputError(source, "is 'pyfftw', which isn't installed", "run 'pip install pyfftw', or choose 'scipy'")
    return name


def choose_kernels(name: str | None) -> str:
    """Return the kernels to use, "numba" or "numpy": `name`, else ``$CSC_COGD_KERNELS``, else "numba" if it runs."""
    source = "kernels" if name else "CSC_COGD_KERNELS"
    name = name or os.environ.get("CSC_COGD_KERNELS") or "auto"
    if name not in ("auto", "numba", "numpy"):
        raise InputError(source, f"must be 'auto', 'numba' or 'numpy', got {name!r}")
    installed = find_spec("numba") is not None
    if name == "numba" and not installed:
        raise InputError(source, "is 'numba', which isn't installed", "run 'pip install numba', or choose 'numpy'")
    disabled = os.environ.get("NUMBA_DISABLE_JIT", "").strip() not in ("", "0")
    if name == "numba" and disabled:
        wrong = "is 'numba', but NUMBA_DISABLE_JIT keeps Numba from compiling"
        raise InputError(source, wrong, "unset it, or choose 'numpy'")
    return "numba" if installed and not disabled and name != "numpy" else "numpy"
