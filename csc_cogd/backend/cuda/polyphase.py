"""Strided convolution by phases on a GPU: see `polyphase.cu`. The functions are those of `csc_cogd.backend.polyphase`."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend.arrays import array_module
from csc_cogd.backend.cuda.modules import THREADS, blocks, load_function
from csc_cogd.backend.polyphase import row_of_phases

_int, _long = np.int32, np.int64


def gather(phases: Any, size: int, stride: int, row: int, height: int, columns: Any) -> None:
    """See `csc_cogd.backend.polyphase.gather`; `columns` has no gaps."""
    _, rows, width = columns.shape
    numbers = map(_int, (size, stride, height, row, rows, width, *phases.shape[1:]))
    _launch("gather", columns.size, phases, (_whole(phases), columns, *numbers))


def scatter(columns: Any, size: int, stride: int, row: int, height: int, phases: Any) -> None:
    """See `csc_cogd.backend.polyphase.scatter`; `phases` have no gaps."""
    _, rows, width = columns.shape
    first, last = (row_of_phases(at, size, stride, height) for at in (row, row + rows - 1))
    count = last + (size - 1) // stride + 1 - first
    numbers = map(_int, (size, stride, height, row, rows, width, *phases.shape[1:], first, count))
    _launch("scatter", len(phases) * count * phases.shape[2], columns, (_whole(columns), phases, *numbers))


def shrink(codes: Any, step: Any, t0: Any, t1: Any, sigma: Any, start: int, out: Any) -> None:
    """See `csc_cogd.backend.polyphase.shrink`; `out` has no gaps."""
    arrays = (_whole(codes), _whole(step), _whole(t0), _whole(t1), _whole(sigma), out)
    _launch("shrink", step.size, codes, (*arrays, _long(codes.shape[1]), _long(start), _long(step.shape[1])))


def shrink_backward(codes: Any, gradient: Any, sigma: Any, t0_gradient: Any, t1_gradient: Any) -> None:
    """See `csc_cogd.backend.polyphase.shrink_backward`; what is written to has no gaps."""
    arrays = (_whole(codes), gradient, _whole(sigma), t0_gradient, t1_gradient)
    kernel = load_function(array_module(codes), "polyphase", "shrink_backward", codes.dtype)
    kernel((len(codes),), (THREADS,), (*arrays, _long(codes.shape[1])))


def _launch(name: str, values: int, given: Any, arguments: tuple[Any, ...]) -> None:
    """Launch a kernel with a thread for each of so many values."""
    if values:
        kernel = load_function(array_module(given), "polyphase", name, given.dtype)
        kernel((blocks(values),), (THREADS,), (*arguments, _long(values)))


def _whole(array: Any) -> Any:
    return array_module(array).ascontiguousarray(array)
