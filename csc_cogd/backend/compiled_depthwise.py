"""Depthwise convolution compiled by Numba: each plane by itself, in the first cache.

A plane is padded and laid flat, so that a weight of the kernel is a single shift of all of it: what is computed at the ends
of rows, where they meet the next one, is left out afterwards. With a stride, the plane is computed whole and the results
between the strides are left out too, or are zero in gradients.
"""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.buffer_pool import empty
from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.parallel import map_chunks


@compile_part
def _spread(plane, top, left, step, columns, flat):
    """Put pixels `step` apart into an empty plane of so many columns."""
    width = plane.shape[1]
    for i in range(plane.shape[0]):
        row = flat[(top + i * step[0]) * columns + left :]
        if step[1] == 1:
            for j in range(width):
                row[j] = plane[i, j]
        else:
            for j in range(width):
                row[j * step[1]] = plane[i, j]


@compile_part
def _take(flat, top, left, step, columns, plane):
    """Take pixels `step` apart from a plane: the adjoint of :func:`_spread`."""
    width = plane.shape[1]
    for i in range(plane.shape[0]):
        row = flat[(top + i * step[0]) * columns + left :]
        if step[1] == 1:
            for j in range(width):
                plane[i, j] = row[j]
        else:
            for j in range(width):
                plane[i, j] = row[j * step[1]]


@compile_part
def _filter(flat, kernel, columns, length, result):
    """Correlate a flat plane with a kernel."""
    I, J = kernel.shape  # noqa: E741
    if I == 3 and J == 3:
        second, third = flat[columns:], flat[2 * columns :]
        k00, k01, k02 = kernel[0, 0], kernel[0, 1], kernel[0, 2]
        k10, k11, k12 = kernel[1, 0], kernel[1, 1], kernel[1, 2]
        k20, k21, k22 = kernel[2, 0], kernel[2, 1], kernel[2, 2]
        for p in range(length):
            result[p] = (
                k00 * flat[p] + k01 * flat[p + 1] + k02 * flat[p + 2]
                + k10 * second[p] + k11 * second[p + 1] + k12 * second[p + 2]
                + k20 * third[p] + k21 * third[p + 1] + k22 * third[p + 2]
            )  # fmt: skip
        return
    result[:length] = 0
    for i in range(I):
        for j in range(J):
            weight, shift = kernel[i, j], i * columns + j
            for p in range(length):
                result[p] += weight * flat[p + shift]


@compile_part
def _correlate(flat, gradient, columns, length, total):
    """Add to the gradient of a kernel."""
    J = total.shape[1]
    for i in range(total.shape[0]):
        row = flat[i * columns :]
        if J == 3:
            s0 = s1 = s2 = flat.dtype.type(0)
            for p in range(length):
                s0 += gradient[p] * row[p]
                s1 += gradient[p] * row[p + 1]
                s2 += gradient[p] * row[p + 2]
            total[i, 0] += s0
            total[i, 1] += s1
            total[i, 2] += s2
        else:
            for j in range(J):
                value = flat.dtype.type(0)
                for p in range(length):
                    value += gradient[p] * row[p + j]
                total[i, j] += value


@compile_kernel
def _forward(x, kernels, frame, step, y, begin, stop):
    """Compute images begin to stop; `frame` is zeros above and to the left, rows and columns of padded planes."""
    top, left, rows, columns = frame
    flat = np.zeros(rows * columns + kernels.shape[2], x.dtype)
    length = (rows - kernels.shape[1] + 1) * columns
    result = np.empty(length, x.dtype)
    for n in range(begin, stop):
        for c in range(x.shape[1]):
            _spread(x[n, c], top, left, (1, 1), columns, flat)
            _filter(flat, kernels[c], columns, length, result)
            _take(result, 0, 0, step, columns, y[n, c])


@compile_kernel
def _images_gradient(dy, kernels, frame, first, step, dx, begin, stop):
    """Compute the gradient of images, with rotated `kernels`.

    `frame` is that of dy with zeros between its pixels, of which dx begins at `first`.
    """
    top, left, rows, columns = frame
    flat = np.zeros(rows * columns + kernels.shape[2], dy.dtype)
    length = (rows - kernels.shape[1] + 1) * columns
    result = np.empty(length, dy.dtype)
    for n in range(begin, stop):
        for c in range(dy.shape[1]):
            _spread(dy[n, c], top, left, step, columns, flat)
            _filter(flat, kernels[c], columns, length, result)
            _take(result, first[0], first[1], (1, 1), columns, dx[n, c])


@compile_kernel
def _weights_gradient(x, dy, frame, step, total, begin, stop):
    top, left, rows, columns = frame
    flat = np.zeros(rows * columns + total.shape[2], x.dtype)
    length = (rows - total.shape[1] + 1) * columns
    gradient = np.zeros(length + columns, x.dtype)
    for n in range(begin, stop):
        for c in range(x.shape[1]):
            _spread(x[n, c], top, left, (1, 1), columns, flat)
            _spread(dy[n, c], 0, 0, step, columns, gradient)
            _correlate(flat, gradient, columns, length, total[c])


def depthwise(x, w, size, stride, padding):
    """See `csc_cogd.nn.functions.conv2d`, with as many groups as channels in and out, and no bias."""
    y, kernels, images = empty((*x.shape[:2], *size), x.dtype), np.ascontiguousarray(w[:, 0]), np.ascontiguousarray(x)
    frame = (*padding, x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1])
    map_chunks(lambda *part: _forward(images, kernels, frame, stride, y, *part), len(x))
    return y


def depthwise_images_gradient(dy, w, shape, stride, padding):
    """Return the gradient of images of a shape (N, C, H, W): dy, spread by the stride, correlated with rotated kernels."""
    dx, kernels, dy = empty(shape, dy.dtype), np.ascontiguousarray(w[:, 0, ::-1, ::-1]), np.ascontiguousarray(dy)
    rest = [k - 1 for k in w.shape[2:]]
    rows, columns = (
        max((dy.shape[2 + a] - 1) * stride[a] + 1 + 2 * rest[a], padding[a] + shape[2 + a] + rest[a]) for a in (0, 1)
    )
    frame = (*rest, rows, columns)
    map_chunks(lambda *part: _images_gradient(dy, kernels, frame, padding, stride, dx, *part), len(dy))
    return dx


def depthwise_weights_gradient(dy, x, w, stride, padding):
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    frame = (*padding, x.shape[2] + 2 * padding[0], x.shape[3] + 2 * padding[1])

    def part(begin, stop):
        total = np.zeros((len(w), *w.shape[2:]), w.dtype)
        _weights_gradient(x, dy, frame, stride, total, begin, stop)
        return total

    return sum(map_chunks(part, len(x)), np.zeros(w.shape, w.dtype)[:, 0]).reshape(w.shape)
