"""Tell NumPy arrays from CuPy arrays, convert between them, and find the values that ``numpy.ma`` masks."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from csc_cogd.errors import InputError


def on_gpu(array: Any) -> bool:
    """Return whether an array is on a CUDA device."""
    return hasattr(array, "__cuda_array_interface__")


def array_module(array: Any) -> Any:
    """Return the module of an array: NumPy or CuPy."""
    return sys.modules[type(array).__module__] if on_gpu(array) else np


def is_masked(array: Any) -> bool:
    """Return whether ``numpy.ma`` masks any value of an array, or of the arrays in a list."""
    if isinstance(array, (list, tuple)):
        return any(map(is_masked, array))
    return bool(np.ma.is_masked(array))


def with_mask(array: Any) -> Any:
    """Stack a list of masked arrays, whose masks NumPy would drop; return anything else as it is."""
    if isinstance(array, (list, tuple)) and is_masked(array):
        return np.ma.stack([np.ma.asarray(with_mask(part)) for part in array])
    return array


def check_unmasked(array: Any, name: str) -> None:
    """Raise InputError about the argument `name` if ``numpy.ma`` masks any of its values."""
    if is_masked(array):
        raise _masked(name)


def _masked(name: str) -> InputError:
    return InputError(name, "must not have masked values here", "fill them, as by numpy.ma.filled")


def as_array(array: Any, name: str = "array") -> Any:
    """Return a CuPy array if the data are on a GPU, such as a tensor's, else a NumPy array.

    Raises
    ------
    InputError
        If ``numpy.ma`` masks a value, as the mask would be lost; the error is about the argument `name`.
    """
    if on_gpu(array):
        return _as_cupy(array)
    if is_masked(array):
        raise _masked(name)
    return np.asarray(array)


def _as_cupy(array: Any) -> Any:
    """Return an array of CuPy of data that are on a GPU."""
    if hasattr(array, "get"):
        return array
    import cupy

    return cupy.asarray(array)


def to_numpy(array: Any, name: str = "array") -> np.ndarray:
    """Return a NumPy array, wherever the data are; see :func:`as_array`."""
    array = from_gpu(array)
    if is_masked(array):
        raise _masked(name)
    return np.asarray(array)


def from_gpu(array: Any) -> Any:
    """Copy an array from the GPU; return anything else as it is, such as a masked array or None."""
    return _as_cupy(array).get() if on_gpu(array) else array


def beside(array: np.ndarray, other: Any) -> Any:
    """Copy a NumPy array to the current GPU if the other array is on a GPU."""
    return array_module(as_array(other)).asarray(array) if on_gpu(other) else array


def filled_like(array: Any, values: Any) -> Any:
    """Return a new array of these values, with the shape, dtype, device and memory layout of `array`."""
    result, values = array_module(array).empty_like(array), as_array(values)
    result[...] = values if on_gpu(values) == on_gpu(array) else array_module(array).asarray(to_numpy(values))
    return result
