"""The precision of the products of networks on a GPU, as a context manager."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from csc_cogd.backend.arrays import array_module, on_gpu
from csc_cogd.errors import InputError

PRECISIONS = ("float32", "mixed")
_TENSOR_CORES = 80  # the least compute capability that has them for TF32

_mixed: ContextVar[bool] = ContextVar("mixed", default=False)


@contextmanager
def computing_in(precision: str, array: Any) -> Iterator[None]:
    """Compute convolutions and linear layers of a network in a precision, within a ``with`` statement.

    Parameters
    ----------
    precision : {"float32", "mixed"}
        ``"mixed"``: on tensor cores. Factors are rounded to TF32, which has float32's range and 10 bits behind the point;
        their products are summed in float32, and all else is float32, also depthwise convolution, for which tensor cores
        don't pay. ``"float32"``: in the precision of the arrays.
    array : array
        One of the network's.

    Raises
    ------
    InputError
        If the precision is unknown, or ``"mixed"`` and the array isn't float32 on a GPU of compute capability 8.0 or more.
    """
    check_precision(precision)
    if precision == "mixed":
        if not on_gpu(array):
            raise InputError("precision", "'mixed' needs a GPU, but this network is on the CPU", "use 'float32'")
        _check_mixed(array.dtype, int(array_module(array).cuda.Device().compute_capability))
    token = _mixed.set(precision == "mixed")
    try:
        yield
    finally:
        _mixed.reset(token)


def is_mixed() -> bool:
    """Return whether products are to be computed on tensor cores."""
    return _mixed.get()


def check_precision(precision: str) -> None:
    """Raise InputError for an unknown precision."""
    if precision not in PRECISIONS:
        raise InputError("precision", f"must be 'float32' or 'mixed', got {precision!r}")


def _check_mixed(dtype: np.dtype, capability: int) -> None:
    """Raise InputError where products of a dtype can't be computed on the tensor cores of a GPU."""
    if dtype != np.float32:
        problem = f"'mixed' needs a network in float32, but this one is {dtype}"
        raise InputError("precision", problem, "use 'float32', or convert the network")
    if capability < _TENSOR_CORES:
        problem = f"'mixed' needs a GPU of compute capability {_TENSOR_CORES} or higher, but this one has {capability}"
        raise InputError("precision", problem, "use 'float32'")
