"""Biharmonic and harmonic interpolation of missing pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse
from scipy.ndimage import binary_dilation
from scipy.sparse.linalg import cg, splu

from csc_cogd.backend import Backend
from csc_cogd.locks import in_scipy

DIRECT_BELOW = 0.3  # share of missing pixels up to which a direct solve is fast
TOLERANCE, MAX_ITERATIONS = 1e-8, 1000
_TINY = 1e-300  # nothing is divided by less: between two looks at the residual it may become zero


def fill_biharmonic(
    image: np.ndarray,
    missing: np.ndarray,
    backend: Backend | None = None,
    tolerance: float = TOLERANCE,
    direct_below: float = DIRECT_BELOW,
) -> np.ndarray:
    """Fill the missing pixels by biharmonic interpolation: the values of least squared Laplacian, mirrored at the border.

    The same as :func:`skimage.restoration.inpaint_biharmonic` (clipped to the range of the known values), but much
    faster where much is missing: conjugate gradients need few iterations for small holes. Where little is missing, or the
    holes are large, the system is solved directly.

    Parameters
    ----------
    image : (C, H, W) array of float
        In about [0, 1] where known; anything elsewhere.
    missing : (C, H, W) bool array
    backend : Backend, optional
        Where conjugate gradients run, if that is a GPU; default: the CPU.
    tolerance : float
        Of the residual, relative to the right side, at which conjugate gradients stop.
    direct_below : float
        Share of missing pixels up to which the system is solved directly.
    """
    filled = np.where(missing, 0.0, image)
    with in_scipy:
        _fill(filled, missing, backend, tolerance, direct_below)
    return filled


def fill_harmonic(planes: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Fill the missing pixels by harmonic interpolation: each is the mean of its neighbors, mirrored at the border.

    So it never leaves the range of what is known, and extrapolates no slopes.

    Parameters
    ----------
    planes : (C, H, W) array of float
        Anything where missing.
    missing : (H, W) bool array
        Not all of them.

    Returns
    -------
    (C, H, W) array of float64
    """
    filled = np.array(planes, dtype=np.float64)
    if missing.any():
        laplacian, gone = _laplacian(missing), missing.ravel()
        with in_scipy:
            right = -laplacian[:, ~gone] @ filled[:, ~missing].T
            filled[:, missing] = splu(laplacian[:, gone]).solve(np.ascontiguousarray(right)).T
    return filled


def _fill(planes: np.ndarray, missing: np.ndarray, backend: Backend | None, tolerance: float, direct_below: float) -> None:
    systems: dict[bytes, _Biharmonic] = {}
    for plane, gone in zip(planes, missing, strict=True):
        if gone.any():
            key = gone.tobytes()
            known = plane[~gone]
            values = None
            if backend is not None and backend.xp is not np and gone.mean() > direct_below:
                values = _conjugate_gradients(plane, gone, backend, tolerance)
            if values is None:
                if key not in systems:
                    systems[key] = _Biharmonic(gone)
                values = systems[key].solve(plane, tolerance, direct_below)
            plane[gone] = np.clip(values, known.min(), known.max())


def _conjugate_gradients(plane: np.ndarray, missing: np.ndarray, backend: Backend, tolerance: float) -> np.ndarray | None:
    """Values of the missing pixels as by :class:`_Biharmonic`, on the backend's device; None if many iterations don't do.

    The Laplacian, symmetric with mirrored borders, is applied by shifts: no matrix is built.
    """
    xp = backend.xp
    near, gone = (xp.asarray(where.astype(np.float64)) for where in (binary_dilation(missing), missing))
    neighbors = _sum_of_neighbors(xp.ones_like(gone))

    def laplacian(u: Any) -> Any:
        return _sum_of_neighbors(u) - neighbors * u

    def normal(u: Any) -> Any:
        return gone * laplacian(near * laplacian(u))

    scale = gone / xp.maximum(near * neighbors**2 + _sum_of_neighbors(near), 1)  # Jacobi: by the diagonal
    x = xp.zeros_like(gone)
    residual = -normal(xp.asarray(np.where(missing, 0.0, plane)))
    enough = tolerance * float((residual**2).sum()) ** 0.5
    direction = scale * residual
    energy = (residual * direction).sum()
    for number in range(MAX_ITERATIONS):
        if number % 10 == 0 and float((residual**2).sum()) ** 0.5 <= enough:
            return backend.to_host(x)[missing]
        image = normal(direction)
        step = energy / xp.maximum((direction * image).sum(), _TINY)
        x += step * direction
        residual -= step * image
        scaled = scale * residual
        last, energy = energy, (residual * scaled).sum()
        direction = scaled + energy / xp.maximum(last, _TINY) * direction
    return None


def _sum_of_neighbors(u: Any) -> Any:
    """Of the up to four neighbors of every pixel that are within the picture, (H, W)."""
    total = np.zeros_like(u)
    total[1:] += u[:-1]
    total[:-1] += u[1:]
    total[:, 1:] += u[:, :-1]
    total[:, :-1] += u[:, 1:]
    return total


class _Biharmonic:
    """The normal equations of ``argmin_u ||L u||^2`` over the missing pixels of one mask, L the Laplacian."""

    def __init__(self, missing: np.ndarray) -> None:
        laplacian = _laplacian(binary_dilation(missing))  # pixels whose Laplacians see missing ones
        gone = missing.ravel()
        free = laplacian[:, gone]
        self._matrix = (free.T @ free).tocsr()
        self._known = -free.T @ laplacian[:, ~gone]
        self._gone = gone
        self._factor: Any = None

    def solve(self, plane: np.ndarray, tolerance: float, direct_below: float) -> np.ndarray:
        """Values of the missing pixels of a plane."""
        right = self._known @ plane.ravel()[~self._gone]
        if self._factor is None and self._gone.mean() > direct_below:
            jacobi = scipy.sparse.diags_array(1 / self._matrix.diagonal())
            values, unsolved = cg(self._matrix, right, rtol=tolerance, maxiter=MAX_ITERATIONS, M=jacobi)
            if not unsolved:
                return values
        if self._factor is None:
            symmetric = {"SymmetricMode": True}
            self._factor = splu(self._matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric)
        return self._factor.solve(right)


def _laplacian(where: np.ndarray) -> scipy.sparse.csc_array:
    """Return the Laplacian of n pixels, those of (H, W) bool, as a map from all values: (n, H W), mirrored at the border."""
    at = np.nonzero(where)
    seen = [
        np.ravel_multi_index([at[0] + down, at[1] + right], where.shape, mode="clip")
        for down, right in ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1))
    ]
    entries = np.repeat([-4.0, 1.0, 1.0, 1.0, 1.0], len(at[0]))
    places = np.tile(np.arange(len(at[0])), 5), np.concatenate(seen)
    return scipy.sparse.csc_array((entries, places), (len(at[0]), where.size))
