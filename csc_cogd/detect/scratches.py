"""Faint straight scratches: lines that no single pixel gives away, but whose sum does.

Along a scratch of a deviation or two a pixel, the evidence of hundreds of pixels adds up. Sums along all digital lines of
128 and 256 rows come from the fast discrete Radon transform (Brady 1998): those of two blocks, one below the other, give
those of both together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d, uniform_filter1d

from csc_cogd.backend.windows import window_mean

LENGTHS = (128, 256)  # rows of the blocks that lines are summed in
WIDTH = 0.8  # standard deviation of a line's profile, pixels
SIDES, SIDE = 3, 3  # columns from a line to the middle of what it is compared with, on either side; and how wide that is
WINDOW, STRIP = 31, 81  # sides of the surroundings that tell how much pixels, and sums, usually deviate
CLIPPED = 2.5  # usual deviations of pixels, so that few strong ones are no line
STRENGTH = 8.5  # usual sums of a line, at which it is as likely a scratch as not
FAINT = 1.3  # usual deviations of a line's pixels, from which it is seen, and a candidate by itself
MOST = 200  # lines of one length that are looked at, the strongest
PARTS = 4  # of a line;
PART, ONE_SIDE = 0.4, 0.6  # share of its deviation that each part has, and that is left against one side alone
AROUND, NEAR = 20, 4  # columns of the profile of its surroundings, and of what is too near for that
ISOLATED = 0.3  # of the line's height, that nothing around exceeds
CROSSED = 1.3  # heights by which a scratch's surroundings vary along it, as it crosses the scene; or
FLAT, SMOOTH = 0.25, 0.2  # by which they vary at most, but for noise and an even rise, along it, and across
OF_NOISE = (
    0.38  # share of the deviations across that those of means over the surroundings have, at most, where these are noise
)
STEP, GOES_ON = 48, 0.35  # rows by which a line is followed further, while it has this share of its deviation
KNOWN = 0.3  # share of a line that lies on stronger ones, from which it is one of them
LEAST = 1e-4  # deviation, of the range

Line = tuple[np.ndarray, np.ndarray]


def faint_scratches(plane: np.ndarray, sign: int) -> np.ndarray:
    """Return the probability that there is a faint scratch, (H, W) float32, in a gray picture.

    Dark ones are looked for with a `sign` of 1, light ones with -1.
    """
    probability = np.zeros(plane.shape, np.float32)
    for turned in (np.asarray, np.transpose):
        for mirrored in (np.asarray, np.fliplr):
            view = mirrored(turned(probability))
            scratches = sorted(_Strip.of(mirrored(turned(-sign * plane))).scratches(), key=lambda found: -found[1])
            for (rows, columns), strength in scratches:
                if np.count_nonzero(view[rows, columns]) > KNOWN * len(rows):
                    continue
                certain = 1 / (1 + np.exp(STRENGTH - strength))
                for offset in (-1, 0, 1):
                    beside = np.clip(columns + offset, 0, view.shape[1] - 1)
                    view[rows, beside] = np.maximum(view[rows, beside], certain)
    return probability


@dataclass(frozen=True, eq=False)
class _Strip:
    """A picture in which light lines go down, or down and right by up to 45 degrees.

    `center` is smoothed across the lines; `left`, `right` and `both` are its deviations from either side and from their
    mean, in usual ones; all (H, W).
    """

    center: np.ndarray
    left: np.ndarray
    right: np.ndarray
    both: np.ndarray

    @classmethod
    def of(cls, plane: np.ndarray) -> _Strip:
        center = gaussian_filter1d(plane, WIDTH, axis=1)
        padded = np.pad(uniform_filter1d(plane, SIDE, axis=1), ((0, 0), (SIDES, SIDES)), mode="edge")
        left, right = center - padded[:, : -2 * SIDES], center - padded[:, 2 * SIDES :]
        both = (left + right) / 2
        usual = np.sqrt(np.maximum(window_mean(both**2, WINDOW), 0)) + LEAST
        return cls(center, *(np.clip(part / usual, -CLIPPED, CLIPPED) for part in (left, right, both)))

    def scratches(self) -> Iterator[tuple[Line, float]]:
        """Yield the rows and columns of each scratch, and how many usual sums its sum is."""
        for length, sums in _radon(self.both):
            usual = np.sqrt(uniform_filter1d((sums**2).mean(axis=1), STRIP, axis=1))
            strength = sums / np.maximum(usual, np.sqrt(length) / 2)[:, None]
            strong = np.flatnonzero(strength > STRENGTH / 2)
            strongest = strong[np.argsort(-strength.ravel()[strong], kind="stable")][:MOST]
            for block, slope, start in zip(*np.unravel_index(strongest, sums.shape), strict=True):
                steepness = slope / (length - 1)

                def at(rows: np.ndarray, top: int = block * length, left: int = start, steepness: float = steepness) -> Line:
                    return self._inside(rows, left + np.rint(steepness * (rows - top)).astype(int))

                line = at(np.arange(block * length, (block + 1) * length))
                if len(line[0]) >= length // 2 and self._is_scratch(line):
                    yield self._followed(line, at), float(strength[block, slope, start])

    def _inside(self, rows: np.ndarray, columns: np.ndarray) -> Line:
        height, width = self.both.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        return rows[inside], columns[inside]

    def _is_scratch(self, line: Line) -> bool:
        """Whether all parts of a line deviate, on both sides, and nothing beside it does."""
        deviations = self.both[line]
        mean = deviations.mean()
        if not mean < FAINT or not min(self.left[line].mean(), self.right[line].mean()) > ONE_SIDE * mean:
            return False
        parts = min(part.mean() for part in np.array_split(deviations, PARTS))
        return bool(parts > PART * mean and self._is_isolated(line))

    def _is_isolated(self, line: Line) -> bool:
        """Whether the profile across is level, or rises evenly, but for the line, and the line isn't part of the scene.

        Lines of the scene, such as the edges of buildings, go along with it. A scratch crosses what varies, or nothing.
        """
        offsets = np.arange(-AROUND, AROUND + 1)
        rows, columns = line
        values = self.center[rows[:, None], np.clip(columns[:, None] + offsets, 0, self.center.shape[1] - 1)]
        profile, around = values.mean(axis=0), abs(offsets) >= NEAR
        slope, level = np.polyfit(offsets[around], profile[around], 1)
        height = profile[AROUND] - level
        bump = abs(profile - slope * offsets - level)[around].max()
        along = values[:, around].mean(axis=1)
        crosses = bump <= ISOLATED * height and along.std() >= CROSSED * height
        uneven = along - np.polyval(np.polyfit(rows, along, 1), rows)
        noise = OF_NOISE * (values - profile - (along - along.mean())[:, None])[:, around].std()
        return bool(crosses or (bump <= SMOOTH * height and uneven.std() <= max(FLAT * height, noise)))

    def _followed(self, line: Line, at: Callable[[np.ndarray], Line]) -> Line:
        """Return a line with what it goes on as, up and down."""
        enough = GOES_ON * self.both[line].mean()
        parts = [line]
        for first, step in ((line[0][0] - STEP, -STEP), (line[0][-1] + 1, STEP)):
            further = at(np.arange(first, first + STEP))
            while len(further[0]) == STEP and self.both[further].mean() > enough:
                parts.append(further)
                first += step
                further = at(np.arange(first, first + STEP))
        rows, columns = (np.concatenate(axis) for axis in zip(*parts, strict=True))
        return rows, columns


def _radon(plane: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a length, and the sums (blocks, slopes, columns) along lines that start in the first row of a block."""
    height, width = plane.shape
    longest = LENGTHS[-1]
    sums = np.zeros((-(-height // longest) * longest, 1, width + longest), np.float32)
    sums[:height, 0, :width] = plane
    length = 1
    while length < longest:
        upper, lower = sums[::2], sums[1::2]
        sums = np.zeros((len(upper), 2 * length, upper.shape[2]), np.float32)
        for slope in range(length):
            for shift in (slope, slope + 1):
                own = sums[:, slope + shift]
                own += upper[:, slope]
                own[:, : own.shape[1] - shift] += lower[:, slope, shift:]
        length *= 2
        if length in LENGTHS:
            yield length, sums[:, :, :width]
