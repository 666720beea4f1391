"""Rims of damage: pixels beside the missing ones that are damaged, too, as those of scratches, letters and JPEG's blocks."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import distance_transform_cdt

WIDEST = 8  # pixels that are looked for
_FAR = (10, 14)  # distances from the damage at which the picture is taken for clean
_SAMPLES = 200  # pixels looked at for each distance
_ENOUGH, _SHARE = 30, 0.5  # of them, and of those that have clean surroundings, whose damage stands out
_STANDS_OUT = 3.0  # standard deviations of the clean surroundings
_TINT = 0.06  # of the damage's difference from its surroundings that is seen


def rim_width(colours: np.ndarray, missing: np.ndarray) -> int:
    """How many pixels beside the missing ones hold some of the damage, at most 8.

    Where the missing pixels differ clearly from what surrounds them at some distance, the known pixels between are compared
    with both: a clean one has none of that difference, wherever the damage lies; on the rim of a scratch, most have a part
    of it. Medians over some hundred places tell the two apart. Nothing is found where damage lies too densely for clean
    surroundings, or doesn't stand out.

    Parameters
    ----------
    colours : (H, W) or (H, W, C) array
    missing : (H, W) bool array

    Returns
    -------
    int
    """
    if not missing.any() or missing.all():
        return 0
    colours = colours if colours.ndim == 3 else colours[..., None]
    distance = distance_transform_cdt(~missing, "chessboard")
    width = 0
    while width < WIDEST and _tint(colours, distance, width + 1) > _TINT:
        width += 1
    return width


def _tint(colours: np.ndarray, distance: np.ndarray, ring: int) -> float:
    """Median part of the damage's difference from its surroundings in pixels at a distance of it; 0 if it can't be told."""
    places = np.flatnonzero(distance == ring)
    places = places[:: -(-len(places) // _SAMPLES) or 1]
    y, x = np.unravel_index(places, distance.shape)
    around = np.arange(-_FAR[1], _FAR[1] + 1)
    rows, columns = y[:, None, None] + around[:, None], x[:, None, None] + around
    H, W = distance.shape
    inside = (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    rows, columns = rows.clip(0, H - 1), columns.clip(0, W - 1)
    window, apart = colours[rows, columns].astype(np.float64), distance[rows, columns]
    usable = inside & np.isfinite(window).all(axis=-1)
    damage, _ = _mean(window, usable & (apart == 0))
    clean, deviation = _mean(window, usable & (apart >= _FAR[0]) & (apart <= _FAR[1]))
    difference = damage - clean
    length = np.sqrt((difference**2).sum(axis=1))
    told = length > _STANDS_OUT * deviation + 1e-12  # not, where one of the two is nowhere: NaN
    if told.sum() < max(_ENOUGH, _SHARE * np.isfinite(length).sum()):
        return 0.0
    there = colours[y, x].astype(np.float64) - clean
    return float(np.nanmedian((there * difference).sum(axis=1)[told] / length[told] ** 2))


def _mean(window: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (n, C) of the chosen pixels of windows (n, h, w, C), NaN where there is none; and their deviation from it (n)."""
    weight = chosen[..., None].astype(np.float64)
    with np.errstate(invalid="ignore"):
        number = weight.sum(axis=(1, 2))
        values = np.where(chosen[..., None], window, 0.0)
        mean = values.sum(axis=(1, 2)) / number
        spread = (weight * (values - mean[:, None, None]) ** 2).sum(axis=(1, 2)) / number
    return mean, np.sqrt(spread.sum(axis=1))
