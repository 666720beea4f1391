"""The smooth part of a damaged image, which a sparse code represents badly and is taken off before.

A pilot fills the missing pixels; low-passed, it is the base layer. The pilot itself would be no base: it equals the image
on the known pixels, and nothing would be left there to code.
"""

from __future__ import annotations

import numpy as np
import scipy.fft

SMOOTHING = 4.0
"""Weight of the squared gradient against the squared distance from the pilot."""


def pilot_estimate(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill the missing pixels by biharmonic interpolation.

    Parameters
    ----------
    image : (C, H, W) array of float
    missing : (C, H, W) bool array
    """
    from skimage.restoration import inpaint_biharmonic

    known = np.where(missing, 0.0, image)
    if all(np.array_equal(missing[0], m) for m in missing[1:]):
        groups = [(slice(None), missing[0])]
    else:
        groups = [(slice(c, c + 1), m) for c, m in enumerate(missing)]
    filled = np.empty_like(known)
    for channels, mask in groups:
        filled[channels] = inpaint_biharmonic(known[channels], mask.copy(), channel_axis=0)  # it refuses read-only masks
    return filled


def base_layer(pilot: np.ndarray, smoothing: float = SMOOTHING) -> np.ndarray:
    """Tikhonov low-pass: ``argmin_u 1/2 ||u - pilot||^2 + smoothing/2 ||grad u||^2``, mirrored at the border.

    With half-sample symmetric borders the discrete cosine transform diagonalises the gradient's Gram matrix, so the solve
    is exact.

    Parameters
    ----------
    pilot : (..., H, W) array of float
    smoothing : float >= 0, in squared pixels
    """
    spectrum = scipy.fft.dctn(pilot, axes=(-2, -1))
    spectrum /= 1 + smoothing * laplacian_symbol(*pilot.shape[-2:])
    return scipy.fft.idctn(spectrum, axes=(-2, -1))


def laplacian_symbol(height: int, width: int) -> np.ndarray:
    """What the discrete cosine transform makes of the gradient's Gram matrix with mirrored borders, (height, width)."""
    rows = 2 - 2 * np.cos(np.pi * np.arange(height) / height)
    columns = 2 - 2 * np.cos(np.pi * np.arange(width) / width)
    return rows[:, None] + columns
