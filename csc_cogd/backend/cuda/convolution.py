"""Convolution on a GPU, as a product of matrices whose columns are gathered on the way: see `convolution.cu`.

The functions are those of `csc_cogd.backend.compiled_convolution`. S. Chetlur et al., "cuDNN: Efficient Primitives for Deep
Learning" (2014), arXiv:1410.0759. Images and kernels lie channels last, see :mod:`csc_cogd.backend.cuda.layout`. Where it is
so set (:mod:`csc_cogd.backend.precision`), products are tensor cores', else in full precision.
"""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend.cuda.channels import add_slabs
from csc_cogd.backend.cuda.layout import channels_first, channels_last, check_size, is_whole, vector
from csc_cogd.backend.cuda.modules import load_function
from csc_cogd.backend.precision import is_mixed
from csc_cogd.backend.selection import array_module
from csc_cogd.errors import InputError

Two = tuple[int, int]


class Tile(NamedTuple):
    """Results of a block, M x N, and how its warps share them."""

    m: int
    n: int
    warps_m: int
    warps_n: int


TILES = (Tile(128, 16, 4, 1), Tile(128, 32, 4, 1), Tile(64, 64, 2, 2), Tile(128, 128, 2, 4))
DOUBLE = (Tile(64, 64, 2, 2),)  # what 48 KiB of shared memory hold in double precision
BLOCKS = 264
"""That are computed at a time on a large GPU: two for each multiprocessor. A constant, so that sums don't depend on it."""
_FETCHED = 40  # products in the time of which a value is fetched
_DEPTH, _LEAST_PIXELS, _MOST_LAYERS = 16, 256, 65535
_int = np.int32


class Launch(NamedTuple):
    function: Any
    grid: tuple[int, int, int]
    block: tuple[int]
    numbers: tuple[np.int32, ...]


def conv2d(x: Any, w: Any, bias: Any, size: Two, stride: Two, padding: Two, groups: int) -> Any:
    """See `csc_cogd.nn.functions.conv2d`; `size` is the height and width of results."""
    images, kernels = channels_last(x), channels_last(w)
    bias = None if bias is None else vector(bias, x)
    y = array_module(x).empty((len(x), *size, len(w)), x.dtype)
    if y.size:
        launch = _forward(array_module(x), x.dtype, is_mixed(), x.shape, w.shape, size, stride, padding, groups)
        _run(launch, images, kernels, bias, y, *launch.numbers, is_whole(w.shape[1], images), is_whole(w.shape[1], kernels))
    return channels_first(y)


def conv2d_images_gradient(dy: Any, w: Any, shape: tuple[int, ...], stride: Two, padding: Two, groups: int) -> Any:
    """The gradient of images of a shape (N, C, H, W) from that of their results."""
    gradients, kernels = channels_last(dy), channels_last(w)
    N, C, H, W = shape
    dx = array_module(dy).empty((N, H, W, C), dy.dtype)
    if dx.size:
        size = dy.shape[2:]
        launch = _backward(array_module(dy), dy.dtype, is_mixed(), shape, w.shape, size, stride, padding, groups)
        whole = is_whole(len(w) // groups, gradients), is_whole(w.shape[1], kernels)
        _run(launch, gradients, kernels, dx, *launch.numbers, *whole)
    return channels_first(dx)


def conv2d_weights_gradient(dy: Any, x: Any, w: Any, stride: Two, padding: Two, groups: int) -> Any:
    """The gradient of weights: of as many pieces of the pixels as fill the GPU, which are added up in their order."""
    xp, images, gradients = array_module(x), channels_last(x), channels_last(dy)
    O, C, I, J = w.shape  # noqa: E741
    if not len(x):
        return xp.zeros_like(w)
    size = dy.shape[2:]
    launch, pieces = _weights(xp, x.dtype, is_mixed(), x.shape, w.shape, size, stride, padding, groups)
    *numbers, chunk = launch.numbers
    partial = xp.empty((pieces, O, I, J, C), x.dtype)
    whole = is_whole(C, images), is_whole(O // groups, gradients)
    _run(launch, images, gradients, partial, *numbers, *whole, chunk)
    if pieces == 1:
        return channels_first(partial[0])
    dw = xp.empty((O, I, J, C), x.dtype)
    add_slabs(partial, dw)
    return channels_first(dw)


def _run(launch: Launch, *arguments: Any) -> None:
    launch.function(launch.grid, launch.block, arguments)


@lru_cache(maxsize=1024)
def _forward(
    xp: ModuleType, dtype: np.dtype, mixed: bool, images: tuple[int, ...], kernels: tuple[int, ...], size: Two,
    stride: Two, padding: Two, groups: int,
) -> Launch:  # fmt: skip
    check_size((images[0], kernels[0], *size))
    rows, columns = images[0] * size[0] * size[1], kernels[0] // groups
    tile = choose_tile(dtype, rows, columns, groups)
    numbers = _numbers(images, kernels, size, stride, padding, groups)
    return _launch(xp, "convolve", dtype, mixed, tile, rows, columns, groups, numbers)


@lru_cache(maxsize=1024)
def _backward(
    xp: ModuleType, dtype: np.dtype, mixed: bool, images: tuple[int, ...], kernels: tuple[int, ...], size: Two,
    stride: Two, padding: Two, groups: int,
) -> Launch:  # fmt: skip
    check_size(images)
    N, _, H, W = images
    rows, columns = N * -(-H // stride[0]) * -(-W // stride[1]), kernels[1]
    layers = min(stride[0], H) * min(stride[1], W) * groups
    tile = choose_tile(dtype, rows, columns, layers)
    numbers = _numbers(images, kernels, size, stride, padding, groups)
    return _launch(xp, "images_gradient", dtype, mixed, tile, rows, columns, layers, numbers)


@lru_cache(maxsize=1024)
def _weights(
    xp: ModuleType, dtype: np.dtype, mixed: bool, images: tuple[int, ...], kernels: tuple[int, ...], size: Two,
    stride: Two, padding: Two, groups: int,
) -> tuple[Launch, int]:  # fmt: skip
    """How it is launched, with the pixels of a piece as the last of its numbers, and how many pieces there are."""
    rows, columns = kernels[2] * kernels[3] * (-(-kernels[1] // 4) * 4), kernels[0] // groups
    pixels = images[0] * size[0] * size[1]
    tile = choose_tile(dtype, rows, columns, groups, at_least=0)
    blocks = -(-rows // tile.m) * -(-columns // tile.n) * groups
    pieces = max(1, min(2 * BLOCKS // blocks, pixels // _LEAST_PIXELS, _MOST_LAYERS // groups))
    chunk = -(-pixels // pieces // _DEPTH) * _DEPTH
    pieces = -(-pixels // chunk)
    numbers = (*_numbers(images, kernels, size, stride, padding, groups), _int(chunk))
    return _launch(xp, "weights_gradient", dtype, mixed, tile, rows, columns, pieces * groups, numbers), pieces


def macros_of(tile: Tile, mixed: bool) -> dict[str, int]:
    """What `convolution.cu` is compiled with."""
    return {"TILE_M": tile.m, "TILE_N": tile.n, "WARPS_M": tile.warps_m, "WARPS_N": tile.warps_n, "TENSOR": int(mixed)}


def choose_tile(dtype: np.dtype, rows: int, columns: int, layers: int, at_least: int = BLOCKS) -> Tile:
    """The tile that takes least time for so many products of rows and columns, if so many blocks take no more than one."""

    def time(tile: Tile) -> int:
        blocks = -(-rows // tile.m) * -(-columns // tile.n) * layers
        return max(blocks, at_least) * (tile.m * tile.n + _FETCHED * (tile.m + tile.n))

    return min(TILES if dtype == np.float32 else DOUBLE, key=time)


def _numbers(
    images: tuple[int, ...], kernels: tuple[int, ...], size: Two, stride: Two, padding: Two, groups: int
) -> tuple[np.int32, ...]:
    N, C, H, W = images
    return tuple(map(_int, (N, H, W, C, *size, kernels[0], *kernels[2:], *stride, *padding, groups)))


def _launch(
    xp: ModuleType, kernel: str, dtype: np.dtype, mixed: bool, tile: Tile, rows: int, columns: int, layers: int,
    numbers: tuple[np.int32, ...],
) -> Launch:  # fmt: skip
    if layers > _MOST_LAYERS:
        raise InputError(f"conv2d: {layers} groups times phases of the stride are more than {_MOST_LAYERS}: use fewer")
    function = load_function(xp, "convolution", kernel, dtype, **macros_of(tile, mixed))
    grid = (-(-rows // tile.m), -(-columns // tile.n), layers)
    return Launch(function, grid, (32 * tile.warps_m * tile.warps_n,), numbers)
