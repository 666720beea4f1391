"""Paint that lets the picture through: the rims of what a soft brush has marked are picture still.

A painted pixel is ``y = (1 - alpha) b + alpha p``, of the color `b` beneath and the paint's `p` (Porter and Duff,
"Compositing digital images", 1984). Of the two unknowns, `b` is predicted by the picture around; a paint's hue is foreign to
it, so that ``alpha = <y - b, p - b> / |p - b|^2`` in the chroma. Luma has an alpha of its own, as JPEG stores chroma in half
the resolution: a function of the chroma's, found by least squares over all rims. The picture is ``y - alpha (p - b)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, binary_erosion

from csc_cogd.imagefiles.rims import Place, beside_deep_holes, grow_over_rims, mean_within, squares

COVERED = 0.5  # opacity from which the picture beneath is given up: what was painted over is what was meant
FAINT = 0.6  # opacity from which small dots are taken for painted that have nowhere the paint's own color
_DOT = 5  # pixels, height and width of what is no small dot
_BESIDE_DEEP = 6  # pixels beside deep holes that are covered anyway: what is wrong there spoils much, and they are few
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG
_COLORFUL = 0.2  # chroma, of the range, from which paint is told from what is beneath
_NEAR, _FAR = 3.0, 12.0  # standard deviations, in pixels, of the windows that predict what is beneath
_SUPPORT = 0.05  # of a window that must be known
_LEVELS = 20  # of the chroma's alpha that the luma's is found for
_ENOUGH = 50  # pixels of such a level


def take_off_paint(
    colors: np.ndarray, painted: np.ndarray, paint: np.ndarray, *, lossy: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Take paint off the rims of what was painted, and say what it covers.

    Parameters
    ----------
    colors : (H, W, 3) array of uint8 or uint16
    painted : (H, W) bool array
        Where the picture has the paint's color. Small dots that are too faint for it are found besides.
    paint : (3,) array
        Its color, in the picture's units.
    lossy : bool
        The picture was compressed since, which smears the paint.

    Returns
    -------
    bared : (H, W, 3) array of the same dtype
        Differs from `colors` at the rims only.
    covered, rims : (H, W) bool arrays
        What the paint covers, and where it let the picture through and was taken off.
    """
    painted = painted | _faint_dots(colors, painted, paint)
    grown = grow_over_rims(colors, painted, paint=paint, beyond=2 if lossy else 1)
    rims, top = grown & ~painted, int(np.iinfo(colors.dtype).max)

    def layers() -> Iterator[tuple[_Layer, Place, Place]]:
        for place, own in squares(rims):
            yield _Layer.of(colors[place] / np.float32(top), grown[place], paint / top), place, own

    lumas = _luma_opacities(layers(), rims)
    bared, taken = colors.copy(), np.zeros_like(painted)
    for layer, place, own in layers():
        luma = np.interp(layer.alpha, *lumas)
        seen = rims[place] & layer.told & (luma < COVERED) & ~beside_deep_holes(painted[place], _BESIDE_DEEP)
        values = np.clip(np.rint(layer.without(luma) * top), 0, top).astype(colors.dtype)
        bared[place][own] = np.where(seen[..., None], values, colors[place])[own]
        taken[place][own] = seen[own]
    return bared, grown & ~taken, taken & (bared != colors).any(axis=2)


def _faint_dots(colors: np.ndarray, painted: np.ndarray, paint: np.ndarray) -> np.ndarray:
    """Return which pixels are of small painted dots, (H, W) bool, as a brush sets them, and JPEG fades them."""
    top = np.float32(np.iinfo(colors.dtype).max)
    candidates, found = np.ones(painted.shape, bool), np.zeros(painted.shape, bool)
    for channel, level in enumerate(paint / top):  # with less paint, what is beneath would be out of range
        value = colors[..., channel] / top
        candidates &= (value - level <= (1 - FAINT) * (1 - level) + 1e-6) & (level - value <= (1 - FAINT) * level + 1e-6)
    small = candidates & ~binary_dilation(binary_erosion(candidates, np.ones((_DOT, _DOT))), np.ones((_DOT + 2, _DOT + 2)))
    if (small & ~painted).any():
        beside = binary_dilation(candidates | painted, np.ones((5, 5)))
        for place, own in squares(small):
            layer = _Layer.of(colors[place] / top, beside[place], paint / top)
            found[place][own] = (small[place] & layer.told & (layer.alpha > FAINT))[own]
    return found


@dataclass(frozen=True)
class _Layer:
    """Paint over a square: what pixels and paint are beyond the picture beneath, in luma (h, w) and chroma (h, w, 3)."""

    values: np.ndarray
    luma: np.ndarray
    paint_luma: np.ndarray
    paint_chroma: np.ndarray
    alpha: np.ndarray
    told: np.ndarray

    @staticmethod
    def of(values: np.ndarray, painted: np.ndarray, paint: np.ndarray) -> _Layer:
        outside = (~painted).astype(np.float32)
        near, filled = mean_within(values, outside, _NEAR)
        far, filled_far = mean_within(values, outside, _FAR)
        beneath = np.where((filled > _SUPPORT)[..., None], near, far)
        luma, chroma = _apart(values - beneath)
        paint_luma, paint_chroma = _apart(paint.astype(np.float32) - beneath)
        power = (paint_chroma**2).sum(axis=2)
        alpha = np.clip((chroma * paint_chroma).sum(axis=2) / np.maximum(power, 1e-6), 0, 1)
        foreign = np.minimum(power, (_apart(paint.astype(np.float32))[1] ** 2).sum()) > _COLORFUL**2
        return _Layer(values, luma, paint_luma, paint_chroma, alpha, (filled_far > _SUPPORT) & foreign)

    def without(self, luma_alpha: np.ndarray) -> np.ndarray:
        """Return the picture without the paint, (h, w, 3)."""
        return self.values - (luma_alpha * self.paint_luma)[..., None] - self.alpha[..., None] * self.paint_chroma


def _apart(colors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return luma (h, w), and what else there is in colors (h, w, 3)."""
    luma = colors @ _LUMA
    return luma, colors - luma[..., None]


def _luma_opacities(layers: Iterable[tuple[_Layer, Place, Place]], rims: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return alphas of the chroma, and those of the luma where they are found."""
    count, along, power = np.zeros((3, _LEVELS))
    for layer, place, own in layers:
        chosen = (rims[place] & layer.told)[own]
        level = np.minimum((layer.alpha[own][chosen] * _LEVELS).astype(int), _LEVELS - 1)
        paint = layer.paint_luma[own][chosen].astype(np.float64)
        count += np.bincount(level, minlength=_LEVELS)
        along += np.bincount(level, paint * layer.luma[own][chosen], minlength=_LEVELS)
        power += np.bincount(level, paint**2, minlength=_LEVELS)
    enough = count >= _ENOUGH
    alphas = np.maximum.accumulate(np.clip(along[enough] / power[enough], 0, 1))
    levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
    return np.r_[0, levels[enough], 1], np.r_[0, alphas, 1]
