"""Pixels, alone or up to four together, that stand out from all around them further than chance or a lens would let them."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import label, maximum_filter, rank_filter, uniform_filter

THRESHOLD = 11.0  # usual deviations, at sensitivity 1: of noise, one in exp(11) peaks, half a million pixels, exceeds it
AROUND = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
WINDOW = 21  # side of the surroundings that tell how far pixels stand out by chance
PEAKS = 1 / 9  # share of the pixels of noise that exceed all eight neighbors
CLIPPED = 3.0  # means, at which the others' rises are cut off before averaging, so that other defects hardly count
ROUNDS = 5  # of that
LEAST_RISE, MOST_AROUND = 0.65, 0.1  # of the peak above the ring: over the highest neighbor; the neighbors' mean
MOST_AROUND_PAIR, MOST_AROUND_GROUP = 0.08, 0.04  # the same of two pixels, and of three or four: half of a lens's glow
DOUBT = 2.0  # standard deviations of the mean of a group's neighbors, by which they may be brighter than they look
GROUPS = 3.0  # thresholds by which a group stands out in a single picture, which has more small things than single pixels
TOGETHER = 4  # pixels that stand out together, in a square of 2 x 2
ROUNDS_OF_PEAKS = 2  # a weaker pixel beside a strong one is found when that is known


def find_peaks(plane: np.ndarray, known: np.ndarray, threshold: float, *, recurring: bool = False) -> np.ndarray:
    """Which pixels are isolated peaks, or groups of up to 2 x 2, (H, W) bool; for dead pixels give ``-plane``.

    The rise of a pixel over the highest of its eight neighbors is, where it is positive, nearly exponential for noise
    of any kind, for it is a gap between the two largest of nine values. So `threshold` times the local mean is exceeded
    by chance at a rate of about exp(-threshold), whatever the strength of noise or texture there; by a group, more rarely.
    A star or another small thing lights up its neighbors as well, by a lens's blur: what does isn't taken.

    Parameters
    ----------
    plane, known : (H, W) arrays
        Floats; where not `known`, they can be anything, and are neither found nor looked at.
    threshold : float
    recurring : bool
        The picture is what frames of different scenes have in common, so that small sharp things are no part of a scene;
        else groups must stand out `GROUPS` times as far.
    """
    found = np.zeros(plane.shape, bool)
    for _ in range(ROUNDS_OF_PEAKS):
        left = known & ~found
        rises = rises_over_neighbors(plane, left)
        enough = np.maximum(threshold * usual_rise(rises), 2 * rounding_step(plane, left))
        enough_together = enough
        if not recurring:  # of a picture that was enlarged, all details are squares of equal pixels
            usual_together = usual_rise(rises_over_neighbors(plane, left, TOGETHER))
            enough_together = np.maximum(GROUPS * enough, threshold * usual_together)
        peaks = _isolated(plane, left, rises, rises > enough) | _groups(plane, left, enough_together)
        if not peaks.any():
            break
        found |= peaks
    return found


def deviations(plane: np.ndarray, known: np.ndarray, threshold: float) -> tuple[np.ndarray, float]:
    """The picture less a smooth background, which what exceeds `threshold` doesn't lift; and its noise.

    The noise is the usual gap between the two largest of nine pixels; infinite for flat pictures.
    """
    clipped, noise = plane, np.inf
    for sign in (1, -1):
        usual = usual_rise(rises_over_neighbors(sign * plane, known))
        rises = rises_over_neighbors(sign * plane, known, TOGETHER)
        clipped = clipped - sign * np.maximum(rises - threshold * usual, 0)
        noise = min(noise, float(np.median(usual)))
    return plane - uniform_filter(clipped, WINDOW, mode="reflect"), noise


def rises_over_neighbors(plane: np.ndarray, known: np.ndarray, nth: int = 1) -> np.ndarray:
    """By how much known pixels exceed the `nth` highest of at least `nth` + 2 known neighbors; 0 for those that don't."""
    around = np.where(known, plane, -np.inf)
    highest = rank_filter(around, -nth, footprint=AROUND, mode="constant", cval=-np.inf)
    neighbors = uniform_filter(known.astype(np.float32), 3, mode="constant") * 9 - known
    return np.where(known & (neighbors > nth + 1.5), np.maximum(plane - highest, 0), 0)


def usual_rise(rises: np.ndarray) -> np.ndarray:
    """Local mean of the positive rises, to which single large ones contribute little; (H, W), never 0."""
    return usual(rises, rises > 0, CLIPPED, PEAKS / 4)


def usual(values: np.ndarray, counted: np.ndarray, clipped: float, least_share: float) -> np.ndarray:
    """Local mean of the `counted` ones of values (H, W), cut off where they exceed so many means; never 0, unless all are.

    In a window, as many pixels are taken to be counted as are in `least_share` of it at least.
    """
    if not counted.any():
        return np.full(values.shape, np.inf)
    share = np.maximum(uniform_filter(counted.astype(values.dtype), WINDOW, mode="reflect"), least_share)
    overall, number = float(np.median(values[counted])), max(counted.sum(), least_share * counted.size)
    for _ in range(ROUNDS):
        overall = float(np.minimum(values[counted], clipped * overall).sum()) / number
    local = np.full(values.shape, clipped * overall, values.dtype)
    for _ in range(ROUNDS):
        local = uniform_filter(np.where(counted, np.minimum(values, clipped * local), 0), WINDOW, mode="reflect") / share
    return np.maximum(local, overall / 2)


def surroundings(
    plane: np.ndarray, known: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The eight neighbors of some pixels, (n, 8), and the ring of 16 around these, (n, 16); NaN where unknown."""
    padded = np.pad(np.where(known, plane, np.nan), 2, constant_values=np.nan)
    down, across = (offset.ravel() for offset in np.mgrid[:5, :5])
    around = padded[rows[:, None] + down, columns[:, None] + across]
    inner = np.zeros((5, 5), bool)
    inner[1:4, 1:4] = AROUND
    ring = np.ones((5, 5), bool)
    ring[1:4, 1:4] = False
    return around[:, inner.ravel()], around[:, ring.ravel()]


def median_of_known(values: np.ndarray) -> np.ndarray:
    """Median of each row (n, m) without NaN; NaN where there is nothing else."""
    ordered, count = np.sort(values, axis=1), np.isfinite(values).sum(axis=1)
    places = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)], axis=1)
    return np.asarray(np.take_along_axis(ordered, places, axis=1).mean(axis=1))


def rounding_step(plane: np.ndarray, known: np.ndarray) -> float:
    """The least difference between pixels side by side, as of rounding; 0 where hardly any differ."""
    steps = abs(np.diff(plane, axis=1))[known[:, 1:] & known[:, :-1]]
    changed = steps[steps > 0]
    return float(changed.min()) if changed.size > 0.01 * steps.size else 0.0


def _isolated(plane: np.ndarray, known: np.ndarray, rises: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Which candidates are alone: the neighbors are as the ring of 16 around them, and the pixel isn't."""
    rows, columns = np.nonzero(candidates)
    beside, ring = surroundings(plane, known, rows, columns)
    enough = np.isfinite(ring).sum(axis=1) >= 3
    rows, columns, beside, ring = rows[enough], columns[enough], beside[enough], ring[enough]
    level = median_of_known(ring)
    height = plane[rows, columns] - level
    rise, glow = rises[rows, columns], np.nanmean(beside, axis=1) - level
    alone = (rise > LEAST_RISE * height) & (glow < MOST_AROUND * height)
    found = np.zeros(plane.shape, bool)
    found[rows[alone], columns[alone]] = True
    return found


def _groups(plane: np.ndarray, known: np.ndarray, enough: np.ndarray) -> np.ndarray:
    """Which pixels stand out `enough` (H, W) as two to four in a square of 2 x 2, and light up nothing around them."""
    labels, _ = label(rises_over_neighbors(plane, known, TOGETHER) > enough, np.ones((3, 3)))
    sizes = np.bincount(labels.ravel())
    small = (sizes > 1) & (sizes <= TOGETHER)
    small[0] = False
    places = np.flatnonzero(small[labels])
    if not places.size:
        return np.zeros(plane.shape, bool)
    places = places[np.argsort(labels.ravel()[places], kind="stable")]
    rows, columns = np.unravel_index(places, plane.shape)
    starts = np.flatnonzero(np.diff(labels[rows, columns], prepend=0))
    top, left = (np.minimum.reduceat(axis, starts) for axis in (rows, columns))
    side = np.maximum(*(np.maximum.reduceat(axis, starts) - least for axis, least in ((rows, top), (columns, left))))
    top, left = top[side < 2], left[side < 2]
    numbers = labels[rows[starts], columns[starts]][side < 2]

    offsets = np.arange(6)  # windows (n, 6, 6): the square, its neighbors, and a ring around them
    window = (top[:, None, None] + offsets[:, None], left[:, None, None] + offsets)
    values = np.pad(np.where(known, plane, np.nan), 2, constant_values=np.nan)[window]
    members = np.pad(labels, 2)[window] == numbers[:, None, None]
    near = maximum_filter(members, (1, 3, 3)) & ~members & np.isfinite(values)
    ring = ~maximum_filter(members, (1, 3, 3)) & np.isfinite(values)
    n_near = near.sum(axis=(1, 2))
    usable = (n_near >= 5) & (ring.sum(axis=(1, 2)) >= 8)
    if not usable.any():
        return np.zeros(plane.shape, bool)
    values, members, near, ring, n_near = (of_all[usable] for of_all in (values, members, near, ring, n_near))
    low, level, high = np.nanquantile(np.where(ring, values, np.nan), (0.16, 0.5, 0.84), axis=(1, 2))
    lowest, highest = np.where(members, values, np.inf).min(axis=(1, 2)), np.where(near, values, -np.inf).max(axis=(1, 2))
    glow = np.nanmean(np.where(near, values, np.nan), axis=(1, 2)) - level
    doubt = DOUBT * (high - low) / 2 / np.sqrt(n_near)
    height, rise = lowest - level, lowest - highest
    most = np.where(members.sum(axis=(1, 2)) == 2, MOST_AROUND_PAIR, MOST_AROUND_GROUP)
    alone = (rise > enough[top[usable], left[usable]]) & (rise > LEAST_RISE * height) & (glow + doubt < most * height)
    return np.isin(labels, numbers[usable][alone])
