"""The pilot: a first estimate of what is missing, by biharmonic interpolation."""

from __future__ import annotations

from dataclasses import replace

from csc_cogd.biharmonic import TOLERANCE, fill_biharmonic
from csc_cogd.restore.stages.state import Recipe, TileState

BEFORE_PRIOR = 1e-3
"""The tolerance that does where a prior goes on from the pilot."""


def pilot(state: TileState, recipe: Recipe) -> TileState:
    """Fill what is missing by biharmonic interpolation."""
    tolerance = BEFORE_PRIOR if recipe.effort is not None and recipe.effort.pilot == "prior" else TOLERANCE
    estimate = fill_biharmonic(state.observed, state.missing, recipe.engine.backend, tolerance)
    if state.trace:
        state.trace.step("pilot", 0, estimate)
    return replace(state, pilot=estimate, estimate=estimate)
