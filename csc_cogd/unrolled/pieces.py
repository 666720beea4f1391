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
MISJUDGED = 0.4
"""Standard deviation of the logarithm by which the level of a camera's noise that a network is told differs from it."""
LEVEL = 0.02
"""Added to the standard deviation of white noise, by which squared errors are divided: all levels count about alike."""
CAMERA_WEIGHT, CAMERA_LEVEL = 0.05, 0.01
"""Of squared errors under a camera's noise, and what is added to its standard deviation, by whose square they are divided:
most photographs have little noise, and what is lost of them counts as much as under more."""


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
    weight : float
        Of its squared error.
    correlation : Correlation, optional
        Of the noise, if it isn't white.
    """

    clean: Any
    noisy: Any
    sigma: Any
    mean: Any
    weight: float = 1.0
    correlation: Correlation | None = None

    def gains(self, network: Network) -> Any:
        """Return by what the network's thresholds grow differently than under white noise, (K, M), or 1."""
        return np.float32(1) if self.correlation is None else self.correlation.gains(network)


def white_piece(clean: np.ndarray, mean: np.float32, sigma_range: tuple[float, float], rng: np.random.Generator) -> Piece:
    """Add white noise of a standard deviation in a range, of 255."""
    sigma = np.float32(rng.uniform(*sigma_range) / 255)
    noisy = clean + sigma * rng.standard_normal(clean.shape, np.float32)
    return Piece(clean, noisy, sigma, mean, 1 / (float(sigma) + LEVEL))


def camera_piece(drawn: np.ndarray, mean: np.float32, crop: int, rng: np.random.Generator) -> Piece:
    """Make the noise of a camera or of film, cut a piece out, and tell of its noise about what an estimate would."""
    clean = softened(drawn, rng)
    noisy = degraded(clean, rng)
    sigma = float((noisy - clean).std())
    told = np.float32(sigma * np.exp(MISJUDGED * rng.standard_normal()))
    i, j = rng.integers(MARGIN + 1, size=2)
    inside = (slice(None), slice(i, i + crop), slice(j, j + crop))
    weight, correlation = CAMERA_WEIGHT / (sigma + CAMERA_LEVEL) ** 2, Correlation.of(noisy - clean, DISTANCES)
    return Piece(clean[inside], noisy[inside], told, mean, weight, correlation)


def white_test(clean: np.ndarray, sigma: float, number: int) -> Piece:
    """Add white noise of a standard deviation, of 255, to a photograph."""
    part, rng = np.float32(sigma / 255), np.random.default_rng((int(sigma), number))
    return Piece(clean, clean + part * rng.standard_normal(clean.shape, np.float32), part, clean.mean())


def camera_test(clean: np.ndarray, shot: float, number: int) -> Piece:
    """Take a photograph by a camera of a sensitivity, see :mod:`csc_cogd.unrolled.cameras`."""
    noisy = degraded(clean, np.random.default_rng((round(1 / shot), number)), shot)
    return Piece(clean, noisy, (noisy - clean).std(), clean.mean(), correlation=Correlation.of(noisy - clean, DISTANCES))
