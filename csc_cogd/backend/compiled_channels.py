"""Elementwise and channelwise operations of networks, compiled by Numba, in as few passes over memory as possible.

Arrays are (N, C, H W) without gaps, or flat where channels don't matter. Sums of a channel are those of its planes, each
in the array's precision, added up in float64.
"""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.buffer_pool import empty
from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.parallel import map_chunks


@compile_part
def _plane_moments(x):
    """Return the sum of a plane, and of squared distances from its mean, which don't cancel however far that is from 0."""
    total = square = x.dtype.type(0)
    for p in range(x.size):
        total += x[p]
    mean = total / x.dtype.type(x.size)
    for p in range(x.size):
        square += (x[p] - mean) * (x[p] - mean)
    return total, square


@compile_kernel
def _moments(x, mean, variance, begin, stop):
    N, P = len(x), x.shape[2]
    for c in range(begin, stop):
        total = inner = between = 0.0
        first = np.float64(x[0, c, 0])
        for n in range(N):
            plane, square = _plane_moments(x[n, c])
            distance = plane / np.float64(P) - first
            total += distance
            inner += square
            between += distance * distance
        middle = total / N
        mean[c] = first + middle
        variance[c] = max(inner / (N * P) + between / N - middle * middle, 0.0)


@compile_part
def _plane_products(dy, x, mean):
    total = product = x.dtype.type(0)
    for p in range(x.size):
        total += dy[p]
        product += dy[p] * (x[p] - mean)
    return total, product


@compile_kernel
def _products(dy, x, mean, totals, products, begin, stop):
    for c in range(begin, stop):
        total = product = 0.0
        for n in range(len(x)):
            plane = _plane_products(dy[n, c], x[n, c], mean[c])
            total += plane[0]
            product += plane[1]
        totals[c], products[c] = total, product


@compile_part
def _plane_affine(x, scale, shift, y):
    for p in range(x.size):
        y[p] = scale * x[p] + shift


@compile_kernel
def _affine(x, scale, shift, y, begin, stop):
    for n in range(begin, stop):
        for c in range(x.shape[1]):
            _plane_affine(x[n, c], scale[c], shift[c], y[n, c])


@compile_part
def _plane_combine(a, x, a_scale, x_scale, mean, shift, y):
    for p in range(x.size):
        y[p] = a_scale * a[p] + (x_scale * (x[p] - mean) + shift)


@compile_kernel
def _combine(a, x, a_scale, x_scale, mean, shift, y, begin, stop):
    for n in range(begin, stop):
        for c in range(x.shape[1]):
            _plane_combine(a[n, c], x[n, c], a_scale[c], x_scale[c], mean[c], shift[c], y[n, c])


@compile_kernel
def _clip(x, top, y):
    zero = x.dtype.type(0)
    for p in range(x.size):
        low = zero if x[p] <= zero else x[p]  # and not the other way round: NaN has to stay
        y[p] = top if low > top else low


@compile_kernel
def _clip_gradient(dy, y, top, dx):
    zero, one = y.dtype.type(0), y.dtype.type(1)
    for p in range(y.size):
        dx[p] = dy[p] * ((one if y[p] > zero else zero) * (one if y[p] < top else zero))


@compile_kernel
def _add(a, b, y):
    for p in range(y.size):
        y[p] = a[p] + b[p]


def moments(x):
    """Return mean and biased variance of each channel of (N, C, H, W)."""
    planes, mean, variance = _planes(x), *np.empty((2, x.shape[1]), x.dtype)
    map_chunks(lambda *part: _moments(planes, mean, variance, *part), x.shape[1])
    return mean, variance


def products(dy, x, mean):
    """Return each channel's sums of dy, and of dy (x - mean)."""
    result = np.empty((2, x.shape[1]), x.dtype)
    gradients, planes = _planes(dy), _planes(x)
    map_chunks(lambda *part: _products(gradients, planes, mean, *result, *part), x.shape[1])
    return result


def normalize(x, gamma, beta, mean, variance, epsilon):
    """Return ``gamma (x - mean) / sqrt(variance + epsilon) + beta``, channel by channel."""
    scale = gamma * (1 / np.sqrt(variance + epsilon))
    return affine(x, scale, beta - mean * scale)


def normalize_gradient(dy, x, gamma, mean, variance, epsilon, from_batch):
    """Return the gradients of x, gamma and beta, where mean and variance are the batch's, or given."""
    inverse, n = 1 / np.sqrt(variance + epsilon), x.size // x.shape[1] if from_batch else np.inf
    dbeta, dgamma = products(dy, x, mean)
    dgamma = dgamma * inverse
    scale = gamma * inverse
    return combine(dy, x, scale, -scale * inverse * dgamma / n, mean, -scale * dbeta / n), dgamma, dbeta


def affine(x, scale, shift):
    """Return ``scale[c] x[n, c] + shift[c]``."""
    y, planes = empty(x.shape, x.dtype), _planes(x)
    target = _planes(y)
    map_chunks(lambda *part: _affine(planes, scale, shift, target, *part), len(x))
    return y


def combine(a, x, a_scale, x_scale, mean, shift):
    """Return ``a_scale[c] a[n, c] + x_scale[c] (x[n, c] - mean[c]) + shift[c]``."""
    y, first, second = empty(x.shape, x.dtype), _planes(a), _planes(x)
    target = _planes(y)
    map_chunks(lambda *part: _combine(first, second, a_scale, x_scale, mean, shift, target, *part), len(x))
    return y


def clip(x, top):
    """Return ``min(max(x, 0), top)``."""
    return _each_value(lambda x, y: _clip(x, x.dtype.type(top), y), x)


def clip_gradient(dy, y, top):
    """Return `dy` where ``0 < y < top``, else 0."""
    return _each_value(lambda dy, y, dx: _clip_gradient(dy, y, y.dtype.type(top), dx), dy, y)


def add(a, b):
    return _each_value(_add, a, b)


def _each_value(kernel, *arrays):
    result = empty(arrays[0].shape, arrays[0].dtype)
    flat = [np.ascontiguousarray(array).reshape(-1) for array in (*arrays, result)]
    map_chunks(lambda begin, stop: kernel(*(array[begin:stop] for array in flat)), result.size)
    return result


def _planes(x):
    return np.ascontiguousarray(x).reshape(*x.shape[:2], -1)
