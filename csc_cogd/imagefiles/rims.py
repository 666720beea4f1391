"""Rims of damage: known pixels beside the missing ones that hold some of the damage, too.

On a rim the damage is a layer of opacity alpha: a pixel is ``y = (1 - alpha) b + alpha d``, of the color `b` beneath and the
damage's own color `d` (Porter and Duff, "Compositing digital images", 1984). What is beneath is predicted by pixels further
outside; `d` is the paint's color where that is known, and else what the missing pixels beside show. By least squares
``alpha = <y - b, d - b> / |d - b|^2``. Texture is as often of the opposite: many pixels of a rim tell the two apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_cdt, distance_transform_edt, gaussian_filter, label

MAX_WIDTH, MAX_FEATHER = 8, 32  # pixels that a rim is followed; of paint, as brushes may be soft
DAMAGED, PAINTED = 0.1, 0.03  # opacities from which a rim is taken for damaged, and for painted
MARGIN = 64  # pixels around a square, as far as rims and windows reach
_SIDE, _SMALL = 256, 64  # of the squares, and of those of which only the damage's surroundings are looked at
_GAP = 2  # pixels between a rim and those that predict what is beneath
_OUTSIDE, _DAMAGE = 3.0, 1.5  # standard deviations, in pixels, of the windows of the prediction and of the damage's color
_WINDOW = 9  # pixels that the window of the prediction reaches: three standard deviations
_SUPPORT = 0.05  # of a window that must be known
_STANDS_OUT = 2.0  # standard deviations of the surroundings that damage must be from them
_SHARE = 0.3  # of a rim that it must stand out from: a picture does as well, here and there
_ENOUGH, _ENOUGH_PAINT = 60, 15  # pixels by which a rim is judged; paint is told more easily
_DEEP, _BEYOND_DEEP = 8, 2  # pixels: what little of the damage is left spoils a deep hole most, and costs it least
_TELLING = 200  # pieces of a picture with most of the damage, and as many others, that tell whether it has rims
_DIRECTIONS = 4  # left, right, above and below: masks may lie beside the damage

Place = tuple[slice, slice]


def grow_over_rims(
    colors: np.ndarray, missing: np.ndarray, *, paint: np.ndarray | None = None, beyond: int = 0
) -> np.ndarray:
    """Return what is missing, grown over the rims that hold some of the damage.

    Each side of each hole grows pixel by pixel, at most by 8 (32 where there is `paint`), until the rim shows no more of the
    damage; small holes all alike. Nothing grows where the damage doesn't stand out from its surroundings, or ends sharply.

    Parameters
    ----------
    colors : (H, W) or (H, W, C) array
        Values that aren't finite tell nothing.
    missing : (H, W) bool array
    paint : (C,) array, optional
        Color that was painted over the damage, in the image's units.
    beyond : int
        Pixels by which rims that hold damage are taken to be wider than is seen.

    Returns
    -------
    grown : (H, W) bool array
    """
    grown, picture = missing.copy(), _Picture.of(colors, missing, paint)
    widths = _rim_widths(picture, MAX_WIDTH if paint is None else MAX_FEATHER)
    widths[widths > 0] += beyond
    if widths.any():
        for place, own in squares(missing):
            square = picture.square(place)
            reach = widths[square.rim]
            reach[(reach > 0) & beside_deep_holes(missing[place], reach + _BEYOND_DEEP)] += _BEYOND_DEEP
            grown[place][own] |= (square.distance <= reach)[own]
    return grown


def has_rims(colors: np.ndarray, missing: np.ndarray) -> bool:
    """Whether known pixels beside the missing ones hold some of the damage, as :func:`grow_over_rims` sees it.

    Of thousands of holes, some are looked at.
    """
    return bool(_rim_widths(_Picture.of(colors, missing, None), 1, all_pieces=False).any())


def squares(chosen: np.ndarray) -> Iterator[tuple[Place, Place]]:
    """Yield squares with margins where any of the pixels is chosen, (H, W) bool, and what is left of each without them."""
    for top in range(0, chosen.shape[0], _SIDE):
        for left in range(0, chosen.shape[1], _SIDE):
            rows, columns = (slice(max(start - MARGIN, 0), start + _SIDE + MARGIN) for start in (top, left))
            if chosen[rows, columns].any():
                own_rows, own_columns = (slice(min(start, MARGIN), min(start, MARGIN) + _SIDE) for start in (top, left))
                yield (rows, columns), (own_rows, own_columns)


def _surroundings(missing: np.ndarray, reach: int) -> Iterator[tuple[Place, Place]]:
    """Yield pieces of squares, as :func:`squares` does, in which all pixels are that are within `reach` of a missing one.

    Their margins hold all that the opacities of these depend on, so a piece has as many pixels as the damage asks for.
    """
    H, W = missing.shape
    margin = reach + _GAP + _WINDOW + 1
    for top in range(0, H, _SMALL):
        if not missing[max(top - reach, 0) : top + _SMALL + reach].any():
            continue
        for left in range(0, W, _SMALL):
            near = missing[max(top - reach, 0) : top + _SMALL + reach, max(left - reach, 0) : left + _SMALL + reach]
            if not near.any():
                continue
            place, own = [], []
            for start, length, axis in ((top, H, 1), (left, W, 0)):
                found = np.flatnonzero(near.any(axis=axis)) + max(start - reach, 0)
                first = max(start, int(found[0]) - reach)
                end = min(start + _SMALL, int(found[-1]) + reach + 1, length)
                place.append(slice(max(first - margin, 0), min(end + margin, length)))
                own.append(slice(first - place[-1].start, end - place[-1].start))
            yield (place[0], place[1]), (own[0], own[1])


def beside_deep_holes(missing: np.ndarray, reach: np.ndarray | int) -> np.ndarray:
    """Return which pixels are so near to a hole, or a part of one, that is deep, (h, w) bool."""
    core = distance_transform_cdt(missing, "chessboard") >= _DEEP
    return distance_transform_cdt(~core, "chessboard") < _DEEP + reach if core.any() else core


def mean_within(values: np.ndarray, weight: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """Return means of values (h, w, C) by weights (h, w) in Gaussian windows, and how full of weight those are, (h, w)."""
    filled = gaussian_filter(weight, sigma, mode="constant", truncate=3)
    total = gaussian_filter(values * weight[..., None], (sigma, sigma, 0), mode="constant", truncate=3)
    return total / np.maximum(filled, 1e-6)[..., None], filled


@dataclass(frozen=True)
class _Picture:
    """A picture (H, W, C), what is missing, the numbers of the holes (H, W), and the range of what is known."""

    image: np.ndarray
    missing: np.ndarray
    holes: np.ndarray
    low: float
    range: float
    paint: np.ndarray | None

    @staticmethod
    def of(colors: np.ndarray, missing: np.ndarray, paint: np.ndarray | None) -> _Picture:
        image = colors if colors.ndim == 3 else colors[..., None]
        low, high = np.inf, -np.inf
        for top in range(0, len(image), _SIDE):
            rows = slice(top, top + _SIDE)
            known = image[rows][_usable(image[rows]) & ~missing[rows]]
            if known.size:
                low, high = min(low, float(known.min())), max(high, float(known.max()))
        low, high = (low, high) if low <= high else (0.0, 0.0)
        return _Picture(image, missing, label(missing, np.ones((3, 3)))[0], low, (high - low) or 1.0, paint)

    def square(self, place: Place) -> _Square:
        usable, missing = _usable(self.image[place]), self.missing[place]
        values = ((np.where(usable[..., None], self.image[place], self.low) - self.low) / self.range).astype(np.float32)
        nearest = distance_transform_edt(~missing, return_distances=False, return_indices=True)
        down, across = np.indices(missing.shape) - nearest
        direction = np.where(abs(down) > abs(across), 2 + (down > 0), across > 0)
        nearest = tuple(nearest)
        if self.paint is None:
            damage = mean_within(values, (missing & usable).astype(np.float32), _DAMAGE)[0][nearest]
        else:
            damage = np.broadcast_to(((self.paint - self.low) / self.range).astype(np.float32), values.shape)
        distance = distance_transform_cdt(~missing, "chessboard")
        return _Square(values, usable, damage, distance, self.holes[place][nearest] * _DIRECTIONS + direction)


@dataclass(frozen=True)
class _Square:
    """A square of it: values and the damage's colors, (h, w, C); what can be used, how far the nearest hole is, and which of
    its sides that is, (h, w).
    """

    values: np.ndarray
    usable: np.ndarray
    damage: np.ndarray
    distance: np.ndarray
    rim: np.ndarray

    def opacities(self, ring: int) -> tuple[np.ndarray, np.ndarray]:
        """Return which pixels at a distance can be judged, and their alpha, (h, w); NaN where damage wouldn't stand out."""
        outside = ((self.distance > ring + _GAP) & self.usable).astype(np.float32)
        beneath, filled = mean_within(self.values, outside, _OUTSIDE)
        spread = np.maximum(mean_within(self.values**2, outside, _OUTSIDE)[0] - beneath**2, 0).sum(axis=2)
        contrast = self.damage - beneath
        power = (contrast**2).sum(axis=2)
        part = ((self.values - beneath) * contrast).sum(axis=2)
        alpha = np.where(power > _STANDS_OUT**2 * spread + 1e-6, part / np.maximum(power, 1e-6), np.nan)
        return (self.distance == ring) & self.usable & (filled > _SUPPORT), alpha


def _usable(image: np.ndarray) -> np.ndarray:
    """Return which pixels of (h, w, C) are finite in all channels, (h, w)."""
    if image.dtype.kind != "f":
        return np.ones(image.shape[:2], bool)
    return np.asarray(np.isfinite(image).all(axis=2))


def _telling(missing: np.ndarray, places: list[tuple[Place, Place]]) -> list[tuple[Place, Place]]:
    """Return the pieces that tell of rims: of many those with most of the damage, and some of the others."""
    order = np.argsort([-np.count_nonzero(missing[place][own]) for place, own in places], kind="stable")
    others = order[_TELLING:]
    chosen = np.concatenate([order[:_TELLING], others[:: max(len(others) // _TELLING, 1)]])
    return [places[number] for number in np.sort(chosen)]


def _rim_widths(picture: _Picture, furthest: int, all_pieces: bool = True) -> np.ndarray:
    """Return the width of the rim on each side of each hole; those of no hole are 0."""
    threshold, enough = (DAMAGED, _ENOUGH) if picture.paint is None else (PAINTED, _ENOUGH_PAINT)
    n = (int(picture.holes.max()) + 1) * _DIRECTIONS
    widths, active = np.zeros(n, int), np.arange(n) >= _DIRECTIONS
    places = list(_surroundings(picture.missing, furthest))
    places = places if all_pieces else _telling(picture.missing, places)
    for ring in range(1, furthest + 1 if places else 1):
        told: list[tuple[np.ndarray, np.ndarray]] = []
        for place, own in list(places):
            square = picture.square(place)
            rim, (judged, alpha) = square.rim[own], square.opacities(ring)
            chosen = active[rim] & judged[own]
            told.append((rim[chosen], alpha[own][chosen]))
            if not active[rim].any():
                places.remove((place, own))
        rims, alphas = map(np.concatenate, zip(*told, strict=True))
        active &= _damaged(rims, alphas, n, threshold, enough)
        if not active.any():
            break
        widths[active] = ring
    return widths


def _damaged(rims: np.ndarray, alphas: np.ndarray, n: int, threshold: float, enough: int) -> np.ndarray:
    """Return which of `n` rims hold damage, each by its own pixels, or where they are few by its hole's, or by all."""

    def judge(groups: np.ndarray, n_groups: int, enough: int) -> tuple[np.ndarray, np.ndarray]:
        counts = np.bincount(groups, minlength=n_groups)
        ends, sorted_alphas, judged = np.cumsum(counts), alphas[np.argsort(groups, kind="stable")], counts >= enough
        damaged = np.zeros(n_groups, bool)
        for group in np.flatnonzero(judged):
            damaged[group] = _is_rim(sorted_alphas[ends[group] - counts[group] : ends[group]], threshold)
        return damaged, judged

    one, of_one = judge(rims, n, enough)
    hole, of_hole = [each.repeat(_DIRECTIONS) for each in judge(rims // _DIRECTIONS, n // _DIRECTIONS, enough)]
    side = np.tile(judge(rims % _DIRECTIONS, _DIRECTIONS, 1)[0], n // _DIRECTIONS)
    return np.where(of_one, one, np.where(of_hole, hole, side))


def _is_rim(alphas: np.ndarray, threshold: float) -> bool:
    """Whether damage stands out, most of the opacities are its own, and few are of the opposite."""
    told = alphas[np.isfinite(alphas)]
    if told.size < _SHARE * alphas.size:
        return False
    quartile, median = np.quantile(told, (0.25, 0.5))
    half_clean = threshold == PAINTED  # as texture isn't of the paint's color, that is enough
    return bool((half_clean or quartile > 0) and median > threshold)
