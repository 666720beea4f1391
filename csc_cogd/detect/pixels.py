"""Single pixels that stand out from all their neighbours further than chance or a lens would let them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import maximum_filter, uniform_filter

AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
WINDOW = 21  # side of the surroundings that tell how far pixels stand out by chance
PEAKS = 1 / 9  # share of the pixels of noise that exceed all eight neighbours
CLIPPED = 3.0  # means, at which the others' rises are cut off before averaging, so that other defects hardly count
ROUNDS = 5  # of that
LEAST_RISE, MOST_AROUND = 0.65, 0.1  # of the peak above the ring: over the highest neighbour; the neighbours' mean


def find_peaks(plane: np.ndarray, known: np.ndarray, threshold: float) -> np.ndarray:
    """Which pixels are isolated peaks, (H, W) bool; for dead pixels give ``-plane``.

    The rise of a pixel over the highest of its eight neighbours is, where it is positive, nearly exponential for noise
    of any kind, for it is a gap between the two largest of nine values. So `threshold` times the local mean is exceeded
    by chance at a rate of about exp(-threshold), whatever the strength of noise or texture there. A star or another
    small thing lights up its neighbours as well, by a lens's blur: what does isn't taken.

    Parameters
    ----------
    plane, known : (H, W) arrays
        Floats; where not `known`, they can be anything, and are neither found nor looked at.
    threshold : float
    """
    rises = rises_over_neighbours(plane, known)
    enough = np.maximum(threshold * usual_rise(rises), 2 * rounding_step(plane, known))
    return _isolated(plane, known, rises, rises > enough)


def deviations(plane: np.ndarray, known: np.ndarray, threshold: float) -> tuple[np.ndarray, float]:
    """The picture less a smooth background, which what exceeds `threshold` doesn't lift; and its noise.

    The noise is the usual gap between the two largest of nine pixels; infinite for flat pictures.
    """
    clipped, noise = plane, np.inf
    for sign in (1, -1):
        rises = rises_over_neighbours(sign * plane, known)
        usual = usual_rise(rises)
        clipped = clipped - sign * np.maximum(rises - threshold * usual, 0)
        noise = min(noise, float(np.median(usual)))
    return plane - uniform_filter(clipped, WINDOW, mode="reflect"), noise


def rises_over_neighbours(plane: np.ndarray, known: np.ndarray) -> np.ndarray:
    """By how much known pixels exceed the highest of at least three known neighbours; 0 for those that don't."""
    highest = maximum_filter(np.where(known, plane, -np.inf), footprint=AROUND, mode="constant", cval=-np.inf)
    neighbours = uniform_filter(known.astype(np.float32), 3, mode="constant") * 9 - known
    return np.where(known & (neighbours > 2.5), np.maximum(plane - highest, 0), 0)


def usual_rise(rises: np.ndarray) -> np.ndarray:
    """Local mean of the positive rises, to which single large ones contribute little; (H, W), never 0."""
    found = rises > 0
    if not found.any():
        return np.full(rises.shape, np.inf)
    share = np.maximum(uniform_filter(found.astype(rises.dtype), WINDOW, mode="reflect"), PEAKS / 4)
    overall = float(np.median(rises[found]))
    for _ in range(ROUNDS):
        overall = float(np.minimum(rises, CLIPPED * overall).mean()) / max(found.mean(), PEAKS / 4)
    local = np.full(rises.shape, CLIPPED * overall, rises.dtype)
    for _ in range(ROUNDS):
        local = uniform_filter(np.minimum(rises, CLIPPED * local), WINDOW, mode="reflect") / share
    return np.maximum(local, overall / 2)


def rounding_step(plane: np.ndarray, known: np.ndarray) -> float:
    """The least difference between pixels side by side, as of rounding; 0 where hardly any differ."""
    steps = abs(np.diff(plane, axis=1))[known[:, 1:] & known[:, :-1]]
    changed = steps[steps > 0]
    return float(changed.min()) if changed.size > 0.01 * steps.size else 0.0


def _isolated(plane: np.ndarray, known: np.ndarray, rises: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Which candidates are alone: the neighbours are as the ring of 16 around them, and the pixel isn't."""
    rows, columns = np.nonzero(candidates)
    padded = np.pad(np.where(known, plane, np.nan), 2, constant_values=np.nan)
    around = padded[rows[:, None] + np.repeat(np.arange(5), 5), columns[:, None] + np.tile(np.arange(5), 5)]
    inner = np.zeros((5, 5), bool)
    inner[1:4, 1:4] = AROUND
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    enough = np.isfinite(around[:, ring.ravel()]).sum(axis=1) >= 3
    rows, columns, around = rows[enough], columns[enough], around[enough]
    level = np.nanmedian(around[:, ring.ravel()], axis=1)
    height = plane[rows, columns] - level
    rise, glow = rises[rows, columns], np.nanmean(around[:, inner.ravel()], axis=1) - level
    alone = (rise > LEAST_RISE * height) & (glow < MOST_AROUND * height)
    found = np.zeros(plane.shape, bool)
    found[rows[alone], columns[alone]] = True
    return found
