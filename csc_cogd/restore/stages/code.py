"""The code: what is left beside the base layer, coded sparsely over a dictionary from the known values alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from csc_cogd.csc.codes import reconstruct_images, sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.restore.stages.state import Recipe, TileState

GRADIENT_PENALTY = 2.0  # times lmbda
RHO, RHO_DATA = 0.15, 0.3


def code(state: TileState, recipe: Recipe) -> TileState:
    """Code the detail of a tile; with the code's picture for an estimate of all values, known or not."""
    images, weights = recipe.as_coded(np.where(state.missing, 0.0, state.observed - state.base), state.known)
    found = sparse_code(
        images, recipe.dictionary, weights=weights, lmbda=recipe.lmbda, max_iter=recipe.max_iter, tol=recipe.tol,
        callback=lambda record: recipe.reporter.report("codes", record.iteration, recipe.max_iter, record),
        engine=recipe.engine,
    )  # fmt: skip
    coded = state.base + found.reconstruction.reshape(state.base.shape)
    if state.trace:
        state.trace.code(coded, found.codes, recipe.dictionary, found.history)
        state.trace.step("code", 1, coded)
    return replace(state, estimate=coded, history=found.history)


def code_scene(state: TileState, recipe: Recipe) -> TileState:
    """Code the detail over the filters as the operator shows them: the scene is what the filters make of the code."""
    operator, dictionary = recipe.operator, recipe.dictionary
    smooth = operator.apply(state.base)
    poisson = recipe.noise.fidelity == "poisson"
    if poisson:
        coded, weights = state.observed, state.known * recipe.level
    else:
        coded, weights = np.where(state.known, state.observed - smooth, 0.0), state.known
    images, weights, background = recipe.as_coded(*map(operator.on_grid, (coded, weights, smooth)))
    found = sparse_code(
        images, operator.through(dictionary), weights=weights, fidelity=recipe.noise.fidelity,
        background=background if poisson else None, l1_weights=frequency_weights(dictionary),
        lmbda=recipe.lmbda, gradient_penalty=GRADIENT_PENALTY * recipe.lmbda, max_iter=recipe.max_iter, tol=recipe.tol,
        rho=RHO, rho_data=RHO_DATA, engine=recipe.engine,
        callback=lambda record: recipe.reporter.report("codes", record.iteration, recipe.max_iter, record),
    )  # fmt: skip
    detail = reconstruct_images(found.codes, dictionary, device=recipe.engine.device).reshape(state.base.shape)
    scene = state.base + detail
    return replace(state, scene=scene, estimate=operator.crop(scene), history=found.history)


def frequency_weights(dictionary: Dictionary) -> np.ndarray:
    """Return l1 weights proportional to the filters' frequencies, geometric mean one.

    Natural images have little power at high frequencies, so a fine filter needs more evidence than a coarse one. With equal
    weights, fine filters fit the pixels that happen to be known and ring in the gaps between them.
    """
    frequencies = np.maximum(dictionary.center_frequencies(), 1e-3)
    return frequencies / np.exp(np.log(frequencies).mean())
