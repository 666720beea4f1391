"""Adaptation: the dictionary learned further on the known pixels of the damaged image itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.csc.alternation import OuterIteration
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import learn_dictionary
from csc_cogd.engine import Engine
from csc_cogd.restore.observation import ScaledPlanes
from csc_cogd.restore.stages.base_layer import base_layer
from csc_cogd.restore.stages.state import as_coded

ROUNDS, RHO = 10, 1.5
PIECES, SIDE = 8, 96
LMBDA = 2.0  # times lmbda: filters are learned from sparser and smoother codes than images are restored with,
GRADIENT_PENALTY = 1.0  # or they take up the pattern of the missing pixels


def adapt_dictionary(
    dictionary: Dictionary, scaled: ScaledPlanes, lmbda: float, engine: Engine, callback: Callable[[OuterIteration], Any]
) -> Dictionary:
    """Continue learning a dictionary on an image, or on pieces all over it; `lmbda` is that of the code solve."""
    details, weights, backend = [], [], engine.backend
    for window in _pieces(*scaled.planes.shape[1:]):
        observed, missing = scaled.crop(*window)
        if not missing.all(axis=(1, 2)).any():
            base = base_layer(fill_biharmonic(observed, missing, backend), backend=backend)
            details.append(as_coded(dictionary, np.where(missing, 0.0, observed - base)))
            weights.append(as_coded(dictionary, ~missing))
    if not details:
        return dictionary
    shapes, counts = np.unique(dictionary.shapes, axis=0, return_counts=True)
    order = np.lexsort(dictionary.shapes.T[::-1])
    learned = learn_dictionary(
        np.concatenate(details),
        [int(count) for count in counts],
        [tuple(int(size) for size in shape) for shape in shapes],
        lmbda=LMBDA * lmbda,
        gradient_penalty=GRADIENT_PENALTY,
        rho=RHO,
        rho_data=RHO,
        max_iter=ROUNDS,
        code_iterations=8,
        filter_iterations=8,
        tol=0.0,
        start=Dictionary(dictionary.filters[order], dictionary.shapes[order]),
        callback=callback,
        weights=np.concatenate(weights),
        engine=engine,
    )
    return learned.dictionary


def _pieces(height: int, width: int) -> list[tuple[slice, slice]]:
    """Return the whole of a small image; of others, pieces that are spread over it."""
    side = SIDE
    if height * width <= PIECES * side**2 or min(height, width) < side:
        return [(slice(0, min(height, PIECES * side)), slice(0, min(width, PIECES * side)))]
    corners = [(top, left) for top in range(0, height - side + 1, side) for left in range(0, width - side + 1, side)]
    chosen = np.linspace(0, len(corners) - 1, PIECES).round().astype(int)
    return [(slice(top, top + side), slice(left, left + side)) for top, left in (corners[i] for i in chosen)]
