"""Large arrays in memory that is used again.

A step of training makes hundreds of them, in the same shapes every time. Memory fresh from the system comes page by page,
each of them cleared when first written to, which can take as long as the computation that writes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LEAST = 1 << 16
"""Bytes of arrays for which this is worthwhile."""
MOST = 1 << 31
"""Bytes that are kept while nobody uses them."""

_idle: dict[int, list[np.ndarray]] = {}  # by their bytes


class _Loan:
    """Memory behind an array and its views; it comes back when the last of them is gone."""

    def __init__(self, memory: np.ndarray):
        self.memory, self.idle = memory, _idle
        self.__array_interface__ = memory.__array_interface__

    def __del__(self) -> None:
        bytes_idle = sum(size * len(memories) for size, memories in list(self.idle.items()))
        if bytes_idle + self.memory.size <= MOST:
            self.idle.setdefault(self.memory.size, []).append(self.memory)


def empty(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """As :func:`numpy.empty`."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    if size < LEAST:
        return np.empty(shape, dtype)
    try:
        memory = _idle[size].pop()
    except (KeyError, IndexError):
        memory = np.empty(size, np.uint8)
    return np.asarray(_Loan(memory)).view(dtype).reshape(shape)


def release() -> None:
    """Give the memory back to the system that is kept."""
    _idle.clear()
