"""Columns that are off from their neighbors on both sides, or stuck at one value, along a part of their length at least."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import binary_closing, label, maximum_filter1d, median_filter, minimum_filter1d
from scipy.stats import trim_mean

from csc_cogd.restore.peaks import rounding_step

SIDE = 3  # pixels on either side that tell what a column should be: their median bears one more bad column
BLOCK = 32  # rows that are averaged at first, fewer in low pictures; then blocks:
BLOCKS_TOGETHER = (4, 16, 10**9)  # the last is the whole column
LEAST_ROWS = 64  # of a bad part, or half of a low picture
LOWEST = 16  # rows of a picture
CLIPPED = 4.0  # means, as for pixels
SHOULDER, PARTNER = 0.25, 0.6  # of the deviation: columns beside that share more than one of the two, less than the other
LEAST_DEVIATION = 0.5  # in usual deviations of pixels
STUCK = 0.7  # share of the rows in which a stuck column differs from what is beside it


@dataclass(frozen=True)
class Line:
    """A bad column or row, or a part of it: pixels `start` to `stop` - 1 along it.

    Attributes
    ----------
    index, start, stop : int
    kind : {"hot", "dead", "stuck"}
        Too bright, too dark, or the same value all along.
    channel : int
        Of images with channels; else 0.
    """

    index: int
    start: int
    stop: int
    kind: str
    channel: int = 0


def find_columns(plane: np.ndarray, known: np.ndarray, threshold: float) -> list[Line]:
    """Bad columns of a picture (H, W) of floats; pixels that aren't `known` can be anything.

    How far a column is off is the lesser of its deviations from either side, averaged over many rows; where it is an edge or
    a ramp, one of them is about zero or of the other sign. As with pixels, by chance it exceeds `threshold` times its mean
    over the columns at a rate of about exp(-threshold). A line of the scene is blurred: the columns beside it are off too.
    """
    H, W = plane.shape
    if H < LOWEST or W < 2 * SIDE + 1:
        return []
    left = _deviation(plane, known)
    right = _deviation(plane[:, ::-1], known[:, ::-1])[:, ::-1]
    stuck = _stuck(plane, known, left, right)
    off = _off(left, right, threshold)
    lines = []
    for x in np.flatnonzero((stuck | (off != 0)).any(axis=0)):
        for start, stop in _runs(stuck[:, x]):
            lines.append(Line(int(x), start, stop, "stuck"))
        for sign, kind in ((1, "hot"), (-1, "dead")):
            excess = np.where(stuck[:, x], 0, sign * (left[:, x] + right[:, x]) / 2)
            for start, stop in _runs(sign * off[:, x] > 0):
                amplitude = float(abs(off[start:stop, x]).max())
                start, stop = _bounds(excess, start, stop, amplitude)
                if stop - start >= _least_rows(H) and trim_mean(excess[start:stop], 0.25) > amplitude / 2:
                    lines.append(Line(int(x), start, stop, kind))
    return list(dict.fromkeys(lines))  # two runs of blocks can have the same bounds


def _least_rows(height: int) -> int:
    return min(LEAST_ROWS, height // 2)


def _deviation(plane: np.ndarray, known: np.ndarray) -> np.ndarray:
    """How far pixels are above the median of the SIDE ones to the left of them; 0 where one of them isn't known."""
    padded = np.pad(plane, ((0, 0), (SIDE, 0)), mode="reflect")
    sides = np.stack([padded[:, shift : shift + plane.shape[1]] for shift in range(SIDE)])
    padded_known = np.pad(known, ((0, 0), (SIDE, 0)), mode="reflect")
    usable = known & np.all([padded_known[:, shift : shift + plane.shape[1]] for shift in range(SIDE)], axis=0)
    return np.where(usable, plane - np.median(sides, axis=0), 0)


def _off(left: np.ndarray, right: np.ndarray, threshold: float) -> np.ndarray:
    """By how much columns are off, (H, W), by blocks of rows: more than 0 where too bright, 0 where they are sound."""
    H, W = left.shape
    height = max(min(BLOCK, H // 4), LOWEST // 2)
    edges = np.append(np.arange(0, H - height + 1, height), H)
    blocks = [
        np.stack([trim_mean(side[start:stop], 0.25, axis=0) for start, stop in pairwise(edges)]) for side in (left, right)
    ]
    least = LEAST_DEVIATION * float(_usual(np.minimum(abs(left), abs(right)).reshape(1, -1))[0, 0])
    doubt = np.ones(W)
    doubt[[0, -1]] = 2.0  # a border column has one side only
    off = np.zeros((len(edges) - 1, W))
    for together in BLOCKS_TOGETHER:
        n = min(together, len(off))
        from_left, from_right = (_running_median(side, n) for side in blocks)
        agree = from_left * from_right > 0
        deviation = np.where(agree, np.minimum(abs(from_left), abs(from_right)), 0)
        signed = deviation * np.sign(from_left)
        found = (deviation > doubt * np.maximum(threshold * _usual(deviation), least)) & _alone(
            from_left, from_right, signed
        )
        off = np.where(found, signed, off)
        if n == len(off):
            break
    return np.repeat(off, np.diff(edges), axis=0)


def _running_median(blocks: np.ndarray, n: int) -> np.ndarray:
    if n == len(blocks):
        return np.broadcast_to(np.median(blocks, axis=0), blocks.shape)
    return np.asarray(median_filter(blocks, (n, 1), mode="nearest"))


def _alone(from_left: np.ndarray, from_right: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Where a column, or a pair of columns that are off alike, stands on ground that is flat to either side."""
    W = deviation.shape[1]
    beyond_left = np.concatenate([from_right[:, 2:0:-1], from_left], axis=1)  # the picture is mirrored at its borders
    beyond_right = np.concatenate([from_right, from_left[:, -2:-4:-1]], axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        left2, left1 = (beyond_left[:, shift : shift + W] / deviation for shift in (0, 1))
        right1, right2 = (beyond_right[:, shift : shift + W] / deviation for shift in (1, 2))

    def partner(share: np.ndarray) -> np.ndarray:
        return (share > PARTNER) & (share < 1 / PARTNER)

    flat = [abs(share) < SHOULDER for share in (left2, left1, right1, right2)]
    pair = (partner(left1) & flat[0] & flat[2]) | (partner(right1) & flat[3] & flat[1])
    return (flat[1] & flat[2]) | pair


def _usual(deviation: np.ndarray) -> np.ndarray:
    """Mean of the deviations that aren't 0 in each row, to which single large ones contribute little; (rows, 1)."""
    count = np.maximum((deviation > 0).sum(axis=1, keepdims=True), deviation.shape[1] / 12)
    usual = np.full(count.shape, np.inf)
    for _ in range(4):
        usual = np.minimum(deviation, CLIPPED * usual).sum(axis=1, keepdims=True) / count
    return usual


def _stuck(plane: np.ndarray, known: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Which pixels, (H, W), lie in a column that keeps one value there while those beside it don't, and differ from it."""
    length = _least_rows(len(plane)) // 2 * 2 - 1  # odd: a filter of that length is centered
    same = np.zeros(plane.shape, np.uint8)
    same[1:] = (plane[1:] == plane[:-1]) & known[1:] & known[:-1]
    kept = maximum_filter1d(minimum_filter1d(same, length, axis=0, mode="constant"), length, axis=0, mode="constant") > 0
    kept[:-1] |= kept[1:]
    beside = sum(np.roll(kept, shift, axis=1).astype(np.uint8) for shift in range(-SIDE, SIDE + 1) if shift)
    differs = np.minimum(abs(left), abs(right)) > rounding_step(plane, known)
    stuck = np.zeros(plane.shape, bool)
    for x in np.flatnonzero((kept & (beside < SIDE)).any(axis=0)):
        for start, stop in _runs(kept[:, x]):
            alone = (beside[start:stop, x] < SIDE).mean()
            if min(alone, differs[start:stop, x].mean()) > STUCK:
                alike = plane[:, x] == plane[start, x]
                alike |= binary_closing(alike, np.ones(3))  # bad rows cross bad columns
                stuck[:, x] |= label(alike)[0] == label(alike)[0][start]
    return stuck


def _runs(marked: np.ndarray) -> list[tuple[int, int]]:
    """Where runs of marked values (n,) start and stop."""
    changes = np.flatnonzero(np.diff(marked, prepend=False, append=False))
    return [(int(start), int(stop)) for start, stop in changes.reshape(-1, 2)]


def _bounds(excess: np.ndarray, start: int, stop: int, amplitude: float) -> tuple[int, int]:
    """Where a column is off, to the row, around the blocks `start` to `stop` that are off by `amplitude`.

    It is where the sum of `excess` (n,) less half of the amplitude is largest: the likeliest step up and down again.
    """
    start, stop = max(start - BLOCK, 0), stop + BLOCK
    total = np.append(0, np.cumsum(np.clip(excess[start:stop], -amplitude, 2 * amplitude) - amplitude / 2))
    end = int(np.argmax(total - np.minimum.accumulate(total)))
    return start + int(np.argmin(total[: end + 1])), start + end
