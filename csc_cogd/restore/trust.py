"""How far to trust a restoration against its pilot: measured on known pixels that are hidden for the purpose.

Where a picture is smooth, biharmonic interpolation can hardly be beaten; where it has edges and texture, codes and similar
patches are better by decibels. The least squares weight between the two is estimated by cross-validation, on a few tiles.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from csc_cogd.restore.base_layer import pilot_estimate

TILE, TILES = 96, 4
HIDDEN = 0.1
DOUBTFUL = 0.3
SPARSE_DAMAGE = 0.25
SMALLEST = 32


def trust_in(
    restore: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray],
    piece: Callable[[slice, slice], tuple[np.ndarray, np.ndarray]],
    damaged: np.ndarray,
) -> float:
    """Weight a in [0, 1] for which ``pilot + a * (restored - pilot)`` is closest to hidden known pixels; 1 from 0.3 on.

    A tile holds fewer similar patches than the picture, so the measure is a pessimist's: it is acted on only where it finds
    the restoration hardly better than its pilot.

    Where little is missing, the mask itself, moved to known places, says what to hide: text and scratches stay text and
    scratches. Where much is missing, a tenth of the known pixels is hidden at random.

    Parameters
    ----------
    restore : callable
        Takes a tile (C, h, w), what is missing of it, and its pilot; returns the tile restored: what is to be judged.
    piece : callable
        Takes rows and columns; returns what the picture is there, (C, h, w), and which of it is missing.
    damaged : (H, W) bool array
        Where anything is missing.

    Returns
    -------
    float
        1 for images too small to judge.
    """
    side = min(TILE, *damaged.shape)
    if side < SMALLEST:
        return 1.0
    generator = np.random.default_rng((TILE, TILES))  # not a seed that a user's mask may have been drawn with
    product = square = 0.0
    for window in _tiles(damaged, side):
        truth, gone = piece(*window)
        if gone.mean() < SPARSE_DAMAGE:
            hide = np.roll(gone, (side // 3, side // 3), axis=(1, 2)) & ~gone
        else:
            hide = (generator.random(gone.shape[1:]) < HIDDEN) & ~gone
        absent = gone | hide
        if not hide.any() or absent.all(axis=(1, 2)).any():
            continue
        tile = np.where(absent, 0.0, truth)
        pilot = pilot_estimate(tile, absent)
        change = (restore(tile, absent, pilot) - pilot)[hide]
        product += (truth - pilot)[hide] @ change
        square += change @ change
    weight = product / square if square > 1e-30 else 1.0  # equal to its pilot: it can't be worse
    return float(max(weight, 0.0)) if weight < DOUBTFUL else 1.0


def _tiles(missing: np.ndarray, side: int) -> list[tuple[slice, slice]]:
    """The tiles of a grid with most missing pixels, but not without known ones."""
    corners = [
        (top, left)
        for top in range(0, missing.shape[0] - side + 1, side)
        for left in range(0, missing.shape[1] - side + 1, side)
    ]
    counts = [missing[top : top + side, left : left + side].sum() for top, left in corners]
    best = np.argsort(counts, kind="stable")[::-1][:TILES]
    return [(slice(top, top + side), slice(left, left + side)) for top, left in (corners[i] for i in best)]
