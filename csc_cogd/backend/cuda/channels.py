"""Elementwise and channelwise operations of networks, on a GPU: see `channels.cu`.

The functions are those of `csc_cogd.backend.compiled_channels`. Images lie channels last, see
:mod:`csc_cogd.backend.cuda.layout`. Sums repeat bit for bit: their order depends on shapes alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from csc_cogd.backend.arrays import array_module
from csc_cogd.backend.cuda.layout import channels_first, channels_last, flat, is_whole, vector
from csc_cogd.backend.cuda.modules import THREADS, blocks, load_function

_FINISHED = 8  # as in channels.cu
_ACROSS = 32  # packs of channels that a block sums, at most
_BLOCKS = 528  # that fill a large GPU several times over
_ROWS = 4  # of a slab, that a thread adds up, at least
_VALUES = 4  # of a thread
_int = np.int32


def moments(x: Any) -> tuple[Any, Any]:
    """Return mean and biased variance of each channel of (N, C, H, W)."""
    pixels = channels_last(x)
    partial, slabs, C = _sum("sum_moments", pixels, pixels)
    result = array_module(x).empty((2, C), x.dtype)
    _finish("finish_moments", (partial, slabs, _int(C), _int(pixels.size // C), pixels, result), x, C)
    return result[0], result[1]


def products(dy: Any, x: Any, mean: Any) -> Any:
    """Return each channel's sums of dy, and of dy (x - mean)."""
    pixels = channels_last(x)
    partial, slabs, C = _sum("sum_products", pixels, channels_last(dy), pixels, vector(mean, x))
    result = array_module(x).empty((2, C), x.dtype)
    _finish("finish_products", (partial, slabs, _int(C), result), x, C)
    return result


def normalize(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any, epsilon: float) -> Any:
    """Return ``gamma (x - mean) / sqrt(variance + epsilon) + beta``, channel by channel."""
    return _by_channel("normalize", (x,), (gamma, beta, mean, variance), x.dtype.type(epsilon))


def normalize_gradient(
    dy: Any, x: Any, gamma: Any, mean: Any, variance: Any, epsilon: float, from_batch: bool
) -> tuple[Any, Any, Any]:
    """Return the gradients of x, gamma and beta, where mean and variance are the batch's, or given."""
    gradients, pixels = channels_last(dy), channels_last(x)
    gamma, mean, variance = (vector(array, x) for array in (gamma, mean, variance))
    partial, slabs, C = _sum("sum_products", pixels, gradients, pixels, mean)
    rows, result = pixels.size // C if from_batch else 0, array_module(x).empty((5, C), x.dtype)
    numbers = (slabs, _int(C), _int(rows), gamma, variance, x.dtype.type(epsilon), result)
    _finish("finish_gradient", (partial, *numbers), x, C)
    dgamma, dbeta, scale, x_scale, shift = (result[k] for k in range(5))
    return combine(dy, x, scale, x_scale, mean, shift), dgamma, dbeta


def affine(x: Any, scale: Any, shift: Any) -> Any:
    """Return ``scale[c] x[n, c] + shift[c]``."""
    return _by_channel("affine", (x,), (scale, shift))


def combine(a: Any, x: Any, a_scale: Any, x_scale: Any, mean: Any, shift: Any) -> Any:
    """Return ``a_scale[c] a[n, c] + x_scale[c] (x[n, c] - mean[c]) + shift[c]``."""
    return _by_channel("combine", (a, x), (a_scale, x_scale, mean, shift))


def clip(x: Any, top: float) -> Any:
    """Return ``min(max(x, 0), top)``."""
    return _each_value("clip", (x,), x.dtype.type(top))


def clip_gradient(dy: Any, y: Any, top: float) -> Any:
    """Return `dy` where ``0 < y < top``, else 0."""
    return _each_value("clip_gradient", (dy, y), y.dtype.type(top))


def add(a: Any, b: Any) -> Any:
    return _each_value("add", (a, b))


def move_statistics(
    running_mean: Any, running_variance: Any, mean: Any, variance: Any, momentum: float, unbiased: float
) -> tuple[Any, Any]:
    """Return ``(1 - momentum) running + momentum batch``, the batch's variance times `unbiased`."""
    xp, dtype, C = array_module(mean), mean.dtype, mean.size
    moved = xp.empty((2, C), dtype)
    settings = (dtype.type(momentum), dtype.type(unbiased), _int(C), moved)
    kernel = load_function(xp, "channels", "move_statistics", dtype)
    vectors = [vector(array, mean) for array in (running_mean, running_variance, mean, variance)]
    kernel((blocks(C),), (THREADS,), (*vectors, *settings))
    return moved[0], moved[1]


def add_slabs(partial: Any, total: Any) -> None:
    """Write to `total` the sum over the first axis of `partial`, (slabs, ...)."""
    slabs, size = len(partial), total.size
    across = max(THREADS // columns(slabs), _FINISHED)
    kernel = load_function(array_module(total), "channels", "add_slabs", total.dtype)
    kernel((-(-size // across),), (THREADS,), (partial, _int(slabs), _int(size), _int(across), total))


def columns(width: int, most: int = _ACROSS) -> int:
    """Return how many of `width` packs of channels a block has: a power of two, so that a warp reads whole lines."""
    return min(1 << (width - 1).bit_length(), most)


@lru_cache(maxsize=1024)
def _slabs(rows: int, width: int) -> tuple[int, int, int, int]:
    """Return how many blocks of how many packs of channels, and how many slabs of how many rows there are."""
    across = columns(width)
    beside, lanes = -(-width // across), THREADS // across
    slabs = max(1, min(rows // (lanes * _ROWS), _BLOCKS // beside))
    slab_rows = -(-rows // slabs)
    return beside, across, -(-rows // slab_rows), slab_rows


def _sum(name: str, pixels: Any, *arrays: Any) -> tuple[Any, np.int32, int]:
    """Return partial sums (slabs, 2, C) of a pair of numbers, how many slabs there are, and C."""
    C = pixels.shape[-1]
    rows, whole = pixels.size // C, is_whole(C, *arrays)
    beside, across, slabs, slab_rows = _slabs(rows, C // 4 if whole else C)
    xp = array_module(pixels)
    partial = xp.empty((slabs, 2, C), np.float64)
    numbers = (_int(rows), _int(C), _int(across), _int(slab_rows), whole, partial)
    load_function(xp, "channels", name, pixels.dtype)((beside, slabs), (THREADS,), (*arrays, *numbers))
    return partial, _int(slabs), C


def _finish(name: str, arguments: tuple[Any, ...], x: Any, C: int) -> None:
    load_function(array_module(x), "channels", name, x.dtype)((-(-C // _FINISHED),), (THREADS,), arguments)


def _by_channel(name: str, images: tuple[Any, ...], given: tuple[Any, ...], *settings: Any) -> Any:
    """Launch a kernel for images (N, C, H, W), with vectors (C,) and numbers."""
    xp, arrays = array_module(images[0]), [channels_last(array) for array in images]
    vectors, y = [vector(array, arrays[0]) for array in given], xp.empty(arrays[0].shape, arrays[0].dtype)
    if y.size:
        C = y.shape[-1]
        numbers = (_int(y.size), _int(C), is_whole(C, *arrays, *vectors))
        kernel = load_function(xp, "channels", name, y.dtype)
        kernel(_grid(y.size), (THREADS,), (*arrays, *vectors, *settings, y, *numbers))
    return channels_first(y)


def _each_value(name: str, given: tuple[Any, ...], *settings: Any) -> Any:
    """Launch a kernel for arrays of the same shape, whatever that is."""
    xp, arrays = array_module(given[0]), [flat(array) for array in given]
    y = xp.empty(arrays[0].shape, arrays[0].dtype)
    if y.size:
        kernel = load_function(xp, "channels", name, y.dtype)
        kernel(_grid(y.size), (THREADS,), (*arrays, *settings, y, _int(y.size), is_whole(4, *arrays)))
    return channels_first(y) if y.ndim == 4 else y


def _grid(size: int) -> tuple[int]:
    return (min(-(-blocks(size) // _VALUES), 4 * _BLOCKS),)
