"""Fringes of damage: pixels beside the missing ones that are damaged, too, as at scratches, letters and JPEG's blocks."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_cdt

MAX_WIDTH = 8  # pixels that are looked for
_FAR = (10, 14)  # distances from the damage at which the picture is taken for clean
_SAMPLES = 200  # pixels looked at for each distance
_ENOUGH, _SHARE = 30, 0.5  # of them, and of those that have clean surroundings, whose damage stands out
_STANDS_OUT = 3.0  # standard deviations of the clean surroundings
_TINT = 0.1  # of the damage's difference from its surroundings that is seen


def fringe_width(colors: np.ndarray, missing: np.ndarray) -> int:
    """Return how many pixels beside the missing ones show some of the damage, at most 8.

    Where the missing pixels differ clearly from what surrounds them at some distance, the known pixels between are compared
    with both: a clean one has none of that difference, wherever the damage lies; on the fringe of a scratch, most have some
    of it. Medians and quartiles over some hundred places tell the two apart: texture has as much of the opposite, and what
    reaches further than any fringe is the picture. Nothing is found where damage lies too densely for clean surroundings, or
    doesn't stand out.

    Parameters
    ----------
    colors : (H, W) or (H, W, C) array
    missing : (H, W) bool array

    Returns
    -------
    width : int
    """
    if not missing.any() or missing.all():
        return 0
    colors = colors if colors.ndim == 3 else colors[..., None]
    distance = distance_transform_cdt(~missing, "chessboard")
    beyond = np.median(_tints(colors, distance, MAX_WIDTH + 1))
    width = 0
    while width <= MAX_WIDTH:
        quartile, median = np.quantile(_tints(colors, distance, width + 1) - beyond, (0.25, 0.5))
        if quartile <= 0 or median <= _TINT:
            return width
        width += 1
    return 0


def _tints(colors: np.ndarray, distance: np.ndarray, ring: int) -> np.ndarray:
    """Return the part of the damage's difference from its surroundings in pixels at a distance; 0 if it can't be told."""
    places = np.flatnonzero(distance == ring)
    places = places[:: -(-len(places) // _SAMPLES) or 1]
    y, x = np.unravel_index(places, distance.shape)
    around = np.arange(-_FAR[1], _FAR[1] + 1)
    rows, columns = y[:, None, None] + around[:, None], x[:, None, None] + around
    H, W = distance.shape
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    rows, columns = rows.clip(0, H - 1), columns.clip(0, W - 1)
    window, apart = colors[rows, columns].astype(np.float64), distance[rows, columns]
    usable = inside & np.isfinite(window).all(axis=-1)
    damage, _ = _mean(window, usable & (apart == 0))
    clean, deviation = _mean(window, usable & (apart >= _FAR[0]) & (apart <= _FAR[1]))
    difference = damage - clean
    length = np.sqrt((difference**2).sum(axis=1))
    told = length > _STANDS_OUT * deviation + 1e-12  # not, where one of the two is nowhere: NaN
    if told.sum() < max(_ENOUGH, _SHARE * np.isfinite(length).sum()):
        return np.zeros(1)
    there = colors[y, x].astype(np.float64) - clean
    parts: np.ndarray = (there * difference).sum(axis=1)[told] / length[told] ** 2
    return np.nan_to_num(parts)


def _mean(window: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean (n, C) of the chosen pixels of windows (n, h, w, C), NaN without any, and their deviation (n)."""
    weight = chosen[..., None].astype(np.float64)
    with np.errstate(invalid="ignore"):
        number = weight.sum(axis=(1, 2))
        values = np.where(chosen[..., None], window, 0.0)
        mean = values.sum(axis=(1, 2)) / number
        spread = (weight * (values - mean[:, None, None]) ** 2).sum(axis=(1, 2)) / number
    return mean, np.sqrt(spread.sum(axis=1))
