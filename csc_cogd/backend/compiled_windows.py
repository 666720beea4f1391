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
        for i in range(H + 2 * half):
            inside = half <= i < H + half
            for j in range(width):
                block[i, j] = plane[i - half, left + j] if inside else lowest
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            for i in range(H + 2 * half - step):
                for j in range(width):
                    other = block[i + step, j]
                    block[i, j] = other if other > block[i, j] else block[i, j]
            reach += step
        for i in range(H):
            for j in range(width):
                out[i, left + j] = block[i, j]
    line = np.empty(W + 2 * half, plane.dtype)
    for i in range(H):
        line[:half] = lowest
        line[half + W :] = lowest
        for j in range(W):
            line[half + j] = out[i, j]
        reach = 1
        while reach < side:
            step = min(reach, side - reach)
            for j in range(W + 2 * half - step):
                other = line[j + step]
                line[j] = other if other > line[j] else line[j]
            reach += step
        for j in range(W):
            out[i, j] = line[j]


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
