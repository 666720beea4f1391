"""The base layer: the smooth part of an image, which a sparse code represents badly and is taken off before.

The pilot itself would be no base: it equals the image on the known pixels, and nothing would be left there to code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft
from scipy.sparse.linalg import LinearOperator, cg

from csc_cogd.backend import Backend
from csc_cogd.locks import in_scipy
from csc_cogd.restore.operators import Operator
from csc_cogd.restore.stages.state import Recipe, TileState

SMOOTHING = 4.0
"""Weight of the squared gradient against the squared distance from the pilot."""
SCENE_SMOOTHING = 6.0
"""The same behind an operator: edges are left to the code."""
_TOLERANCE, _MAX_ITER = 1e-5, 200


def low_pass(state: TileState, recipe: Recipe) -> TileState:
    """Take the smooth part of the pilot."""
    return replace(state, base=base_layer(state.pilot, backend=recipe.engine.backend))


def deconvolve(state: TileState, recipe: Recipe) -> TileState:
    """Estimate the smooth part of the scene behind an operator."""
    base = smooth_scene(state.observed, state.known, recipe.operator)
    return replace(state, base=base, estimate=recipe.operator.crop(base))


def base_layer(pilot: np.ndarray, smoothing: float = SMOOTHING, backend: Backend | None = None) -> np.ndarray:
    """Tikhonov low-pass: ``argmin_u 1/2 ||u - pilot||^2 + smoothing/2 ||grad u||^2``, mirrored at the border.

    With half-sample symmetric borders the discrete cosine transform diagonalizes the gradient's Gram matrix, so the solve
    is exact.

    Parameters
    ----------
    pilot : (C, H, W) array of float
    smoothing : float >= 0, in squared pixels
    backend : Backend, optional
        Where it is computed, and in which precision, if that is a GPU; default: the CPU.
    """
    if backend is not None and backend.xp is not np:
        return _mirrored_low_pass(pilot, smoothing, backend)
    response = 1 + smoothing * laplacian_symbol(*pilot.shape[-2:])
    with in_scipy:
        return scipy.fft.idctn(scipy.fft.dctn(pilot, axes=(-2, -1)) / response, axes=(-2, -1))


def _mirrored_low_pass(pilot: np.ndarray, smoothing: float, backend: Backend) -> np.ndarray:
    """:func:`base_layer` by the FFT of the mirrored picture, which is four times as large: cuFFT knows no cosine transform.

    The mean, which stays as it is, is taken off before, so that single precision suffices.
    """
    C, H, W = pilot.shape
    mean = pilot.mean(axis=(1, 2), keepdims=True)
    rows, columns = (2 - 2 * np.cos(np.pi * np.arange(n) / length) for n, length in ((2 * H, H), (W + 1, W)))
    response = backend.asarray(1 / (1 + smoothing * (rows[:, None] + columns)) / (4 * H * W))
    block = backend.workspace((1, C, 2 * H, 2 * W))
    mirrored = block.real[0]
    mirrored[:, :H, :W] = backend.asarray(pilot - mean)
    mirrored[:, H:, :W] = mirrored[:, H - 1 :: -1, :W]
    mirrored[:, :, W:] = mirrored[:, :, W - 1 :: -1]
    block.forward()
    block.spectrum *= response
    block.inverse()
    return mean + backend.to_host(mirrored[:, :H, :W])


def laplacian_symbol(height: int, width: int) -> np.ndarray:
    """What the discrete cosine transform makes of the gradient's Gram matrix with mirrored borders, (height, width)."""
    rows = 2 - 2 * np.cos(np.pi * np.arange(height) / height)
    columns = 2 - 2 * np.cos(np.pi * np.arange(width) / width)
    return rows[:, None] + columns


def smooth_scene(picture: np.ndarray, known: np.ndarray, operator: Operator) -> np.ndarray:
    """Tikhonov deconvolution: ``argmin_u 1/2 ||W (H u - b)||^2 + smoothing/2 ||grad u||^2``, mirrored at the scene's border.

    For decimation by f, the smoothing is divided by f^2, as there is one pixel to f^2 of the scene. By conjugate gradients;
    the preconditioner is the same problem without blur and with a mean weight, which the discrete cosine transform solves.

    Parameters
    ----------
    picture : (C, H, W) array of float, b
    known : (C, H, W) bool array, W
    operator : Operator, H

    Returns
    -------
    (C, height, width) array, see ``operator.scene_shape``
    """
    H, W = operator.scene_shape(picture.shape[1:])
    density = 1 / operator.factor**2
    symbol = SCENE_SMOOTHING * density * laplacian_symbol(H, W)
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
