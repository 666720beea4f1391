"""Convolution, which is correlation here, of images with kernels, as in PyTorch.

In general, it is a matrix product with the columns (im2col): K. Chellapilla, S. Puri, P. Simard, "High Performance
Convolutional Neural Networks for Document Processing" (2006). Columns are computed again in the backward pass rather than
kept, and for so few images at a time that they stay in the processor's cache. Depthwise convolution needs no columns: it is
a sum of shifted images. This is plain code in NumPy; compiled kernels replace it if there are any, and on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import kernels_for
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import Pair, check_shape, pair
from csc_cogd.nn.functions.windows import Two, crop, output_size, pad, taps
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record

COLUMNS_BYTES = 1 << 20
"""Memory for the columns that are computed at a time, in bytes."""


class Grid(NamedTuple):
    """How kernels move over images, see :func:`conv2d`."""

    stride: Two
    padding: Two
    groups: int


def conv2d(
    x: Tensor, w: Tensor, bias: Tensor | None = None, *, stride: Pair = 1, padding: Pair = 0, groups: int = 1
) -> Tensor:
    """Return the convolution of images with kernels.

    ``y[n, o, p, q] = bias[o] + sum_cij w[o, c, i, j] x[n, c', stride p + i - padding, stride q + j - padding]``.

    With groups, output channel o of group g sees the input channels c' = g C / groups + c of its own group only.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    w : (O, C / groups, I, J) tensor
    bias : (O,) tensor, optional
    stride : int or pair of int
        Of rows and columns.
    padding : int or pair of int
        Of rows and columns; zeros are padded on both sides.
    groups : int
        A divisor of C and O; as many as C for depthwise convolution.

    Returns
    -------
    y : (N, O, P, Q) tensor, P = (H + 2 padding - I) // stride + 1, Q likewise

    Raises
    ------
    InputError
        If shapes, dtypes or devices don't fit.
    """
    images, kernels, biases = arrays_of(x, w, bias)
    _check(images, kernels, biases, groups)
    grid = Grid(pair(stride, "stride"), pair(padding, "padding", least=0), groups)
    y = conv2d_forward(images, kernels, biases, grid)

    def backward(dy: Any) -> tuple[Any, ...]:
        gradients = conv2d_backward(dy, images, kernels, grid, x.requires_grad)
        return gradients if bias is None else (*gradients, dy.sum(axis=(0, 2, 3)))

    parents = (x, w) if bias is None else (x, w, bias)
    return record(y, parents, backward, Operation("conv2d", grid._asdict()))


def conv2d_forward(x: Any, w: Any, bias: Any, grid: Grid) -> Any:
    """Compute :func:`conv2d` for arrays, of which `bias` may be None."""
    stride, padding, groups = grid
    size = output_size("x", x.shape[2:], w.shape[2:], stride, padding)
    depthwise = is_depthwise(w, groups)
    compiled = kernels_for("depthwise" if depthwise else "convolution", x)
    if compiled and not depthwise:
        return compiled.conv2d(x, w, bias, size, stride, padding, groups)
    y = compiled.depthwise(x, w, size, stride, padding) if compiled else _plain_forward(x, w, grid, size)
    if bias is not None:
        y += bias[:, None, None]
    return y


def conv2d_backward(dy: Any, x: Any, w: Any, grid: Grid, need_dx: bool = True) -> tuple[Any, Any]:
    """Return the gradients of x, None unless needed, and of w."""
    stride, padding, groups = grid
    if is_depthwise(w, groups):
        if compiled := kernels_for("depthwise", x):
            dx = compiled.depthwise_images_gradient(dy, w, x.shape, stride, padding) if need_dx else None
            return dx, compiled.depthwise_weights_gradient(dy, x, w, stride, padding)
    elif compiled := kernels_for("convolution", x):
        dx = compiled.conv2d_images_gradient(dy, w, x.shape, stride, padding, groups) if need_dx else None
        return dx, compiled.conv2d_weights_gradient(dy, x, w, stride, padding, groups)
    return _plain_backward(dy, x, w, grid, need_dx)


def _plain_forward(x: Any, w: Any, grid: Grid, size: Two) -> Any:
    stride, padding, groups = grid
    forward = _depthwise_forward if is_depthwise(w, groups) else _columns_forward
    y = np.empty((len(x), len(w), *size), x.dtype)
    for some in _chunks(x, w, size):
        y[some] = forward(pad(x[some], padding), w, stride, size, groups)
    return y


def _plain_backward(dy: Any, x: Any, w: Any, grid: Grid, need_dx: bool) -> tuple[Any, Any]:
    stride, padding, groups = grid
    backward = _depthwise_backward if is_depthwise(w, groups) else _columns_backward
    rest = (w.shape[2] - 1 - padding[0], w.shape[3] - 1 - padding[1])
    scatter = need_dx and (stride != (1, 1) or min(rest) < 0)
    dx: Any = np.empty_like(x) if scatter else None
    dw = np.zeros_like(w)
    for some in _chunks(x, w, dy.shape[2:]):
        padded = pad(x[some], padding)
        dpadded = np.zeros_like(padded) if scatter else None
        dw += backward(dy[some], padded, w, stride, groups, dpadded)
        if scatter:
            dx[some] = crop(dpadded, padding)
    if need_dx and not scatter:  # dx is a correlation too, which is faster
        dx = _plain_forward(dy, _rotated(w, groups), Grid((1, 1), rest, groups), x.shape[2:])
    return dx, dw


def _check(x: Any, w: Any, bias: Any, groups: int) -> None:
    check_shape("w", w, "O", "C/groups", "I", "J")
    if 0 in w.shape:
        raise InputError("w", f"must not be empty, got shape {w.shape}")
    if groups < 1 or w.shape[0] % groups:
        raise InputError("groups", f"must divide the {w.shape[0]} output channels, got {groups}")
    check_shape("x", x, "N", w.shape[1] * groups, "H", "W")
    if bias is not None:
        check_shape("bias", bias, w.shape[0])


def is_depthwise(w: Any, groups: int) -> bool:
    """Return whether each channel has a single kernel of its own."""
    return groups > 1 and w.shape[:2] == (groups, 1)


def _rotated(w: Any, groups: int) -> Any:
    """Return kernels rotated by 180 degrees, from output to input channels."""
    C, *kernel = w.shape[1:]
    grouped = w.reshape(groups, -1, C, *kernel)[..., ::-1, ::-1]
    return grouped.swapaxes(1, 2).reshape(groups * C, -1, *kernel)


def _chunks(x: Any, w: Any, size: Two) -> Iterator[slice]:
    """Return the images that are convolved at a time."""
    columns = x.shape[1] * prod(w.shape[2:]) * prod(size) * x.dtype.itemsize
    step = max(1, COLUMNS_BYTES // columns)
    return (slice(start, start + step) for start in range(0, len(x), step))


def _depthwise_forward(x: Any, w: Any, stride: Two, size: Two, groups: int) -> Any:
    y = np.zeros((*x.shape[:2], *size), x.dtype)
    for i, j, seen in taps(w.shape[2:], stride, size):
        y += w[:, 0, i, j, None, None] * x[seen]
    return y


def _depthwise_backward(dy: Any, x: Any, w: Any, stride: Two, groups: int, dx: Any) -> Any:
    """Return the gradient of w; that of x is added to `dx` unless None, as in :func:`_columns_backward`."""
    dw = np.empty_like(w)
    for i, j, seen in taps(w.shape[2:], stride, dy.shape[2:]):
        dw[:, 0, i, j] = np.einsum("ncpq,ncpq->c", dy, x[seen])
        if dx is not None:
            dx[seen] += w[:, 0, i, j, None, None] * dy
    return dw


def _columns_forward(x: Any, w: Any, stride: Two, size: Two, groups: int) -> Any:
    """Multiply kernels (G, O/G, C/G I J) with columns (n, G, C/G I J, P Q), for each group and image."""
    y = w.reshape(groups, len(w) // groups, -1) @ _columns(x, w.shape[2:], stride, size, groups)
    return y.reshape(len(x), len(w), *size)


def _columns_backward(dy: Any, x: Any, w: Any, stride: Two, groups: int, dx: Any) -> Any:
    kernel, size = w.shape[2:], dy.shape[2:]
    kernels = w.reshape(groups, len(w) // groups, -1)
    dy = dy.reshape(len(x), *kernels.shape[:2], -1)
    dw = dy @ _columns(x, kernel, stride, size, groups).swapaxes(2, 3)
    if dx is not None:
        dcolumns = (kernels.swapaxes(1, 2) @ dy).reshape(*x.shape[:2], *kernel, *size)
        for i, j, seen in taps(kernel, stride, size):
            dx[seen] += dcolumns[:, :, i, j]
    return dw.sum(axis=0).reshape(w.shape)


def _columns(x: Any, kernel: Two, stride: Two, size: Two, groups: int) -> Any:
    """Return padded images (n, C, H, W) as (n, G, C/G I J, P Q): the pixels that each weight of a kernel meets."""
    n, C = x.shape[:2]
    if kernel == (1, 1):
        columns = x[next(taps(kernel, stride, size))[2]]
    else:
        columns = np.empty((n, C, *kernel, *size), x.dtype)
        for i, j, seen in taps(kernel, stride, size):
            columns[:, :, i, j] = x[seen]
    return columns.reshape(n, groups, -1, prod(size))
