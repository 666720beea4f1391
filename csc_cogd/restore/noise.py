"""How noisy an image is."""

from __future__ import annotations

import numpy as np

_MEDIAN_OF_NORMAL = 0.6745  # of its absolute value


def estimate_noise(image: np.ndarray, known: np.ndarray | None = None) -> float:
    """Standard deviation of white noise in an image (H, W), from second differences along both axes at once.

    That filter, the outer product of (1, -2, 1) with itself, answers to little but noise, and the median of its absolute
    response to edges hardly at all [Immerkaer 1996; Donoho, Johnstone 1994]. In sharp pictures with fine texture all over,
    the texture is taken for noise. An image too small or too gappy to tell, with fewer than 9 such differences, has none.

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
    if min(image.shape) < 3:
        return 0.0
    response = np.diff(np.diff(image, 2, axis=0), 2, axis=1)
    if known is not None:
        windows = np.lib.stride_tricks.sliding_window_view(known, (3, 3))
        response = response[windows.all(axis=(2, 3))]
    if response.size < 9:
        return 0.0
    return float(np.median(abs(response)) / _MEDIAN_OF_NORMAL / 6)  # 6: the filter's norm
