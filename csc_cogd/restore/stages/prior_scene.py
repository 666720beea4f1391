"""The prior behind an operator: a scene that photographs make likely, and that the picture is of.

Half-quadratic splitting takes turns between the picture, whose nearest scene s to the last estimate z is found, and the
prior, which takes s for an image with white noise of standard deviation tau [Venkatakrishnan, Bouman, Wohlberg 2013,
"Plug-and-play priors for model based reconstruction"; Zhang et al. 2021, "Plug-and-play image restoration with deep denoiser
prior"]:

    s_k = argmin_s 1/2 ||W^1/2 (H s - b)||^2 + 1/(2 lambda tau_k^2) ||s - z_{k-1}||^2,     z_k = prior(s_k, tau_k),

with lambda a constant, W = 1 / variance of the noise, 0 where missing, and tau falling geometrically. The first z is the
smooth base layer.

What the prior takes off can't be more than tau says: where it is, the picture has more noise than was told or estimated, and
is trusted less. The number of turns is fixed, and they end earlier once the estimate explains the picture better than its
noise lets anything do, moves clearly more than before, or explains the picture clearly worse: so they can't diverge. The
result is the last good estimate, or the base layer, where none of them explains the picture better.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from csc_cogd.restore.nearest_scene import nearest_scene
from csc_cogd.restore.operators import Operator
from csc_cogd.restore.stages.state import Recipe, TileState
from csc_cogd.unrolled.correlated import OPPONENT
from csc_cogd.unrolled.inference import SIDE, denoise_planes
from csc_cogd.unrolled.prior import Prior

FIRST_TAU, LEAST_TAU = 49 / 255, 4 / 255
"""Below 3 / 255, the prior has seen no noise."""
MOST_TAKEN = 0.9
"""Mean square of what the prior takes off, to tau^2, above which the picture has more noise than was thought:"""
DOUBT, MOST_DOUBTS = 4.0, 6  # times more in variance, so often in a turn at most
LAST_TAU = 1.4  # to the standard deviation of the noise
TURNS = {False: 8, True: 16}  # of a blur; of a reduction, whose scene is known less
LAMBDA = 0.23
OVERFIT, BAD_FIT = 0.65, 4.0  # of the residual's mean square to the variance of the noise
GROWTH = 1.5  # of the mean square of a turn's change, or of the residual, beside the least before
FAINTEST = 0.05  # of the mean: noise of counts isn't taken to be fainter than there
FIT = 0.005
"""Variance of the picture's noise to that of the scene's error, where a picture without noise is fitted at last."""


def prior_scene(state: TileState, recipe: Recipe) -> TileState:
    """Refine the base layer by the picture and the prior in turn."""
    assert recipe.prior is not None
    operator, known = recipe.operator, state.known
    variance, relative = scene_noise(state, recipe)
    reduced = operator.factor > 1
    taus = falling_taus(recipe.noise_sigma, TURNS[reduced])
    scene, number = state.base, 0
    least_move, least_misfit = np.inf, np.inf
    for number, tau in enumerate(taus, 1):
        for _ in range(MOST_DOUBTS):
            fitted = nearest_scene(scene, state.observed, known, LAMBDA * variance / tau**2, operator)
            estimate = denoised(recipe.prior, fitted, tau * relative, number, recipe)
            if np.mean((estimate - fitted) ** 2) <= MOST_TAKEN * tau**2 * np.mean(relative**2):
                break
            variance = DOUBT * variance
        move, misfit = float(np.mean((estimate - scene) ** 2)), misfit_of(estimate, state, variance, operator)
        if not (move <= GROWTH * least_move and misfit <= GROWTH * max(least_misfit, 1.0)):
            break
        scene, least_move, least_misfit = estimate, min(move, least_move), min(misfit, least_misfit)
        overfit = misfit < OVERFIT and recipe.noise_sigma > operator.rounding
        if recipe.reporter.report("prior", number, len(taus)) or overfit:
            break
    if least_misfit > max(BAD_FIT, misfit_of(state.base, state, variance, operator)):
        scene = state.base
    if reduced and recipe.noise_sigma <= operator.rounding:
        scene = nearest_scene(scene, state.observed, known, np.full(variance.shape, FIT), operator)
    return replace(state, scene=scene, estimate=operator.crop(scene), passes=number)


def falling_taus(noise_sigma: float, turns: int) -> np.ndarray:
    """Return how uncertain scenes are taken to be in turn, for pictures in [0, 1] with noise of a standard deviation."""
    last = max(LAST_TAU * noise_sigma, LEAST_TAU)
    return np.geomspace(max(FIRST_TAU, last), last, turns)


def scene_noise(state: TileState, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Return the variance of the noise (C, H, W) that the picture is fitted with, and how uncertain places of the scene are.

    The latter, (height, width), is relative. The noise of counts grows with the values, and so does the uncertainty of what
    is behind them: their ratio, by which the picture is fitted, is the same everywhere.
    """
    sigma, base = max(recipe.noise_sigma, recipe.operator.rounding), state.base
    relative = np.ones(base.shape[1:])
    if recipe.noise.fidelity == "poisson":
        relative = np.sqrt(np.maximum(base.mean(axis=0) / recipe.level, FAINTEST))
    return np.full(state.observed.shape, sigma**2), relative


def misfit_of(scene: np.ndarray, state: TileState, variance: np.ndarray, operator: Operator) -> float:
    """Return the mean square of what a scene leaves of the picture, to the variance of the noise."""
    residual = operator.apply(scene) - state.observed
    return float(np.mean((residual**2 / variance)[state.known]))


def denoised(prior: Prior, planes: np.ndarray, tau: np.ndarray, number: int, recipe: Recipe) -> np.ndarray:
    """Return the prior's estimate of planes (C, H, W) with noise tau (H, W), turned and mirrored by their number.

    Its filters lie on a coarser grid than pixels: from turn to turn, they see the scene in another way. Of color, a gray
    prior takes luminance, as the mean of the channels, and two color differences, each by itself.
    """
    means, backend = np.array(recipe.means), recipe.engine.backend
    turned, tau = (
        np.rot90(array[..., ::-1] if number & 4 else array, number, axes=(-2, -1)) for array in (planes, tau)
    )  # fmt: skip
    if len(planes) == 3 and prior.kind == "gray":
        scales = np.sqrt([3, 1, 1])[:, None, None]
        parts, means = np.tensordot(OPPONENT, turned, 1) / scales, OPPONENT @ means / scales[:, 0, 0]
        estimates = [
            denoise_planes(prior.network, part[None], tau / scale, backend, means=mean)
            for part, scale, mean in zip(parts, scales[:, 0, 0], means, strict=True)
        ]
        estimate = np.tensordot(OPPONENT.T, np.concatenate(estimates) * scales, 1)
    else:
        estimate = denoise_planes(prior.network, turned, tau, backend, means=means)
    back = np.rot90(estimate, -number, axes=(1, 2))
    return np.asarray(back[:, :, ::-1] if number & 4 else back, np.float64)


def scene_memory(prior: Prior, channels: int, scene: tuple[int, int], threads: int) -> int:
    """Return the bytes that restoring channels of a scene (height, width) takes, as measured and a quarter more.

    Each thread has the codes of a piece of a channel at a time; scenes, pictures and spectra are of double precision.
    """
    network, planes = prior.network.shape, channels * scene[0] * scene[1]
    side = SIDE * 3 // 2 + 2 * network.halo
    coded = min(scene[0], side) * min(scene[1], side)
    at_once = min(threads, channels)
    return at_once * 6 * network.n_filters // network.stride**2 * coded + 120 * planes + 100 * scene[0] * scene[1]
