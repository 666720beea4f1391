"""Kernels on atoms, in plain NumPy: the reference that every faster variant must agree with.

An atom is one filter at one position; a sparse code has few of them. Filters come as (K, C, h, lanes), zero from column
`width` on, which lets a compiled kernel read whole vectors. A canvas is (C, rows, columns) with at least ``lanes - width``
spare columns at the right. An atom at (i, j) covers the pixels from (i, j) on, modulo `period`, the height and width of
the image that the canvas holds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

LANES = 8
"""Rows of filters are filled up to a multiple of this."""


def padded(filters: np.ndarray) -> np.ndarray:
    """Return filters (K, C, h, w) with their rows filled up with zeros."""
    spare = -filters.shape[3] % LANES
    return np.ascontiguousarray(np.pad(filters, ((0, 0), (0, 0), (0, 0), (0, spare))))


def add_map(codes: np.ndarray, d: np.ndarray, canvas: np.ndarray) -> None:
    """Add a sparse map's atoms, ``canvas += codes * d``; the canvas is large enough that none is cut.

    Parameters
    ----------
    codes : (H, W) array
    d : (C, h, lanes) array
    canvas : (C, H + h - 1, W + lanes - 1) array, written to
    """
    for i, j in np.argwhere(codes):
        canvas[:, i : i + d.shape[1], j : j + d.shape[2]] += codes[i, j] * d


def add_atoms(
    places: np.ndarray, codes: np.ndarray, filters: np.ndarray, width: int, period: tuple[int, int], canvas: np.ndarray
) -> None:
    """Add atoms: their `places` (3, n) are filter, row and column; their `codes` (n,) the factors."""
    for (k, i, j), code in zip(places.T, codes, strict=True):
        canvas[_covered(i, j, filters, width, period)] += code * filters[k, :, :, :width]


def energies(
    places: np.ndarray, filters: np.ndarray, width: int, period: tuple[int, int], squared_weights: np.ndarray
) -> np.ndarray:
    """Return ``||W d||^2`` of atoms, (n,): their squared norm over the observed pixels."""
    return np.array(
        [
            (squared_weights[_covered(i, j, filters, width, period)] * filters[k, :, :, :width] ** 2).sum()
            for k, i, j in places.T
        ],
        filters.dtype,
    )


def find_atoms(
    gradient: np.ndarray, thresholds: np.ndarray, nonnegative: bool, cut: float
) -> tuple[np.ndarray, float, float, float]:
    """Return positions (2, n) at which a gradient map (H, W) exceeds its thresholds `cut` times, and the largest such ratio.

    `thresholds` are (H, W) or (1, 1); of non-negative codes only a positive gradient counts. Also returned: the sums of
    squares of what exceeds the thresholds, and of the gradient.
    """
    magnitude = gradient if nonnegative else abs(gradient)
    ratios = magnitude / thresholds
    excess = np.maximum(magnitude - thresholds, 0)
    excess_square, square = (float(np.sum(a**2, dtype=np.float64)) for a in (excess, gradient))
    return np.argwhere(ratios > cut).T.astype(np.int32), float(ratios.max()), excess_square, square


def descend(
    places: np.ndarray, codes: np.ndarray, energy: np.ndarray, thresholds: np.ndarray, filters: np.ndarray, width: int,
    period: tuple[int, int], nonnegative: bool, squared_weights: np.ndarray, residual: np.ndarray, zeros: bool,
) -> tuple[float, float]:  # fmt: skip
    """Minimize over one code after the other, once each: a sweep of coordinate descent, in place.

    The new code is ``S(x + <d, r> / e, t / e)`` with soft threshold S, the atom's filter d, energy e and threshold t, and
    the residual ``r = W^2 (b - A x)`` on the canvas, which is kept up with the codes. Codes that are zero are left out
    unless `zeros` are asked for. Of the changes times e, returns the largest relative to t, and the sum of squares.
    """
    largest = squares = 0.0
    for n, (k, i, j) in enumerate(places.T):
        if codes[n] == 0 and not zeros:
            continue
        covered, d = _covered(i, j, filters, width, period), filters[k, :, :, :width]
        z = codes[n] * energy[n] + (d * residual[covered]).sum()
        low = -np.inf if nonnegative else -thresholds[n]
        code = (z - min(max(z, low), thresholds[n])) / energy[n]
        change = code - codes[n]
        if change:
            codes[n] = code
            residual[covered] -= change * squared_weights[covered] * d
            largest = max(largest, float(abs(change) * energy[n] / thresholds[n]))
            squares += float(change * energy[n]) ** 2
    return largest, squares


def _covered(i: int, j: int, filters: np.ndarray, width: int, period: tuple[int, int]) -> tuple[Any, ...]:
    """Return the index of the pixels that an atom covers."""
    rows, columns = (i + np.arange(filters.shape[2])) % period[0], (j + np.arange(width)) % period[1]
    return slice(None), rows[:, None], columns
