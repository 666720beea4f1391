"""Kriging: what is missing as the conditional mean of a Gaussian field whose covariance is that of the picture around it.

Of all linear estimates from the pixels around a hole it has the least mean squared error, if the covariance is right. That
is read from the known pixels nearby, as in Gaussian inpainting of textures [Galerne, Leclaire 2017, "Texture inpainting
using efficient Gaussian conditional simulation"]: edges and textures go on in their direction, and far from what is known
the estimate falls back to a mean, so nothing is extrapolated as a ramp.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
import scipy.linalg
from scipy.ndimage import distance_transform_cdt, distance_transform_edt, uniform_filter

from csc_cogd.locks import in_scipy
from csc_cogd.unrolled.correlated import OPPONENT

MOST = 800
"""Known pixels that an estimate is made from: around a large hole, its rim is narrower than a model's reach."""
_RIM, _SAMPLES, _LEAST = 3, 32, 0.01  # pixels at the hole that others are compared with, and the least weight by that
_LITTLE = 1e-9  # weight of what is far away


@dataclass(frozen=True)
class Covariance:
    """How the covariance is modeled: as a mean of that of the pixels around, and of one that decreases with the distance.

    Attributes
    ----------
    reach : int
        How many pixels around the hole the estimate is made from.
    scale : float
        How far away pixels count: standard deviation of a Gaussian weight over the distance from the hole, in pixels.
    likeness : float
        How much like one of those at the hole's rim they must be: standard deviation of a weight over the difference.
        Infinite: they needn't.
    prior : float
        Share of the decreasing covariance, ``exp(-distance / length)``.
    length : float
    nugget : float
        Share of the variance that neighbors don't have in common.
    """

    reach: int = 4
    scale: float = 40.0
    likeness: float = np.inf
    prior: float = 0.3
    length: float = 60.0
    nugget: float = 1e-3


def krige(planes: np.ndarray, missing: np.ndarray, hole: np.ndarray, model: Covariance) -> np.ndarray:
    """Fill a hole.

    Three channels are estimated as luminance and two color differences, others each by itself.

    Parameters
    ----------
    planes : (C, h, w) array of float
        Values where known.
    missing : (h, w) bool array
        Not all of them.
    hole : (h, w) bool array
        What of it is filled.
    model : Covariance

    Returns
    -------
    (C, h, w) array of float64
        `planes`, with the hole filled.
    """
    used = _used(missing, hole, model.reach)
    weight = _relevance(planes, missing, hole, model)
    mixing = OPPONENT if len(planes) == 3 else np.eye(len(planes))
    mixed = np.tensordot(mixing, np.where(missing, 0.0, planes), 1)
    with in_scipy:
        for plane in mixed:
            plane[hole] = _conditional_mean(plane, weight, used, hole, model)
    return np.where(hole, np.tensordot(mixing.T, mixed, 1), planes)


def _used(missing: np.ndarray, hole: np.ndarray, reach: int) -> np.ndarray:
    """Return the known pixels near a hole that the estimate is made from, (n, 2)."""
    distance = np.where(missing, hole.size, distance_transform_cdt(~hole, "chessboard"))
    while reach > 1 and (distance <= reach).sum() > MOST:
        reach -= 1
    while not (distance <= reach).any():
        reach *= 2
    near = np.argwhere(distance <= reach)
    return near[:: -(-len(near) // MOST)]


def _relevance(planes: np.ndarray, missing: np.ndarray, hole: np.ndarray, model: Covariance) -> np.ndarray:
    """Return how much every pixel tells of the covariance in the hole, (h, w): it is near, and looks like what is there."""
    distance = distance_transform_edt(~hole)
    weight = np.where(missing, 0.0, np.exp(-0.5 * (distance / model.scale) ** 2) + _LITTLE)
    rim = (distance <= _RIM * np.sqrt(2)) & ~missing
    if not np.isfinite(model.likeness) or not rim.any():
        return weight
    known = (~missing).astype(float)
    means = np.array([uniform_filter(plane * known, 3) for plane in np.where(missing, 0.0, planes)])
    means /= np.maximum(uniform_filter(known, 3), 1 / 9)
    at_rim = means[:, rim][:, :: -(-int(rim.sum()) // _SAMPLES)]
    density = np.zeros(hole.shape)
    for sample in at_rim.T:
        density += np.exp(-((means - sample[:, None, None]) ** 2).sum(axis=0) / (2 * model.likeness**2))
    return weight * (density / density[rim].mean() + _LEAST)


def _conditional_mean(
    plane: np.ndarray, weight: np.ndarray, used: np.ndarray, hole: np.ndarray, model: Covariance
) -> np.ndarray:
    """Return the values in the hole (n,) by ordinary kriging from the pixels that are used: their mean is unknown."""
    values, (h, w) = plane[tuple(used.T)], plane.shape
    around = (weight * plane).sum() / weight.sum()
    shape = tuple(scipy.fft.next_fast_len(2 * length, real=True) for length in (h, w))
    spectrum = scipy.fft.rfft2(np.sqrt(weight) * (plane - around), shape)
    covariance = scipy.fft.irfft2(abs(spectrum) ** 2, shape) / weight.sum()
    variance = covariance[0, 0]
    if variance <= 1e-12:
        return np.full(hole.sum(), values.mean())
    offsets = [np.minimum(np.arange(length), length - np.arange(length)) for length in shape]
    distance = np.hypot(offsets[0][:, None], offsets[1])
    covariance = (1 - model.prior) * covariance + model.prior * variance * np.exp(-distance / model.length)
    between = used[:, None] - used
    matrix = covariance[between[..., 0], between[..., 1]]
    matrix[np.diag_indices(len(used))] += model.nugget * variance
    factor = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
    one, solved = scipy.linalg.cho_solve(factor, np.stack([np.ones(len(used)), values], axis=1), check_finite=False).T
    mean = solved.sum() / one.sum()
    sources = np.zeros(shape)
    sources[tuple(used.T)] = solved - mean * one
    spread = scipy.fft.irfft2(scipy.fft.rfft2(sources) * scipy.fft.rfft2(covariance), shape)
    return mean + spread[:h, :w][hole]
