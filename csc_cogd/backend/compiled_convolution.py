"""Convolution compiled by Numba, as a product of matrices whose columns are made on the way.

The columns of an image are its pixels as each weight of a kernel meets them. Here they are never all in memory: a panel of
them, as many pixels as a tile has, is copied from padded images into the first cache and multiplied with all kernels there.
K. Goto, R. van de Geijn, "Anatomy of High-Performance Matrix Multiplication" (2008).

Weight k meets pixel p at ``tap[k] + pixel[p]`` of the padded images, laid flat. So one kernel serves all shapes, strides and
groups, forward and backward: a gradient of the images is a correlation of the padded gradient of the results, for a stride s
one for each of the s x s places a pixel can have between those of the results.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np

from csc_cogd.backend.buffer_pool import empty
from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.parallel import map_chunks
from csc_cogd.backend.simd_gemm import (
    BYTES,
    ROWS,
    VECTORS,
    add_vector,
    copy_half,
    copy_vector,
    correlate_tile,
    multiply_tile,
)

DEPTH = 192
"""Weights of a kernel that are multiplied at a time: so many vectors of a panel stay in the first cache."""
PANELS = 8
"""Panels that meet the same weights before others are read, where all of them don't stay in the second cache."""
BLOCKS = 16
"""Blocks of ROWS output channels that one panel meets in a row: so many weights do."""
GROUP = 1 << 18
"""Bytes of padded images that are visited at a time."""
LENGTH = 48
"""Vectors of pixels over which gradients of weights are summed at a time."""
HEIGHT = 256
"""Output channels whose gradients are summed at a time: so many rows stay in the second cache."""

LARGE = 1 << 18
"""Bytes of weights above which threads share the channels instead of the images."""


class Frame(NamedTuple):
    """The place of images in the padded ones, and the size of these."""

    top: int
    left: int
    rows: int
    columns: int


class Grid(NamedTuple):
    """The results that are computed: `size` rows and columns, `stride` apart in the padded images.

    Result (p, q) is written to row and column ``first + step * (p, q)``.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]
    first: tuple[int, ...] = (0, 0)
    step: tuple[int, ...] = (1, 1)


@compile_part
def _pad(x, first, count, channel, top, left, step, padded):
    """Copy images into a frame of zeros, as many channels from one on as there is room for.

    Columns `step` apart, which a weight meets one after the other, are laid side by side.
    """
    H, W = x.shape[2:]
    C, _, length = padded.shape[1:]
    for n in range(count):
        for c in range(C):
            padded[n, c, :top] = 0
            padded[n, c, top + H :] = 0
            for i in range(H):
                if step == 1:
                    for j in range(left):
                        padded[n, c, top + i, j] = 0
                    for j in range(W):
                        padded[n, c, top + i, left + j] = x[first + n, channel + c, i, j]
                    for j in range(left + W, length):
                        padded[n, c, top + i, j] = 0
                else:
                    for phase in range(step):
                        for j in range(length // step):
                            column, place = j * step + phase - left, phase * (length // step) + j
                            padded[n, c, top + i, place] = x[first + n, channel + c, i, column] if 0 <= column < W else 0


@compile_part
def _balanced(count, most):
    """Return how many of `count` things are done at a time, at most `most`, so that the last time isn't for few only."""
    times = max(1, -(-count // most))
    return max(1, -(-count // times))


@compile_part
def _row_length(frame, step):
    return -(-frame.columns // step) * step


@compile_part
def _offsets(taps, frame, step, count):
    """Return where each weight meets the first pixel of images that :func:`_pad` laid; the rest, up to a count, is 0."""
    length = _row_length(frame, step)
    offsets = np.zeros(count, np.int64)
    for k in range(len(taps)):
        column = taps[k, 2] % step * (length // step) + taps[k, 2] // step
        offsets[k] = (taps[k, 0] * frame.rows + taps[k, 1]) * length + column
    return offsets


@compile_part
def _place_pixels(count, size, image, row, column, places):
    """Return where the pixels of `count` images are, in steps from one image, row and column to the next; the rest is 0."""
    at = 0
    for n in range(count):
        for i in range(size[0]):
            for j in range(size[1]):
                places[at] = n * image + i * row + j * column
                at += 1
    places[at:] = 0
    return at


@compile_part
def _gather(source, first, offsets, count, places, start, lanes, vectors, target, length):
    """Copy the same vectors of pixels for `count` offsets, to rows of a length."""
    for v in range(vectors):
        p = start + v * lanes
        half = lanes // 2
        if places[p + lanes - 1] - places[p] == lanes - 1:
            for d in range(count):
                copy_vector(source, first + offsets[d] + places[p], target, d * length + v * lanes)
        elif places[p + half - 1] - places[p] == half - 1 == places[p + lanes - 1] - places[p + half]:
            for d in range(count):
                copy_half(source, first + offsets[d] + places[p], target, d * length + v * lanes)
                copy_half(source, first + offsets[d] + places[p + half], target, d * length + v * lanes + half)
        else:
            for d in range(count):
                for t in range(lanes):
                    target[d * length + v * lanes + t] = source[first + offsets[d] + places[p + t]]


@compile_part
def _lie_side_by_side(places, start, lanes, vectors):
    """Return whether the pixels of each vector are adjacent, so that they needn't be gathered."""
    together = True
    for v in range(start, start + vectors * lanes, lanes):
        together &= places[v + lanes - 1] - places[v] == lanes - 1
    return together


@compile_part
def _scatter(block, bias, places, start, inside, lanes, target, first, plane):
    """Write the pixels of a panel to the plane of each channel, plus its bias."""
    for v in range(0, inside, lanes):
        p = start + v
        if v + lanes <= inside and places[p + lanes - 1] - places[p] == lanes - 1:
            for o in range(bias.size):
                add_vector(block, o * VECTORS * lanes + v, bias[o], target, first + places[p] + o * plane)
        else:
            for o in range(bias.size):
                for t in range(min(lanes, inside - v)):
                    target[first + places[p + t] + o * plane] = block[o * VECTORS * lanes + v + t] + bias[o]


@compile_kernel
def correlate(x, frame, taps, weights, bias, grid, out, begin, stop):
    """Correlate images ``begin <= n < stop``, and write the results of a grid.

    Parameters
    ----------
    x : (N, C, H, W) array
    frame : Frame
    taps : (K, 3) int array
        Channel within its group, row and column of each weight.
    weights : (G, K B ROWS) array
        For each group, for DEPTH weights or somewhat less at a time, B times these weights of ROWS output channels, filled
        up by zeros: in the order in which they are read.
    bias : (O,) array
    grid : Grid
    out : (N, O, P, Q) array
    """
    C = x.shape[1]
    size, stride, first, step = grid
    O, P, Q = out.shape[1:]  # noqa: E741
    G, K = len(weights), len(taps)
    per_group = O // G
    B = -(-per_group // ROWS)
    together = PANELS if B > BLOCKS else 1
    lanes = BYTES // x.itemsize
    width = VECTORS * lanes
    length = _row_length(frame, stride[1])
    area = frame.rows * length
    pixels = size[0] * size[1]
    group = max(1, min(stop - begin, max(GROUP // (C * area * x.itemsize), together * width // max(1, pixels))))
    padded = np.empty((group, C, frame.rows, length), x.dtype)
    flat, kernels, results = padded.reshape(padded.size), weights.reshape(weights.size), out.reshape(out.size)
    sources = np.empty(group * pixels + width, np.int64)
    targets = np.empty(group * pixels + width, np.int64)
    offsets = _offsets(taps, frame, stride[1], K)
    depth = _balanced(K, DEPTH)
    panels = np.empty(together * depth * width, x.dtype)
    panel_offsets, panel_places = np.arange(depth) * width, np.empty(together * VECTORS, np.int64)
    for v in range(together * VECTORS):
        panel_places[v] = v // VECTORS * depth * width + v % VECTORS * lanes
    starts = np.empty(together * VECTORS, np.int64)
    blocks = np.zeros(together * B * ROWS * width, x.dtype)
    for start in range(begin, stop, group):
        count = min(group, stop - start)
        _pad(x, start, count, 0, frame.top, frame.left, stride[1], padded)
        _place_pixels(count, size, C * area, stride[0] * length, 1, sources)
        number = _place_pixels(count, size, O * P * Q, step[0] * Q, step[1], targets)
        corner = start * O * P * Q + first[0] * Q + first[1]
        for g in range(G):
            channel = g * (C // G) * area
            for p in range(0, number, together * width):
                some = min(together, -(-(number - p) // width))
                direct = _lie_side_by_side(sources, p, lanes, some * VECTORS)
                for v in range(some * VECTORS):
                    starts[v] = sources[p + v * lanes]
                for k in range(0, K, depth):
                    here = min(depth, K - k)
                    if direct:
                        seen, places, steps = flat[channel:], starts, offsets[k:]
                    else:
                        for q in range(some):
                            panel = panels[q * depth * width :]
                            _gather(flat, channel, offsets[k:], here, sources, p + q * width, lanes, VECTORS, panel, width)
                        seen, places, steps = panels, panel_places, panel_offsets
                    for first_block in range(0, B, BLOCKS):
                        for q in range(some):
                            for b in range(first_block, min(first_block + BLOCKS, B)):
                                weight = ((g * K + k) * B + b * here) * ROWS
                                place = (q * B + b) * ROWS * width
                                multiply_tile(
                                    kernels, weight, seen, places[q * VECTORS :], steps, here, blocks, place, k > 0
                                )
                o = g * per_group
                for q in range(some):
                    at, block = p + q * width, blocks[q * B * ROWS * width :]
                    inside = min(width, number - at)
                    _scatter(block, bias[o : o + per_group], targets, at, inside, lanes, results, corner + o * P * Q, P * Q)


@compile_kernel
def correlate_weights(x, frame, taps, size, stride, dy, channels, total, begin, stop):
    """Return the gradient of weights, summed over images ``begin <= n < stop``; see :func:`correlate`.

    Parameters
    ----------
    dy : (N, O, P, Q) array
        All of the results' gradient.
    channels : (first, count)
        The images' channels that are looked at; `taps` count from the first one on.
    total : (G, K', O') array
        K' is K up to a multiple of VECTORS and O' is O / G up to one of ROWS, filled up by what means nothing.
    """
    C = channels[1]
    G, depth, heights = total.shape
    O = dy.shape[1]  # noqa: E741
    per_group = O // G
    lanes = BYTES // x.itemsize
    row = _row_length(frame, stride[1])
    area = frame.rows * row
    group = max(1, min(stop - begin, GROUP // (C * area * x.itemsize)))
    padded = np.empty((group, C, frame.rows, row), x.dtype)
    flat, gradient, sums = padded.reshape(padded.size), dy.reshape(dy.size), total.reshape(total.size)
    pixels = size[0] * size[1]
    group = _balanced(stop - begin, group)
    length = _balanced(-(-group * pixels // lanes), LENGTH) * lanes
    sources = np.empty(group * pixels + length, np.int64)
    results = np.empty(group * pixels + length, np.int64)
    offsets = _offsets(taps, frame, stride[1], depth)  # those beyond K mean nothing
    planes = np.arange(per_group) * pixels
    columns = np.zeros(VECTORS * length, x.dtype)
    column_offsets, column_places = np.arange(VECTORS) * length, np.arange(length)
    rows = np.zeros(min(heights, HEIGHT) * length, x.dtype)
    total[...] = 0
    for start in range(begin, stop, group):
        count = min(group, stop - start)
        _pad(x, start, count, channels[0], frame.top, frame.left, stride[1], padded)
        _place_pixels(count, size, C * area, stride[0] * row, 1, sources)
        number = _place_pixels(count, size, O * pixels, size[1], 1, results)
        for g in range(G):
            channel = g * (C // G) * area
            for p in range(0, number, length):
                inside = min(length, number - p)
                vectors = -(-inside // lanes)
                direct = _lie_side_by_side(sources, p, lanes, vectors)
                for first in range(0, per_group, HEIGHT):
                    here = min(HEIGHT, per_group - first)
                    corner = (start * O + g * per_group + first) * pixels
                    _gather(gradient, corner, planes, here, results, p, lanes, vectors, rows, length)
                    for o in range(here):
                        rows[o * length + inside : o * length + vectors * lanes] = 0
                    for k in range(0, len(taps), VECTORS):
                        if direct:
                            seen, places, steps = flat[channel:], sources[p:], offsets[k:]
                        else:
                            _gather(flat, channel, offsets[k:], VECTORS, sources, p, lanes, vectors, columns, length)
                            seen, places, steps = columns, column_places, column_offsets
                        target = (g * depth + k) * heights + first
                        for o in range(0, here, ROWS):
                            correlate_tile(rows, o * length, length, seen, places, steps, vectors, sums, target + o, heights)


def conv2d(x, w, bias, size, stride, padding, groups):
    """See `csc_cogd.nn.functions.conv2d`; `size` is the height and width of results."""
    O, _, *kernel = w.shape  # noqa: E741
    y, x = empty((len(x), O, *size), x.dtype), np.ascontiguousarray(x)
    kernels = _in_tiles(w.reshape(groups, O // groups, *w.shape[1:]), range(kernel[0]), range(kernel[1]))
    bias = np.zeros(O, x.dtype) if bias is None else np.ascontiguousarray(bias)
    frame, taps = _frame(x, padding), _all_taps(w.shape[1], kernel)
    map_chunks(partial(correlate, x, frame, taps, kernels, bias, Grid(size, stride), y), len(x))
    return y


def conv2d_images_gradient(dy, w, shape, stride, padding, groups):
    """Return the gradient of images of a shape (N, C, H, W) from that of their results."""
    dx, dy, none = empty(shape, dy.dtype), np.ascontiguousarray(dy), np.zeros(shape[1], dy.dtype)
    grouped = w.reshape(groups, -1, *w.shape[1:]).swapaxes(1, 2)
    parts = []
    for first in product(*(range(min(pair)) for pair in zip(stride, shape[2:], strict=True))):
        (height, top, rows, row_taps), (width, left, columns, column_taps) = (
            _meeting(shape[2 + axis], dy.shape[2 + axis], w.shape[2 + axis], first[axis], stride[axis], padding[axis])
            for axis in (0, 1)
        )
        met = list(product(range(grouped.shape[2]), row_taps, column_taps))
        taps = np.array([(o, row, column) for o, (_, row), (_, column) in met], np.int64).reshape(-1, 3)
        kernels = _in_tiles(grouped, [i for i, _ in row_taps], [j for j, _ in column_taps])
        grid = Grid((height, width), (1, 1), first, stride)
        parts.append((Frame(top, left, rows, columns), taps, kernels, none, grid))

    def fill(begin, stop):  # part by part while the images are in the cache
        for frame, taps, kernels, bias, grid in parts:
            if len(taps):
                correlate(dy, frame, taps, kernels, bias, grid, dx, begin, stop)
            else:  # pixels that no weight met
                dx[begin:stop, :, grid.first[0] :: stride[0], grid.first[1] :: stride[1]] = 0

    map_chunks(fill, len(dy))
    return dx


def conv2d_weights_gradient(dy, x, w, stride, padding, groups):
    """Return the gradient of weights. Threads share the images, or where sums of each would be large, the channels."""
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    (O, C), frame = w.shape[:2], _frame(x, padding)  # noqa: E741

    def summed(channels, images):
        taps = _all_taps(min(C, channels[1] - channels[0]), w.shape[2:])
        total = np.empty((groups, -(-len(taps) // VECTORS) * VECTORS, -(-O // groups // ROWS) * ROWS), x.dtype)
        correlate_weights(x, frame, taps, dy.shape[2:], stride, dy, (channels[0], channels[1] - channels[0]), total, *images)
        return total[:, : len(taps), : O // groups]

    if groups == 1 and w.nbytes > LARGE:
        total = np.concatenate(map_chunks(lambda *part: summed(part, (0, len(x))), C), axis=1)
    else:
        total = sum(map_chunks(lambda *part: summed((0, C * groups), part), len(x)), np.zeros((), x.dtype))
    return np.ascontiguousarray(total.swapaxes(1, 2)).reshape(w.shape) if len(x) else np.zeros_like(w)


def _frame(x, padding):
    """Return the frame of images that are padded with zeros on all sides."""
    return Frame(*padding, x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1])


def _all_taps(channels, kernel):
    return np.indices((channels, *kernel)).reshape(3, -1).T.copy()


def _in_tiles(kernels, rows, columns):
    """Return (G, O', C, I, J) kernels, of chosen rows and columns, as the (G, K B ROWS) of :func:`correlate`."""
    G, O, C = kernels.shape[:3]  # noqa: E741
    tiles = np.zeros((G, C * len(rows) * len(columns) * -(-O // ROWS) * ROWS), kernels.dtype)
    _fill_tiles(kernels, np.array(rows, np.int64), np.array(columns, np.int64), tiles)
    return tiles


@compile_kernel
def _fill_tiles(kernels, rows, columns, tiles):
    G, O, C = kernels.shape[:3]  # noqa: E741
    K, B = C * len(rows) * len(columns), -(-O // ROWS)
    depth = _balanced(K, DEPTH)
    start, step = np.empty(K, np.int64), np.empty(K, np.int64)
    for k in range(K):
        first = k // depth * depth
        start[k], step[k] = (first * B + k - first) * ROWS, min(depth, K - first) * ROWS
    for g in range(G):
        for b in range(B):
            count = min(ROWS, O - b * ROWS)
            k = 0
            for c in range(C):
                for i in rows:
                    for j in columns:
                        at = start[k] + b * step[k]
                        for r in range(count):
                            tiles[g, at + r] = kernels[g, b * ROWS + r, c, i, j]
                        k += 1


def _meeting(pixels, results, kernel, first, stride, padding):
    """Return, along one axis, the results that pixels first, first + stride, ... met.

    How many pixels these are; the zeros in front of results, and their number with zeros on both sides; and the weights
    that met, each with where the first pixel's result is among these.
    """
    count = -(-(pixels - first) // stride)
    met = [(i, (first + padding - i) // stride) for i in range(kernel) if (first + padding - i) % stride == 0]
    front = max(0, *(-place for _, place in met), 0)
    last = max(results - 1, *(count - 1 + place for _, place in met), 0)
    return count, front, front + last + 1, [(i, front + place) for i, place in met]
