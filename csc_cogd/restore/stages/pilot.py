"""The pilot: a first estimate of what is missing, by biharmonic interpolation."""

from __future__ import annotations

from dataclasses import replace

from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore.stages.state import Recipe, TileState


def pilot(state: TileState, recipe: Recipe) -> TileState:
    """Fill what is missing by biharmonic interpolation."""
    estimate = fill_biharmonic(state.observed, state.missing, recipe.engine.backend)
    if state.trace:
        state.trace.step("pilot", 0, estimate)
    return replace(state, pilot=estimate, estimate=estimate)
