"""The scene nearest to a given one that a picture is of: the data step of plug-and-play methods.

    argmin_s 1/2 ||W^1/2 (H s - b)||^2 + 1/2 ||s - z||^2 = z + H^T (H H^T + W^-1)^-1 (b - H z)

is found in the space of the picture, of which missing pixels are left out. For a kernel and a factor, ``H H^T`` is
convolution with the kernel's autocorrelation at every factor-th pixel. On a torus a little larger than the picture, it is
exact, and the inverse of what the torus makes of ``H H^T + W^-1`` is a preconditioner, with which conjugate gradients need
few iterations [Strang 1986, "A proposal for Toeplitz matrix calculations"].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.fft
from scipy.signal import fftconvolve
from scipy.sparse.linalg import LinearOperator, cg

from csc_cogd.locks import in_scipy
from csc_cogd.restore.operators import Convolution

_TOLERANCE, _MAX_ITER = 1e-3, 100


class Linear(Protocol):
    """A linear map and its adjoint, of arrays (..., height, width)."""

    def apply(self, scene: np.ndarray) -> np.ndarray:
        """Return ``H s``."""

    def adjoint(self, picture: np.ndarray) -> np.ndarray:
        """Return ``H^T b``."""


def nearest_scene(
    scene: np.ndarray, picture: np.ndarray, known: np.ndarray, ratio: np.ndarray, operator: Linear
) -> np.ndarray:
    """Return the scene nearest to a given one, z, that a picture is of.

    Parameters
    ----------
    scene : (C, height, width) array, z
    picture : (C, H, W) array, b
    known : (C, H, W) bool array
    ratio : (C, H, W) array > 0, the diagonal of W^-1
        Variance of the picture's noise to that of the scene's error.
    operator : Linear, H

    Returns
    -------
    (C, height, width) array
    """
    torus = Torus.of(operator, picture.shape[1:]) if isinstance(operator, Convolution) else None
    nearest = np.empty(scene.shape)
    for c, (z, seen, own) in enumerate(zip(scene, known, ratio, strict=True)):
        gram = torus.gram if torus else lambda values: operator.apply(operator.adjoint(values))
        inverse = torus.inverse(float(own[seen].mean())) if torus else None
        residual = np.where(seen, picture[c] - operator.apply(z), 0.0)
        dual = _solve(gram, inverse, residual, seen, own)
        nearest[c] = z + operator.adjoint(dual)
    return nearest


Map = Callable[[np.ndarray], np.ndarray]


def _solve(gram: Map, inverse: Map | None, residual: np.ndarray, seen: np.ndarray, ratio: np.ndarray) -> np.ndarray:
    """Return ``(H H^T + W^-1)^-1 r`` at the pixels that are seen, and r elsewhere."""

    def system(values: np.ndarray) -> np.ndarray:
        values = values.reshape(seen.shape)
        return np.where(seen, gram(np.where(seen, values, 0.0)) + ratio * values, values).ravel()

    size = residual.size
    preconditioner = None
    if inverse is not None:
        preconditioner = LinearOperator(
            (size, size), matvec=lambda values: inverse(values.reshape(seen.shape)).ravel(), dtype=np.float64
        )
    dual, _ = cg(
        LinearOperator((size, size), matvec=system, dtype=np.float64), residual.ravel(), rtol=_TOLERANCE,
        maxiter=_MAX_ITER, M=preconditioner,
    )  # fmt: skip
    return np.asarray(dual.reshape(seen.shape))


@dataclass(frozen=True, eq=False)
class Torus:
    """What ``H H^T`` is on a torus so large that it doesn't meet itself across the picture.

    Attributes
    ----------
    spectrum : (H', W' // 2 + 1) array >= 0
    sides : (H', W')
    shape : (H, W)
        Of the picture.
    """

    spectrum: np.ndarray
    sides: tuple[int, ...]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, operator: Convolution, shape: tuple[int, ...]) -> Torus:
        """Return that of a kernel and a factor, for pictures of a shape (H, W)."""
        kernel, f = operator.kernel, operator.factor
        reach = [(size - 1) // f for size in kernel.shape]
        first = [(size - 1) % f for size in kernel.shape]
        correlation = fftconvolve(kernel, kernel[::-1, ::-1])[first[0] :: f, first[1] :: f]
        sides = tuple(scipy.fft.next_fast_len(length + by, True) for length, by in zip(shape, reach, strict=True))
        response = np.zeros(sides)
        places = [np.arange(-by, by + 1) % side for by, side in zip(reach, sides, strict=True)]
        np.add.at(response, np.ix_(*places), correlation)
        with in_scipy:
            spectrum = scipy.fft.rfft2(response).real
        return cls(np.maximum(spectrum, 0.0), sides, tuple(shape))

    def gram(self, picture: np.ndarray) -> np.ndarray:
        """Return ``H H^T b`` of a picture (H, W)."""
        return self._filtered(picture, self.spectrum)

    def inverse(self, ratio: float) -> Map:
        """Return the map by the inverse of ``H H^T + ratio``, up to what the torus makes of borders."""
        response = 1 / (self.spectrum + ratio)
        return lambda picture: self._filtered(picture, response)

    def _filtered(self, picture: np.ndarray, response: np.ndarray) -> np.ndarray:
        with in_scipy:
            filtered = scipy.fft.irfft2(response * scipy.fft.rfft2(picture, self.sides), self.sides)
        return np.asarray(filtered[: self.shape[0], : self.shape[1]])
