"""Noise of color that is coarse: seen, and taken off, at half the size first.

Demosaicking and the smoothing that cameras do leave blotches of color that are larger than the blocks by which noise is
estimated, and than most filters. At half the size they are half as large, and other noise is weaker: so what a color
difference loses there is taken off it before the picture is denoised at its full size [from coarse to fine as Lebrun, Colom,
Morel 2015, "Multiscale image blind denoising", but of color alone: luminance has too much texture that looks like coarse
noise].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from csc_cogd.restore.noise_estimation import CameraNoise, estimate_camera_noise, mixed
from csc_cogd.unrolled.correlated import OPPONENT

LEAST_SIDE = 192
"""Pixels, from which noise can be told from texture at half the size."""
_FAINTEST = 0.25  # variance of a color difference, for values from 0 to 255, below which it isn't looked at


def without_coarse_color(
    planes: np.ndarray, noise: CameraNoise, strength: float, remove: Callable[[np.ndarray, CameraNoise], np.ndarray]
) -> np.ndarray:
    """Return an image of values from 0 to 255 less the noise of color that is seen at half its size.

    Parameters
    ----------
    planes : (C, H, W) array of float
        Comes back as it is unless it has three channels.
    noise : CameraNoise
        Of the image; at half the size, noise isn't taken to be stronger.
    strength : float
        Factor by which the standard deviation of the noise was changed after it was estimated.
    remove : callable
        Takes noise off an image: given both, it returns the image without.

    Returns
    -------
    (C, H, W) array of float
    """
    if len(planes) != 3 or min(planes.shape[1:]) < LEAST_SIDE or noise.variances[1:].max() < _FAINTEST:
        return planes
    small = halved(planes)
    found = estimate_camera_noise(small)
    if found is None:
        return planes
    bounds = [np.interp(found.intensities, noise.intensities, one) for one in noise.variances]
    coarse = replace(found, variances=np.minimum(found.variances * strength**2, bounds))
    if coarse.variances[1:].max() < _FAINTEST:
        return planes
    change = mixed(remove(small, coarse) - small)
    change[0] = 0
    return planes + doubled(np.tensordot(OPPONENT.T, change, 1), (planes.shape[1], planes.shape[2]))


def halved(planes: np.ndarray) -> np.ndarray:
    """Return the means of squares of 2 x 2 pixels of planes (C, H, W); of odd sides, the last pixels are left out."""
    C, H, W = planes.shape
    return np.asarray(planes[:, : H // 2 * 2, : W // 2 * 2].reshape(C, H // 2, 2, W // 2, 2).mean(axis=(2, 4)))


def doubled(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return planes (C, h, w) at about twice the size, of a shape (H, W), interpolated linearly between their pixels."""
    for axis, length in zip((1, 2), shape, strict=True):
        places = (np.arange(length) - 0.5) / 2
        before = np.floor(places).astype(int)
        first, second = (np.take(planes, at.clip(0, planes.shape[axis] - 1), axis) for at in (before, before + 1))
        planes = first + (places - before).reshape((-1, 1) if axis == 1 else -1) * (second - first)
    return planes
