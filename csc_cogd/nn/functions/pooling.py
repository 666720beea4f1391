"""Pooling, as in PyTorch: windows that don't fit whole are dropped."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import Pair, check_shape, pair
from csc_cogd.nn.functions.windows import Two, crop, output_size, pad, taps
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def max_pool2d(x: Tensor, kernel: Pair, *, stride: Pair | None = None, padding: Pair = 0) -> Tensor:
    """The largest value of each window; its gradient goes to the first of them, row by row. A NaN is larger than all.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    kernel, stride, padding : int or pair of int
        Height and width of windows, and their distances, by default the same; minus infinity is padded.

    Raises
    ------
    InputError
        If shapes don't fit, or a window could see nothing but padding, which is wider than half of it.
    """
    (array,) = arrays_of(x)
    check_shape("x", array, "N C H W")
    kernels, strides = _windows(kernel, stride)
    paddings = pair(padding, "padding", least=0)
    if paddings[0] * 2 > kernels[0] or paddings[1] * 2 > kernels[1]:
        raise InputError(f"padding: {padding} is more than half of the window {kernel}: use less")
    y, saved = max_pool2d_forward(array, kernels, strides, paddings)
    made_by = Operation("max_pool2d", {"kernel": kernels, "stride": strides, "padding": paddings})
    return record(y, (x,), lambda dy: (max_pool2d_backward(dy, saved),), made_by)


def max_pool2d_forward(x: Any, kernel: Two, stride: Two, padding: Two) -> tuple[Any, Any]:
    xp, size = array_module(x), output_size("max_pool2d", x.shape[2:], kernel, stride, padding)
    padded = pad(x, padding, -np.inf)
    y = xp.full((*x.shape[:2], *size), -np.inf, dtype=x.dtype)
    place = xp.zeros(y.shape, np.int32)  # of the largest value so far: the number of its tap
    for tap, (_, _, window) in enumerate(taps(kernel, stride, size)):
        larger = (padded[window] > y) | xp.isnan(padded[window])
        y = xp.where(larger, padded[window], y)
        place[larger] = tap
    return y, (place, padded.shape, kernel, stride, padding)


def max_pool2d_backward(dy: Any, saved: Any) -> Any:
    place, shape, kernel, stride, padding = saved
    dx = array_module(dy).zeros(shape, dy.dtype)
    for tap, (_, _, window) in enumerate(taps(kernel, stride, dy.shape[2:])):
        dx[window] += dy * (place == tap)
    return crop(dx, padding)


def avg_pool2d(x: Tensor, kernel: Pair, *, stride: Pair | None = None) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    kernel, stride : int or pair of int
        Height and width of windows, and their distances, by default the same.
    """
    (array,) = arrays_of(x)
    check_shape("x", array, "N C H W")
    kernels, strides = _windows(kernel, stride)
    y, saved = avg_pool2d_forward(array, kernels, strides)
    made_by = Operation("avg_pool2d", {"kernel": kernels, "stride": strides})
    return record(y, (x,), lambda dy: (avg_pool2d_backward(dy, saved),), made_by)


def avg_pool2d_forward(x: Any, kernel: Two, stride: Two) -> tuple[Any, Any]:
    size = output_size("avg_pool2d", x.shape[2:], kernel, stride, (0, 0))
    y = array_module(x).zeros((*x.shape[:2], *size), x.dtype)
    for _, _, window in taps(kernel, stride, size):
        y += x[window]
    y /= kernel[0] * kernel[1]
    return y, (x.shape, kernel, stride)


def avg_pool2d_backward(dy: Any, saved: Any) -> Any:
    shape, kernel, stride = saved
    dx = array_module(dy).zeros(shape, dy.dtype)
    share = dy / (kernel[0] * kernel[1])
    for _, _, window in taps(kernel, stride, dy.shape[2:]):
        dx[window] += share
    return dx


def global_avg_pool2d(x: Tensor) -> Tensor:
    """The mean of each channel: (N, C, H, W) to (N, C)."""
    (array,) = arrays_of(x)
    check_shape("x", array, "N C H W")
    y, saved = global_avg_pool2d_forward(array)
    return record(y, (x,), lambda dy: (global_avg_pool2d_backward(dy, saved),), Operation("global_avg_pool2d"))


def global_avg_pool2d_forward(x: Any) -> tuple[Any, Any]:
    return x.mean(axis=(2, 3)), x.shape


def global_avg_pool2d_backward(dy: Any, saved: Any) -> Any:
    share = dy / (saved[2] * saved[3])
    return array_module(dy).broadcast_to(share[:, :, None, None], saved)


def _windows(kernel: Pair, stride: Pair | None) -> tuple[Two, Two]:
    """Size and distances of the windows."""
    return pair(kernel, "kernel"), pair(kernel if stride is None else stride, "stride")
