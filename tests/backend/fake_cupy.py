"""A module like CuPy whose arrays are in main memory: the CUDA backend's host code runs on it, with kernels built by g++.

It is stricter than NumPy where CuPy is: arrays of NumPy and of "the device" don't mix, nothing becomes a NumPy array by
itself, and functions that CuPy lacks are missing. What leaves the device is counted, for every such read waits for it.

While a stream captures, nothing is done: what would be queued is kept for a graph's launches, new arrays hold garbage, and
what waits for the device or brings something from the host raises an error. The memory of new arrays must come from the
caller, and must not have been given back when a graph is launched.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import cupy
import numpy as np

from tests.backend.cuda_on_cpu import HostModule

__version__ = cupy.__version__
transfers: list[str] = []
"""What was read from the device, since somebody emptied this list."""
launched: list[Graph] = []
"""Graphs that were launched, since somebody emptied this list."""
_capture: Graph | None = None  # what the capturing stream has been given
_allocator: Any = None  # where it isn't the default pool's


def _queue(work: Callable[[], Any]) -> None:
    """Do what writes to arrays that are there already."""
    if _capture is None:
        work()
    else:
        _capture.works.append(work)


def _compute(function: Any, arguments: tuple, options: dict[str, Any]) -> Any:
    """What a function of NumPy returns, as an array of the device if it is one."""
    if _capture is None:
        return _outer(function(*arguments, **options))
    if function in (np.matmul, np.dot, np.tensordot, np.einsum):
        raise NotImplementedError("Stream capture of cuBLAS is not supported")
    if function in (np.nonzero, np.argwhere, np.flatnonzero, np.unique):
        _wait()
    with np.errstate(all="ignore"):
        found = function(*arguments, **options)
    if not isinstance(found, (np.ndarray, np.generic)):
        return found
    if any(isinstance(given, np.ndarray) and np.may_share_memory(found, given) for given in arguments):
        return _outer(found)  # a view
    made = np.array(found)
    made.fill(np.nan if made.dtype.kind in "fc" else 113 if made.dtype.kind in "iu" else 1)
    _capture.memory.append(weakref.ref((_allocator or memory_pool.malloc)(made.nbytes)))
    _capture.works.append(lambda: made.__setitem__(..., function(*arguments, **options)))
    return ndarray(made)


def _wait() -> None:
    if _capture is not None:
        raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")


class Graph:
    """What a stream captured."""

    def __init__(self) -> None:
        self.works: list[Callable[[], Any]] = []
        self.memory: list[weakref.ref[MemoryPointer]] = []

    def upload(self) -> None:
        assert _capture is None

    def launch(self) -> None:
        assert _capture is None
        assert all(pointer() is not None for pointer in self.memory), "a graph writes to memory that others may have now"
        launched.append(self)
        for work in self.works:
            work()


class Stream:
    """A stream; all but the default one."""

    def __init__(self, non_blocking: bool = False):
        assert non_blocking, "other threads couldn't use the default stream meanwhile"

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *error: Any) -> None:
        assert _capture is None

    def begin_capture(self) -> None:
        global _capture
        assert _capture is None
        _capture = Graph()

    def end_capture(self) -> Graph:
        global _capture
        graph, _capture = _capture, None
        return graph


class Event:
    """When everything before it was done, which it was at once."""

    def record(self) -> None:
        self.seconds = time.perf_counter()

    def synchronize(self) -> None:
        _wait()


def get_elapsed_time(begin: Event, end: Event) -> float:
    return 1e3 * (end.seconds - begin.seconds)


class MemoryPointer:
    """Stands for memory: it is given back when this is gone."""

    def __init__(self, size: int):
        self.size = size


@contextmanager
def using_allocator(allocator: Any) -> Any:
    global _allocator
    before, _allocator = _allocator, allocator
    try:
        yield
    finally:
        _allocator = before


def _inner(value: Any, where: str) -> Any:
    """What NumPy is to compute with in place of an argument."""
    if isinstance(value, ndarray):
        return value.memory
    if isinstance(value, (list, tuple)):
        return type(value)(_inner(item, where) for item in value)
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {np.ndarray} in {where}")
    return value


def _outer(value: Any) -> Any:
    if isinstance(value, (np.ndarray, np.generic)):
        return ndarray(np.asarray(value))
    return tuple(map(_outer, value)) if isinstance(value, tuple) else value


def _scalar(kind: str) -> Any:
    def convert(self: ndarray) -> Any:
        _wait()
        transfers.append(kind)
        return getattr(self.memory, kind)()

    return convert


class ndarray(np.lib.mixins.NDArrayOperatorsMixin):  # noqa: N801  # CuPy's name
    """An array on the device."""

    __array_priority__ = 100

    def __init__(self, memory: np.ndarray):
        self.memory = memory

    __bool__, __int__, __float__ = _scalar("__bool__"), _scalar("__int__"), _scalar("__float__")
    __hash__ = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return self.memory.__array_interface__

    device = SimpleNamespace(id=0)

    @property
    def data(self) -> Any:
        return SimpleNamespace(ptr=self.memory.ctypes.data)

    def __array__(self, *arguments: Any, **options: Any) -> None:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_ufunc__(self, ufunc: Any, method: str, *arrays: Any, out: Any = (), **options: Any) -> Any:
        if method != "__call__" or "where" in options or not hasattr(cupy, ufunc.__name__):
            raise TypeError(f"CuPy hasn't {ufunc.__name__}.{method} with {sorted(options)}")
        arrays = _inner(arrays, ufunc.__name__)
        if not out:
            return _compute(ufunc, arrays, options)
        options["out"] = _inner(out, ufunc.__name__)
        _queue(lambda: ufunc(*arrays, **options))
        return out[0]

    def __array_function__(self, function: Any, types: Any, arguments: Any, options: Any) -> Any:
        place = cupy.linalg if "linalg" in function.__module__ else cupy
        if not hasattr(place, function.__name__):
            raise TypeError(f"CuPy hasn't {function.__name__}")
        where = function.__name__
        options = {name: _inner(value, where) for name, value in options.items()}
        return _compute(function, _inner(arguments, where), options)

    def __getitem__(self, index: Any) -> ndarray:
        index = _inner(index, "an index")
        if any(
            isinstance(part, np.ndarray) and part.dtype.kind == "b"
            for part in (index if isinstance(index, tuple) else (index,))
        ):
            _wait()
        return _compute(np.ndarray.__getitem__, (self.memory, index), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        index, value = _inner(index, "an index"), _inner(value, "an assignment")
        _queue(lambda: self.memory.__setitem__(index, value))

    def __len__(self) -> int:
        return len(self.memory)

    def __iter__(self) -> Any:
        return map(_outer, self.memory)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(cupy.ndarray, name):
            raise AttributeError(f"CuPy's arrays have no {name}")
        found = getattr(self.memory, name)
        if not callable(found):
            return _outer(found) if isinstance(found, np.ndarray) else found
        method = getattr(np.ndarray, name)
        return lambda *arguments, **options: _compute(
            method,
            (self.memory, *_inner(arguments, name)),
            {key: _inner(value, name) for key, value in options.items()},
        )

    def get(self) -> np.ndarray:
        _wait()
        transfers.append("get")
        return self.memory.copy()


def asnumpy(array: Any) -> np.ndarray:
    return array.get() if isinstance(array, ndarray) else np.asarray(array)


def asarray(array: Any, dtype: Any = None) -> ndarray:
    if isinstance(array, ndarray):
        return array if dtype in (None, array.dtype) else array.astype(dtype)
    _wait()
    return ndarray(np.array(array, dtype))


def ascontiguousarray(array: ndarray, dtype: Any = None) -> ndarray:
    array = asarray(array, dtype)
    return array if array.memory.flags.c_contiguous else array.copy()


def _aligned(array: np.ndarray) -> np.ndarray:
    """The array, or a copy of it with its gaps, at an address such as CuPy's arrays have: kernels load whole vectors."""
    if array.ctypes.data % 64 == 0 or not array.flags.c_contiguous:
        return array
    memory = np.empty(array.nbytes + 64, np.uint8)
    offset = -memory.ctypes.data % 64
    copy = memory[offset : offset + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


class RawModule:
    """Kernels that g++ built."""

    def __init__(self, *, code: str, options: tuple[str, ...]):
        definitions = (option[2:].partition("=") for option in options if option.startswith("-D"))
        self._module = HostModule(code, {name: value for name, _, value in definitions})

    def get_function(self, name: str) -> Kernel:
        return Kernel(self._module.get_function(name))


class Kernel:
    """A kernel of :class:`RawModule`, for arrays of the device only."""

    def __init__(self, function: Any):
        self._function = function
        self.max_dynamic_shared_size_bytes = function.max_dynamic_shared_size_bytes

    def __call__(self, grid: tuple, block: tuple, arguments: tuple, **options: Any) -> None:
        arguments = _inner(arguments, self._function.name)
        _queue(lambda: self._launch(grid, block, arguments, options))

    def _launch(self, grid: tuple, block: tuple, arguments: tuple, options: dict[str, Any]) -> None:
        aligned = tuple(_aligned(value) if isinstance(value, np.ndarray) else value for value in arguments)
        self._function.max_dynamic_shared_size_bytes = self.max_dynamic_shared_size_bytes
        self._function(grid, block, aligned, **options)
        for value, copy in zip(arguments, aligned, strict=True):
            if copy is not value and value.flags.writeable:
                value[...] = copy


class PlanNd:
    """cuFFT's plan of batched real transforms in two dimensions."""

    def __init__(
        self, shape, inembed, istride, idist, onembed, ostride, odist, fft_type, batch, order, last_axis, last_size
    ):
        assert _capture is None, "a plan's work area would lie in memory of a graph"
        assert (istride, ostride, order) == (1, 1, "C")
        assert (idist, odist) == (np.prod(inembed), np.prod(onembed))
        self.source, self.target, self.inverse = (batch, *inembed), (batch, *onembed), fft_type in ("C2R", "Z2D")
        self.single = fft_type in ("R2C", "C2R")

    def fft(self, source: ndarray, target: ndarray, direction: int) -> None:
        assert source.memory.flags.c_contiguous and target.memory.flags.c_contiguous  # noqa: PT018
        assert (source.shape, target.shape) == (self.source, self.target)
        assert source.dtype == ("c8" if self.single else "c16") if self.inverse else ("f4" if self.single else "f8")
        _queue(lambda: self._transform(source.memory, target.memory))

    @np.errstate(all="ignore")
    def _transform(self, source: np.ndarray, target: np.ndarray) -> None:
        """Without a warning of what overflows or isn't a number, as on a GPU: memory that nobody filled may hold either."""
        if self.inverse:
            target[...] = np.fft.irfft2(source, s=self.target[1:], norm="forward")
            source[...] = np.nan
        else:
            target[...] = np.fft.rfft2(source)


class CuFFTError(RuntimeError):
    """What cuFFT raises, with the number of its error."""

    def __init__(self, result: int):
        super().__init__(f"CUFFT error {result}")
        self.result = result


memory_pool = SimpleNamespace(
    free_bytes=lambda: 0, total_bytes=lambda: 0, free_all_blocks=lambda: None, malloc=MemoryPointer
)


def get_default_memory_pool() -> Any:
    return memory_pool


cuda = SimpleNamespace(
    Stream=Stream,
    Event=Event,
    get_elapsed_time=get_elapsed_time,
    using_allocator=using_allocator,
    Device=lambda *number: SimpleNamespace(compute_capability="90"),
    runtime=SimpleNamespace(
        memGetInfo=lambda: (8 * 10**9, 8 * 10**9),
        getDeviceProperties=lambda number: {"name": b"a double", "totalGlobalMem": 8 * 10**9},
    ),
    cufft=SimpleNamespace(
        PlanNd=PlanNd,
        CuFFTError=CuFFTError,
        CUFFT_R2C="R2C",
        CUFFT_C2R="C2R",
        CUFFT_D2Z="D2Z",
        CUFFT_Z2D="Z2D",
        CUFFT_FORWARD=-1,
        CUFFT_INVERSE=1,
    ),
)


def __getattr__(name: str) -> Any:
    """Functions of NumPy that CuPy has too, on arrays of the device."""
    if not hasattr(cupy, name):
        raise AttributeError(f"CuPy has no {name}")
    function = getattr(np, name)
    if not callable(function):
        return function

    def call(*arguments: Any, **options: Any) -> Any:
        options = {key: _inner(value, name) for key, value in options.items()}
        return _compute(function, _inner(arguments, name), options)

    return call


def _solve(function: Any) -> Any:
    def call(a: ndarray) -> ndarray:
        if _capture is not None:
            raise NotImplementedError("Stream capture of cuSOLVER is not supported")
        return ndarray(function(a.memory))

    return call


linalg = SimpleNamespace(inv=_solve(np.linalg.inv), eigvalsh=_solve(np.linalg.eigvalsh))
