"""Holes: of several ways to fill each, those that are right about what is known around it.

Where pixels are missing one by one or in thin lines, the stages of a tile do. In a hole they may go astray: a smooth surface
becomes a ramp, above all at the picture's border, and each pass over similar patches may lead further from the truth. So
each hole is filled in several ways, and each way is tried on known pixels: on those at the hole's rim, which are hidden with
it, and on copies of the hole beside it, or where it is a piece of a line, at the rims of the pieces beside it. The fill is
the mean of all ways, by weights that fall steeply with their errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, product
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import (
    binary_dilation,
    distance_transform_cdt,
    find_objects,
    gaussian_filter,
    uniform_filter,
)

from csc_cogd.backend import Backend
from csc_cogd.biharmonic import fill_biharmonic, fill_harmonic
from csc_cogd.restore.exemplars import synthesize
from csc_cogd.restore.extents import SparsePlanes, widened
from csc_cogd.restore.hole_finding import LARGEST, MOSTLY_KNOWN, RIM, Hole, pieces_beside
from csc_cogd.restore.kriging import Covariance, krige
from csc_cogd.restore.observation import ScaledPlanes

AROUND = 6
"""Pixels around a hole, whose range no fill leaves."""
DISAGREEING, MANY = 2.0, 0.4
"""Pixels beside a hole are left out, if of the innermost ones this share is missed by so many times the usual error."""
COPIES, GAP = 4, 3
"""Of a hole beside it, or pieces beside one, at most; pixels between copies."""
USUAL = 2
"""Copies that tell what error is usual beside a hole."""
NEAR = 12
"""Pixels around a hole on which its interpolation depends, at least; and half of its sides."""
ALIKE, OF_RIM, STEEPNESS = 0.7, 2.0, 12.0
"""Ways count by ``e^-STEEPNESS``, e the geometric mean of their errors at the rim, with weight OF_RIM, and on copies; these
count by how much as hard as the rim they are: ALIKE is the standard deviation of a weight over the difference of the errors'
logarithms."""
LARGE = 12
"""Half the width from which a hole of a photograph gets texture: more than codes and patches explain."""
SEARCHED = 96
"""Pixels beyond a hole's context in which texture is looked for."""
DETAIL, BESIDE, VISIBLE = 2.0, 24, 2 / 255
"""Texture is what a Gaussian of so many pixels takes away, so many pixels around the hole, with so much contrast or more."""
TINY = 1 / 255**2
"""Squared error below which no way is better than another, for values in [0, 1]."""
JUDGED = 1 << 17
"""Pixels of a hole's window, up to which ways to fill it are compared."""
_SQUARE = np.ones((3, 3), bool)

Way = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
"""Fills a hole: takes planes (C, h, w), what is missing, and what of it is the hole (h, w); returns planes."""
Crop = Callable[[slice, slice], tuple[np.ndarray, np.ndarray]]
"""Returns the planes of a window (C, h, w), and what is missing of it (h, w)."""


def fill_holes(
    holes: list[Hole],
    scaled: ScaledPlanes,
    planes: np.ndarray | SparsePlanes,
    hidden: np.ndarray | SparsePlanes | None,
    known: np.ndarray | SparsePlanes | None,
    texture_from: float,
    backend: Backend,
) -> int:
    """Fill holes in the ways that fit what is around each, in place.

    Parameters
    ----------
    holes : list of Hole
    scaled : ScaledPlanes
    planes : (C, H, W) array, or SparsePlanes
        What the stages make of the picture, on the scale of [0, 1].
    hidden : (C, H, W) array, or SparsePlanes, optional
        What they make of it with the holes' rims hidden: if they are to be a further way.
    known : (C, H, W) array, optional
        Where known values are better than those that are observed.
    texture_from : float
        Half the width in pixels from which holes get texture: if it isn't 0, where what is around has more than the fill.
    backend : Backend
        Whose threads fill several holes at once.

    Returns
    -------
    int
        How many values are invented.
    """
    shape = planes.shape[1:]

    def crop_of(hole: Hole) -> Crop:
        def crop(rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
            observed, missing = scaled.crop(rows, columns)
            values = np.where(missing, planes[:, rows, columns], observed if known is None else known[:, rows, columns])
            return values[hole.channels].astype(np.float64), missing[hole.channels][0]

        return crop

    def attempt(hole: Hole) -> Trial:
        window = (hole.channels, *hole.window)
        trial = try_ways(hole, crop_of(hole), shape, None if hidden is None else (planes[window], hidden[window]))
        return trial if hole.piece else Trial(trial.mixed([])[None], [], [])

    def fill(number: int) -> tuple[np.ndarray, bool]:
        hole, trial = holes[number], trials[number]
        values = trial.mixed([trials[other] for other in beside[number]])
        textured = texture_hole(hole, crop_of(hole), shape, values, texture_from)
        return (values, False) if textured is None else (textured, True)

    beside = pieces_beside(holes, COPIES)
    trials = list(backend.each(attempt, holes))
    filled = list(backend.each(fill, range(len(holes))))
    for hole in holes:
        _add(planes, hole, -planes[hole.channels, *hole.window][:, hole.pixels])
    for hole, (values, _) in zip(holes, filled, strict=True):
        _add(planes, hole, hole.shares[hole.pixels] * values)
    return round(sum(len(v) * hole.shares.sum() for hole, (v, invented) in zip(holes, filled, strict=True) if invented))


def _add(planes: Any, hole: Hole, values: np.ndarray) -> None:
    """Add values (C, n) to planes (C, H, W) in the pixels of a hole."""
    window = planes[hole.channels, *hole.window]
    window[:, hole.pixels] += values
    planes[hole.channels, *hole.window] = window


def smooth(planes: np.ndarray, missing: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill a hole by biharmonic interpolation."""

    def fill(near: np.ndarray, gone: np.ndarray) -> np.ndarray:
        return fill_biharmonic(near, np.broadcast_to(gone, near.shape), direct_below=1.0)

    return _interpolated(fill, planes, missing, hole)


def membrane(planes: np.ndarray, missing: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Fill a hole by harmonic interpolation."""
    return _interpolated(fill_harmonic, planes, missing, hole)


def _interpolated(
    fill: Callable[[np.ndarray, np.ndarray], np.ndarray], planes: np.ndarray, missing: np.ndarray, hole: np.ndarray
) -> np.ndarray:
    """Fill a hole from what is near it: what is missing elsewhere isn't solved for."""
    box = find_objects(hole.astype(int))[0]
    near = widened(box, max(NEAR, *((part.stop - part.start) // 2 for part in box)), hole.shape)
    filled = planes.copy()
    filled[:, hole] = fill(planes[:, *near], missing[near])[:, hole[near]]
    return filled


WAYS: dict[str, Way] = {
    "biharmonic": smooth,
    "harmonic": membrane,
    "kriging": partial(krige, model=Covariance(reach=4, scale=40.0, likeness=0.08)),
    "kriging, fine": partial(krige, model=Covariance(reach=6, scale=50.0, likeness=0.12, prior=0.1)),
    "kriging, sloping": partial(krige, model=Covariance(reach=3, scale=24.0, likeness=0.06, prior=0.5, slope_from=6)),
    "kriging, by distance": partial(krige, model=Covariance(reach=3, prior=1.0)),
    "kriging, nearest": partial(krige, model=Covariance(reach=4, scale=6.0, length=30.0)),
}


def bounded(filled: np.ndarray, planes: np.ndarray, missing: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Return a fill within the range of what is known around the hole, channel by channel."""
    around = binary_dilation(hole, _SQUARE, iterations=AROUND) & ~missing
    if not around.any():
        return filled
    known = planes[:, around]
    return np.where(hole, np.clip(filled, known.min(1)[:, None, None], known.max(1)[:, None, None]), filled)


class Trial(NamedTuple):
    """How a hole may be filled.

    Attributes
    ----------
    fills : (n, C, m) array
        What each of n ways makes of its m pixels.
    at_rim : list of n floats
        Their squared errors at the rim, with the stages' among them where these were tried.
    on_copies : list of lists of floats
        Those of the :data:`WAYS` on each copy.
    """

    fills: np.ndarray
    at_rim: list[float]
    on_copies: list[list[float]]

    def mixed(self, beside: list[Trial]) -> np.ndarray:
        """Return the mean of all ways (C, m), by their errors here and on pieces beside this one, if it is one."""
        n = len(WAYS)
        if len(self.fills) == 1:
            return np.asarray(self.fills[0])
        here, others = self.at_rim[:n], [trial.at_rim[:n] for trial in beside if len(trial.fills) > 1]
        errors = _judged(here, self.on_copies + others)
        for error in self.at_rim[n:]:
            like = int(np.argmin(abs(np.log(here) - np.log(error))))
            errors = np.append(errors, errors[like] * error / here[like])  # as if elsewhere it were like the way next to it
        weights = (errors.min() / errors) ** STEEPNESS
        return np.tensordot(weights / weights.sum(), self.fills, 1)


def try_ways(hole: Hole, crop: Crop, shape: tuple[int, int], tried: tuple[np.ndarray, np.ndarray] | None) -> Trial:
    """Fill a hole in every way.

    Parameters
    ----------
    hole : Hole
    crop : callable
    shape : (int, int)
        Of the picture.
    tried : two (C, h, w) arrays, optional
        A further way: what it makes of the window, and what of it with the rim hidden.

    Returns
    -------
    Trial
        A piece isn't tried on copies, for which there are the pieces beside it.
    """
    planes, missing = crop(*hole.window)
    if hole.shares.size > JUDGED:
        return Trial(bounded(planes, planes, missing, hole.pixels)[None, :, hole.pixels], [], [])
    wide = hole.wide
    copies = list(islice(_copies(hole, crop, shape), USUAL if hole.piece else COPIES))
    spoilt = _spoilt(planes, missing, hole.pixels, copies)
    if spoilt.any():
        missing, tried = missing | spoilt, None
    rim = wide & ~missing
    trials = [(way(planes, missing, hole.pixels), way(planes, missing | wide, wide)) for way in WAYS.values()]
    trials += [tried] if tried is not None else []
    fills = [bounded(fill, planes, missing, hole.pixels)[:, hole.pixels] for fill, _ in trials]
    at_rim = [_error(bounded(widened, planes, missing | wide, wide), planes, rim) for _, widened in trials]
    return Trial(np.array(fills), at_rim, [] if hole.piece else [_tried_on_copy(*copy) for copy in copies])


def _judged(at_rim: list[float], on_copies: list[list[float]]) -> np.ndarray:
    """Return the mean error of every way, from those at the rim and on each copy."""
    logarithms = np.log([at_rim, *on_copies])
    levels = np.median(logarithms, axis=1)
    weights = np.exp(-0.5 * ((levels - levels[0]) / ALIKE) ** 2)
    weights[0] = OF_RIM
    return np.exp(np.average(logarithms, axis=0, weights=weights))


def _spoilt(
    planes: np.ndarray, missing: np.ndarray, hole: np.ndarray, copies: list[tuple[np.ndarray, np.ndarray, np.ndarray]]
) -> np.ndarray:
    """Return the pixels beside a hole, if they disagree with those further out: some of the damage is in them, too.

    That is where many are missed by far more than those beside the first copies, and than further out at the rim.
    """
    none = np.zeros_like(missing)
    if not copies:
        return none
    distances, missed = _rim_missed(planes, missing, hole)
    usual = np.mean([_by_distance(*_rim_missed(*copy)) for copy in copies[:USUAL]], axis=0)
    outermost = max(_by_distance(distances, missed)[RIM - 1] / usual[RIM - 1], 1.0)
    far = missed > DISAGREEING**2 * outermost * usual[distances - 1]
    return distances < RIM if far[distances == 1].mean() > MANY else none


def _rim_missed(planes: np.ndarray, missing: np.ndarray, hole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how far from a hole every known pixel of its rim is, and the squared error of kriging with the rim hidden."""
    wide = binary_dilation(hole, _SQUARE, iterations=RIM)
    filled = WAYS["kriging"](planes, missing | wide, wide)
    distances = np.where(wide & ~hole & ~missing, distance_transform_cdt(~hole, "chessboard"), RIM + 1)
    return distances, ((filled - planes) ** 2).mean(axis=0)


def _by_distance(distances: np.ndarray, missed: np.ndarray) -> np.ndarray:
    return np.array([missed[distances == d].mean() if (distances == d).any() else 0.0 for d in range(1, RIM + 2)]) + TINY


def _error(filled: np.ndarray, planes: np.ndarray, where: np.ndarray) -> float:
    return float(((filled - planes)[:, where] ** 2).mean()) + TINY


def _tried_on_copy(planes: np.ndarray, missing: np.ndarray, pixels: np.ndarray) -> list[float]:
    """Return the squared error of every way on the known pixels of a copy."""
    hidden, known = missing | pixels, pixels & ~missing
    return [_error(bounded(way(planes, hidden, pixels), planes, hidden, pixels), planes, known) for way in WAYS.values()]


def texture_hole(
    hole: Hole, crop: Crop, shape: tuple[int, ...], smooth_values: np.ndarray, texture_from: float
) -> np.ndarray | None:
    """Return a hole's values (C, n) with texture, or None where it is to stay smooth."""
    if distance_transform_cdt(np.pad(hole.pixels, 1), "chessboard").max() <= texture_from:
        return None
    more = int(min(SEARCHED, max(np.sqrt(LARGEST) - max(hole.pixels.shape), 0) / 2))
    rows, columns = (
        slice(max(part.start - more, 0), min(part.stop + more, length))
        for part, length in zip(hole.window, shape, strict=True)
    )
    planes, missing = crop(rows, columns)
    pixels = np.zeros(missing.shape, bool)
    inner = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(hole.window, (rows, columns), strict=True))
    pixels[inner] = hole.pixels
    planes[:, pixels] = smooth_values
    if texture_from and not _lacks_texture(planes, missing, pixels):
        return None
    filled = synthesize(planes, missing, planes)
    return None if filled is None else bounded(filled, planes, missing, pixels)[:, pixels]


def _lacks_texture(planes: np.ndarray, missing: np.ndarray, hole: np.ndarray) -> bool:
    """Whether a smooth fill has less texture than most of what is around: less energy above a low-pass."""
    gray = planes.mean(axis=0)
    energy = uniform_filter((gray - gaussian_filter(gray, DETAIL)) ** 2, 7)
    around = binary_dilation(hole, _SQUARE, iterations=BESIDE) & ~binary_dilation(missing, _SQUARE, iterations=3)
    usual, here = (float(np.median(energy[where])) if where.any() else 0.0 for where in (around, hole))
    return usual > VISIBLE**2 and here < 0.5 * usual


def _copies(hole: Hole, crop: Crop, shape: tuple[int, int]) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield copies of a hole, moved to known places beside it: planes, what is missing, and the copy's pixels.

    Where a hole is at the picture's border, so is its copy at the border of its window.
    """
    boxes = find_objects(hole.pixels.astype(int))[0]
    steps = [box.stop - box.start + GAP for box in boxes]
    count = 0
    for times, signs in product((1, 2), ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (1, 1), (-1, 1), (1, -1))):
        moves = [times * sign * step for sign, step in zip(signs, steps, strict=True)]
        lying = [part.start + box.start + by for part, box, by in zip(hole.window, boxes, moves, strict=True)]
        fits = all(0 <= at <= length - (box.stop - box.start) for at, length, box in zip(lying, shape, boxes, strict=True))
        if count == COPIES or not fits:
            continue
        rows, columns = (
            slice(max(part.start + by, 0), min(part.stop + by, length))
            for part, by, length in zip(hole.window, moves, shape, strict=True)
        )
        planes, missing = crop(rows, columns)
        pixels = np.zeros(missing.shape, bool)
        inner = [
            slice(at - part.start, at - part.start + box.stop - box.start)
            for at, part, box in zip(lying, (rows, columns), boxes, strict=True)
        ]
        pixels[inner[0], inner[1]] = hole.pixels[boxes]
        if (~missing[pixels]).mean() >= MOSTLY_KNOWN and not (missing | pixels).all():
            count += 1
            yield planes, missing, pixels
