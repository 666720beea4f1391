"""The NumPy backend: arrays in main memory, threads over maps, one planned FFT per thread."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import buffer_pool
from csc_cogd.backend import fft as fft_module
from csc_cogd.locks import importing

Index = tuple[slice, slice]
"""Which problems and which of their maps a visit covers."""


class Task(NamedTuple):
    """Maps of an iteration that one thread visits, and the number of the partial sum that it adds to."""

    problems: slice
    maps: slice
    group: int

    def visits(self, width: int) -> Iterator[Index]:
        """Yield the problems and maps of each visit, `width` maps at a time."""
        for start in range(self.maps.start, self.maps.stop, width):
            yield self.problems, slice(start, min(start + width, self.maps.stop))


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

    def part(self, problems: slice, maps: slice) -> Workspace:
        """Return the workspace of a visit, in the same memory; here all visits are equally large."""
        return self


class Backend:
    """Where the engine's arrays live and how its kernels run.

    Parameters
    ----------
    dtype : float32 or float64
        Precision of every array and transform.
    threads : int
        Threads over maps. The results do not depend on it, not even in the last bit.
    fft : {"pyfftw", "estimated", "scipy"}
        FFT provider.
    kernels : {"numba", "numpy"}
        Fused kernels, or the plain reference.
    """

    xp: Any = np
    least_tasks = 8  # that maps are cut into: enough threads, and sums that don't depend on them
    measure_every = 1  # iterations: a solver's figures cost nothing here
    rows_at_once = 8  # of reference patches in a task

    def __init__(self, dtype: np.dtype, threads: int, fft: str, kernels: str):
        self.dtype = np.dtype(dtype)
        self.complex_dtype = np.result_type(self.dtype, np.complex64)
        self.threads = threads
        self.fft = fft
        self.compiled = kernels == "numba"
        """Whether kernels on single atoms are fast, so that coordinate descent is."""
        self.kernels: Any = load({"numba": "compiled", "numpy": "kernels"}[kernels])
        self.patches: Any = load({"numba": "compiled_patches", "numpy": "patches"}[kernels])
        self.atoms: Any = load({"numba": "compiled_atoms", "numpy": "atoms"}[kernels])
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="csc-cogd") if threads > 1 else None

    def asarray(self, array: Any) -> Any:
        """Return a C-contiguous array of this backend's dtype, copied only if needed."""
        return np.ascontiguousarray(array, self.dtype)

    def to_host(self, array: Any) -> np.ndarray:
        """Return the array in main memory."""
        return array

    def visit_shape(self, shape: tuple[int, ...], coupled: int = 1) -> tuple[int, int]:
        """Return how many problems and maps of (M, K, H, W) maps are visited at a time, `coupled` problems always together.

        Here it is one map, which stays in cache.
        """
        return coupled, 1

    def visits(self, shape: tuple[int, ...]) -> list[Index]:
        """Return the problems and maps of each visit to (M, K, H, W) maps, problem by problem."""
        problems, maps = self.visit_shape(shape)
        return [
            (slice(m, min(m + problems, shape[0])), slice(k, min(k + maps, shape[1])))
            for m in range(0, shape[0], problems)
            for k in range(0, shape[1], maps)
        ]

    def tasks(self, shape: tuple[int, ...], coupled: int = 1) -> tuple[list[Task], int]:
        """Return the tasks of an iteration over (M, K, H, W) maps, and how many maps a visit takes: see `visit_shape`."""
        M, K = shape[:2]
        problems, width = self.visit_shape(shape, coupled)
        groups = min(K, -(-self.least_tasks * problems // M))
        cuts = np.linspace(0, K, groups + 1).astype(int).tolist()
        tasks = [
            Task(slice(m, min(m + problems, M)), slice(start, stop), group)
            for m in range(0, M, problems)
            for group, (start, stop) in enumerate(pairwise(cuts))
        ]
        return tasks, width

    def correlation(self, filters: Any, shape: tuple[int, ...], largest: float) -> Any:
        """Return a kernel that visits all maps of small filters without transforming them, or None where FFTs are faster."""
        return None

    def recording(self, size: int) -> Callable[[Callable[[], Any]], None]:
        """Return a function that does work, to call with the same work every time, so that queueing needn't cost time again.

        A backend may record the work instead of doing it, and repeat what it did then to the same arrays with the same
        numbers. So the work keeps no array that it made, reads nothing from the device, and has no results; where anything
        else changes, another recording is needed. Here work is just done.

        Parameters
        ----------
        size : int
            Bytes that the work goes through: where there are many, queueing it is the least.
        """
        return lambda work: work()

    def free_memory(self) -> float | None:
        """Return the bytes that are free on a device with memory of its own; None for main memory, which others share."""
        return None

    def release(self) -> None:
        """Give memory back that is kept for reuse."""
        buffer_pool.release()

    def workspace(self, shape: tuple[int, ...]) -> Any:
        return Workspace(shape, self.dtype, self.fft)

    def workspaces(self, shape: tuple[int, ...]) -> queue.SimpleQueue[Any]:
        """Return one workspace for each thread, for :meth:`run`."""
        pool: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for _ in range(self.threads):
            pool.put(self.workspace(shape))
        return pool

    def each(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
        """Return ``function(task)`` of every task, on all threads, in the tasks' order."""
        return map(function, tasks) if self._pool is None else self._pool.map(function, tasks)

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], workspaces: queue.SimpleQueue[Workspace]) -> list[Any]:
        """Call ``function(workspace, task)`` for every task, on all threads; results in the tasks' order."""

        def work(task: Any) -> Any:
            with borrowed(workspaces) as workspace:
                return function(workspace, task)

        return list(self.each(work, tasks))


@contextmanager
def borrowed(workspaces: queue.SimpleQueue[Workspace]) -> Iterator[Workspace]:
    """Lend one of the workspaces, which comes back whatever happens."""
    workspace = workspaces.get()
    try:
        yield workspace
    finally:
        workspaces.put(workspace)


@lru_cache
def load(name: str) -> Any:
    """Return a module of the backend, imported on first use."""
    with importing:
        return import_module(f"csc_cogd.backend.{name}")
