"""Dust that lets light through, taken off: what is below it is seen, and needn't be invented.

Visible light is stopped by dust as infrared light is, but more or less so, and dust has a color of its own: with the scene
S, the infrared transmission T and ``b = 1 - T^kappa``, the picture is ``P = (1 - b) S + b c``. For each component, kappa and
the color c are told by least squares, where interpolation from its surroundings stands for the scene. Then S follows, where
enough light came through; but only if it differs from the interpolation by no more than scenes differ from that, which is
tried on copies of the component beside it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import find_objects

from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.detect.detection import DustDetection
from csc_cogd.restore.observation import as_pixels

LEAST_LIGHT = 0.5
"""Visible transmission from which the scene is told from the picture: noise is amplified twice at most."""
EXPONENTS = (0.0, *np.geomspace(0.1, 8, 30))
"""Values of kappa that are tried."""
LIKELY = 1.3
"""Times the usual error of interpolation, by which the scene may differ from that."""
LEAST_ERROR = 0.008
"""Error of interpolation, of the range, that is usual at least."""
FEWEST = 12
"""Pixels of a component that tell its color: smaller ones are taken for black."""
MOSTLY_KNOWN = 0.6
"""Share of a copy's pixels that are known, at least."""
MARGIN, GAP = 8, 2
"""Pixels around a component, from which the scene is interpolated; and between it and a copy."""
PIECE = 40
"""Side of the parts, in pixels, in which components are looked at that are twice as large."""

Window = tuple[slice, slice]


class _Veil(NamedTuple):
    """What lies over the scene: its opacity (h, w), and its color (C,)."""

    opacity: np.ndarray
    color: np.ndarray

    def lifted(self, values: np.ndarray) -> np.ndarray:
        """Return values (C, h, w) without it; where it is opaque, anything."""
        covered = self.color[:, None, None] * self.opacity
        return np.asarray((values - covered) / np.maximum(1 - self.opacity, LEAST_LIGHT / 2))


def divide(planes: np.ndarray, detection: DustDetection) -> tuple[np.ndarray, np.ndarray]:
    """Take dust off where enough light came through.

    Parameters
    ----------
    planes : (C, H, W) array
    detection : DustDetection
        With its transmission.

    Returns
    -------
    planes : (C, H, W) array of the same type
    divided : (H, W) bool array
        Which pixels of the mask are restored so.
    """
    divided = np.zeros(detection.mask.shape, bool)
    if detection.transmission is None or not detection.mask.any():
        return planes, divided
    low, high = _range_of(planes)
    restored = planes.copy()
    for number, box in enumerate(find_objects(detection.labels), 1):
        if box is None:
            continue
        for piece in _pieces(box):
            window = _around(piece)
            inside = np.zeros(detection.mask[window].shape, bool)
            own = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(piece, window, strict=True))
            inside[own] = detection.labels[piece] == number
            if not inside.any() or detection.mask[window].all():
                continue
            values = (planes[:, *window].astype(np.float64) - low) / (high - low)
            veil = _veil(values, detection.mask[window], inside, detection.transmission[window])
            scene = veil.lifted(values)
            clear = inside & (1 - veil.opacity > LEAST_LIGHT)
            if not clear.any() or not _is_likely(planes, detection.mask, window, inside, scene, clear, (low, high)):
                continue
            divided[window] |= clear
            restored[:, *window][:, clear] = as_pixels(np.clip(scene[:, clear], 0, 1) * (high - low) + low, planes.dtype)
    return restored, divided


def _pieces(box: Window) -> list[Window]:
    """Return parts of a box that are looked at by themselves: large components differ from place to place."""
    cuts = [
        [slice(start, min(start + PIECE, part.stop)) for start in range(part.start, part.stop, PIECE)]
        if part.stop - part.start > 2 * PIECE
        else [part]
        for part in box
    ]
    return [(rows, columns) for rows in cuts[0] for columns in cuts[1]]


def _range_of(planes: np.ndarray) -> tuple[float, float]:
    if planes.dtype.kind == "u":
        return 0.0, float(np.iinfo(planes.dtype).max)
    low, high = min(float(np.nanmin(planes)), 0.0), float(np.nanmax(planes))
    return low, high if high > low else low + 1


def _around(box: Window) -> Window:
    rows, columns = (slice(max(part.start - MARGIN, 0), part.stop + MARGIN) for part in box)
    return rows, columns


def _interpolated(values: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    everywhere = np.broadcast_to(unknown, values.shape)
    return np.clip(fill_biharmonic(np.where(everywhere, 0, np.nan_to_num(values)), everywhere), 0, 1)


def _veil(values: np.ndarray, mask: np.ndarray, inside: np.ndarray, transmission: np.ndarray) -> _Veil:
    """Return what fits a component best."""
    picture, scene = values[:, inside], _interpolated(values, mask)[:, inside]
    depth = -np.log(transmission.astype(np.float64))
    best, least = _Veil(np.zeros(mask.shape), np.zeros(len(values))), np.inf
    for exponent in EXPONENTS:
        opacity = 1 - np.exp(-exponent * depth)
        covered = opacity[inside]
        left = picture - scene * (1 - covered)
        color = np.zeros(len(values))
        if inside.sum() >= FEWEST and exponent:
            color = np.clip(left @ covered / max(float(covered @ covered), 1e-12), 0, 1)
        error = float(((left - color[:, None] * covered) ** 2).sum())
        if error < least:
            best, least = _Veil(opacity, color), error
    return best


def _is_likely(
    planes: np.ndarray, mask: np.ndarray, window: Window, inside: np.ndarray, scene: np.ndarray, clear: np.ndarray,
    scale: tuple[float, float],
) -> bool:  # fmt: skip
    """Whether a scene differs from interpolation no more than usual: than on copies of the component beside it."""
    low, high = scale
    found = (planes[:, *window].astype(np.float64) - low) / (high - low)
    error = _rms(scene - _interpolated(found, mask[window]), clear)
    usual = []
    for place in _beside(window, inside, mask):
        values = (planes[:, *place].astype(np.float64) - low) / (high - low)
        usual.append(_rms(_interpolated(values, mask[place] | inside) - values, clear & ~mask[place]))
    return bool(error < LIKELY * max(LEAST_ERROR, float(np.median(usual)) if usual else 0.0))


def _rms(values: np.ndarray, where: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values[:, where] ** 2))) if where.any() else 0.0


def _beside(window: Window, inside: np.ndarray, mask: np.ndarray) -> list[Window]:
    """Return windows beside one, in which a component's copy covers mostly known pixels."""
    found = []
    height, width = (int(np.ptp(np.flatnonzero(inside.any(axis=axis)))) + 1 + GAP for axis in (1, 0))
    for down, across in ((-height, 0), (height, 0), (0, -width), (0, width)):
        rows, columns = (
            slice(part.start + by, part.start + by + n)
            for part, by, n in zip(window, (down, across), inside.shape, strict=True)
        )
        if rows.start < 0 or columns.start < 0 or rows.stop > mask.shape[0] or columns.stop > mask.shape[1]:
            continue
        if (~mask[rows, columns])[inside].mean() > MOSTLY_KNOWN:
            found.append((rows, columns))
    return found
