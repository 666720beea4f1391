"""The way from a damaged picture to a restored one that `inpaint` and `denoise` share.

Pilot, base layer, sparse code of what is left, refinement from similar patches: each takes the last one's result.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_erosion

from csc_cogd.backend import get_backend
from csc_cogd.csc.codes import sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.csc.learning import learn_dictionary
from csc_cogd.csc.settings import check_settings
from csc_cogd.errors import InputError
from csc_cogd.restore.base_layer import base_layer, pilot_estimate
from csc_cogd.restore.coding import Progress
from csc_cogd.restore.similar import PatchModel, refine
from csc_cogd.restore.tiles import Plan, Tile, map_tiles
from csc_cogd.restore.trace import GroupTrace, TileTrace
from csc_cogd.restore.trust import trust_in

LARGEST = 10.0
"""Largest value that is computed with, where most are in [0, 1]."""
LMBDA = 0.015
LMBDA_NOISE, LMBDA_NOISE_COLOR = 1.0, 2.0  # times the noise's standard deviation
ROUNDS = {"fast": 4, "default": 4, "best": 8}  # of the code solve, by coordinate descent
ITERATIONS_A_ROUND = 20  # of ADMM, where that solves, as on a GPU: about the same pictures
WIDE = 0.09  # fraction of missing values inside of holes from which larger patches are better
MOSTLY = 0.6  # fraction of missing values from which the dictionary is worth adapting,
NEARLY_ALL = 0.8  # and from which biharmonic interpolation may be better still: on smooth pictures
STRONG_NOISE = 0.12  # more passes than two blur what is left under it
LEARNING_ROUNDS, LEARNING_RHO = 10, 1.5
LEARNING_PIECES, LEARNING_SIDE = 8, 96
LEARNING_LMBDA = 2.0  # times lmbda: filters are learned from sparser and smoother codes than pictures are restored with,
LEARNING_GRADIENT_PENALTY = 1.0  # or they take up the pattern of the missing pixels


@dataclass(frozen=True)
class Effort:
    """How much is spent on a picture.

    Attributes
    ----------
    max_iter : int
        Rounds of the code solve by coordinate descent, or twenties of iterations of ADMM. Stopping early is part of the
        regularisation: many more don't improve the picture.
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


def check_restoring(effort: str, lmbda: float | None, max_iter: int | None, tol: float) -> None:
    """Raise InputError for settings that no picture can be restored with."""
    if effort not in EFFORTS:
        raise InputError(f"effort: {effort!r} is unknown: choose {', '.join(map(repr, EFFORTS))}")
    check_settings(lmbda or 0.0, 1 if max_iter is None else max_iter, tol)


def choose_effort(name: str, missing: np.ndarray, noise: float) -> Effort:
    """Settings for a damage: (C, H, W) bool array of missing values, and noise for pictures in [0, 1]."""
    fast, best, channels = name == "fast", name == "best", len(missing)
    if noise:
        patches = PatchModel(size=6 if channels == 1 else 5, step=4 if fast else 2 if best else 3, solved=60, shrinkage=0.0)
        return Effort(ROUNDS[name], 3 if noise < STRONG_NOISE else 2, patches, check=not fast)
    wide, share = _inside_holes(missing) > WIDE, missing.mean()
    size = (8 if wide else 6) if channels == 1 else (6 if wide else 5)  # colours are estimated together
    solved = 24 if best else 8 if fast and channels > 1 else 16
    patches = PatchModel(size=size, step=3 if best else 4, solved=solved)
    passes = {"fast": 4, "default": 6, "best": 12}[name]
    if wide and not fast:
        passes += passes // 3
    return Effort(
        ROUNDS[name], passes, patches, learn=bool(best and share > MOSTLY), check=bool(share > NEARLY_ALL and not fast)
    )


def _inside_holes(missing: np.ndarray) -> float:
    """Fraction of the missing values that have no known neighbour; high for large holes, and where nearly all is missing."""
    inner = np.array([binary_erosion(plane, np.ones((3, 3), bool), border_value=1) for plane in missing])
    return float(inner.sum() / max(missing.sum(), 1))


@dataclass(frozen=True, eq=False)
class Damaged:
    """Channels that are restored together, which are read piece by piece on the scale of [0, 1].

    Attributes
    ----------
    pixels : (C, H, W) array of any dtype
    missing : (C, H, W) bool array
    low, high : float
        What is 0 and what is 1.
    largest : float
        Beyond it, on either side of zero, values are cut off.
    """

    pixels: np.ndarray
    missing: np.ndarray
    low: float
    high: float
    largest: float = LARGEST

    def piece(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Values (C, h, w) of float64, 0 where missing, and what is missing."""
        gone = self.missing[:, rows, columns]
        values = np.where(gone, self.low, self.pixels[:, rows, columns].astype(np.float64))
        scaled = (values - self.low) / (self.high - self.low)
        return np.clip(
            scaled, -self.largest, self.largest
        ), gone  # a single wild value would drown the others in single precision


@dataclass(frozen=True, eq=False)
class Stages:
    """What was done to a group of channels: see :func:`restore_channels`.

    `history` is that of the first tile; `trust` is the weight of the result against biharmonic interpolation, None where it
    wasn't measured; `noise_sigma` is the standard deviation of the noise that was assumed, in the image's units.
    """

    dictionary: Dictionary
    lmbda: float
    history: list[Iteration]
    passes: int
    trust: float | None
    plan: Plan
    noise_sigma: float = 0.0


def restore_channels(
    damaged: Damaged,
    dictionary: Dictionary,
    effort: Effort,
    *,
    noise: float = 0.0,
    lmbda: float | None = None,
    tol: float = 0.0,
    plan: Plan,
    engine: dict[str, Any],
    callback: Callable[[Progress], Any] | None = None,
    traced: GroupTrace | None = None,
) -> tuple[np.ndarray, Stages]:
    """Restore channels that are coded together, on the scale of [0, 1].

    Parameters
    ----------
    damaged : Damaged
    dictionary : Dictionary
        With C channels; or grey, for each channel by itself.
    effort : Effort
    noise : float
        Standard deviation of the noise, on the scale of [0, 1].
    lmbda : float, optional
        Weight of the l1 term; default: by the noise.
    tol, callback
        As in :func:`csc_cogd.inpaint`. Where there are several tiles, the callback is told of each one that is done; a true
        return value leaves the others to the pilot.
    plan : Plan
    engine : dict
        ``device``, ``dtype``, ``threads``, ``fft`` for :func:`csc_cogd.backend.get_backend`.
    traced : GroupTrace, optional
        Is told what the stages make of the tiles.

    Returns
    -------
    (C, H, W) array of float, Stages
        What is missing, and with noise every value; the rest is anything.
    """

    def tell(stage: str, done: int, total: int, record: Any = None) -> Any:
        return callback(Progress(stage, done, total, record)) if callback else None

    if traced:
        traced.restart()
    if lmbda is None:
        lmbda = max(LMBDA, (LMBDA_NOISE if dictionary.n_channels == 1 else LMBDA_NOISE_COLOR) * noise)
    if effort.learn:
        dictionary = _adapt(dictionary, damaged, lmbda, tell, engine)
    how = _How(dictionary, effort, noise, lmbda, tol)
    trust = None
    if effort.check and damaged.missing.any() and not tell("checking", 0, 1):

        def try_out(observed: np.ndarray, gone: np.ndarray, pilot: np.ndarray) -> np.ndarray:
            return _restore_piece(observed, gone, pilot, how, engine, _silent)[0]

        trust = trust_in(try_out, damaged.piece, np.asarray(damaged.missing.any(axis=0)))

    several = len(plan.tiles) > 1
    inner = engine if plan.jobs == 1 else engine | {"threads": 1}
    stopped = False
    if several:
        tell("tiles", 0, len(plan.tiles))

    def work(tile: Tile) -> tuple[np.ndarray, list[Iteration], int]:
        observed, gone = damaged.piece(*tile.window)
        if not several:
            tell("base layer", 0, 1)
        trace = traced.tile(tile) if traced else None
        pilot = pilot_estimate(observed, gone, get_backend(**inner))
        if stopped:
            return pilot, [], 0
        if trace:
            trace.step("pilot", 0, pilot)
        restored, history, passes = _restore_piece(observed, gone, pilot, how, inner, _silent if several else tell, trace)
        if trust is not None:
            restored = np.where(gone, pilot + trust * (restored - pilot), restored)
        return restored, history, passes

    total = np.zeros(damaged.pixels.shape, np.result_type(damaged.pixels.dtype, np.float32))
    history: list[Iteration] = []
    passes = 0
    with closing(map_tiles(work, plan.tiles, plan.jobs)) as results:
        for number, (tile, (piece, codes, done)) in enumerate(zip(plan.tiles, results, strict=True), 1):
            total[:, *tile.window] += tile.weight * piece
            history, passes = history or codes, max(passes, done)
            if several and tell("tiles", number, len(plan.tiles)):
                stopped = True
    return total, Stages(dictionary, lmbda, history, passes, trust, plan)


class _How(NamedTuple):
    dictionary: Dictionary
    effort: Effort
    noise: float
    lmbda: float
    tol: float


def _restore_piece(
    observed: np.ndarray,
    missing: np.ndarray,
    pilot: np.ndarray,
    how: _How,
    engine: dict[str, Any],
    tell: Any,
    trace: TileTrace | None = None,
) -> tuple[np.ndarray, list[Iteration], int]:
    """A piece (C, h, w) restored, the history of its code solve and the passes of its refinement."""
    known, backend = ~missing, get_backend(**engine)
    base = base_layer(pilot, backend=backend)
    max_iter = how.effort.max_iter * (1 if backend.compiled else ITERATIONS_A_ROUND)
    images, weights = stack(how.dictionary, np.where(missing, 0.0, observed - base), known)
    code = sparse_code(
        images, how.dictionary, weights=weights, lmbda=how.lmbda, max_iter=max_iter, tol=how.tol,
        callback=lambda record: tell("codes", record.iteration, max_iter, record), **engine,
    )  # fmt: skip
    coded = base + code.reconstruction.reshape(base.shape)
    if trace:
        trace.code(coded, code.codes, how.dictionary, code.history)
        trace.step("code", 1, coded)
    passes = 0

    def count(number: int) -> Any:
        nonlocal passes
        passes = number
        return tell("patches", number, how.effort.passes)

    def watch(number: int, estimate: np.ndarray) -> None:
        if trace:
            trace.step("patches", number, estimate)

    restored = refine(
        coded if how.noise else np.where(known, observed, coded), observed, known, how.effort.patches, how.effort.passes,
        backend, noise=how.noise, callback=count, watch=watch if trace else None,
    )  # fmt: skip
    return restored, code.history, passes


def _silent(*arguments: Any) -> None:
    """In place of a callback, where pieces of the picture are tried out."""


def stack(dictionary: Dictionary, *planes: np.ndarray) -> list[np.ndarray]:
    """Planes (C, H, W) as the images that the dictionary codes: a single one with channels, or each channel by itself."""
    return [p if dictionary.filters.ndim == 3 else p[None] for p in planes]


def _adapt(dictionary: Dictionary, damaged: Damaged, lmbda: float, tell: Any, engine: dict[str, Any]) -> Dictionary:
    """Continue learning the dictionary on the known pixels of the damaged picture itself, or of pieces all over it."""
    details, weights, backend = [], [], get_backend(**engine)
    for window in _pieces(*damaged.pixels.shape[1:]):
        observed, gone = damaged.piece(*window)
        if not gone.all(axis=(1, 2)).any():
            base = base_layer(pilot_estimate(observed, gone, backend), backend=backend)
            detail = np.where(gone, 0.0, observed - base)
            detail, known = stack(dictionary, detail, ~gone)
            details.append(detail)
            weights.append(known)
    if not details:
        return dictionary
    shapes, counts = np.unique(dictionary.shapes, axis=0, return_counts=True)
    order = np.lexsort(dictionary.shapes.T[::-1])
    learned = learn_dictionary(
        np.concatenate(details),
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
        weights=np.concatenate(weights),
        **engine,
    )
    return learned.dictionary


def _pieces(height: int, width: int) -> list[tuple[slice, slice]]:
    """The whole of a small picture; of others, pieces that are spread over it."""
    side = LEARNING_SIDE
    if height * width <= LEARNING_PIECES * side**2 or min(height, width) < side:
        return [(slice(0, min(height, LEARNING_PIECES * side)), slice(0, min(width, LEARNING_PIECES * side)))]
    corners = [(top, left) for top in range(0, height - side + 1, side) for left in range(0, width - side + 1, side)]
    chosen = np.linspace(0, len(corners) - 1, LEARNING_PIECES).round().astype(int)
    return [(slice(top, top + side), slice(left, left + side)) for top, left in (corners[i] for i in chosen)]
