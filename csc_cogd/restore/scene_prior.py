"""Which prior finds the scene behind an operator, if any."""

from __future__ import annotations

from dataclasses import replace

from csc_cogd.errors import InputError
from csc_cogd.restore.prior import check_prior
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.scene_noise import SceneNoise
from csc_cogd.restore.settings import Solve
from csc_cogd.unrolled.prior import Prior


def with_scene_prior(problem: Problem, prior: Prior | str, noise: str, solve: Solve) -> Problem:
    """Return a problem behind an operator with the prior to be used: the one given, or the shipped one where it serves.

    Raises
    ------
    InputError
        If a prior is given that doesn't go with the rest.
    """
    check_prior(prior, noise, solve)
    if not isinstance(prior, Prior):
        coded = problem.dictionary is not None or bool(solve.of_the_code)
        return _with(problem, Prior.default("gray")) if prior == "default" and not coded else problem
    if problem.dictionary is not None:
        fix = "leave out {prior}, or it"
        raise InputError("dictionary", "belongs to the sparse code that a prior takes the place of", fix)
    return _with(problem, prior)


def _with(problem: Problem, prior: Prior) -> Problem:
    """Return a problem with a prior, by which what compression has lost of colors isn't amplified: luminance counts."""
    noise = problem.noise
    return replace(problem, prior=prior, noise=replace(noise, color=1.0) if isinstance(noise, SceneNoise) else noise)


def check_channels(prior: Prior, channels: int) -> None:
    """Raise InputError where so many channels can't be restored together by a prior."""
    if prior.kind == "color" and channels != 3:
        raise InputError("prior", "is for color, but the image isn't", "use a gray one")
