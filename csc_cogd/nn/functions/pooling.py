"""Pooling, as in PyTorch: windows that don't fit entirely are dropped."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import Pair, check_shape, pair
from csc_cogd.nn.functions.windows import Two, crop, output_size, pad, taps
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def max_pool2d(x: Tensor, kernel: Pair, *, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """Return the largest value of each window; its gradient goes to the first of them, row by row. NaN counts as largest.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    kernel : int or pair of int
        Height and width of the windows.
    stride : int or pair of int, optional
        Distances between windows; default: `kernel`.
    padding : int or pair of int
        Frame of minus infinity.

    Returns
    -------
    y : (N, C, P, Q) tensor

    Raises
    ------
    InputError
        If shapes don't fit, or a window could see nothing but padding, because that is wider than half of it.
    """
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    kernels, strides = _windows(kernel, stride)
    paddings = pair(padding, "padding", least=0)
    if paddings[0] * 2 > kernels[0] or paddings[1] * 2 > kernels[1]:
        raise InputError("padding", f"must be at most half of the window {kernel}, got {padding}")
    xp, size = array_module(array), output_size("x", array.shape[2:], kernels, strides, paddings)
    padded = pad(array, paddings, -np.inf)
    shape, y = padded.shape, xp.full((*array.shape[:2], *size), -np.inf, dtype=array.dtype)
    place = xp.zeros(y.shape, np.int32)  # of the largest value so far: the number of its tap
    for tap, (_, _, window) in enumerate(taps(kernels, strides, size)):
        larger = (padded[window] > y) | xp.isnan(padded[window])
        y = xp.where(larger, padded[window], y)
        place[larger] = tap

    def backward(dy: Any) -> tuple[Any]:
        dx = xp.zeros(shape, dy.dtype)
        for tap, (_, _, window) in enumerate(taps(kernels, strides, size)):
            dx[window] += dy * (place == tap)
        return (crop(dx, paddings),)

    made_by = Operation("max_pool2d", {"kernel": kernels, "stride": strides, "padding": paddings})
    return record(y, (x,), backward, made_by)


def avg_pool2d(x: Tensor, kernel: Pair, *, stride: Pair | None = None) -> Tensor:
    """Return the mean of each window.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    kernel : int or pair of int
        Height and width of the windows.
    stride : int or pair of int, optional
        Distances between windows; default: `kernel`.

    Returns
    -------
    y : (N, C, P, Q) tensor
    """
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    kernels, strides = _windows(kernel, stride)
    xp, shape, size = array_module(array), array.shape, output_size("x", array.shape[2:], kernels, strides, (0, 0))
    y = xp.zeros((*shape[:2], *size), array.dtype)
    for _, _, window in taps(kernels, strides, size):
        y += array[window]
    y /= kernels[0] * kernels[1]

    def backward(dy: Any) -> tuple[Any]:
        dx, share = xp.zeros(shape, dy.dtype), dy / (kernels[0] * kernels[1])
        for _, _, window in taps(kernels, strides, size):
            dx[window] += share
        return (dx,)

    return record(y, (x,), backward, Operation("avg_pool2d", {"kernel": kernels, "stride": strides}))


def global_avg_pool2d(x: Tensor, keep: bool = False) -> Tensor:
    """Return the mean of each channel: (N, C, H, W) to (N, C), or to images of one pixel if `keep`."""
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    shape = array.shape

    def backward(dy: Any) -> tuple[Any]:
        share = dy / (shape[2] * shape[3])
        return (array_module(dy).broadcast_to(share if keep else share[:, :, None, None], shape),)

    made_by = Operation("global_avg_pool2d", {"keep": keep})
    return record(array.mean(axis=(2, 3), keepdims=keep), (x,), backward, made_by)


def _windows(kernel: Pair, stride: Pair | None) -> tuple[Two, Two]:
    """Return the size of the windows, and their distances."""
    return pair(kernel, "kernel"), pair(kernel if stride is None else stride, "stride")
