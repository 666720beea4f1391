"""How noisy an image is."""

from __future__ import annotations

from numbers import Real

import numpy as np

from csc_cogd.errors import InputError

_MEDIAN_OF_NORMAL = 0.6745  # of its absolute value
LOOKED_AT = 2048  # side of the middle of large pictures where noise is estimated
_LEAST, _MOST = 1e-6, 1e3  # noise for pictures in [0, 1] that isn't lost in single precision


def estimate_noise(image: np.ndarray, known: np.ndarray | None = None) -> float:
    """Standard deviation of white noise in an image (H, W), from second differences along both axes at once.

    That filter, the outer product of (1, -2, 1) with itself, answers to little but noise, and the median of its absolute
    response to edges hardly at all [Immerkaer 1996; Donoho, Johnstone 1994]. In sharp pictures with fine texture all over,
    the texture is taken for noise. Where the image is at either end of its range, it may be clipped: these places are left
    out. An image too small or too gappy to tell, with fewer than 9 such differences, has none.

    Parameters
    ----------
    image : (H, W) array of float
    known : (H, W) bool array, optional

    Examples
    --------
    >>> import numpy as np
    >>> noise = np.random.default_rng(0).normal(0, 5, (100, 100))
    >>> round(estimate_noise(np.arange(100.0) + noise))
    5
    """
    usable = np.ones(image.shape, bool) if known is None else known
    if min(image.shape) < 3 or not usable.any():
        return 0.0
    for end in (float(image[usable].min()), float(image[usable].max())):
        if np.count_nonzero(image[usable] == end) > 1:
            usable = usable & (image != end)
    response = np.diff(np.diff(image, 2, axis=0), 2, axis=1)
    response = response[np.lib.stride_tricks.sliding_window_view(usable, (3, 3)).all(axis=(2, 3))]
    if response.size < 9:
        return 0.0
    return float(np.median(abs(response)) / _MEDIAN_OF_NORMAL / 6)  # 6: the filter's norm


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
    """Standard deviation of the noise in planes (C, H, W) that were divided by `units`, in their scale; 0 for None."""
    if noise_sigma is None:
        return 0.0
    if noise_sigma != "auto":
        sigma = min(float(noise_sigma) / units, _MOST)
        return sigma if sigma > _LEAST else 0.0
    estimates = [estimate_noise(plane, k) for plane, k in zip(scaled, known, strict=True)]
    return float(np.sqrt(np.mean(np.square(estimates))))
