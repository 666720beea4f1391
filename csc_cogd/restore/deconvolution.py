"""The smooth part of the scene behind a blurred, coarse or noisy picture: the base layer of deblurring and upscaling."""

from __future__ import annotations

import numpy as np
import scipy.fft
from scipy.sparse.linalg import LinearOperator, cg

from csc_cogd.restore.base_layer import in_scipy, laplacian_symbol
from csc_cogd.restore.operators import Blur, Decimation

SMOOTHING = 6.0
"""Weight of the squared gradient against the squared distance from the picture: edges are left to the code."""
_TOLERANCE, _MAX_ITER = 1e-5, 200


def smooth_scene(picture: np.ndarray, known: np.ndarray, operator: Blur | Decimation) -> np.ndarray:
    """Tikhonov deconvolution: ``argmin_u 1/2 ||W (H u - b)||^2 + smoothing/2 ||grad u||^2``, mirrored at the scene's border.

    For decimation by f, the smoothing is divided by f^2, as there is one pixel to f^2 of the scene. By conjugate gradients;
    the preconditioner is the same problem without blur and with a mean weight, which the discrete cosine transform solves.

    Parameters
    ----------
    picture : (C, H, W) array of float, b
    known : (C, H, W) bool array, W
    operator : Blur or Decimation, H

    Returns
    -------
    (C, height, width) array, see ``operator.scene_shape``
    """
    H, W = operator.scene_shape(picture.shape[1:])
    density = 1 / operator.factor**2
    symbol = SMOOTHING * density * laplacian_symbol(H, W)
    scenes = np.empty((len(picture), H, W))
    for scene, pixels, weights in zip(scenes, picture, known, strict=True):
        flat = np.average(pixels, weights=weights)  # taken off: a constant is smooth, whatever the operator

        def normal(u: np.ndarray, weights: np.ndarray = weights) -> np.ndarray:
            u = u.reshape(H, W)
            return (operator.adjoint(weights * operator.apply(u)) + _filter(u, symbol)).ravel()

        inverse = 1 / (symbol + density * weights.mean())
        solution, _ = cg(
            LinearOperator((H * W, H * W), matvec=normal, dtype=np.float64),
            operator.adjoint(weights * (pixels - flat)).ravel(), rtol=_TOLERANCE, maxiter=_MAX_ITER,
            M=LinearOperator((H * W, H * W), matvec=lambda u, inverse=inverse: _filter(u.reshape(H, W), inverse).ravel()),
        )  # fmt: skip
        scene[...] = solution.reshape(H, W) + flat
    return scenes


def _filter(u: np.ndarray, symbol: np.ndarray) -> np.ndarray:
    with in_scipy:
        return scipy.fft.idctn(symbol * scipy.fft.dctn(u))
