"""The CuPy backend: arrays on a GPU, cuFFT, and the kernels in the `.cu` files of this folder."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

import numpy as np

from csc_cogd.backend.cpu import Backend, borrowed
from csc_cogd.backend.cuda.correlation import GROUP, Correlation
from csc_cogd.backend.cuda.fft import Transforms, Workspace
from csc_cogd.backend.cuda.kernels import Kernels
from csc_cogd.backend.cuda.patches import Patches
from csc_cogd.backend.cuda.recording import Recording, graphs_wanted

WORKSPACE = 32_000_000
"""Bytes of maps that are visited at a time: enough to fill a GPU, few enough to stay in its cache, and bounded."""
MOST_RECORDED = 256_000_000
"""Bytes of maps up to which iterations are recorded: more take a GPU longer than their launches."""
MOST_MAPS = 65532
"""Most maps that the grid of a kernel can count, a multiple of 4."""


class CudaBackend(Backend):
    """Where the engine's arrays live and how its kernels run, on a CUDA device.

    Work is queued on the current stream, and done in its order; `threads` is 1, for the GPU has its own.

    Parameters
    ----------
    dtype : float32 or float64
    device : int
    xp : module
        CuPy; a module like it in tests.
    shared_memory : int
        Bytes that a block of threads may ask for.
    """

    least_tasks = 1
    measure_every = 10  # iterations: reading a solver's figures waits for the device
    rows_at_once = 4096  # of reference patches

    def __init__(self, dtype: np.dtype, device: int, xp: ModuleType, shared_memory: int):
        self.xp, self.device = xp, device
        self.dtype = np.dtype(dtype)
        self.complex_dtype = np.result_type(self.dtype, np.complex64)
        self.threads, self.compiled = 1, False
        self.patches = Patches(xp, self.dtype, shared_memory)
        self.atoms = None  # coordinate descent, and sums of few atoms of single maps, are the CPU's
        self.kernels = Kernels(xp, self.dtype)
        self._transforms = Transforms(xp, self.dtype)
        self._recorder: Any = None  # a stream; always the same, for CuPy keeps memory of each stream apart

    def asarray(self, array: Any) -> Any:
        return self.xp.ascontiguousarray(self.xp.asarray(array, self.dtype))

    def to_host(self, array: Any) -> np.ndarray:
        return self.xp.asnumpy(array)

    def visit_shape(self, shape: tuple[int, ...], coupled: int = 1) -> tuple[int, int]:
        """Return as many maps as a workspace holds; several problems only with all their maps."""
        M, K, H, W = shape
        room = min(max(WORKSPACE // (H * W * self.dtype.itemsize), GROUP), MOST_MAPS)
        maps = min(K, max(room // coupled // GROUP * GROUP, GROUP))
        return (max(min(M, room // K), 1), K) if coupled == 1 and maps == K else (coupled, maps)

    def correlation(self, filters: Any, shape: tuple[int, ...], largest: float) -> Correlation | None:
        """See :class:`Correlation`; None for filters too large for it."""
        if not Correlation.supports(filters.shape, self.dtype):
            return None
        return Correlation(self.xp, self.dtype, self.asarray(filters), shape, largest)

    def recording(self, size: int) -> Callable[[Callable[[], Any]], None]:
        """See :class:`csc_cogd.backend.cuda.recording.Recording`."""
        if size > MOST_RECORDED or not graphs_wanted():
            return super().recording(size)
        if self._recorder is None:
            self._recorder = self.xp.cuda.Stream(non_blocking=True)
        return Recording(self.xp, self._recorder)

    def free_memory(self) -> float:
        return float(self.xp.cuda.runtime.memGetInfo()[0] + self.xp.get_default_memory_pool().free_bytes())

    def release(self) -> None:
        self._transforms.forget()
        self.xp.get_default_memory_pool().free_all_blocks()

    def workspace(self, shape: tuple[int, ...]) -> Workspace:
        return Workspace(shape, self._transforms)

    def workspaces(self, shape: tuple[int, ...]) -> queue.SimpleQueue[Workspace]:
        pool: queue.SimpleQueue[Workspace] = queue.SimpleQueue()
        pool.put(self.workspace(shape))
        return pool

    def each(self, function: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterable[Any]:
        return map(function, tasks)

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], workspaces: queue.SimpleQueue[Any]) -> list[Any]:
        with borrowed(workspaces) as workspace:
            return [function(workspace, task) for task in tasks]
