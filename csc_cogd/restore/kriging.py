"""Kriging: what is missing as the conditional mean of a Gaussian field whose covariance is that of the picture around it.

Of all linear estimates from the pixels around a hole it has the least mean squared error, if the covariance is right. That
is read from the known pixels nearby, as in Gaussian inpainting of textures [Galerne, Leclaire 2017, "Texture inpainting
using efficient Gaussian conditional simulation"]: edges and textures go on in their direction, and far from what is known
the estimate falls back to a mean, so nothing is extrapolated as a ramp.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
import scipy.linalg
from scipy.ndimage import distance_transform_cdt, distance_transform_edt, uniform_filter

from csc_cogd.locks import in_scipy
from csc_cogd.unrolled.correlated import OPPONENT

MOST = 800
"""Known pixels that an estimate is made from: around a large hole, its rim is narrower than a model's reach."""
_RIM, _SAMPLES, _LEAST = 3, 32, 0.01  # pixels at the hole that others are compared with, and the least weight by that
_FEWEST_OF_PLANE = 20  # known pixels
_LITTLE = 1e-9  # weight of what is far away
_MANY = 1 << 19  # pairs of a pixel in the hole and one that is used, from which sums over them are taken by FFT


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
    slope_from : int
        Pixels around the hole to which a plane is fitted, which is taken off first and added again, so that slopes go on; 0:
        none.
    """

    reach: int = 4
    scale: float = 40.0
    likeness: float = np.inf
    prior: float = 0.3
    length: float = 60.0
    nugget: float = 1e-3
    slope_from: int = 0


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
    if model.slope_from:
        slope = _fitted_plane(planes, missing, hole, model.slope_from)
        return krige(planes - slope, missing, hole, replace(model, slope_from=0)) + slope
    used = _used(missing, hole, model.reach)
    weight = _relevance(planes, missing, hole, model)
    mixing = OPPONENT if len(planes) == 3 else np.eye(len(planes))
    mixed = np.tensordot(mixing, np.where(missing, 0.0, planes), 1)
    with in_scipy:
        mixed[:, hole] = _conditional_means(mixed, weight, used, np.argwhere(hole), model)
    return np.where(hole, np.tensordot(mixing.T, mixed, 1), planes)


def _fitted_plane(planes: np.ndarray, missing: np.ndarray, hole: np.ndarray, reach: int) -> np.ndarray:
    """Return the plane (C, h, w), a linear function of row and column, nearest to what is known around a hole.

    Squares count by one over the distance from the hole. Where too few pixels are known, the plane is level.
    """
    distance = distance_transform_edt(~hole)
    near = (distance <= reach) & ~missing
    places = np.argwhere(near)
    if len(places) < _FEWEST_OF_PLANE:
        return np.zeros((len(planes), 1, 1))
    middle, weights = places.mean(axis=0), 1 / np.sqrt(distance[near])
    terms = np.column_stack([np.ones(len(places)), places - middle]) * weights[:, None]
    coefficients = np.linalg.lstsq(terms, (planes[:, near] * weights).T, rcond=None)[0]
    rows, columns = (np.arange(length) - at for length, at in zip(hole.shape, middle, strict=True))
    constant, down, right = coefficients[..., None, None]
    return np.asarray(constant + down * rows[:, None] + right * columns)


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
    density = _density(means.reshape(len(means), -1), at_rim, model.likeness).reshape(hole.shape)
    return weight * (density / density[rim].mean() + _LEAST)


def _density(points: np.ndarray, samples: np.ndarray, width: float) -> np.ndarray:
    """Return the sum of Gaussians around samples (C, n) at points (C, m): single precision suffices."""
    points, samples = ((vectors / (np.sqrt(2) * width)).astype(np.float32) for vectors in (points, samples))
    products = points.T @ samples
    products *= 2
    products -= (points**2).sum(axis=0)[:, None]
    products -= (samples**2).sum(axis=0)
    return np.exp(np.minimum(products, 0, out=products), out=products).sum(axis=1)


def _conditional_means(
    planes: np.ndarray, weight: np.ndarray, used: np.ndarray, hole: np.ndarray, model: Covariance
) -> np.ndarray:
    """Return the values of each plane in the hole (C, m) by ordinary kriging from the pixels that are used.

    Their mean is unknown. Pixels are pairs of a row and a column: those used (n, 2), and those of the hole (m, 2).
    """
    covariances = _covariances(planes, weight, np.ptp(np.concatenate([used, hole]), axis=0), model)
    among = _lags(used, used, covariances.shape[2])
    across = _lags(hole, used, covariances.shape[2]) if len(hole) * len(used) <= _MANY else None
    values = planes[:, *used.T]
    means = np.repeat(values.mean(axis=1, keepdims=True), len(hole), axis=1)
    for filled, covariance, seen in zip(means, covariances, values, strict=True):
        variance = covariance[0, 0]
        if variance <= 1e-12:
            continue
        matrix = covariance.ravel()[among]
        matrix[np.diag_indices(len(used))] += model.nugget * variance
        factor = scipy.linalg.cho_factor(matrix, overwrite_a=True, check_finite=False)
        sides = np.stack([np.ones(len(used)), seen], axis=1)
        one, solved = scipy.linalg.cho_solve(factor, sides, check_finite=False).T
        mean = solved.sum() / one.sum()
        weights = solved - mean * one
        if across is None:
            sources = np.zeros(covariance.shape)
            sources[tuple(used.T)] = weights
            spread = scipy.fft.irfft2(scipy.fft.rfft2(sources) * scipy.fft.rfft2(covariance), covariance.shape)
            filled[:] = mean + spread[tuple(hole.T)]
        else:
            filled[:] = mean + covariance.ravel()[across] @ weights
    return means


def _covariances(planes: np.ndarray, weight: np.ndarray, reach: np.ndarray, model: Covariance) -> np.ndarray:
    """Return the covariance of each plane by the lag (C, rows, columns), negative lags from the end, up to `reach`."""
    around = (weight * planes).sum(axis=(1, 2), keepdims=True) / weight.sum()
    shape = [
        scipy.fft.next_fast_len(int(length + more), real=True) for length, more in zip(weight.shape, reach, strict=True)
    ]
    spectra = scipy.fft.rfft2(np.sqrt(weight) * (planes - around), shape)
    seen = scipy.fft.irfft2(spectra.real**2 + spectra.imag**2, shape) / weight.sum()
    offsets = [np.minimum(np.arange(length), length - np.arange(length)) for length in shape]
    decreasing = np.exp(-np.hypot(offsets[0][:, None], offsets[1]) / model.length)
    return (1 - model.prior) * seen + model.prior * seen[:, :1, :1] * decreasing


def _lags(a: np.ndarray, b: np.ndarray, columns: int) -> np.ndarray:
    """Return the places of the lags between pixels (n, 2) and (m, 2) in a covariance of so many columns, (n, m)."""
    rows, right = a[:, None, 0] - b[:, 0], a[:, None, 1] - b[:, 1]
    return rows * columns + np.where(right < 0, right + columns, right)
