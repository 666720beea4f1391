"""Describe the libraries behind the backend on this machine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from csc_cogd.backend.cuda.device import describe_device, open_device
from csc_cogd.backend.selection import choose_provider, get_backend


def fft_library() -> str:
    """Return the name of the FFT library that is used by default, and FFTW's version if it is FFTW.

    Raises
    ------
    InputError
        If ``CSC_COGD_FFT`` names none, or one that isn't installed.
    """
    if choose_provider() != "pyfftw":
        return "scipy"
    import pyfftw

    return f"pyfftw ({pyfftw.fftw_version})"


def kernel_cache() -> Path | None:
    """Return the folder where Numba keeps compiled kernels; None if none can be written, or kernels aren't compiled."""
    backend = get_backend("cpu")
    folder = backend.kernels.apply_adjoint.stats.cache_path if backend.compiled else None
    return Path(folder) if folder else None


def announce_compiling(say: Callable[[], None], after: float = 2.0) -> None:
    """Call `say`, once, where this process compiles a kernel for longer than so many seconds."""
    if not get_backend("cpu").compiled:
        return
    from numba.core import event

    class Watch(event.Listener):
        """Starts a timer where compiling begins, unless it has within another kernel, and stops it at the end."""

        depth = 0
        timer: threading.Timer

        def tell(self) -> None:
            event.unregister("numba:compile", self)  # type: ignore[no-untyped-call]
            say()

        def on_start(self, event: object) -> None:
            self.depth += 1
            if self.depth == 1:
                self.timer = threading.Timer(after, self.tell)
                self.timer.daemon = True
                self.timer.start()

        def on_end(self, event: object) -> None:
            self.depth -= 1
            if self.depth == 0:
                self.timer.cancel()

    event.register("numba:compile", Watch())  # type: ignore[no-untyped-call]


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
