"""Pieces of photographs with noise, to learn from and to test on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.unrolled.cameras import MARGIN, degraded
from csc_cogd.unrolled.correlated import Correlation
from csc_cogd.unrolled.network import Network

DISTANCES = 8
"""Pixels below which noise is taken for correlated."""
MISJUDGED = 0.4
"""Standard deviation of the logarithm by which the level of a camera's noise that a network is told differs from it."""
SHARES = (0.2, 0.85)
"""Of the pixels of a piece that are missing, where they are missing one by one."""
SCATTERED, BLOCKS = 0.5, 0.3
"""How often pixels are missing one by one; and of the rest, how often in blocks."""
FILL_WEIGHT, FILL_LEVEL = 0.02, 0.01
"""Of squared errors of missing pixels, and what is added to the error of the first guess, by whose square they are
divided."""
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
    missing : (C, h, w) bool array, optional
        Where `noisy` is a first guess of missing pixels, whose squared errors alone count.
    """

    clean: Any
    noisy: Any
    sigma: Any
    mean: Any
    weight: float = 1.0
    correlation: Correlation | None = None
    missing: Any = None

    def gains(self, network: Network) -> Any:
        """Return by what the network's thresholds grow differently than under white noise, (K, M), or 1."""
        return np.float32(1) if self.correlation is None else self.correlation.gains(network)


def white_piece(clean: np.ndarray, mean: np.float32, sigma_range: tuple[float, float], rng: np.random.Generator) -> Piece:
    """Add white noise of a standard deviation in a range, of 255."""
    sigma = np.float32(rng.uniform(*sigma_range) / 255)
    noisy = clean + sigma * rng.standard_normal(clean.shape, np.float32)
    return Piece(clean, noisy, sigma, mean, 1 / (float(sigma) + LEVEL))


def camera_piece(clean: np.ndarray, noisy: np.ndarray, mean: np.float32, crop: int, rng: np.random.Generator) -> Piece:
    """Cut a piece out of a picture with a camera's or film's noise, and tell of that about what an estimate would."""
    sigma = float((noisy - clean).std())
    told = np.float32(sigma * np.exp(MISJUDGED * rng.standard_normal()))
    i, j = rng.integers(MARGIN + 1, size=2)
    inside = (slice(None), slice(i, i + crop), slice(j, j + crop))
    weight, correlation = CAMERA_WEIGHT / (sigma + CAMERA_LEVEL) ** 2, Correlation.of(noisy - clean, DISTANCES)
    return Piece(clean[inside], noisy[inside], told, mean, weight, correlation)


def fill_piece(clean: np.ndarray, mean: np.float32, rng: np.random.Generator) -> Piece:
    """Take pixels away, one by one, in lines or in blocks, and guess them by biharmonic interpolation."""
    one_by_one, shape = rng.random() < SCATTERED, clean.shape[1:]
    missing = rng.random(shape) < rng.uniform(*SHARES) if one_by_one else lines_and_blocks(shape, rng)
    missing = np.broadcast_to(_neither_all_nor_none(missing), clean.shape)
    guess = fill_biharmonic(clean, missing)
    missed = float(((guess - clean)[missing] ** 2).mean())
    return Piece(clean, guess, np.float32(0), mean, FILL_WEIGHT / (missed + FILL_LEVEL**2), missing=missing)


def fill_test(clean: np.ndarray, share: float, number: int) -> Piece:
    """Take a share of all pixels away, or for a share of 0, what lines and blocks cover."""
    rng = np.random.default_rng((round(100 * share), number))
    missing = rng.random(clean.shape[1:]) < share if share else lines_and_blocks(clean.shape[1:], rng)
    missing = np.broadcast_to(_neither_all_nor_none(missing), clean.shape)
    return Piece(clean, fill_biharmonic(clean, missing), np.float32(0), clean.mean(), missing=missing)


def _neither_all_nor_none(missing: np.ndarray) -> np.ndarray:
    """Return a mask (h, w) with its first pixel known and the one in the middle missing."""
    height, width = missing.shape
    missing[0, 0], missing[height // 2, width // 2] = False, True
    return missing


def lines_and_blocks(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw lines, which bend, and blocks, of up to a dozen pixels in width, (h, w) bool."""
    height, width = shape
    picture = Image.new("L", (width, height))
    pencil = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(1, 6)) * max(shape) // 64):
        at = rng.random(2) * (width, height)
        if rng.random() < BLOCKS:
            sides = rng.integers(2, 13, size=2)
            pencil.rectangle([*at, *(at + sides - 1)], fill=1)
        else:
            steps = rng.normal(0, 20, 2) + rng.normal(0, 6, (4, 2))
            pencil.line([tuple(point) for point in at + np.cumsum(steps, axis=0)], fill=1, width=int(rng.integers(1, 8)))
    return np.array(picture) > 0


def white_test(clean: np.ndarray, sigma: float, number: int) -> Piece:
    """Add white noise of a standard deviation, of 255, to a photograph."""
    part, rng = np.float32(sigma / 255), np.random.default_rng((int(sigma), number))
    return Piece(clean, clean + part * rng.standard_normal(clean.shape, np.float32), part, clean.mean())


def camera_test(clean: np.ndarray, shot: float, number: int) -> Piece:
    """Take a photograph by a camera of a sensitivity, see :mod:`csc_cogd.unrolled.cameras`."""
    noisy = degraded(clean, np.random.default_rng((round(1 / shot), number)), shot)
    return Piece(clean, noisy, (noisy - clean).std(), clean.mean(), correlation=Correlation.of(noisy - clean, DISTANCES))
