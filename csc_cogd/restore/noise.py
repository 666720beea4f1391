"""How noisy an image is."""

from __future__ import annotations

from numbers import Real

import numpy as np
from scipy.ndimage import maximum_filter, minimum_filter

from csc_cogd.errors import InputError

_MEDIAN_OF_NORMAL = 0.6745  # of its absolute value
LOOKED_AT = 2048  # side of the middle of large pictures where noise is estimated
_FLAT_SIDE = 7  # pixels: with noise, so large a square isn't flat by chance, but for rounding to whole numbers above it
_MENTIONED = 0.05  # share of the known pixels, up to which flat ones hardly move a median
_BLOCK = 16  # side of the places of which the calmest count
_OF_CALM_NOISE = 1.1  # of the lower quartile of blocks' medians of noise that is everywhere the same, the median of all
NOISE_UNKNOWN = (
    "noise_sigma: the noise can't be estimated, as too few pixels differ from their neighbors, and is taken for none: "
    "give its standard deviation"
)
_LEAST, _MOST = 1e-6, 1e3  # noise for pictures in [0, 1] that isn't lost in single precision


def estimate_noise(image: np.ndarray, known: np.ndarray | None = None) -> float:
    """Standard deviation of white noise in an image (H, W), from second differences along both axes at once.

    That filter, the outer product of (1, -2, 1) with itself, answers to little but noise, and the median of its absolute
    response to edges hardly at all [Immerkaer 1996; Donoho, Johnstone 1994]. In sharp pictures with fine texture all over,
    the texture is taken for noise. Where the image is at either end of its range, it may be clipped: these places are left
    out. So is what is exactly flat, if it is a part worth mentioning, as outside of a mosaic's or a scan's field; but as the
    flat parts of a drawing are free of noise, the calmest of the other places count then.

    Parameters
    ----------
    image : (H, W) array of float
    known : (H, W) bool array, optional

    Returns
    -------
    float
        NaN where an image is too small, too gappy or too flat to tell, with fewer than 9 such differences; but 0 where all
        pixels are equal.

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0, 5, (100, 100))
    >>> round(estimate_noise(np.arange(100.0) + noise))
    5
    """
    usable = np.ones(image.shape, bool) if known is None else known
    if usable.any() and np.ptp(image[usable]) == 0:
        return 0.0
    if min(image.shape) < 3 or not usable.any():
        return np.nan
    flat = _flat(image, usable)
    partly_flat = flat.sum() > _MENTIONED * usable.sum()
    for end in (float(image[usable].min()), float(image[usable].max())):
        if np.count_nonzero(image[usable] == end) > 1:
            usable = usable & (image != end)
    if partly_flat:
        usable = usable & ~flat
    response = abs(np.diff(np.diff(image, 2, axis=0), 2, axis=1))
    valid = np.asarray(np.lib.stride_tricks.sliding_window_view(usable, (3, 3)).all(axis=(2, 3)))
    if np.count_nonzero(valid) < 9:
        return np.nan
    median = float(np.median(response[valid]))
    if partly_flat:
        median = min(median, _OF_CALM_NOISE * _calm_median(response, valid))
    return median / _MEDIAN_OF_NORMAL / 6  # 6: the filter's norm


def _flat(image: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which pixels (H, W) lie in a square of side _FLAT_SIDE in which all known ones are equal."""
    if min(image.shape) < _FLAT_SIDE:
        return np.zeros(image.shape, bool)
    highest = maximum_filter(np.where(known, image, -np.inf), _FLAT_SIDE)
    lowest = minimum_filter(np.where(known, image, np.inf), _FLAT_SIDE)
    return known & maximum_filter(highest == lowest, _FLAT_SIDE)


def _calm_median(response: np.ndarray, valid: np.ndarray) -> float:
    """The lower quartile of the valid values' medians in blocks; of blocks that are half valid, or of all values."""
    corners = [(row, column) for row in range(0, valid.shape[0], _BLOCK) for column in range(0, valid.shape[1], _BLOCK)]
    blocks = [(slice(row, row + _BLOCK), slice(column, column + _BLOCK)) for row, column in corners]
    medians = [np.median(response[block][valid[block]]) for block in blocks if valid[block].sum() >= _BLOCK**2 / 2]
    return float(np.quantile(medians, 0.25) if medians else np.median(response[valid]))


def check_noise_sigma(noise_sigma: float | str | None, *, optional: bool = False) -> None:
    """Raise InputError unless it is a standard deviation or ``"auto"``; or None, where it is `optional`."""
    if (noise_sigma is None and optional) or (isinstance(noise_sigma, str) and noise_sigma == "auto"):
        return
    sigma = float(noise_sigma) if isinstance(noise_sigma, Real) and not isinstance(noise_sigma, bool) else -1.0
    if not (np.isfinite(sigma) and sigma >= 0):
        raise InputError(
            f"noise_sigma: {noise_sigma} isn't a standard deviation: use a finite number of zero or more, or 'auto'"
        )


def middle_of(shape: tuple[int, ...]) -> tuple[slice, slice]:
    """The part of a picture (H, W) that is looked at for its noise: all of it, or the middle of a large one."""
    rows, columns = (slice(max((n - LOOKED_AT) // 2, 0), (n + LOOKED_AT) // 2) for n in shape)
    return rows, columns


def noise_of(scaled: np.ndarray, known: np.ndarray, noise_sigma: float | str | None, units: float) -> float:
    """Standard deviation of the noise in planes (C, H, W) that were divided by `units`, in their scale; 0 for None.

    An estimate is the root mean square over the channels that tell something: none of those that are constant, or too flat.
    NaN where no channel does.
    """
    if noise_sigma is None:
        return 0.0
    if noise_sigma != "auto":
        sigma = min(float(noise_sigma) / units, _MOST)
        return sigma if sigma > _LEAST else 0.0
    varying = [(plane, k) for plane, k in zip(scaled, known, strict=True) if k.any() and np.ptp(plane[k]) > 0]
    if not varying:
        return 0.0
    estimates = np.array([estimate_noise(plane, k) for plane, k in varying])
    told = estimates[~np.isnan(estimates)]
    return float(np.sqrt(np.mean(np.square(told)))) if told.size else np.nan
