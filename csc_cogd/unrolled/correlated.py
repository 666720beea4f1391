"""Noise that isn't white, told to a network: its thresholds grow with what each filter meets of it.

White noise has the same standard deviation behind all filters of norm one, and thresholds that were learned from it are
multiples of that. Noise of another spectrum, or of more color than luminance, has another one behind each filter, which
follows from its covariance; so a network that knows white noise alone takes off other noise, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.unrolled.network import Network

OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
"""Luminance and two color differences, orthonormal."""


@dataclass(frozen=True, eq=False)
class Correlation:
    """How stationary noise is correlated.

    Attributes
    ----------
    variances : (C,) array
        Of gray, or of luminance and two color differences, which aren't correlated with each other.
    of_distances : (C, n, n) array
        Correlation of pixels that are i rows and j columns apart, with 1 at (0, 0).
    """

    variances: np.ndarray
    of_distances: np.ndarray

    @classmethod
    def of(cls, noise: np.ndarray, n: int) -> Correlation:
        """Measure that of noise (1 or 3, H, W), for distances below `n`."""
        channels = (noise if len(noise) == 1 else np.tensordot(OPPONENT, noise, 1)).astype(np.float64)
        channels = channels - channels.mean(axis=(1, 2), keepdims=True)
        H, W = channels.shape[1:]
        power = abs(np.fft.rfft2(channels, (2 * H, 2 * W))) ** 2
        products = np.fft.irfft2(power, (2 * H, 2 * W))
        rows, columns = np.arange(n)[:, None], np.arange(n)
        sums = (products[:, rows, columns] + products[:, rows, -columns]) / 2
        covariance = sums / ((H - rows) * (W - columns))
        variances = np.maximum(covariance[:, 0, 0], 1e-12)
        return cls(variances, covariance / variances[:, None, None])

    def gains(self, network: Network) -> np.ndarray:
        """Return the standard deviation behind each analysis filter (K, M), where white noise of the same power has 1."""
        shape = network.shape
        filters = to_numpy(network.weights.A).astype(np.float64).reshape(shape.n_iter, shape.n_filters, shape.channels, -1)
        norms = np.maximum((filters**2).sum(axis=(2, 3)), 1e-12)
        if shape.channels == 3:
            filters = np.einsum("oc,kmct->kmot", OPPONENT, filters)
        apart = abs(np.subtract.outer(np.arange(shape.size), np.arange(shape.size)))
        beyond = max(shape.size - self.of_distances.shape[-1], 0)
        power = np.zeros(norms.shape)
        for c, (variance, near) in enumerate(zip(self.variances, self.of_distances, strict=True)):
            of_distances = np.pad(near, (0, beyond))
            covariance = of_distances[apart[:, None, :, None], apart[None, :, None, :]].reshape(2 * [shape.size**2])
            power += variance * ((filters[:, :, c] @ covariance) * filters[:, :, c]).sum(axis=-1)
        return np.sqrt(np.maximum(power / norms / self.variances.mean(), 0)).astype(np.float32)
