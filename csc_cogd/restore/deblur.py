"""Deblurring: the scene behind a known blur."""

from __future__ import annotations

from typing import Any, Unpack

from csc_cogd.errors import with_hints
from csc_cogd.restore.operators import Blur
from csc_cogd.restore.restore_image import Options, restore_image


@with_hints(*Options.__annotations__)
def deblur(image: Any, kernel: Any, **options: Unpack[Options]) -> Any:
    """Sharpen a picture that was blurred by a known kernel.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
    kernel : (h, w) array
        The picture of a point, not larger than the image; see :class:`csc_cogd.restore.operators.Blur`. There are
        ``gaussian_kernel``, ``uniform_kernel`` and ``motion_kernel`` in that module.
    **options
        As in :func:`csc_cogd.restore_image`.

    Returns
    -------
    array of the image's shape and dtype, or (array, RestorationReport)

    Raises
    ------
    InputError
        As of :func:`csc_cogd.restore_image`, and if the kernel isn't one.

    Examples
    --------
    >>> import numpy as np
    >>> deblur(np.full((16, 16), 7, np.uint8), np.ones((3, 3))).max()
    np.uint8(7)
    """
    return restore_image(image, Blur(kernel), **options)
