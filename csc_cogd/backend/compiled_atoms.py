"""The kernels of `atoms`, compiled by Numba, with the vector instructions of `simd_rows`."""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.atoms import LANES, padded
from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.simd_rows import add_rows, add_weighted_rows, dot_rows, nonzero_lanes

__all__ = ["LANES", "add_atoms", "add_map", "descend", "energies", "find_atoms", "padded"]


@compile_kernel
def add_map(codes, d, canvas):
    H, W = codes.shape
    C, h, lanes = d.shape
    rows, stride = canvas.shape[1:]
    codes_flat, d_flat, canvas_flat = codes.reshape(codes.size), d.reshape(d.size), canvas.reshape(canvas.size)
    whole = W - W % LANES
    for i in range(H):
        for left in range(0, W, LANES):
            if left < whole and nonzero_lanes(codes_flat, i * W + left) == 0:  # most are empty
                continue
            for j in range(left, min(left + LANES, W)):
                if codes[i, j] != 0:
                    for c in range(C):
                        corner = (c * rows + i) * stride + j
                        add_rows(d_flat, c * h * lanes, canvas_flat, corner, h, lanes // LANES, stride, codes[i, j])


@compile_part
def _wrapped(index, length):
    return index if index < length else index - length


@compile_part
def _add_atom(k, i, j, factor, filters, width, period, canvas):
    C, h, lanes = filters.shape[1:]
    rows, stride = canvas.shape[1:]
    if i + h <= period[0] and j + width <= period[1]:
        filters_flat, canvas_flat = filters.reshape(filters.size), canvas.reshape(canvas.size)
        for c in range(C):
            corner = (c * rows + i) * stride + j
            add_rows(filters_flat, (k * C + c) * h * lanes, canvas_flat, corner, h, lanes // LANES, stride, factor)
    else:
        for c in range(C):
            for a in range(h):
                for b in range(width):
                    canvas[c, _wrapped(i + a, period[0]), _wrapped(j + b, period[1])] += factor * filters[k, c, a, b]


@compile_kernel
def add_atoms(places, codes, filters, width, period, canvas):
    for n in range(codes.size):
        _add_atom(places[0, n], places[1, n], places[2, n], codes[n], filters, width, period, canvas)


@compile_kernel
def energies(places, filters, width, period, squared_weights):
    C, h = filters.shape[1:3]
    found = np.zeros(places.shape[1], filters.dtype)
    for n in range(found.size):
        k, i, j = places[0, n], places[1, n], places[2, n]
        for c in range(C):
            for a in range(h):
                row = _wrapped(i + a, period[0])
                for b in range(width):
                    found[n] += squared_weights[c, row, _wrapped(j + b, period[1])] * filters[k, c, a, b] ** 2
    return found


@compile_part
def _survey_row(gradient, thresholds, floor):
    """Return a row's largest ratio to the thresholds, and sums of squares; magnitudes are at least `floor` * gradient."""
    largest, excess, total = gradient.dtype.type(-np.inf), gradient.dtype.type(0), gradient.dtype.type(0)
    constant = thresholds.size == 1
    t = thresholds[0]
    for j in range(gradient.size):
        if not constant:
            t = thresholds[j]
        magnitude = max(gradient[j], floor * gradient[j])
        above = max(magnitude - t, gradient.dtype.type(0))
        largest = max(largest, magnitude / t)
        excess += above * above
        total += gradient[j] * gradient[j]
    return largest, excess, total


@compile_kernel
def find_atoms(gradient, thresholds, nonnegative, cut):
    H, W = gradient.shape
    floor = gradient.dtype.type(1 if nonnegative else -1)
    largest, excess, total = np.empty(H, gradient.dtype), 0.0, 0.0
    count = 0
    for i in range(H):
        row = thresholds[i if len(thresholds) > 1 else 0]
        largest[i], row_excess, row_total = _survey_row(gradient[i], row, floor)
        excess += row_excess
        total += row_total
        if largest[i] > cut:
            for j in range(W):
                count += max(gradient[i, j], floor * gradient[i, j]) / row[j if row.size > 1 else 0] > cut
    found = np.empty((2, count), np.int32)
    n = 0
    for i in range(H):
        if largest[i] > cut:
            row = thresholds[i if len(thresholds) > 1 else 0]
            for j in range(W):
                above = max(gradient[i, j], floor * gradient[i, j]) / row[j if row.size > 1 else 0] > cut
                if above and n < count:
                    found[0, n], found[1, n] = i, j
                    n += 1
    return found[:, :n], largest.max(), excess, total  # a ratio may round to either side of the cut, counted or looked at


@compile_kernel
def descend(places, codes, energy, thresholds, filters, width, period, nonnegative, squared_weights, residual, zeros):
    C, h, lanes = filters.shape[1:]
    rows, stride = residual.shape[1:]
    filters_flat, flat, weights = filters.reshape(filters.size), residual.reshape(residual.size), squared_weights
    weights_flat = weights.reshape(weights.size)
    zero = residual.dtype.type(0)
    largest, squares = zero, 0.0
    for n in range(codes.size):
        if codes[n] == zero and not zeros:
            continue
        k, i, j = np.intp(places[0, n]), np.intp(places[1, n]), np.intp(places[2, n])
        inside = i + h <= period[0] and j + width <= period[1]
        z = codes[n] * energy[n]
        for c in range(C):
            first, corner = (k * C + c) * h * lanes, (c * rows + i) * stride + j
            if inside:
                z += dot_rows(filters_flat, first, flat, corner, h, lanes // LANES, stride)
            else:
                for a in range(h):
                    row = _wrapped(i + a, period[0])
                    for b in range(width):
                        z += filters[k, c, a, b] * residual[c, row, _wrapped(j + b, period[1])]
        t = thresholds[n]
        code = zero if nonnegative and z < t else (z - min(max(z, -t), t)) / energy[n]
        change = code - codes[n]
        if change != 0:
            codes[n] = code
            largest = max(largest, abs(change) * energy[n] / t)
            squares += (change * energy[n]) ** 2
            for c in range(C):
                first, corner = (k * C + c) * h * lanes, (c * rows + i) * stride + j
                if inside:
                    add_weighted_rows(
                        filters_flat, first, flat, corner, h, lanes // LANES, stride, -change, weights_flat
                    )  # fmt: skip
                else:
                    for a in range(h):
                        row = _wrapped(i + a, period[0])
                        for b in range(width):
                            column = _wrapped(j + b, period[1])
                            residual[c, row, column] -= change * weights[c, row, column] * filters[k, c, a, b]
    return largest, squares
