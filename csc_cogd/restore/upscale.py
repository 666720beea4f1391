"""Upscaling: the scene on a finer grid."""

from __future__ import annotations

from typing import Any, Unpack

from csc_cogd.restore.operators import Decimation
from csc_cogd.restore.restore_image import Options, restore_image


def upscale(image: Any, factor: int, *, kernel: Any = None, **options: Unpack[Options]) -> Any:
    """Restore a picture on a finer grid.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
    factor : int
        How many times higher and wider the result is.
    kernel : (h, w) array, optional
        How the picture was made smaller, on the finer grid; see :class:`csc_cogd.restore.operators.Decimation`. Default: by
        bicubic interpolation with antialiasing. ``np.ones((factor, factor))`` is a mean over blocks.
    **options
        As in :func:`csc_cogd.restore_image`.

    Returns
    -------
    array of the image's dtype, or (array, RestorationReport)
        `factor` times as high and wide.

    Raises
    ------
    InputError
        As of :func:`csc_cogd.restore_image`, and if factor or kernel isn't one.

    Examples
    --------
    >>> import numpy as np
    >>> upscale(np.full((8, 8), 7, np.uint8), 2).shape
    (16, 16)
    """
    return restore_image(image, Decimation(factor, kernel), **options)
