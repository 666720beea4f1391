"""Counts of events such as photons: their noise made alike everywhere, so that it is removed as Gaussian noise is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.restore.noise import middle_of, noise_of

_OFFSET = 3 / 8
_FEW = 32  # values that occur, up to which one value and the next are taken to be one count apart
_ROUNDS = 5  # of estimating the gain, which the offset depends on a little


@dataclass(frozen=True)
class Counts:
    """Values that, times `gain`, are counts with Poisson noise, plus Gaussian noise of `read_noise` in the values' units.

    Examples
    --------
    >>> import numpy as np
    >>> counts = Counts(gain=0.5)
    >>> values = np.random.default_rng(0).poisson(30, 10_000) / 0.5
    >>> stabilized = counts.stabilized(values)
    >>> round(float(stabilized.std()), 1), round(float(counts.expected(stabilized.mean())))
    (1.0, 60)
    """

    gain: float
    read_noise: float = 0.0

    def stabilized(self, values: Any) -> np.ndarray:
        """Values with noise of standard deviation one [Anscombe 1948; with read noise Murtagh, Starck, Bijaoui 1995]."""
        counts = self.gain * np.asarray(values, np.float64)
        return 2 * np.sqrt(np.maximum(counts + _OFFSET + (self.gain * self.read_noise) ** 2, 0))

    def expected(self, stabilized: Any) -> np.ndarray:
        """Expectation of values whose stabilized ones have this expectation: the inverse without bias.

        In closed form [Mäkitalo, Foi 2011, eq. 6; with read noise 2013, eq. 12]; the algebraic inverse is too low for few
        counts.
        """
        d = np.maximum(stabilized, 2 * np.sqrt(_OFFSET))
        root = np.sqrt(1.5)
        counts = d**2 / 4 + root / 4 / d - 11 / 8 / d**2 + 5 / 8 * root / d**3 - 1 / 8
        return np.maximum(counts - (self.gain * self.read_noise) ** 2, 0) / self.gain


def estimate_gain(planes: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    """The gain with which the noise of channels, (H, W) values and what is known of them, has standard deviation one.

    Where so few values occur that they must be single counts, their distance tells more. NaN where no noise can be seen.
    """
    pieces = [(plane[middle_of(plane.shape)].astype(np.float64), known[middle_of(plane.shape)]) for plane, known in planes]
    values = np.unique(np.concatenate([np.unique(p[k]) for p, k in pieces]))
    if 1 < len(values) <= _FEW:
        return float(1 / np.diff(values).min())
    known = np.stack([k for _, k in pieces])
    gain = 1.0
    for number in range(_ROUNDS):
        offset = _OFFSET / gain if number else 0.0
        sigma = noise_of(np.stack([2 * np.sqrt(np.where(k, p, 0) + offset) for p, k in pieces]), known, "auto", 1.0)
        if not sigma > 0:
            return np.nan
        gain = sigma**-2
    return gain
