"""Strided convolution as products of matrices, on images in phases; and what thresholds do to codes.

An image (C, s h, s w) in phases is (C s^2, h + q, w + q): its pixels (i s + a, j s + b) are phase (a, b), and q more rows
and columns are there for the filters to reach into. So what a P x P filter meets at stride s are shifted phases, row by row
side by side in memory: columns of a matrix (C P^2, n) for the n places of some rows of a code's map.

Several images of one size may lie below one another, each with its own q more rows; rows of their codes' maps follow each
other, `height` of each image.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def phase_of_tap(tap: int, size: int, stride: int) -> tuple[int, int, int]:
    """Return the phase that a filter's weight meets, and how far it is shifted down and to the right."""
    c, a, b = tap // size**2, tap // size % size, tap % size
    return (c * stride + a % stride) * stride + b % stride, a // stride, b // stride


def row_of_phases(row: Any, size: int, stride: int, height: int) -> Any:
    """Return the first row of phases that filters at a row of the codes' maps meet."""
    return row + row // height * (-(-size // stride) - 1)


def gather(phases: Any, size: int, stride: int, row: int, height: int, columns: Any) -> None:
    """Copy what filters meet from a row of the codes' maps on into `columns` (C P^2, rows, w)."""
    rows, width = columns.shape[1:]
    places = row_of_phases(np.arange(row, row + rows), size, stride, height)
    for tap, out in enumerate(columns):
        phase, down, right = phase_of_tap(tap, size, stride)
        out[...] = phases[phase, places + down, right : right + width]


def scatter(columns: Any, size: int, stride: int, row: int, height: int, phases: Any) -> None:
    """Add `columns` to the phases: the adjoint of :func:`gather`."""
    rows, width = columns.shape[1:]
    places = row_of_phases(np.arange(row, row + rows), size, stride, height)
    for tap, values in enumerate(columns):
        phase, down, right = phase_of_tap(tap, size, stride)
        phases[phase, places + down, right : right + width] += values


def shrink(codes: Any, step: Any, t0: Any, t1: Any, sigma: Any, start: int, out: Any) -> None:
    """Compute ``out = S(codes - step, t0 + t1 sigma)`` from a place on, S soft-thresholding.

    Parameters
    ----------
    codes, out : (M, N) arrays
    step : (M, n) array
        For the places `start` and following.
    t0, t1 : (M,) arrays
    sigma : (N,) array
    start : int
    """
    part = slice(start, start + step.shape[1])
    moved = codes[:, part] - step
    threshold = t0[:, None] + t1[:, None] * sigma[part]
    out[:, part] = moved - np.clip(moved, -threshold, threshold)


def shrink_backward(codes: Any, gradient: Any, sigma: Any, t0_gradient: Any, t1_gradient: Any) -> None:
    """Turn the gradient of what :func:`shrink` made into that of what it was given; add to those of the thresholds."""
    gradient *= codes != 0
    signed = gradient * np.sign(codes)
    t0_gradient -= signed.sum(axis=1)
    t1_gradient -= signed @ sigma
