"""Upscaling: the scene on a finer grid."""

from __future__ import annotations

from typing import Any, Unpack

from csc_cogd.errors import with_hints
from csc_cogd.restore.reduction import Reduction
from csc_cogd.restore.restore_image import Options, restore_image


@with_hints(*Options.__annotations__)
def upscale(image: Any, factor: float, *, kernel: Any = "auto", **options: Unpack[Options]) -> Any:
    """Restore a picture on a finer grid.

    A factor between whole numbers takes the next whole one, reduces its result, and fits that to the picture; see
    :class:`csc_cogd.restore.reduction.RationalDecimation`.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
    factor : float, 1 to 16
        How many times higher and wider the result is, such as 2 or 1.5.
    kernel : "auto", "bicubic", "box", "gaussian:S", or (h, w) array
        How the picture was made smaller: by bicubic interpolation with antialiasing, as picture editors do; by the mean
        over a pixel's area, as cameras do; by a Gaussian of standard deviation S in pixels of the result; or on the finer
        grid, see :class:`csc_cogd.restore.operators.Decimation`, for whole factors. ``"auto"`` tells the first two apart
        by the picture's spectrum, as far as that shows it, and takes a mean of both for whole factors.
    **options
        As in :func:`csc_cogd.restore_image`.

    Returns
    -------
    array of the image's dtype, or (array, RestorationReport)
        `factor` times as high and wide, rounded.

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
    return restore_image(image, Reduction(factor, kernel), **options)
