"""Power spectra of noise over the 8 x 8 DCT, and what follows from them."""

from __future__ import annotations

import numpy as np
from scipy.fft import dct

SIDE = 8
"""Side of the blocks whose spectra are looked at."""
DCT = dct(np.eye(SIDE), axis=0, norm="ortho")
SQUARED = np.add.outer(np.arange(SIDE) ** 2, np.arange(SIDE) ** 2)
"""Squared frequency of each coefficient, in half periods a block."""
_MIDDLE, _LOW = (8, 64), 26  # squared frequencies from which, and to which, spectra are continued
_STEEPEST = -0.107  # of a spectrum's logarithm over the squared frequency, by which demosaicking correlates noise
_MARGIN = 1.2
_LEAST = 1e-3  # of a spectrum's largest value


def blocks_of(plane: np.ndarray, step: int) -> np.ndarray:
    """Return the blocks (n, 8, 8) of a plane (H, W), `step` pixels apart."""
    windows = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE))[::step, ::step]
    return np.asarray(windows.reshape(-1, SIDE, SIDE))


def coefficients_of(plane: np.ndarray, step: int) -> np.ndarray:
    """Return the orthonormal DCT (n, 8, 8) of the blocks of a plane (H, W)."""
    return DCT @ blocks_of(plane, step) @ DCT.T


def without_texture(spectrum: np.ndarray) -> np.ndarray:
    """Return a spectrum (8, 8) whose low frequencies aren't above what the middle ones tell.

    The noise of cameras has a spectrum that is about Gaussian; what calm places have more of than that is shading and
    texture.
    """
    middle = (SQUARED - _MIDDLE[0] >= 0) & (SQUARED - _MIDDLE[1] <= 0)
    x, y, w = SQUARED[middle], np.log(np.maximum(spectrum[middle], 1e-9)), 1 / (1 + SQUARED[middle])
    dx, dy = x - np.average(x, weights=w), y - np.average(y, weights=w)
    slope = np.clip((w * dx * dy).sum() / (w * dx**2).sum(), _STEEPEST, 0)
    most = _MARGIN * np.exp(np.average(y - slope * x, weights=w) + slope * SQUARED)
    return np.where(SQUARED < _LOW, np.minimum(spectrum, most), spectrum)


def normalized(spectrum: np.ndarray) -> np.ndarray:
    """Return a spectrum (8, 8) with mean 1 but for its mean value, for which its neighbors stand in."""
    spectrum = np.maximum(spectrum, max(_LEAST * float(spectrum.max()), 1e-12))
    spectrum[0, 0] = 0
    spectrum = spectrum / (spectrum.sum() / (SIDE**2 - 1))
    spectrum[0, 0] = (spectrum[0, 1] + spectrum[1, 0]) / 2
    return spectrum


def correlation_of(spectrum: np.ndarray) -> np.ndarray:
    """Return the covariance (8, 8) of pixels i rows and j columns apart, of stationary noise with a spectrum (8, 8)."""
    of_block = np.einsum("fx,gy,fg,fu,gv->xyuv", DCT, DCT, spectrum, DCT, DCT, optimize=True)
    x, y, u, v = np.indices(of_block.shape)
    distances = abs(x - u) * SIDE + abs(y - v)
    count = np.bincount(distances.ravel(), minlength=SIDE**2)
    return np.asarray((np.bincount(distances.ravel(), of_block.ravel(), SIDE**2) / count).reshape(SIDE, SIDE))


def patch_covariance(spectrum: np.ndarray, size: int) -> np.ndarray:
    """Return the covariance (size^2, size^2) of patches of stationary noise with a spectrum (8, 8)."""
    correlation = correlation_of(spectrum)
    apart = abs(np.subtract.outer(np.arange(size), np.arange(size)))
    covariance = correlation[apart[:, None, :, None], apart[None, :, None, :]].reshape(size**2, size**2)
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, _LEAST * values.max())) @ vectors.T)
