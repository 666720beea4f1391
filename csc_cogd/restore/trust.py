"""How far to trust the sparse code against the pilot: measured on known pixels that are hidden for the purpose.

Where a picture is smooth, biharmonic interpolation can't be beaten; where it has edges and texture, the code is better by
decibels. The least squares weight between the two is estimated by cross-validation, on a few tiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from csc_cogd.restore.base_layer import base_layer, pilot_estimate

TILE, TILES = 96, 4
HIDDEN = 0.1
SPARSE_DAMAGE = 0.25
SMALLEST = 32


def trust_in_code(image: np.ndarray, missing: np.ndarray, code: Callable[[np.ndarray, np.ndarray], Any]) -> float:
    """Weight a in [0, 1] for which ``pilot + a * (coded - pilot)`` is closest to hidden known pixels.

    Where little is missing, the mask itself, moved to known places, says what to hide: text and scratches stay text and
    scratches. Where much is missing, a tenth of the known pixels is hidden at random.

    Parameters
    ----------
    image : (C, H, W) array of float
    missing : (C, H, W) bool array
    code : callable
        Takes details (N, C, h, w) and their weights, returns the coded details: the solver that is to be judged.

    Returns
    -------
    float
        1 for images too small to judge.
    """
    side = min(TILE, *image.shape[1:])
    if side < SMALLEST:
        return 1.0
    generator = np.random.default_rng((TILE, TILES))  # not a seed that a user's mask may have been drawn with
    truths, hidden, pilots = [], [], []
    for window in _tiles(np.asarray(missing.any(axis=0)), side):
        truth, gone = image[window], missing[window]
        if gone.mean() < SPARSE_DAMAGE:
            hide = np.roll(gone, (side // 3, side // 3), axis=(1, 2)) & ~gone
        else:
            hide = (generator.random(gone.shape[1:]) < HIDDEN) & ~gone
        if not hide.any() or (gone | hide).all(axis=(1, 2)).any():
            continue
        truths.append(truth)
        hidden.append(hide)
        pilots.append((gone | hide, pilot_estimate(truth, gone | hide)))
    if not truths:
        return 1.0
    bases = [base_layer(pilot) for _, pilot in pilots]
    known = np.array([~absent for absent, _ in pilots])
    details = np.where(known, np.array(truths) - bases, 0.0)
    coded = bases + code(details, known)
    at = np.array(hidden)
    error = (np.array(truths) - [pilot for _, pilot in pilots])[at]
    change = (coded - [pilot for _, pilot in pilots])[at]
    return float(np.clip(error @ change / max(change @ change, 1e-30), 0.0, 1.0))


def _tiles(missing: np.ndarray, side: int) -> list[tuple[slice, slice, slice]]:
    """The tiles of a grid with most missing pixels, but not without known ones."""
    corners = [
        (top, left)
        for top in range(0, missing.shape[0] - side + 1, side)
        for left in range(0, missing.shape[1] - side + 1, side)
    ]
    counts = [missing[top : top + side, left : left + side].sum() for top, left in corners]
    best = np.argsort(counts, kind="stable")[::-1][:TILES]
    return [(slice(None), slice(top, top + side), slice(left, left + side)) for top, left in (corners[i] for i in best)]
