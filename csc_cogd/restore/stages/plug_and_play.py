"""Similar patches behind an operator: what the code has made of the scene is refined as a plug-and-play prior.

Half-quadratic splitting [Zoran, Weiss 2011, "From learning models of natural image patches to whole image restoration"; with
any denoiser for the prior, Venkatakrishnan et al. 2013] takes turns between the picture,

    s = argmin_s 1/2 ||W^1/2 (H s - b)||^2 + 1/(2 tau^2) ||s - z||^2,      W = 1 / variance of the noise, 0 where missing,

and similar patches, which take s for z with white noise of standard deviation tau: the estimate z is that of nonlocal Bayes.
tau falls from turn to turn. The first z is the scene of the sparse code.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from csc_cogd.restore.nearest_scene import nearest_scene
from csc_cogd.restore.settings import PatchModel
from csc_cogd.restore.stages.nonlocal_bayes import estimate_once
from csc_cogd.restore.stages.state import Recipe, TileState

PATCHES = PatchModel(size=4, step=2, n_similar=40, n_estimated=40, shrinkage=0.0)


def refine_scene(state: TileState, recipe: Recipe) -> TileState:
    """Refine the scene of a code by similar patches, as the picture bears out."""
    operator, scene = recipe.operator, state.scene
    if min(scene.shape[1:]) < 2 * PATCHES.size or not operator.taus:
        return state
    variance = noise_variance(state, recipe)
    for number, tau in enumerate(operator.taus, 1):
        scene = nearest_scene(scene, state.observed, state.known, variance / tau**2, operator)
        scene = estimate_once(scene, scene, scene, PATCHES, recipe.engine.backend, noise=tau)
        if recipe.reporter.report("patches", number, len(operator.taus)):
            break
    scene = nearest_scene(scene, state.observed, state.known, variance / tau**2, operator)
    return replace(state, scene=scene, estimate=operator.crop(scene), passes=number)


def noise_variance(state: TileState, recipe: Recipe) -> np.ndarray:
    """Return the variance of the noise (C, H, W) on the scale of [0, 1]; of counts, it is as the values are."""
    sigma = max(recipe.noise_sigma, recipe.operator.rounding)
    if recipe.noise.fidelity != "poisson":
        return np.full(state.observed.shape, sigma**2)
    expected = np.maximum(recipe.operator.apply(state.scene), 0) / recipe.level
    return sigma**2 * np.maximum(expected, 0.02)


def scene_patches_memory(channels: int, scene: tuple[int, int]) -> int:
    """Return the bytes that refining channels of a scene (height, width) takes, as measured and a quarter more."""
    return 250 * channels * scene[0] * scene[1]
