"""Convolution on a GPU, as a product of matrices whose columns are gathered on the way: see `convolution.cu`.

The functions are those of `csc_cogd.backend.compiled_convolution`. S. Chetlur et al., "cuDNN: Efficient Primitives for Deep
Learning" (2014), arXiv:1410.0759. Images and kernels lie channels last, see :mod:`csc_cogd.backend.cuda.layout`. Products
are computed on tensor cores if :mod:`csc_cogd.backend.precision` says so, else in full precision.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend.arrays import array_module
from csc_cogd.backend.cuda.channels import add_slabs
from csc_cogd.backend.cuda.layout import channels_first, channels_last, check_size, is_whole, vector
from csc_cogd.backend.cuda.modules import Macros, load_function
from csc_cogd.backend.precision import is_mixed
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
"""Blocks that a large GPU computes at a time, two on each multiprocessor. Constant, so that sums don't depend on the GPU."""
_FETCHED = 40  # products in the time of which a value is fetched
_DEPTH, _LEAST_PIXELS, _MOST_LAYERS = 16, 256, 65535
_int = np.int32


class Problem(NamedTuple):
    """A convolution: shapes of images and kernels, and height and width of the results."""

    images: tuple[int, ...]
    kernels: tuple[int, ...]
    size: Two
    stride: Two
    padding: Two
    groups: int

    def numbers(self) -> tuple[np.int32, ...]:
        """Return the numbers for the kernels, in their order."""
        N, C, H, W = self.images
        O, _, I, J = self.kernels  # noqa: E741
        return tuple(map(_int, (N, H, W, C, *self.size, O, I, J, *self.stride, *self.padding, self.groups)))


class Launch(NamedTuple):
    """A launch of a kernel, with those of its arguments that are numbers."""

    function: Any
    grid: tuple[int, int, int]
    block: tuple[int]
    numbers: tuple[np.int32, ...]

    def __call__(self, *arguments: Any) -> None:
        self.function(self.grid, self.block, arguments)


def conv2d(x: Any, w: Any, bias: Any, size: Two, stride: Two, padding: Two, groups: int) -> Any:
    """See `csc_cogd.nn.functions.conv2d`; `size` is the height and width of results."""
    xp, images, kernels = array_module(x), channels_last(x), channels_last(w)
    bias = None if bias is None else vector(bias, x)
    y = xp.empty((len(x), *size, len(w)), x.dtype)
    if y.size:
        run = _forward(xp, x.dtype, is_mixed(), Problem(x.shape, w.shape, size, stride, padding, groups))
        run(images, kernels, bias, y, *run.numbers, is_whole(w.shape[1], images), is_whole(w.shape[1], kernels))
    return channels_first(y)


def conv2d_images_gradient(dy: Any, w: Any, shape: tuple[int, ...], stride: Two, padding: Two, groups: int) -> Any:
    """Return the gradient of images of a shape (N, C, H, W) from that of their results."""
    xp, gradients, kernels = array_module(dy), channels_last(dy), channels_last(w)
    N, C, H, W = shape
    dx = xp.empty((N, H, W, C), dy.dtype)
    if dx.size:
        run = _backward(xp, dy.dtype, is_mixed(), Problem(shape, w.shape, dy.shape[2:], stride, padding, groups))
        whole = is_whole(len(w) // groups, gradients), is_whole(w.shape[1], kernels)
        run(gradients, kernels, dx, *run.numbers, *whole)
    return channels_first(dx)


def conv2d_weights_gradient(dy: Any, x: Any, w: Any, stride: Two, padding: Two, groups: int) -> Any:
    """Return the gradient of weights, summed over as many pieces of the pixels as fill the GPU, in a fixed order."""
    xp, images, gradients = array_module(x), channels_last(x), channels_last(dy)
    O, C, I, J = w.shape  # noqa: E741
    if not len(x):
        return xp.zeros_like(w)
    problem = Problem(x.shape, w.shape, dy.shape[2:], stride, padding, groups)
    run, pieces, chunk = _weights(xp, x.dtype, is_mixed(), problem)
    partial = xp.empty((pieces, O, I, J, C), x.dtype)
    run(images, gradients, partial, *run.numbers, is_whole(C, images), is_whole(O // groups, gradients), chunk)
    if pieces == 1:
        return channels_first(partial[0])
    dw = xp.empty((O, I, J, C), x.dtype)
    add_slabs(partial, dw)
    return channels_first(dw)


@lru_cache(maxsize=1024)
def _forward(xp: ModuleType, dtype: np.dtype, mixed: bool, problem: Problem) -> Launch:
    N, O, (P, Q) = problem.images[0], problem.kernels[0], problem.size  # noqa: E741
    check_size((N, O, P, Q))
    return _launch(xp, "convolve", dtype, mixed, problem, (N * P * Q, O // problem.groups, problem.groups))


@lru_cache(maxsize=1024)
def _backward(xp: ModuleType, dtype: np.dtype, mixed: bool, problem: Problem) -> Launch:
    (N, _, H, W), (down, across) = problem.images, problem.stride
    check_size(problem.images)
    phases = min(down, H) * min(across, W)
    extent = (N * -(-H // down) * -(-W // across), problem.kernels[1], phases * problem.groups)
    return _launch(xp, "images_gradient", dtype, mixed, problem, extent)


@lru_cache(maxsize=1024)
def _weights(xp: ModuleType, dtype: np.dtype, mixed: bool, problem: Problem) -> tuple[Launch, int, np.int32]:
    """Return the launch for the gradient of weights, the number of pieces, and the pixels of each."""
    (O, C, I, J), groups, pixels = problem.kernels, problem.groups, problem.images[0] * prod(problem.size)  # noqa: E741
    rows, columns = I * J * (-(-C // 4) * 4), O // groups
    tile = choose_tile(dtype, rows, columns, groups, at_least=0)
    blocks = -(-rows // tile.m) * -(-columns // tile.n) * groups
    pieces = max(1, min(2 * BLOCKS // blocks, pixels // _LEAST_PIXELS, _MOST_LAYERS // groups))
    chunk = -(-pixels // pieces // _DEPTH) * _DEPTH
    pieces = -(-pixels // chunk)
    launch = _launch(xp, "weights_gradient", dtype, mixed, problem, (rows, columns, pieces * groups), tile)
    return launch, pieces, _int(chunk)


def _launch(
    xp: ModuleType, kernel: str, dtype: np.dtype, mixed: bool, problem: Problem, extent: tuple[int, int, int],
    tile: Tile | None = None,
) -> Launch:  # fmt: skip
    rows, columns, layers = extent
    if layers > _MOST_LAYERS:
        wrong = f"of a convolution must be {_MOST_LAYERS} at most, times the phases of its stride, got {layers}"
        raise InputError("groups", wrong)
    tile = tile or choose_tile(dtype, rows, columns, layers)
    function = load_function(xp, "convolution", kernel, dtype, macros_of(tile, mixed))
    grid = (-(-rows // tile.m), -(-columns // tile.n), layers)
    return Launch(function, grid, (32 * tile.warps_m * tile.warps_n,), problem.numbers())


def macros_of(tile: Tile, mixed: bool) -> Macros:
    """Return the macros that `convolution.cu` is compiled with."""
    names = ("TILE_M", "TILE_N", "WARPS_M", "WARPS_N", "TENSOR")
    return tuple(zip(names, (*tile, int(mixed)), strict=True))


def choose_tile(dtype: np.dtype, rows: int, columns: int, layers: int, at_least: int = BLOCKS) -> Tile:
    """Return the fastest tile for the products of rows and columns, if `layers` blocks take no more time than one."""

    def time(tile: Tile) -> int:
        blocks = -(-rows // tile.m) * -(-columns // tile.n) * layers
        return max(blocks, at_least) * (tile.m * tile.n + _FETCHED * (tile.m + tile.n))

    return min(TILES if dtype == np.float32 else DOUBLE, key=time)
