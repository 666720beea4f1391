"""The filters of `windows`, compiled by Numba."""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.compiled import compile_kernel

COLUMNS = 64  # that are filtered together, so that they stay in the cache


@compile_kernel
def maximum(plane, half, lowest, out):
    """Take maxima over 2, 4, 8, ... rows, then columns: each pass doubles the reach of the one before."""
    H, W = plane.shape
    side = 2 * half + 1
    block = np.empty((H + 2 * half, COLUMNS), plane.dtype)
    for left in range(0, W, COLUMNS):
        width = min(COLUMNS, W - left)
        block[:half], block[half + H :] = lowest, lowest
        for i in range(H):
            block[half + i, :width] = plane[i, left : left + width]
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            for i in range(H + 2 * half - step):
                own, other = block[i], block[i + step]
                for j in range(width):
                    own[j] = max(own[j], other[j])
            reach += step
        for i in range(H):
            out[i, left : left + width] = block[i, :width]
    line, longer = np.empty(W + 2 * half, plane.dtype), np.empty(W + 2 * half, plane.dtype)
    for i in range(H):
        line[:half], line[half + W :] = lowest, lowest
        line[half : half + W] = out[i]
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            ahead = line[step:]
            for j in range(W + 2 * half - step):
                longer[j] = max(line[j], ahead[j])
            line, longer = longer, line
            reach += step
        out[i] = line[:W]


@compile_kernel
def mean(plane, side, rows, columns, out):
    """Keep running sums of columns, and along each row of those."""
    H, W = plane.shape
    sums = np.zeros(W, np.float64)
    line = np.empty(len(columns), np.float64)
    for i in range(side - 1):
        for j in range(W):
            sums[j] += plane[rows[i], j]
    for i in range(H):
        entering = rows[i + side - 1]
        for j in range(W):
            sums[j] += plane[entering, j]
        for j in range(len(columns)):
            line[j] = sums[columns[j]]
        total = 0.0
        for j in range(side - 1):
            total += line[j]
        for j in range(W):
            total += line[j + side - 1]
            out[i, j] = total / side**2
            total -= line[j]
        leaving = rows[i]
        for j in range(W):
            sums[j] -= plane[leaving, j]
