"""The stages by which a tile is restored: each takes the tile's state and returns what it has become."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.engine import Engine
from csc_cogd.restore.noise import Noise
from csc_cogd.restore.operators import Operator
from csc_cogd.restore.report import SILENT, Reporter, TileTrace
from csc_cogd.restore.settings import Effort
from csc_cogd.unrolled.prior import Prior


@dataclass(frozen=True, eq=False)
class TileState:
    """What is known of a tile, on a scale where the image is in about [0, 1].

    Attributes
    ----------
    observed : (C, h, w) array of float
        0 where missing.
    missing : (C, h, w) bool array
    estimate : (C, h, w) array
        The latest one; behind an operator, (C, factor * h, factor * w).
    pilot, base : arrays
        The first estimate, and its smooth part: behind an operator, that of the scene.
    scene : array
        Behind an operator, all of the scene that the tile shows, of which `estimate` is a part.
    history : list of Iteration
        Of the code solve.
    passes : int
        Over similar patches.
    trace : TileTrace, optional
        Is told what the stages make of the tile.
    """

    observed: np.ndarray
    missing: np.ndarray
    estimate: np.ndarray = field(default_factory=partial(np.empty, 0))
    pilot: np.ndarray = field(default_factory=partial(np.empty, 0))
    base: np.ndarray = field(default_factory=partial(np.empty, 0))
    scene: np.ndarray = field(default_factory=partial(np.empty, 0))
    history: list[Iteration] = field(default_factory=list)
    passes: int = 0
    trace: TileTrace | None = None

    @property
    def known(self) -> np.ndarray:
        return ~self.missing


@dataclass(frozen=True, eq=False)
class Recipe:
    """What the stages are told: the same for all tiles of channels that are restored together.

    Attributes
    ----------
    dictionary : Dictionary
        With C channels; or gray, for each channel by itself.
    operator : Operator
    noise : Noise
    noise_sigma : float
        Standard deviation of the noise, on the scale of [0, 1].
    effort : Effort, or None
        Of filling and denoising.
    lmbda, tol : float
    max_iter : int
        Iterations of the code solve.
    engine : Engine
    level : float
        Mean of the values on the scale of [0, 1], with Poisson noise.
    blend_weight : float, or None
        Of the result against the pilot.
    prior : Prior, or None
        By which noise is taken off, in place of the code;
    means : tuple of float
        for it, the means of the image's channels, of which a tile is a part.
    reporter : Reporter
        Is told of progress within a tile.
    """

    dictionary: Dictionary
    operator: Operator
    noise: Noise
    noise_sigma: float
    effort: Effort | None
    lmbda: float
    tol: float
    max_iter: int
    engine: Engine
    level: float = 1.0
    blend_weight: float | None = None
    prior: Prior | None = None
    means: tuple[float, ...] = ()
    reporter: Reporter = SILENT

    def as_coded(self, *planes: np.ndarray) -> list[np.ndarray]:
        """Return planes (C, H, W) as the images that the dictionary codes."""
        return [as_coded(self.dictionary, plane) for plane in planes]


Stage = Callable[[TileState, Any], TileState]


def as_coded(dictionary: Dictionary, planes: np.ndarray) -> np.ndarray:
    """Return planes (C, H, W) as the images that a dictionary codes: one with channels, or each channel by itself."""
    return planes if dictionary.filters.ndim == 3 else planes[None]
