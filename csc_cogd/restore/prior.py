"""Which prior takes the noise off an image, fills it, or finds the scene behind an operator, if any."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.errors import InputError, Remark
from csc_cogd.restore.camera_noise import KINDS
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.scene_noise import SceneNoise
from csc_cogd.restore.settings import Solve
from csc_cogd.unrolled.prior import Prior

LEAST_NOISE = 0.0175
"""About 4.5 of 255. Under less, codes and patches of the image itself are better, by 0.1 dB at 3 of 255."""
INCOMPLETE = Remark("prior", "wasn't used, as it is for images of which nothing is missing", "fill them first, by inpaint")


def as_restored(
    observation: Observation, dictionary: Dictionary | None, prior: Prior | str, noise: str, noise_sigma: Any
) -> Observation:
    """Return an observation of one channel if all are the same, unless something is given that is for several."""
    for_color = dictionary is not None or np.ndim(noise_sigma) > 0 or (isinstance(prior, Prior) and prior.kind == "color")
    return observation if for_color or noise == "impulse" else observation.without_copies()


def kind_of_noise(noise: str, dictionary: Dictionary | None, prior: Prior | str, solve: Solve) -> str:
    """Return the kind of noise: white in place of ``"auto"`` with settings of what removes white noise alone.

    Raises
    ------
    InputError
        If these are given with a kind of noise that they have no effect on.
    """
    given = solve.of_the_code or ("dictionary" if dictionary is not None else "")
    for_white = isinstance(prior, Prior) and prior.noise == "white"
    if noise in KINDS and given:
        raise InputError(given, f"has no effect on noise {noise!r}", "leave it out, or use {noise} 'white'")
    return "white" if noise == "auto" and (given or for_white) else noise


def with_prior(problem: Problem, prior: Prior | str, noise: str, solve: Solve) -> Problem:
    """Return a problem of denoising with the prior to be used: the one given, or the shipped one where ``"default"`` fits.

    Raises
    ------
    InputError
        If a prior is given that doesn't go with the rest.
    """
    check_prior(prior, noise, solve)
    n_channels = len(problem.observation.planes)
    if problem.correlated is not None:
        return replace(problem, prior=_for_correlated_noise(prior, n_channels))
    coded = problem.dictionary is not None or solve.of_the_code
    if not isinstance(prior, Prior):
        alike = len(set(np.ravel(getattr(problem.noise, "noise_sigma", 0)))) == 1
        serves = prior == "default" and alike and noise != "impulse" and not coded
        shipped = (Prior.default("gray"), Prior.default("color")) if serves else (None, None)
        return replace(problem, prior=shipped[0], color_prior=shipped[1], prior_above=LEAST_NOISE)
    if problem.dictionary is not None:
        raise _taken_by("dictionary")
    unused = [INCOMPLETE] if problem.observation.missing.any() else []
    return replace(problem, prior=prior, remarks=(*problem.remarks, *unused))


def _for_correlated_noise(prior: Prior | str, n_channels: int) -> Prior | None:
    """Return the prior that makes the pilot where noise isn't white.

    Raises
    ------
    InputError
        If one is given for another number of channels.
    """
    kind = "color" if n_channels == 3 else "gray"
    if not isinstance(prior, Prior):
        return Prior.default(kind) if prior == "default" else None
    if prior.kind != kind:
        fix = "give one for {noise} 'white', or leave it out"
        raise InputError("prior", f"is for {prior.kind} images, and this one, with a camera's noise, is {kind}", fix)
    return prior


def with_fill_prior(problem: Problem, prior: Prior | str, solve: Solve) -> Problem:
    """Return a problem of inpainting with the prior to be used: the one given, or the shipped one where it serves.

    Raises
    ------
    InputError
        If a prior is given that doesn't go with the rest.
    """
    noisy = getattr(problem.noise, "noise_sigma", None) is not None
    check_fill_prior(prior, solve, noisy)
    if isinstance(prior, Prior) and problem.dictionary is not None:
        raise _taken_by("dictionary")
    return replace(problem, fill_prior="none" if noisy else prior)


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
        return _with_kept_color(problem, Prior.default("gray")) if prior == "default" and not coded else problem
    if problem.dictionary is not None:
        raise _taken_by("dictionary")
    return _with_kept_color(problem, prior)


def _with_kept_color(problem: Problem, prior: Prior) -> Problem:
    """Return a problem with a prior, by which what compression has lost of colors isn't amplified: luminance counts."""
    noise = problem.noise
    return replace(problem, prior=prior, noise=replace(noise, color=1.0) if isinstance(noise, SceneNoise) else noise)


def check_channels(prior: Prior, channels: int) -> None:
    """Raise InputError where so many channels can't be restored together by a prior."""
    if prior.kind == "color" and channels != 3:
        raise InputError("prior", "is for color, but the image isn't", "use a gray one")


def check_fill_prior(prior: Prior | str, solve: Solve, noisy: bool) -> None:
    """Raise InputError for a prior that is none, doesn't fill, or doesn't go with settings of the code or with noise."""
    if not isinstance(prior, Prior):
        if prior not in ("default", "none"):
            raise _no_prior(prior)
    elif prior.noise != "missing" or prior.kind != "gray":
        raise InputError("prior", "isn't one that fills what is missing", "learn one by learn-prior with noise 'missing'")
    elif coded := solve.of_the_code or ("learn" if solve.learn else ""):
        raise _taken_by(coded)
    elif noisy:
        raise InputError("noise_sigma", "isn't known to a prior that fills", "leave out {prior}, or it")


def check_prior(prior: Prior | str, noise: str, solve: Solve) -> None:
    """Raise InputError for a prior that is none, or doesn't go with the noise or settings of the code."""
    if not isinstance(prior, Prior):
        if prior not in ("default", "none"):
            raise _no_prior(prior)
        return
    if prior.noise == "missing":
        raise InputError("prior", "fills what is missing, and takes no noise off", "leave it out, or give it to inpaint")
    if noise == "impulse":
        raise InputError("prior", "doesn't take off impulse noise", "leave it out")
    if coded := solve.of_the_code:
        raise _taken_by(coded)


def _no_prior(given: Any) -> InputError:
    return InputError("prior", f"must be a Prior, 'default' or 'none', got {given!r}", "read a file by Prior.load")


def _taken_by(argument: str) -> InputError:
    return InputError(argument, "belongs to the sparse code that a prior takes the place of", "leave out {prior}, or it")
