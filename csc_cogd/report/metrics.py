"""PSNR and SSIM in the pixel domain."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import check_unmasked, from_gpu, to_numpy, with_mask
from csc_cogd.errors import InputError, with_hints
from csc_cogd.locks import importing

WINDOW = 11  # pixels, of SSIM's Gaussian of sigma 1.5 out to 3.5 of them


@with_hints()
def psnr(restored: Any, reference: Any, *, data_range: float | None = None, where: Any = None) -> float:
    """Return the peak signal-to-noise ratio in dB, over all pixels or only those `where` is true.

    Parameters
    ----------
    restored, reference : arrays of one shape
        What is masked by ``numpy.ma`` in either is left out.
    data_range : float, optional
        Difference of the largest and smallest possible value: 255 for 8 bits, 1 for [0, 1]. Default: that of the type, for
        unsigned integers of 8 or 16 bits and booleans; all others need it.
    where : bool array, (H, W) or the images' shape, optional
        A (H, W) array holds for all channels (last axis).

    Returns
    -------
    float
        Infinite where nothing differs.

    Raises
    ------
    InputError
        If the shapes differ, nothing is compared, or `data_range` isn't above zero, or is needed.

    Examples
    --------
    >>> import numpy as np
    >>> round(psnr(np.full((4, 4), 0.1), np.zeros((4, 4)), data_range=1), 6)
    20.0
    """
    check_unmasked(where, "where")
    restored, reference = (with_mask(from_gpu(image)) for image in (restored, reference))
    *pixels, data_range = _comparable(np.ma.getdata(restored), np.ma.getdata(reference), data_range)
    compared = ~(np.ma.getmaskarray(restored) | np.ma.getmaskarray(reference))
    squares = (pixels[0] - pixels[1]) ** 2
    if where is not None:
        where = np.asarray(from_gpu(where), bool)
        squares, compared = squares[where], compared[where]
    squares = squares[compared]
    if not squares.size:
        raise InputError("restored", "has no pixel to compare")
    error = squares.mean()
    return float("inf") if error == 0 else float(10 * np.log10(data_range**2 / error))


@with_hints()
def ssim(restored: Any, reference: Any, *, data_range: float | None = None, channel_axis: int | None = None) -> float:
    """Return the structural similarity [Wang et al. 2004], Gaussian window of sigma 1.5, mean over the image.

    Parameters
    ----------
    restored, reference : arrays of one shape, 11 pixels high and wide or more
    data_range : float, optional
        Difference of the largest and smallest possible value: 255 for 8 bits, 1 for [0, 1]. Default: that of the type, for
        unsigned integers of 8 or 16 bits and booleans; all others need it.
    channel_axis : int, optional
        Axis of the channels, over which the mean is taken as well; default: a gray image.

    Returns
    -------
    float
        1 where nothing differs.

    Raises
    ------
    InputError
        If the shapes differ, an image is smaller than the window, or `data_range` isn't above zero, or is needed.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.add.outer(np.arange(16.0), np.arange(16))
    >>> ssim(ramp, ramp, data_range=30)
    1.0
    """
    with importing:
        from skimage.metrics import structural_similarity

    check_unmasked(restored, "restored")
    check_unmasked(reference, "reference")
    restored, reference, data_range = _comparable(restored, reference, data_range)
    if channel_axis is not None and not -restored.ndim <= channel_axis < restored.ndim:
        raise InputError("channel_axis", f"must be an axis of the image, of shape {restored.shape}, got {channel_axis}")
    sides = list(restored.shape) if channel_axis is None else np.delete(restored.shape, channel_axis).tolist()
    if len(sides) != 2 or min(sides) < WINDOW:
        raise InputError("restored", f"must be (H, W) of {WINDOW} pixels or more, as the window, got {tuple(sides)}")
    return float(
        structural_similarity(
            restored, reference, data_range=data_range, channel_axis=channel_axis, gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False,
        )
    )  # fmt: skip


def _comparable(restored: Any, reference: Any, data_range: float | None) -> tuple[np.ndarray, np.ndarray, float]:
    restored, reference = to_numpy(restored, "restored"), to_numpy(reference, "reference")
    if data_range is None:
        data_range = _range_of_type(restored.dtype, reference.dtype)
    restored, reference = restored.astype(np.float64), reference.astype(np.float64)
    if restored.shape != reference.shape:
        raise InputError("reference", f"must be of the restored image's shape {restored.shape}, got {reference.shape}")
    if not data_range > 0:
        raise InputError("data_range", f"must be a positive number, such as 255, got {data_range}")
    return restored, reference, data_range


def _range_of_type(restored: np.dtype, reference: np.dtype) -> float:
    """Return the data range that both images have by their type.

    Raises
    ------
    InputError
        If that isn't known.
    """
    if restored == reference and restored in (np.bool_, np.uint8, np.uint16):
        return 1.0 if restored.kind == "b" else float(np.iinfo(restored).max)
    types = str(restored) if restored == reference else f"{restored} and {reference}"
    fix = "give the largest minus the smallest possible value: 1 for images in [0, 1], 255 for the values of 8 bits"
    raise InputError("data_range", f"doesn't follow from images of {types}", fix)
