"""Arrays of NumPy and of CuPy: which one it is, and one as the other; and what ``numpy.ma`` masks in them."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from csc_cogd.errors import InputError


def on_gpu(array: Any) -> bool:
    """Return whether an array is on a CUDA device."""
    return hasattr(array, "__cuda_array_interface__")


def array_module(array: Any) -> Any:
    """Return the module that an array is of: NumPy, or CuPy."""
    return sys.modules[type(array).__module__] if on_gpu(array) else np


def is_masked(array: Any) -> bool:
    """Return whether ``numpy.ma`` masks any value of an array, or of the arrays in a list."""
    if isinstance(array, (list, tuple)):
        return any(map(is_masked, array))
    return bool(np.ma.is_masked(array))


def with_mask(array: Any) -> Any:
    """Return a masked array of a list of such, whose masks NumPy would drop; anything else as it is."""
    if isinstance(array, (list, tuple)) and is_masked(array):
        return np.ma.stack([np.ma.asarray(with_mask(part)) for part in array])
    return array


def check_unmasked(array: Any, name: str) -> None:
    """Raise InputError, which speaks of `name`, where ``numpy.ma`` masks a value of what must have them all."""
    if is_masked(array):
        raise _masked(name)


def _masked(name: str) -> InputError:
    return InputError(name, "must not have masked values here", "fill them, as by numpy.ma.filled")


def as_array(array: Any, name: str = "array") -> Any:
    """Return a NumPy array of anything that isn't on a GPU, and an array of CuPy's of what is, such as a tensor.

    Raises
    ------
    InputError
        Where ``numpy.ma`` masks a value, for the mask would be lost; it speaks of `name`.
    """
    if not on_gpu(array):
        if is_masked(array):
            raise _masked(name)
        return np.asarray(array)
    if hasattr(array, "get"):
        return array
    import cupy

    return cupy.asarray(array)


def to_numpy(array: Any, name: str = "array") -> np.ndarray:
    """Return a NumPy array of anything; see :func:`as_array`."""
    array = as_array(array, name)
    return array.get() if on_gpu(array) else array


def from_gpu(array: Any) -> Any:
    """Return a NumPy array of one on a GPU; anything else as it is, such as a masked array or None."""
    return as_array(array).get() if on_gpu(array) else array


def beside(array: np.ndarray, other: Any) -> Any:
    """Return a NumPy array as one on the current GPU, if the other one is on a GPU."""
    return array_module(as_array(other)).asarray(array) if on_gpu(other) else array


def filled_like(array: Any, values: Any) -> Any:
    """Return a new array of these values, of the other one's shape, data type, device and layout in memory."""
    result, values = array_module(array).empty_like(array), as_array(values)
    result[...] = values if on_gpu(values) == on_gpu(array) else array_module(array).asarray(to_numpy(values))
    return result
