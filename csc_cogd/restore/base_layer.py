"""The smooth part of a damaged image, which a sparse code represents badly and is taken off before.

A pilot fills the missing pixels; low-passed, it is the base layer. The pilot itself would be no base: it equals the image
on the known pixels, and nothing would be left there to code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft
import scipy.sparse
from scipy.ndimage import binary_dilation
from scipy.sparse.linalg import cg, splu

SMOOTHING = 4.0
"""Weight of the squared gradient against the squared distance from the pilot."""
LITTLE = 0.3  # share of missing pixels up to which a direct solve is fast
TOLERANCE, MOST_ITERATIONS = 1e-8, 1000


def pilot_estimate(image: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill the missing pixels by biharmonic interpolation: the values of least squared Laplacian, mirrored at the border.

    The same as :func:`skimage.restoration.inpaint_biharmonic` (clipped to the range of the known values), but much
    faster where much is missing: conjugate gradients need few iterations for small holes. Where little is missing, or the
    holes are large, the system is solved directly.

    Parameters
    ----------
    image : (C, H, W) array of float
        In about [0, 1] where known; anything elsewhere.
    missing : (C, H, W) bool array
    """
    filled = np.where(missing, 0.0, image)
    systems: dict[bytes, _Biharmonic] = {}
    for plane, gone in zip(filled, missing, strict=True):
        if gone.any():
            key = gone.tobytes()
            if key not in systems:
                systems[key] = _Biharmonic(gone)
            known = plane[~gone]
            plane[gone] = np.clip(systems[key].solve(plane), known.min(), known.max())
    return filled


class _Biharmonic:
    """The normal equations of ``argmin_u ||L u||^2`` over the missing pixels of one mask, L the Laplacian."""

    def __init__(self, missing: np.ndarray) -> None:
        near = np.nonzero(binary_dilation(missing))  # pixels whose Laplacians see missing ones
        seen = [
            np.ravel_multi_index([near[0] + down, near[1] + right], missing.shape, mode="clip")
            for down, right in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
        ]
        entries = np.repeat([-4.0, 1.0, 1.0, 1.0, 1.0], len(near[0]))
        places = np.tile(np.arange(len(near[0])), 5), np.concatenate(seen)
        laplacian = scipy.sparse.csc_array((entries, places), (len(near[0]), missing.size))
        gone = missing.ravel()
        free = laplacian[:, gone]
        self._matrix = (free.T @ free).tocsr()
        self._known = -free.T @ laplacian[:, ~gone]
        self._gone = gone
        self._factor: Any = None

    def solve(self, plane: np.ndarray) -> np.ndarray:
        """Values of the missing pixels of a plane."""
        right = self._known @ plane.ravel()[~self._gone]
        if self._factor is None and self._gone.mean() > LITTLE:
            jacobi = scipy.sparse.diags_array(1 / self._matrix.diagonal())
            values, unsolved = cg(self._matrix, right, rtol=TOLERANCE, maxiter=MOST_ITERATIONS, M=jacobi)
            if not unsolved:
                return values
        if self._factor is None:
            symmetric = {"SymmetricMode": True}
            self._factor = splu(self._matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
        return self._factor.solve(right)


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
