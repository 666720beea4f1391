"""The NumPy backend: arrays in main memory, threads over maps, one planned FFT per thread."""

from __future__ import annotations

import os
import queue
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np

from csc_cogd.backend import fft as fft_module
from csc_cogd.errors import DeviceError, InputError


class Workspace:
    """Scratch memory of one thread: `real` (M, B, H, W) and `spectrum` (M, B, H, W // 2 + 1), and the FFT between them.

    Both directions may destroy their source. ``inverse`` after ``forward`` multiplies by H * W.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, provider: str):
        half = (*shape[:-1], shape[-1] // 2 + 1)
        self.real = fft_module.aligned_empty(shape, dtype)
        self.spectrum = fft_module.aligned_empty(half, np.result_type(dtype, np.complex64))
        planned = fft_module.plan(self.real, self.spectrum, provider)
        self.forward, self.inverse = planned.forward, planned.inverse


class Backend:
    """Where the engine's arrays live and how its kernels run.

    Parameters
    ----------
    dtype : float32 or float64
        Precision of every array and transform.
    threads : int
        Threads over maps. The results do not depend on it, not even in the last bit.
    fft : {"pyfftw", "scipy"}
        FFT provider.
    kernels : {"numba", "numpy"}
        Fused kernels, or the plain reference.
    """

    xp = np
    maps_per_visit = 1  # one map stays in cache; a GPU takes many at a time

    def __init__(self, dtype: np.dtype, threads: int, fft: str, kernels: str):
        self.dtype = np.dtype(dtype)
        self.complex_dtype = np.result_type(self.dtype, np.complex64)
        self.threads = threads
        self.fft = fft
        self.kernels = _load({"numba": "compiled", "numpy": "kernels"}[kernels])
        self.patches = _load({"numba": "compiled_patches", "numpy": "patches"}[kernels])
        self.atoms = _load({"numba": "compiled_atoms", "numpy": "atoms"}[kernels])
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="csc-cogd") if threads > 1 else None

    def asarray(self, array: Any) -> np.ndarray:
        """Return a C-contiguous array of this backend's dtype, copied only if needed."""
        return np.ascontiguousarray(array, self.dtype)

    def to_host(self, array: np.ndarray) -> np.ndarray:
        return array

    def workspace(self, shape: tuple[int, ...]) -> Workspace:
        return Workspace(shape, self.dtype, self.fft)

    def workspaces(self, shape: tuple[int, ...]) -> queue.SimpleQueue[Workspace]:
        """One workspace a thread, to be handed to :meth:`run`."""
        pool: queue.SimpleQueue[Workspace] = queue.SimpleQueue()
        for _ in range(self.threads):
            pool.put(self.workspace(shape))
        return pool

    def each(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
        """``function(task)`` of every task, on all threads, in the tasks' order."""
        return map(function, tasks) if self._pool is None else self._pool.map(function, tasks)

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], workspaces: queue.SimpleQueue[Workspace]) -> list[Any]:
        """Call ``function(workspace, task)`` for every task, on all threads; results in the tasks' order."""

        def work(task: Any) -> Any:
            with borrowed(workspaces) as workspace:
                return function(workspace, task)

        return list(self.each(work, tasks))


@contextmanager
def borrowed(workspaces: queue.SimpleQueue[Workspace]) -> Iterator[Workspace]:
    """One of the workspaces, which comes back whatever happens."""
    workspace = workspaces.get()
    try:
        yield workspace
    finally:
        workspaces.put(workspace)


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
        ``auto`` takes the CPU: there is no CUDA backend in this version, and asking for one is an error.
    dtype : {"float32", "float64"}
    threads : int, optional
        Default: the processors this process may use.
    fft : {"auto", "pyfftw", "scipy"}, optional
        Default: the environment variable ``CSC_COGD_FFT``, else pyFFTW where installed.
    kernels : {"auto", "numba", "numpy"}, optional
        Default: the environment variable ``CSC_COGD_KERNELS``, else Numba where installed.

    Raises
    ------
    InputError
        For a value that is none of the above.
    DeviceError
        For a CUDA device.
    """
    if re.fullmatch(r"cuda(:\d+)?", str(device)):
        raise DeviceError(f"device {device!r}: this version runs on the CPU only: use 'cpu' or 'auto'")
    if device not in ("auto", "cpu"):
        raise InputError(f"device {device!r} is unknown: choose 'auto', 'cpu', 'cuda' or 'cuda:N'")
    try:
        dtype = np.dtype(dtype)
    except TypeError:
        dtype = None
    if dtype not in (np.float32, np.float64):
        raise InputError("dtype: the engine computes in 'float32' or 'float64'")
    if threads is None:
        threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads: {threads} is not a number of threads: use 1 or more")
    # a forked child has its parent's cache but not its threads
    return _backend(os.getpid(), dtype, threads, fft_module.choose_provider(fft), _choose_kernels(kernels))


@lru_cache(maxsize=8)
def _backend(process: int, dtype: np.dtype, threads: int, fft: str, kernels: str) -> Backend:
    return Backend(dtype, threads, fft, kernels)


def _choose_kernels(name: str | None) -> str:
    source = "kernels" if name else "CSC_COGD_KERNELS"
    name = name or os.environ.get("CSC_COGD_KERNELS") or "auto"
    if name not in ("auto", "numba", "numpy"):
        raise InputError(f"{source}: {name!r} is unknown: choose 'auto', 'numba' or 'numpy'")
    installed = find_spec("numba") is not None
    if name == "numba" and not installed:
        raise InputError(f"{source}: numba is not installed: run 'pip install numba', or choose 'numpy'")
    return "numba" if installed and name != "numpy" else "numpy"


def _load(name: str) -> ModuleType:
    return import_module(f"csc_cogd.backend.{name}")
