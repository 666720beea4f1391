"""The pilot, and how far to trust what is made of it, measured on known pixels hidden for the purpose.

The pilot is a first estimate of what is missing, by biharmonic interpolation. Where an image is smooth, that can hardly be
beaten; where it has edges and texture, codes and similar patches are better by decibels. The least squares weight between
the two is estimated by cross-validation, on a few tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from csc_cogd.biharmonic import TOLERANCE, fill_biharmonic
from csc_cogd.restore.observation import ScaledPlanes
from csc_cogd.restore.report import SILENT
from csc_cogd.restore.settings import Effort
from csc_cogd.restore.stages.base_layer import low_pass
from csc_cogd.restore.stages.code import code
from csc_cogd.restore.stages.nonlocal_bayes import nonlocal_bayes
from csc_cogd.restore.stages.prior import fill_by_prior
from csc_cogd.restore.stages.state import Recipe, Stage, TileState

TILE, TILES = 96, 4
HIDDEN = 0.1
DOUBTFUL = 0.3
SPARSE_DAMAGE = 0.25
SMALLEST = 32
BEFORE_PRIOR = 1e-3
"""The tolerance that does where a prior goes on from the pilot."""


def pilot(state: TileState, recipe: Recipe) -> TileState:
    """Fill what is missing by biharmonic interpolation."""
    tolerance = BEFORE_PRIOR if recipe.effort is not None and recipe.effort.pilot == "prior" else TOLERANCE
    estimate = fill_biharmonic(state.observed, state.missing, recipe.engine.backend, tolerance)
    if state.trace:
        state.trace.step("pilot", 0, estimate)
    return replace(state, pilot=estimate, estimate=estimate)


def refinement(effort: Effort) -> Sequence[Stage]:
    """Return the stages between the pilot and its comparison with what they have made of it."""
    begin: Sequence[Stage] = {"code": (low_pass, code), "prior": (fill_by_prior,), "biharmonic": ()}[effort.pilot]
    return (*begin, nonlocal_bayes)


def refined(state: TileState, recipe: Recipe) -> np.ndarray:
    """Return what the stages of refinement make of a tile with a pilot; nobody is told."""
    assert recipe.effort is not None
    for stage in refinement(recipe.effort):
        state = stage(state, replace(recipe, reporter=SILENT))
    return state.estimate


def blend(state: TileState, recipe: Recipe) -> TileState:
    """Mix what is missing with the pilot, where the weight between them was measured."""
    if recipe.blend_weight is None:
        return state
    mixed = state.pilot + recipe.blend_weight * (state.estimate - state.pilot)
    return replace(state, estimate=np.where(state.missing, mixed, state.estimate))


def cross_validated_weight(restore: Callable[[TileState], np.ndarray], scaled: ScaledPlanes) -> float:
    """Return the weight a in [0, 1] for which ``pilot + a * (restored - pilot)`` is closest to hidden known pixels.

    From 0.3 on, it is 1: a tile holds fewer similar patches than the image, so the measure is a pessimist's, and is acted
    on only where it finds the restoration hardly better than its pilot.

    Where little is missing, the mask itself, moved to known places, says what to hide: text and scratches stay text and
    scratches. Where much is missing, a tenth of the known pixels is hidden at random.

    Parameters
    ----------
    restore : callable
        Takes the state of a tile with its pilot; returns the tile restored: what is to be judged.
    scaled : ScaledPlanes

    Returns
    -------
    float
        1 for images too small to judge.
    """
    damaged = np.asarray(scaled.missing.any(axis=0))
    side = min(TILE, *damaged.shape)
    if side < SMALLEST:
        return 1.0
    generator = np.random.default_rng((TILE, TILES))  # not a seed that a user's mask may have been drawn with
    product = square = 0.0
    for window in _tiles(damaged, side):
        truth, missing = scaled.crop(*window)
        if missing.mean() < SPARSE_DAMAGE:
            hidden = np.roll(missing, (side // 3, side // 3), axis=(1, 2)) & ~missing
        else:
            hidden = (generator.random(missing.shape[1:]) < HIDDEN) & ~missing
        missing = missing | hidden
        if not hidden.any() or missing.all(axis=(1, 2)).any():
            continue
        observed = np.where(missing, 0.0, truth)
        pilot = fill_biharmonic(observed, missing)
        change = (restore(TileState(observed, missing, pilot, pilot)) - pilot)[hidden]
        product += (truth - pilot)[hidden] @ change
        square += change @ change
    weight = product / square if square > 1e-30 else 1.0  # equal to its pilot: it can't be worse
    return float(max(weight, 0.0)) if weight < DOUBTFUL else 1.0


def _tiles(missing: np.ndarray, side: int) -> list[tuple[slice, slice]]:
    """Return the tiles of a grid with most missing pixels, but not without known ones."""
    corners = [
        (top, left)
        for top in range(0, missing.shape[0] - side + 1, side)
        for left in range(0, missing.shape[1] - side + 1, side)
    ]
    counts = [missing[top : top + side, left : left + side].sum() for top, left in corners]
    best = np.argsort(counts, kind="stable")[::-1][:TILES]
    return [(slice(top, top + side), slice(left, left + side)) for top, left in (corners[i] for i in best)]
