"""Depthwise convolution on a GPU: see `depthwise.cu`. The functions are those of `csc_cogd.backend.compiled_depthwise`."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend.arrays import array_module
from csc_cogd.backend.cuda.channels import add_slabs, columns
from csc_cogd.backend.cuda.layout import channels_first, channels_last, check_size, is_whole
from csc_cogd.backend.cuda.modules import THREADS, load_function
from csc_cogd.errors import InputError

Two = tuple[int, int]

_STRIP, _TAPS = 4, 4  # as in depthwise.cu
_SHARED_MEMORY = 48 * 1024  # bytes of a block, on any device
_BLOCKS, _ROWS = 1056, 16  # that fill a large GPU; pixels that a thread sums over, at least
_int = np.int32


def depthwise(x: Any, w: Any, size: Two, stride: Two, padding: Two) -> Any:
    """See `csc_cogd.nn.functions.conv2d`, with as many groups as channels in and out, and no bias."""
    images, y = channels_last(x), array_module(x).empty((len(x), *size, len(w)), x.dtype)
    _by_strips("convolve", images, w, y, images.shape, y.shape, stride, padding)
    return channels_first(y)


def depthwise_images_gradient(dy: Any, w: Any, shape: tuple[int, ...], stride: Two, padding: Two) -> Any:
    """Return the gradient of images of a shape (N, C, H, W)."""
    N, C, H, W = shape
    gradients, dx = channels_last(dy), array_module(dy).empty((N, H, W, C), dy.dtype)
    _by_strips("images_gradient", gradients, w, dx, dx.shape, gradients.shape, stride, padding)
    return channels_first(dx)


def depthwise_weights_gradient(dy: Any, x: Any, w: Any, stride: Two, padding: Two) -> Any:
    """Return the gradient of weights: the gradients of pieces of the pixels are added up in order."""
    xp, images, gradients = array_module(x), channels_last(x), channels_last(dy)
    if not len(x):
        return xp.zeros_like(w)
    (N, P, Q, C), (I, J) = gradients.shape, w.shape[2:]  # noqa: E741
    whole = is_whole(C, images, gradients)
    across, beside = _columns(C, bool(whole))
    layers, pixels = I * -(-J // _TAPS), N * P * Q
    pieces = max(1, min(pixels // (THREADS // across * _ROWS), _BLOCKS // (beside * layers)))
    chunk = -(-pixels // pieces)
    pieces = -(-pixels // chunk)
    partial, dw = xp.empty((pieces, *w.shape), w.dtype), xp.empty(w.shape, w.dtype)
    numbers = _numbers(images.shape, gradients.shape, (I, J), stride, padding)
    kernel = load_function(xp, "depthwise", "weights_gradient", x.dtype)
    kernel((pieces, beside, layers), (THREADS,), (images, gradients, partial, *numbers, _int(across), whole, _int(chunk)))
    add_slabs(partial, dw)
    return dw


def _by_strips(
    name: str, source: Any, w: Any, target: Any, images: tuple[int, ...], results: tuple[int, ...], stride: Two, padding: Two
) -> None:
    """Launch a kernel for every strip of `target`."""
    check_size(target.shape)
    if not target.size:
        return
    xp, (C, _, I, J) = array_module(source), w.shape  # noqa: E741
    whole, item = is_whole(C, source), w.dtype.itemsize
    across, _ = _columns(C, bool(whole))
    while across > 1 and across * (4 if whole else 1) * I * J * item > _SHARED_MEMORY:
        across //= 2
    shared = across * (4 if whole else 1) * I * J * item
    if shared > _SHARED_MEMORY:
        wrong = f"has kernels of {I} x {J}, too large for the GPU's shared memory"
        raise InputError("w", wrong, "use smaller ones, or the CPU")
    N, rows, length, _ = target.shape
    strips, beside = N * rows * -(-length // _STRIP), -(-(C // 4 if whole else C) // across)
    numbers = (*_numbers(images, results, (I, J), stride, padding), _int(across), whole)
    grid = (min(-(-strips * across // THREADS), 8 * _BLOCKS), beside)
    kernel = load_function(xp, "depthwise", name, source.dtype)
    kernel(grid, (THREADS,), (source, xp.ascontiguousarray(w), target, *numbers), shared_mem=shared)


def _columns(C: int, whole: bool) -> Two:
    """Return how many packs of channels a block has side by side, and how many such blocks there are."""
    width = C // 4 if whole else C
    across = columns(width)
    return across, -(-width // across)


def _numbers(
    images: tuple[int, ...], results: tuple[int, ...], kernel: Two, stride: Two, padding: Two
) -> tuple[np.int32, ...]:
    return tuple(map(_int, (*images, *results[1:3], *kernel, *stride, *padding)))
