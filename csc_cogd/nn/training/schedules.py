"""Schedules: factors of the learning rate, as functions of the share of the training that is done, in [0, 1)."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, pi


def cosine(done: float) -> float:
    """Return the factor that falls from 1 to 0 along half a cosine [I. Loshchilov, F. Hutter, "SGDR", ICLR 2017, eq. 5]."""
    return (1 + cos(pi * done)) / 2


def step(done: float, at: Sequence[float] = (0.5, 0.75), factor: float = 0.1) -> float:
    """Return the power of `factor` that rises at each fraction of `at`: 1, 0.1, 0.01 [He et al., CVPR 2016, section 4.2].

    Examples
    --------
    >>> [step(done) for done in (0.49, 0.5)]
    [1.0, 0.1]
    """
    return float(factor ** sum(done >= fraction for fraction in at))


def warm_up(done: float, share: float) -> float:
    """Return the factor that rises linearly to 1 over the first `share`, then stays [P. Goyal et al. (2017), sec. 2.2]."""
    return done / share if done < share else 1.0
