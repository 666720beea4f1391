"""Pieces of photographs with noise, to learn from and to test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.unrolled.cameras import MARGIN, degraded, softened
from csc_cogd.unrolled.correlated import Correlation
from csc_cogd.unrolled.network import Network

DISTANCES = 8
"""Pixels below which noise is taken for correlated."""
MISJUDGED = 0.25
"""Standard deviation of the logarithm by which the level of a camera's noise that a network is told differs from it."""


@dataclass(frozen=True, eq=False)
class Piece:
    """A piece of a photograph, and what a network is told of its noise.

    Attributes
    ----------
    clean, noisy : (C, h, w) arrays
        In [0, 1].
    sigma : float
        Standard deviation of the noise.
    mean : float
        Of the photograph, which is taken off before, as that of a whole image is when it is denoised.
    correlation : Correlation, optional
        Of the noise, if it isn't white.
    """

    clean: Any
    noisy: Any
    sigma: Any
    mean: Any
    correlation: Correlation | None = None

    def gains(self, network: Network) -> Any:
        """Return by what the network's thresholds grow differently than under white noise, (K, M), or 1."""
        return np.float32(1) if self.correlation is None else self.correlation.gains(network)


def white_piece(clean: np.ndarray, mean: np.float32, sigma_range: tuple[float, float], rng: np.random.Generator) -> Piece:
    """Add white noise of a standard deviation in a range, of 255."""
    sigma = np.float32(rng.uniform(*sigma_range) / 255)
    return Piece(clean, clean + sigma * rng.standard_normal(clean.shape, np.float32), sigma, mean)


def camera_piece(drawn: np.ndarray, mean: np.float32, crop: int, rng: np.random.Generator) -> Piece:
    """Make the noise of a camera or of film, cut a piece out, and tell of its noise about what an estimate would."""
    clean = softened(drawn, rng)
    noisy = degraded(clean, rng)
    sigma = (noisy - clean).std() * np.exp(MISJUDGED * rng.standard_normal())
    i, j = rng.integers(MARGIN + 1, size=2)
    inside = (slice(None), slice(i, i + crop), slice(j, j + crop))
    return Piece(clean[inside], noisy[inside], np.float32(sigma), mean, Correlation.of(noisy - clean, DISTANCES))


def white_test(clean: np.ndarray, sigma: float, number: int) -> Piece:
    """Add white noise of a standard deviation, of 255, to a photograph."""
    part, rng = np.float32(sigma / 255), np.random.default_rng((int(sigma), number))
    return Piece(clean, clean + part * rng.standard_normal(clean.shape, np.float32), part, clean.mean())


def camera_test(clean: np.ndarray, shot: float, number: int) -> Piece:
    """Take a photograph by a camera of a sensitivity, see :mod:`csc_cogd.unrolled.cameras`."""
    noisy = degraded(clean, np.random.default_rng((round(1 / shot), number)), shot)
    return Piece(clean, noisy, (noisy - clean).std(), clean.mean(), Correlation.of(noisy - clean, DISTANCES))
