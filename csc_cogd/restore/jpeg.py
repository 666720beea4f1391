"""What JPEG has done to the pixels of an image: the quality it was written with, and the errors of its quantization."""

from __future__ import annotations

from itertools import product

import numpy as np

from csc_cogd.restore.noise_spectrum import SIDE, coefficients_of

LUMINANCE = np.array([
    [16, 11, 10, 16, 24, 40, 51, 61], [12, 12, 14, 19, 26, 58, 60, 55], [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62], [18, 22, 37, 56, 68, 109, 103, 77], [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101], [72, 92, 95, 98, 112, 100, 103, 99],
])  # fmt: skip
"""Quantization of luminance at quality 50 [ITU-T T.81, table K.1]."""
CHROMINANCE = np.full((SIDE, SIDE), 99)
"""Of color differences [table K.2]."""
CHROMINANCE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_LUMA = np.array([0.299, 0.587, 0.114])
_BEST = 95  # qualities above it change little
_ROUNDED = 0.45  # largest deviation from multiples of the steps, by rounding to whole values
_FEW = 20  # coefficients that aren't zero
_TOLD = 3.0  # steps below it tell nothing, as everything is near a multiple
_CLIPPED = (0, 255)
_MOST_BLOCKS = 2**12  # that are looked at
_SPREAD = 0.7  # of an error that is uniform within a step: most values are near zero, and nearer to it than that


def quantization(quality: int, table: np.ndarray) -> np.ndarray:
    """Return the steps (8, 8) of the common encoder at a quality from 1 to 100."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((table * scale + 50) // 100, 1, 255)


def quality_of(planes: np.ndarray) -> int | None:
    """Return the quality with which an image (1 or 3, H, W) of values from 0 to 255 was last written as JPEG.

    At that quality, and all finer ones whose steps divide it, the luminance's coefficients on the grid of blocks are
    multiples of the steps, but for rounding; they are looked for in each of the eight ways in which a camera may have told
    to turn it. None where no quality explains them: the image wasn't a JPEG, was cropped off its grid, or changed since; nor
    above quality 95, where JPEG hardly changes an image.
    """
    luma = planes[0] if len(planes) == 1 else np.tensordot(_LUMA, planes, 1)
    clipped = np.asarray(((planes <= _CLIPPED[0]) | (planes >= _CLIPPED[1])).any(axis=0))
    H, W = luma.shape
    for top, left in product(sorted({0, H % SIDE}), sorted({0, W % SIDE})):  # a mirrored grid ends at the other border
        whole = coefficients_of(clipped[top:, left:].astype(float), SIDE)[:, 0, 0] == 0
        values = coefficients_of(luma[top:, left:] - 128.0, SIDE)[whole]
        values = values[:: -(-len(values) // _MOST_BLOCKS) or 1]
        for turned in (values, values.transpose(0, 2, 1)):
            if len(values) >= SIDE and (quality := _best_quality(turned)) is not None:
                return quality
    return None


def _best_quality(values: np.ndarray) -> int | None:
    """Return the quality whose steps coefficients (n, 8, 8) are multiples of."""
    deviations = {quality: _deviation(values, quantization(quality, LUMINANCE)) for quality in range(5, _BEST + 1)}
    possible = [quality for quality, deviation in deviations.items() if deviation < _ROUNDED]
    if not possible:
        return None
    return min(range(possible[0], min(possible[0] + 3, _BEST + 1)), key=lambda quality: deviations[quality])


def _deviation(values: np.ndarray, steps: np.ndarray) -> float:
    """Return the median difference of coefficients (n, 8, 8) that aren't zero from multiples of the steps (8, 8)."""
    telling = (abs(values) > steps / 2) & (steps >= _TOLD)
    if telling.sum() < _FEW:
        return np.inf
    return float(np.median(abs(values - steps * np.rint(values / steps))[telling]))


def error_spectra(quality: int, n_channels: int) -> np.ndarray:
    """Return the spectra (C, 8, 8) of quantization's errors in gray, or in luminance and two orthonormal color differences.

    Color differences are taken to be halved in size, as almost always they are: their steps are those of frequencies twice
    as high, and four times the energy.
    """
    luminance = _SPREAD * quantization(quality, LUMINANCE).astype(float) ** 2 / 12
    if n_channels == 1:
        return luminance[None]
    halved = np.zeros((SIDE, SIDE))
    halved[: SIDE // 2, : SIDE // 2] = quantization(quality, CHROMINANCE)[::2, ::2]
    color = 4 * _SPREAD * halved**2 / 12
    return np.array([3 * luminance, 2.55 * color, 2.34 * color])
