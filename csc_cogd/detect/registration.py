"""Where the pixels of a picture lie in its infrared channel: a shift and a slight scale.

A scanner's infrared light is focused a little differently from visible light, and its sensor may take another pass. What
both channels show, dust and what the dyes let through of the picture, tells the shift: the cross-correlations of tiles are
added up, each at the shift that a scale about the middle of the picture gives it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter, map_coordinates, shift
from scipy.optimize import minimize

TILE, MOST_TILES = 384, 8
"""Side of the tiles that are correlated, in pixels; how many to a row or column of the picture at most."""
REACH, REACH_OF_SIDE = 6, 0.002
"""How far is looked, in pixels and as a share of the longer side."""
SCALES = 0.003
"""Scales from 1 less to 1 more than this are looked at."""
FINE, AROUND = 2.0, 12.0
"""Pixels: detail is what a Gaussian of the one takes away, and is divided by its level within one of the other."""
LIMIT = 4.0
"""Of detail in units of that level: a single spot doesn't outweigh the others."""
CERTAIN = 10.0
"""Median absolute correlations, by which the largest stands out where the channels have something in common."""
NEGLIGIBLE = 0.03
"""Pixels of displacement that aren't worth resampling."""


@dataclass(frozen=True)
class Registration:
    """Pixel p of the picture is at ``middle + scale (p - middle) + shift`` in the infrared channel.

    Attributes
    ----------
    shift : (float, float)
        In rows and columns.
    scale : float
    sign : {-1, 1}
        Whether both get darker together; -1 in inverted negatives.
    certain : bool
        Whether the channels have enough in common to tell. Where they haven't, nothing is moved.
    """

    shift: tuple[float, float] = (0.0, 0.0)
    scale: float = 1.0
    sign: int = 1
    certain: bool = False

    def apply(self, infrared: np.ndarray) -> np.ndarray:
        """Return an infrared channel (H, W) of floats on the picture's grid."""
        middle = _middle(infrared.shape)
        farthest = abs(self.scale - 1) * middle.max() + max(map(abs, self.shift))
        if farthest < NEGLIGIBLE:
            return infrared
        offset = middle * (1 - self.scale) + self.shift
        return np.asarray(
            affine_transform(infrared, np.full(2, self.scale), offset, output=infrared.dtype, order=3, mode="nearest")
        )

    def inside(self, shape: tuple[int, int]) -> tuple[slice, slice]:
        """Return the rows and columns of a picture of which the infrared channel has something to tell."""
        parts = []
        for length, middle, by in zip(shape, _middle(shape), self.shift, strict=True):
            first, last = (middle + (end - middle - by) / self.scale for end in (0, length - 1))
            parts.append(
                slice(max(int(np.ceil(first - NEGLIGIBLE)), 0), min(int(np.floor(last + NEGLIGIBLE)), length - 1) + 1)
            )
        return parts[0], parts[1]


def register(gray: np.ndarray, infrared: np.ndarray) -> Registration:
    """Find where a picture lies in its infrared channel.

    Parameters
    ----------
    gray, infrared : (H, W) arrays of floats
        Logarithms of the picture's brightness and of the infrared channel.
    """
    shape, middle = gray.shape, _middle(gray.shape)
    reach = min(REACH + int(REACH_OF_SIDE * max(shape)), min(shape) // 4)
    if reach < 2:
        return Registration()
    tiles = _tiles(shape)
    surfaces = [_correlation(gray[tile], infrared[tile], reach) for tile in tiles]
    centers = np.array([[(part.start + part.stop - 1) / 2 for part in tile] for tile in tiles]) - middle
    farthest = max(float(abs(centers).max()), 1.0)
    scales = np.linspace(-SCALES, SCALES, 2 * int(2 * SCALES * farthest) + 1) if len(tiles) > 1 else np.zeros(1)
    scales = scales if len(scales) > 1 else np.zeros(1)
    sums = np.array([_summed(surfaces, centers, scale) for scale in scales])
    best = np.unravel_index(abs(sums).argmax(), sums.shape)
    surface, sign = sums[best[0]], 1 if sums[best] > 0 else -1
    if abs(surface[best[1:]]) < CERTAIN * float(np.median(abs(surface))):
        return Registration()

    def lack(place: np.ndarray) -> float:
        where = reach + place[:2] + centers * (place[2] / farthest)
        values = [map_coordinates(one, where[n, :, None], order=3, mode="nearest")[0] for n, one in enumerate(surfaces)]
        return -sign * float(np.sum(values))

    start = np.array([best[1] - reach, best[2] - reach, scales[best[0]] * farthest], float)
    corners = start + np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5]])
    if len(tiles) == 1:
        found = minimize(lambda place: lack(np.append(place, 0.0)), start[:2], method="Nelder-Mead", options={"xatol": 0.01})
        return Registration((float(found.x[0]), float(found.x[1])), 1.0, sign, True)
    found = minimize(lack, start, method="Nelder-Mead", options={"xatol": 0.01, "initial_simplex": corners})
    return Registration((float(found.x[0]), float(found.x[1])), 1 + float(found.x[2]) / farthest, sign, True)


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    return (np.array(shape) - 1) / 2


def _tiles(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """Return windows spread evenly over a picture."""
    parts = []
    for length in shape:
        count = min(max(length // (TILE // 2), 1), MOST_TILES)
        side = min(TILE, length)
        starts = np.linspace(0, length - side, count).round().astype(int) if length > side else np.zeros(1, int)
        parts.append([slice(int(start), int(start) + side) for start in np.unique(starts)])
    return [(rows, columns) for rows in parts[0] for columns in parts[1]]


def _correlation(gray: np.ndarray, infrared: np.ndarray, reach: int) -> np.ndarray:
    """Return how well the detail of tiles agrees at displacements up to `reach`, (2 reach + 1, 2 reach + 1)."""
    spectra = [np.fft.rfft2(_detail(tile)) for tile in (gray, infrared)]
    surface = np.fft.fftshift(np.fft.irfft2(spectra[0].conj() * spectra[1], gray.shape))
    rows, columns = (length // 2 for length in gray.shape)
    near = surface[rows - reach : rows + reach + 1, columns - reach : columns + reach + 1]
    return np.asarray(near - np.median(near))


def _detail(tile: np.ndarray) -> np.ndarray:
    """Return the detail of a tile in units of its usual level around, faded out at the borders."""
    detail = tile - gaussian_filter(tile, FINE)
    level = np.sqrt(gaussian_filter(detail**2, AROUND)) + 1e-6
    window = np.outer(*(np.hanning(length + 2)[1:-1] for length in tile.shape))
    return np.clip(detail / level, -LIMIT, LIMIT) * window


def _summed(surfaces: list[np.ndarray], centers: np.ndarray, scale: float) -> np.ndarray:
    """Return the sum of correlations, each displaced as a scale (less 1) displaces its tile."""
    if scale == 0:
        return np.sum(surfaces, axis=0)
    return np.sum(
        [shift(one, -scale * center, order=1, mode="nearest") for one, center in zip(surfaces, centers, strict=True)], axis=0
    )
