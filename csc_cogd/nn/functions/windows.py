"""The windows that convolutions and pooling slide over images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError

Two = tuple[int, int]
Tap = tuple[int, int, Any]


def output_size(name: str, size: Two, kernel: Two, stride: Two, padding: Two) -> Two:
    """Height and width of what comes out, as in PyTorch: what is left over at the lower and right edges is dropped.

    Raises
    ------
    InputError
        If the window is larger than the padded image.
    """
    padded = (size[0] + 2 * padding[0], size[1] + 2 * padding[1])
    if kernel[0] > padded[0] or kernel[1] > padded[1]:
        raise InputError(
            f"{name}: a window of {kernel} doesn't fit into images of {padded}, padding included: enlarge these"
        )
    return (padded[0] - kernel[0]) // stride[0] + 1, (padded[1] - kernel[1]) // stride[1] + 1


def pad(x: Any, padding: Two, value: float = 0.0) -> Any:
    """(..., H, W) images with a frame of `value` around them; themselves if it is empty."""
    if padding == (0, 0):
        return x
    (*rest, H, W), (top, left) = x.shape, padding
    padded = array_module(x).full((*rest, H + 2 * top, W + 2 * left), value, dtype=x.dtype)
    padded[..., top : top + H, left : left + W] = x
    return padded


def crop(x: Any, padding: Two) -> Any:
    """Padded images without their frame: the adjoint of :func:`pad`."""
    (H, W), (top, left) = x.shape[-2:], padding
    return x[..., top : H - top, left : W - left]


def taps(kernel: Two, stride: Two, size: Two) -> Iterator[Tap]:
    """Row i and column j of every weight of a kernel, and the index of the pixels (..., H, W) that it meets.

    `size` is that of the output, so many pixels they are.
    """
    for i in range(kernel[0]):
        rows = slice(i, i + stride[0] * size[0], stride[0])
        for j in range(kernel[1]):
            yield i, j, (..., rows, slice(j, j + stride[1] * size[1], stride[1]))
