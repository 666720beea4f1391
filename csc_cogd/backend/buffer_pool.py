"""A pool of buffers for large arrays.

A step of training makes hundreds of them, in the same shapes every time. Memory fresh from the system comes page by page,
each of them cleared when first written to, which can take as long as the computation that writes it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np

MIN_BYTES = 1 << 16
"""Smaller arrays are left to NumPy."""
SLACK = 1.5
"""How many times larger than what is asked for a buffer may be."""
MAX_IDLE_BYTES = 1 << 31
"""Most bytes of idle buffers that are kept."""

_idle: dict[int, list[np.ndarray]] = {}  # by their bytes


class PooledBuffer:
    """The buffer of an array and its views; it returns to the pool when the last of them is gone."""

    def __init__(self, memory: np.ndarray):
        self.memory, self.idle = memory, _idle
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        bytes_idle = sum(size * len(memories) for size, memories in list(self.idle.items()))
        if bytes_idle + self.memory.size <= MAX_IDLE_BYTES:
            self.idle.setdefault(self.memory.size, []).append(self.memory)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Return an array as :func:`numpy.empty` does, in a buffer of the pool if it is large."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < MIN_BYTES:
        return np.empty(shape, dtype)
    memory = _idle_of(size)
    memory = np.empty(size, np.uint8) if memory is None else memory
    return np.asarray(PooledBuffer(memory))[:size].view(dtype).reshape(shape)


def _idle_of(size: int) -> np.ndarray | None:
    """Take the smallest idle buffer that holds `size` bytes and isn't much larger, so that shapes share buffers."""
    for found in sorted(bytes for bytes in list(_idle) if size <= bytes <= SLACK * size):
        with suppress(IndexError):  # none is left, or another thread was faster
            return _idle[found].pop()
    return None


def release() -> None:
    """Return the pool's idle memory to the system."""
    _idle.clear()
