"""Functions that join tensors, or change their shape: products, concatenation, parts, frames, repetition, vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_positive, check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record

Range = tuple[int, int | None, int]
ALL: Range = (0, None, 1)


def product(x: Tensor, factors: Tensor) -> Tensor:
    """Return ``x * factors``.

    Parameters
    ----------
    x : (N, C, H, W) or (N, C) tensor
    factors : tensor of the same shape, or of shape (N, C, 1, 1)
        Of each value, or of each channel of each image, as in squeeze and excitation: J. Hu, L. Shen, G. Sun,
        "Squeeze-and-Excitation Networks", CVPR 2018.

    Returns
    -------
    y : tensor of the shape of `x`
    """
    images, scales = arrays_of(x, factors)
    if scales.shape not in (images.shape, (*images.shape[:2], *[1] * (images.ndim - 2))):
        raise InputError("factors", f"must be of shape {images.shape}, or of one pixel, got {scales.shape}")

    def backward(dy: Any) -> tuple[Any, Any]:
        dfactors = dy * images
        return dy * scales, dfactors if scales.shape == images.shape else dfactors.sum(axis=(2, 3), keepdims=True)

    return record(images * scales, (x, factors), backward, Operation("product"))


def concatenate(*tensors: Tensor) -> Tensor:
    """Return the channels of several tensors (N, C, H, W) one behind the other."""
    arrays = arrays_of(*tensors)
    for array in arrays:
        check_shape("tensors", array, len(arrays[0]), "C", *arrays[0].shape[2:])
    ends = np.cumsum([array.shape[1] for array in arrays])

    def backward(dy: Any) -> tuple[Any, ...]:
        return tuple(dy[:, end - array.shape[1] : end] for array, end in zip(arrays, ends, strict=True))

    return record(array_module(arrays[0]).concatenate(arrays, axis=1), tensors, backward, Operation("concatenate"))


def select(x: Tensor, channels: Any = None, rows: Range = ALL, columns: Range = ALL) -> Tensor:
    """Return some channels, rows and columns of images.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    channels : (K,) NumPy array of integers, optional
        The channel of x that each channel of the result is, or -1 for zeros; default: all.
    rows, columns : (start, stop, step)
        As of Python's slices, with steps of 1 or more.

    Returns
    -------
    y : (N, K, P, Q) tensor
    """
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    for name, (_, _, step) in (("rows", rows), ("columns", columns)):
        check_positive(f"{name}' step", step)
    xp, inside = array_module(array), (slice(*rows), slice(*columns))
    taken, places = slice(None), slice(None)
    part = array[(slice(None), slice(None), *inside)]
    if channels is not None:
        C, channels = array.shape[1], np.asarray(channels)
        if channels.ndim != 1 or channels.dtype.kind not in "iu" or not ((channels >= -1) & (channels < C)).all():
            raise InputError("channels", f"must be integers from -1 to {C - 1}, got {channels.tolist()}")
        found = np.flatnonzero(channels >= 0)
        taken, places = xp.asarray(channels[found]), xp.asarray(found)
        y = xp.zeros((len(array), len(channels), *part.shape[2:]), array.dtype)
        y[:, places] = part[:, taken]
    else:
        y = part.copy()
    if 0 in y.shape:
        raise InputError("x", f"must have something that is selected, got shape {tuple(array.shape)}")

    def backward(dy: Any) -> tuple[Any]:
        dx = xp.zeros(array.shape, dy.dtype)
        if channels is None or len(np.unique(channels[found])) == len(found):
            dx[(slice(None), taken, *inside)] = dy[:, places]
        else:
            for place in found.tolist():
                dx[(slice(None), int(channels[place]), *inside)] += dy[:, place]
        return (dx,)

    return record(y, (x,), backward, Operation("select", {"channels": channels, "rows": rows, "columns": columns}))


def flatten(x: Tensor) -> Tensor:
    """Return images (N, C, H, W) as vectors (N, C H W)."""
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    return record(
        array.reshape(len(array), -1), (x,), lambda dy: (dy.reshape(array.shape),), Operation("flatten")
    )  # fmt: skip


def pad2d(x: Tensor, sides: tuple[int, int, int, int], value: float = 0.0) -> Tensor:
    """Return images with a frame of `value`; `sides` are its widths at the top, left, bottom and right."""
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    if min(sides) < 0:
        raise InputError("sides", f"must be 0 or more, got {sides}")
    top, left, bottom, right = sides
    padded = np.pad(array, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=value)
    inside = (..., slice(top, top + array.shape[2]), slice(left, left + array.shape[3]))
    made_by = Operation("pad2d", {"sides": sides, "value": value})
    return record(padded, (x,), lambda dy: (dy[inside],), made_by)


def upsample(x: Tensor, factor: int) -> Tensor:
    """Return images in which each pixel is repeated `factor` times in both directions."""
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    check_positive("factor", factor)
    N, C, H, W = array.shape

    def backward(dy: Any) -> tuple[Any]:
        return (dy.reshape(N, C, H, factor, W, factor).sum(axis=(3, 5)),)

    repeated = array.repeat(factor, axis=2).repeat(factor, axis=3)
    return record(repeated, (x,), backward, Operation("upsample", {"factor": factor}))
