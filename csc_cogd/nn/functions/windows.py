"""The windows that convolutions and pooling slide over images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError

Two = tuple[int, int]
Tap = tuple[int, int, Any]


def output_size(name: str, size: Two, kernel: Two, stride: Two, padding: Two) -> Two:
    """Return height and width of the result, as in PyTorch: what is left over at the lower and right edges is dropped.

    `name` is that of the images.

    Raises
    ------
    InputError
        If the window is larger than the padded image.
    """
    padded = (size[0] + 2 * padding[0], size[1] + 2 * padding[1])
    if kernel[0] > padded[0] or kernel[1] > padded[1]:
        raise InputError(name, f"must be {kernel} pixels or more, padding included, as the window is, got {padded}")
    return (padded[0] - kernel[0]) // stride[0] + 1, (padded[1] - kernel[1]) // stride[1] + 1


def pad(x: Any, padding: Two, value: float = 0.0) -> Any:
    """Return images (..., H, W) with a frame of `value` around them; the images themselves if the frame is empty."""
    if padding == (0, 0):
        return x
    (*rest, H, W), (top, left) = x.shape, padding
    padded = array_module(x).full((*rest, H + 2 * top, W + 2 * left), value, dtype=x.dtype)
    padded[..., top : top + H, left : left + W] = x
    return padded


def crop(x: Any, padding: Two) -> Any:
    """Return padded images without their frame: the adjoint of :func:`pad`."""
    (H, W), (top, left) = x.shape[-2:], padding
    return x[..., top : H - top, left : W - left]


def taps(kernel: Two, stride: Two, size: Two) -> Iterator[Tap]:
    """Yield row i and column j of every weight of a kernel, and the index of the pixels (..., H, W) that it meets.

    `size` is that of the output: as many pixels are met.
    """
    for i in range(kernel[0]):
        rows = slice(i, i + stride[0] * size[0], stride[0])
        for j in range(kernel[1]):
            yield i, j, (..., rows, slice(j, j + stride[1] * size[1], stride[1]))
