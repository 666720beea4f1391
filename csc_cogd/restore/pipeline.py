"""The way from a damaged picture to a restored one that `inpaint` and `denoise` share.

Pilot, base layer, sparse code of what is left, refinement from similar patches: each takes the last one's result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_erosion

from csc_cogd.backend import get_backend
from csc_cogd.csc.admm import Iteration
from csc_cogd.csc.codes import SparseCodes, sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import learn_dictionary
from csc_cogd.errors import InputError
from csc_cogd.restore.base_layer import base_layer, pilot_estimate
from csc_cogd.restore.coding import Progress, frequency_weights
from csc_cogd.restore.similar import PatchModel, refine
from csc_cogd.restore.trust import trust_in

LMBDA, LMBDA_NOISE = 0.005, 2.0  # the latter times the noise's standard deviation
GRADIENT_PENALTY = 0.01
RHO, RHO_DATA = 30.0, 60.0  # times lmbda
WIDE = 0.09  # fraction of missing values inside of holes from which larger patches are better
STRONG_NOISE = 0.12  # more passes than two blur what is left under it
LEARNING_ROUNDS, LEARNING_RHO = 10, 1.5
LEARNING_LMBDA = 6.0  # times lmbda: filters are learned from sparser and smoother codes than pictures are restored with,
LEARNING_GRADIENT_PENALTY = 1.0  # or they take up the pattern of the missing pixels


@dataclass(frozen=True)
class Effort:
    """How much is spent on a picture.

    Attributes
    ----------
    max_iter : int
        Iterations of the code solve. Stopping early is part of the regularisation: many more don't improve the picture.
    passes : int
        Of the refinement.
    patches : PatchModel
    learn : bool
        Adapt the dictionary to the picture first.
    check : bool
        Measure how far to trust the result against biharmonic interpolation.
    """

    max_iter: int
    passes: int
    patches: PatchModel
    learn: bool = False
    check: bool = True


EFFORTS = ("fast", "default", "best")


def check_effort(name: str) -> None:
    if name not in EFFORTS:
        raise InputError(f"effort: {name!r} is unknown: choose {', '.join(map(repr, EFFORTS))}")


def choose_effort(name: str, missing: np.ndarray, noise: float) -> Effort:
    """Settings for a damage: (C, H, W) bool array of missing values, and noise for pictures in [0, 1]."""
    check_effort(name)
    fast, best, channels = name == "fast", name == "best", len(missing)
    if noise:
        patches = PatchModel(size=6 if channels == 1 else 5, step=4 if fast else 2 if best else 3, solved=60, shrinkage=0.0)
        return Effort(8 if fast else 40, 3 if noise < STRONG_NOISE else 2, patches, check=not fast)
    wide = _inside_holes(missing) > WIDE
    size = (8 if wide else 6) if channels == 1 else (6 if wide else 5)  # colours are estimated together
    patches = PatchModel(size=size, step=3 if best else 4, solved=24 if best else 16)
    max_iter, passes = {"fast": (8, 4), "default": (20, 6), "best": (30, 12)}[name]
    if wide and not fast:
        passes += passes // 3
    return Effort(max_iter, passes, patches, check=not fast)


def _inside_holes(missing: np.ndarray) -> float:
    """Fraction of the missing values that have no known neighbour; high for large holes, and where nearly all is missing."""
    inner = np.array([binary_erosion(plane, np.ones((3, 3), bool), border_value=1) for plane in missing])
    return float(inner.sum() / max(missing.sum(), 1))


@dataclass(frozen=True, eq=False)
class Stages:
    """What was done to a group of channels: see :func:`restore_channels`.

    `trust` is the weight of the result against biharmonic interpolation, None where it wasn't measured.
    """

    dictionary: Dictionary
    lmbda: float
    history: list[Iteration]
    passes: int
    trust: float | None


def restore_channels(
    observed: np.ndarray,
    missing: np.ndarray,
    dictionary: Dictionary,
    effort: Effort,
    *,
    noise: float = 0.0,
    lmbda: float | None = None,
    tol: float = 0.0,
    engine: dict[str, Any],
    callback: Callable[[Progress], Any] | None = None,
) -> tuple[np.ndarray, Stages]:
    """Restore channels that are coded together, on the scale of [0, 1].

    Parameters
    ----------
    observed : (C, H, W) array of float
    missing : (C, H, W) bool array
    dictionary : Dictionary
        With C channels; or grey, for each channel by itself.
    effort : Effort
    noise : float
        Standard deviation of the noise in `observed`.
    lmbda : float, optional
        Weight of the l1 term; default: by the noise.
    tol, callback
        As in :func:`csc_cogd.inpaint`.
    engine : dict
        ``device``, ``dtype``, ``threads``, ``fft`` for :func:`csc_cogd.backend.get_backend`.

    Returns
    -------
    (C, H, W) array of float, Stages
        With noise, known values are estimates as well; without, they are `observed`.
    """

    def tell(stage: str, done: int, total: int, record: Any = None) -> Any:
        return callback(Progress(stage, done, total, record)) if callback else None

    if lmbda is None:
        lmbda = max(LMBDA, LMBDA_NOISE * noise)
    known = ~missing
    tell("base layer", 0, 1)
    pilot = pilot_estimate(observed, missing) if missing.any() else observed
    if effort.learn:
        detail = np.where(missing, 0.0, observed - base_layer(pilot))
        images, weights = stack(dictionary, detail, known)
        dictionary = _adapt(dictionary, images, weights, lmbda, tell, engine)
    codes: list[SparseCodes] = []
    done: list[int] = []  # passes

    def restore(observed: np.ndarray, missing: np.ndarray, pilot: np.ndarray, tell: Any = _silent) -> np.ndarray:
        known, base = ~missing, base_layer(pilot)
        images, weights = stack(dictionary, np.where(missing, 0.0, observed - base), known)
        code = sparse_code(
            images, dictionary, weights=weights, lmbda=lmbda, l1_weights=frequency_weights(dictionary),
            gradient_penalty=GRADIENT_PENALTY, rho=RHO * lmbda, rho_data=RHO_DATA * lmbda,
            max_iter=effort.max_iter, tol=tol,
            callback=lambda record: tell("codes", record.iteration, effort.max_iter, record), **engine,
        )  # fmt: skip
        codes.append(code)
        coded = base + code.reconstruction.reshape(base.shape)
        done.append(0)

        def count(number: int) -> Any:
            done[-1] = number
            return tell("patches", number, effort.passes)

        return refine(
            coded if noise else np.where(known, observed, coded), observed, known, effort.patches, effort.passes,
            get_backend(**engine), noise=noise,
            callback=count,
        )  # fmt: skip

    restored, trust, passes = restore(observed, missing, pilot, tell), None, done[0]
    if effort.check and missing.any() and not tell("checking", 0, 1):
        trust = trust_in(restore, observed, missing)
        restored = np.where(missing, pilot + trust * (restored - pilot), restored)
    return restored, Stages(dictionary, lmbda, codes[0].history, passes, trust)


def _silent(*arguments: Any) -> None:
    """In place of a callback, where pieces of the picture are tried out."""


def stack(dictionary: Dictionary, *planes: np.ndarray) -> list[np.ndarray]:
    """Planes (C, H, W) as the images that the dictionary codes: a single one with channels, or each channel by itself."""
    return [p if dictionary.filters.ndim == 3 else p[None] for p in planes]


def _adapt(
    dictionary: Dictionary, images: np.ndarray, weights: np.ndarray, lmbda: float, tell: Any, engine: dict[str, Any]
) -> Dictionary:
    """Continue learning the dictionary on the known pixels of the damaged image itself."""
    shapes, counts = np.unique(dictionary.shapes, axis=0, return_counts=True)
    order = np.lexsort(dictionary.shapes.T[::-1])
    learned = learn_dictionary(
        images,
        [int(count) for count in counts],
        [tuple(int(size) for size in shape) for shape in shapes],
        lmbda=LEARNING_LMBDA * lmbda,
        gradient_penalty=LEARNING_GRADIENT_PENALTY,
        rho=LEARNING_RHO,
        rho_data=LEARNING_RHO,
        max_iter=LEARNING_ROUNDS,
        code_iterations=8,
        filter_iterations=8,
        tol=0.0,
        start=Dictionary(dictionary.filters[order], dictionary.shapes[order]),
        callback=lambda record: tell("learning", record.iteration, LEARNING_ROUNDS, record),
        weights=weights,
        **engine,
    )
    return learned.dictionary
