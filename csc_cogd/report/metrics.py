"""PSNR and SSIM in the pixel domain."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.errors import InputError


def psnr(restored: Any, reference: Any, *, data_range: float, where: Any = None) -> float:
    """Peak signal-to-noise ratio in dB, over all pixels or only those `where` is true.

    Parameters
    ----------
    restored, reference : arrays of one shape
    data_range : float
        Difference of the largest and smallest possible value: 255 for 8 bits, 1 for [0, 1].
    where : bool array, (H, W) or the images' shape, optional
        A (H, W) array holds for all channels (last axis).

    Examples
    --------
    >>> import numpy as np
    >>> round(psnr(np.full((4, 4), 0.1), np.zeros((4, 4)), data_range=1), 6)
    20.0
    """
    restored, reference = np.asarray(restored, np.float64), np.asarray(reference, np.float64)
    if restored.shape != reference.shape:
        raise InputError(f"reference: shape {reference.shape} differs from the restored image's {restored.shape}")
    if not data_range > 0:
        raise InputError(f"data_range: {data_range} isn't a range: use a number above zero, such as 255")
    squares = (restored - reference) ** 2
    if where is not None:
        squares = squares[np.asarray(where, bool)]
    if not squares.size:
        raise InputError("restored: there is no pixel to compare")
    error = squares.mean()
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


def ssim(restored: Any, reference: Any, *, data_range: float, channel_axis: int | None = None) -> float:
    """Structural similarity [Wang et al. 2004], Gaussian window of sigma 1.5, mean over the image."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            np.asarray(restored, np.float64), np.asarray(reference, np.float64), data_range=data_range,
            channel_axis=channel_axis, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        )
    )  # fmt: skip
