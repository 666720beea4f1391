"""Maxima, minima and means over squares around each pixel, and closings: by SciPy, or the kernels of `compiled_windows`.

Beyond its borders a plane goes on as its mirror image.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from csc_cogd.backend.dispatch import kernels_for


def window_maximum(plane: np.ndarray, side: int) -> np.ndarray:
    """Return the largest value in the square of an odd side around each pixel of (H, W), of the same dtype."""
    kernels = kernels_for("windows", plane)
    if kernels is None:
        return np.asarray(ndimage.maximum_filter(plane, side))
    lowest = -np.inf if plane.dtype.kind == "f" else np.iinfo(plane.dtype).min
    largest = np.empty(plane.shape, plane.dtype)
    kernels.maximum(np.ascontiguousarray(plane), side // 2, plane.dtype.type(lowest), largest)
    return largest


def window_minimum(plane: np.ndarray, side: int) -> np.ndarray:
    """Return the smallest value in the square of an odd side around each pixel of floats (H, W)."""
    return np.negative(window_maximum(np.negative(plane), side))


def closing(plane: np.ndarray, side: int) -> np.ndarray:
    """Return the morphological closing of floats (H, W) by a square of an odd side: minima of maxima."""
    return window_minimum(window_maximum(plane, side), side)


def window_mean(plane: np.ndarray, side: int) -> np.ndarray:
    """Return the mean in the square of an odd side around each pixel of float32 (H, W); sums are of float64."""
    kernels = kernels_for("windows", plane)
    if kernels is None:
        return np.asarray(ndimage.uniform_filter(plane, side))
    means = np.empty(plane.shape, plane.dtype)
    kernels.mean(np.ascontiguousarray(plane), side, *(_mirrored(length, side // 2) for length in plane.shape), means)
    return means


def _mirrored(length: int, margin: int) -> np.ndarray:
    """Return the places of an axis, with those that stand for what is beyond its ends."""
    return np.pad(np.arange(length), margin, mode="symmetric")
