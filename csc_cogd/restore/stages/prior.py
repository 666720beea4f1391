"""The prior: noise taken off by an unrolled network, and then from similar patches.

The network sees each place alone, and similar patches know nothing of images at large; each mends what the other misses. So
patches that look alike in the network's estimate are estimated twice: from their noisy values, as that estimate has lost
some texture, and then under the Gaussian of a mean of both. The result is the mean of what the network and what patches say:
better than either where there is texture, and near the better one where there is none. All shares were chosen on photographs
that the prior hadn't seen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.restore.settings import Effort, PatchModel, Solve
from csc_cogd.restore.stages.nonlocal_bayes import estimate_once
from csc_cogd.restore.stages.state import Recipe, TileState
from csc_cogd.unrolled.correlated import OPPONENT
from csc_cogd.unrolled.inference import SIDE, TURNS, code_planes, denoise_planes, turned_mean
from csc_cogd.unrolled.network import COLUMNS_ON_GPU
from csc_cogd.unrolled.prior import Prior

NOISY_PATCHES = PatchModel(size=6, step=6, n_estimated=60, shrinkage=0.0)
THIRD_PATCHES = PatchModel(size=6, step=4, n_estimated=60, shrinkage=0.0)
FINAL_STEP = {"fast": 6, "default": 6, "best": 4}  # the distance of reference patches
PASSES = {
    ("gray", 1): {"fast": 0, "default": 2, "best": 2}, ("gray", 3): {"fast": 2, "default": 3, "best": 3},
    ("color", 3): {"fast": 0, "default": 3, "best": 3},
}  # fmt: skip
"""By kind of prior and number of channels. In color, the gray prior alone is worse than codes and patches."""
NOISY_SHARE = 0.4
"""Of the estimate from noisy patches in the second pilot."""
PATCHES_SHARE = {("gray", 1): (0.5, 0.5), ("gray", 3): (0.5, 1.0), ("color", 3): (0.7, 0.7)}
"""Of the estimate from similar patches in the result, of luminance and of color differences, which the gray prior knows less
of."""


def prior_effort(prior: Prior, solve: Solve, channels: int) -> Effort:
    """Return what is spent on similar patches after the prior.

    Raises
    ------
    InputError
        If the prior is one for color, and there aren't three channels.
    """
    if prior.kind == "color" and channels != 3:
        raise InputError("prior", "is for color, but the image isn't", "use a gray one")
    model = PatchModel(size=8, step=FINAL_STEP[solve.effort], n_estimated=60, shrinkage=0.0)
    return Effort(0, PASSES[prior.kind, 3 if channels == 3 else 1][solve.effort], model, check=False)


def prior_memory(prior: Prior, channels: int, shape: tuple[int, int], threads: int) -> int:
    """Return the bytes that denoising channels of a shape (H, W) takes, as measured and a quarter more.

    Each thread has the codes of a piece at a time, and planes; patches take planes once.
    """
    network, planes = prior.network.shape, channels * (shape[0] + 16) * (shape[1] + 16)
    side = SIDE * 3 // 2 + 2 * network.halo
    coded = min(shape[0] + 16, side) * min(shape[1] + 16, side)
    return min(threads, TURNS) * (6 * network.n_filters // network.stride**2 * coded + 60 * planes) + 60 * planes


def fill_memory(prior: Prior, channels: int, shape: tuple[int, int], threads: int) -> int:
    """Return the bytes that filling channels of a shape (H, W) by a prior takes, as :func:`prior_memory` does."""
    network, side = prior.network.shape, SIDE * 3 // 2 + 2 * prior.network.shape.halo
    coded = min(shape[0] + 16, side) * min(shape[1] + 16, side)
    return min(threads, channels) * 6 * network.n_filters // network.stride**2 * coded + 60 * channels * shape[0] * shape[1]


def gpu_memory(prior: Prior, shape: tuple[int, int]) -> int:
    """Return the bytes that a prior takes on a GPU beyond what it does on the CPU: it works on more places at a time."""
    network = prior.network.shape
    return 4 * min(shape[0] * shape[1] // network.stride**2, COLUMNS_ON_GPU) * (network.taps + network.n_filters)


def prior_estimate(state: TileState, recipe: Recipe) -> TileState:
    """Take the noise off by the prior."""
    assert recipe.prior is not None
    means = np.array(recipe.means)
    estimate = denoised(recipe.prior, state.observed, recipe.noise_sigma, recipe.engine, means)
    if state.trace:
        luminance = state.observed if recipe.prior.kind == "color" else state.observed.mean(axis=0, keepdims=True)
        codes = code_planes(recipe.prior.network, luminance, recipe.noise_sigma / np.sqrt(len(means)))
        state.trace.code(estimate, codes[None, recipe.prior.used], recipe.prior.dictionary, [])
        state.trace.step("prior", 1, estimate)
    recipe.reporter.report("prior", 1, 1)
    return replace(state, pilot=estimate, estimate=estimate)


def similar_patches(state: TileState, recipe: Recipe) -> TileState:
    """Refine the prior's estimate from similar patches, as often as the effort says."""
    assert recipe.effort is not None
    pilot, backend, sigma = state.estimate, recipe.engine.backend, recipe.noise_sigma
    final, passes = recipe.effort.patches, recipe.effort.passes
    assert recipe.prior is not None
    shares = PATCHES_SHARE[recipe.prior.kind, 3 if len(pilot) == 3 else 1]
    if not passes or min(pilot.shape[1:]) < 2 * final.size:
        return state
    noisy = estimate_once(pilot, state.observed, state.observed, NOISY_PATCHES, backend, noise=sigma, source_noise=sigma)
    estimate, done = pilot + NOISY_SHARE * (noisy - pilot), 1
    for model in (final, THIRD_PATCHES)[: passes - 1]:
        if recipe.reporter.report("patches", done, passes):
            break
        estimate, done = estimate_once(estimate, estimate, state.observed, model, backend, noise=sigma), done + 1
        if state.trace:
            state.trace.step("patches", done, _mixed(pilot, estimate, shares))
    if done == passes:
        recipe.reporter.report("patches", done, passes)
    return replace(state, estimate=_mixed(pilot, estimate, shares), passes=done)


def _mixed(pilot: np.ndarray, estimate: np.ndarray, shares: tuple[float, float]) -> np.ndarray:
    """Return a mean of what the prior and what patches say, of luminance and of color differences."""
    if len(pilot) != 3:
        return pilot + shares[0] * (estimate - pilot)
    change = np.tensordot(OPPONENT, estimate - pilot, 1)
    change *= np.array([shares[0], shares[1], shares[1]])[:, None, None]
    return pilot + np.tensordot(OPPONENT.T, change, 1)


def fill_by_prior(state: TileState, recipe: Recipe) -> TileState:
    """Fill what is missing by a prior that learned to, from what biharmonic interpolation makes of it."""
    assert recipe.prior is not None
    guess, missing, means = np.where(state.known, state.observed, state.pilot), state.missing, np.array(recipe.means)
    mixing = OPPONENT if len(guess) == 3 and (missing == missing[:1]).all() else np.eye(len(guess))
    scales = mixing.sum(axis=1).clip(1)  # luminance is in [0, 1] as the mean of the channels
    mixed, means = (np.tensordot(mixing, values, 1) for values in (guess, means))
    network, backend, scales = recipe.prior.network, recipe.engine.backend, scales[:, None, None]
    filled = denoise_planes(network, mixed / scales, 0.0, backend, means=means / scales[:, 0, 0], missing=missing)
    filled = np.tensordot(mixing.T, filled * scales, 1)
    estimate = np.where(missing, filled, state.observed)
    if state.trace:
        state.trace.step("prior", 1, estimate)
    return replace(state, estimate=estimate)


def denoised(prior: Prior, planes: np.ndarray, sigma: float, engine: Engine, means: np.ndarray) -> np.ndarray:
    """Return the mean of the prior's estimates of planes (C, H, W), turned and mirrored, of an image with means (C,).

    Of color, a gray prior takes luminance, as the mean of the channels, and two color differences, each by itself.
    """
    if len(planes) == 1 or prior.kind == "color":
        return turned_mean(prior.network, planes, sigma, engine, means)
    scales = np.sqrt([3, 1, 1])
    estimates = [
        turned_mean(prior.network, plane[None] / scale, sigma / scale, engine, mean / scale) * scale
        for plane, mean, scale in zip(np.tensordot(OPPONENT, planes, 1), OPPONENT @ means, scales, strict=True)
    ]
    return np.tensordot(OPPONENT.T, np.concatenate(estimates), 1)
