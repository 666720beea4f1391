"""How long a restoration will take: a small piece of the picture is restored, and what that took is scaled up.

Coarse on purpose: what else the machine does, how much is missing here and there, and memory make a factor of two.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.ndimage import binary_dilation

from csc_cogd.engine import Engine
from csc_cogd.errors import CscCogdError
from csc_cogd.restore.extents import damaged_blocks, missing_anywhere
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.restore import restore
from csc_cogd.restore.settings import Solve, Tiling
from csc_cogd.restore.tiling import TILE_OVERHEAD_PIXELS, Plan

SAMPLE = 64  # pixels, height and width of the piece
SPARSE_SAMPLE = 256  # of one where only pixels near damage take time
_BLOCK = 4  # pixels, side of the squares by which what is near damage is counted
_AROUND = np.ones((3, 3), bool)
IN_A_TILE = 0.6  # threads to this power is how many times as fast they are within one tile,
BESIDE = 0.85  # and this part of their number, where each has a tile of its own

_rates: dict[object, float | None] = {}


def seconds_a_pixel(problem: Problem, solve: Solve, engine: Engine) -> float | None:
    """Return the seconds that a thread takes for a busy pixel; None where no piece of the picture can be restored.

    It is measured once for each kind of problem.
    """
    kernel = getattr(problem.operator, "kernel", np.empty(0)).shape
    kind = (
        type(problem.operator), kernel, type(problem.noise), problem.keep_known, problem.dictionary is None,
        None if problem.prior is None else problem.prior.network.shape,
        len(problem.observation.planes), solve, engine.device, engine.dtype,
    )  # fmt: skip
    if kind not in _rates:
        try:
            _rates[kind] = _measured(replace(problem, observation=_piece(problem)), solve, engine.single_threaded())
        except CscCogdError:
            _rates[kind] = None
    return _rates[kind]


def busy_pixels(problem: Problem) -> int | None:
    """Return how many pixels lie near damage, where only these take time; None where all do."""
    if not problem.keep_known or problem.operator.factor > 1 or problem.operator.reach > 2:
        return None
    blocks = damaged_blocks(missing_anywhere(problem.observation.missing), _BLOCK)
    return int(np.count_nonzero(binary_dilation(blocks, _AROUND))) * _BLOCK**2


def expected_seconds(rate: float, plans: Sequence[Plan], threads: int, busy: int | None = None) -> float:
    """Return how long tiles take on so many threads, by the seconds that one takes for a pixel.

    Parameters
    ----------
    rate : float
        See :func:`seconds_a_pixel`.
    plans : sequence of Plan
        Of the groups of channels, which are restored one after the other.
    threads : int
    busy : int, optional
        See :func:`busy_pixels`.
    """
    total = 0.0
    for plan in plans:
        pixels = sum(tile.size + TILE_OVERHEAD_PIXELS for tile in plan.tiles) if busy is None else busy
        speed = max(BESIDE * plan.jobs, 1.0) if plan.jobs > 1 else threads**IN_A_TILE
        total += rate / len(plans) * pixels / speed
    return total


def coarsely(seconds: float) -> str:
    """Return a time as one tells it that isn't known well."""
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"{round(seconds, -1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds > 9.5 * 3600 else f"{seconds / 3600:.1f} h"


def _piece(problem: Problem) -> Observation:
    """Return a window of the picture, around a pixel in the middle of the missing ones."""
    given = problem.observation
    shape = given.missing.shape[1:]
    lost = missing_anywhere(given.missing)
    missing = np.flatnonzero(lost)
    center = np.unravel_index(missing[len(missing) // 2], shape) if missing.size else tuple(side // 2 for side in shape)
    sparse = missing.size and (busy := busy_pixels(problem)) is not None and busy < lost.size / 2
    side = max(
        SPARSE_SAMPLE if sparse else SAMPLE,
        *(2 * length for length in getattr(problem.operator, "kernel", np.empty((0, 0))).shape),
    )
    starts = [int(np.clip(at - side // 2, 0, max(length - side, 0))) for at, length in zip(center, shape, strict=True)]
    window = (slice(None), *(slice(start, start + side) for start in starts))
    planes, gone = given.planes[window], given.missing[window]
    if gone.all(axis=(1, 2)).any():  # a hole larger than the piece: as many pixels, of which half are missing
        gone = np.broadcast_to(np.indices(gone.shape[1:]).sum(axis=0) % 2 == 0, gone.shape).copy()
        planes = np.random.default_rng(0).random(planes.shape)
    return Observation(planes, gone, given.channel_axis)


def _measured(sample: Problem, solve: Solve, engine: Engine) -> float:
    """Return the seconds a pixel of a small picture's restoration, with kernels compiled."""
    everything = Tiling(tile=0)
    rounds = None if solve.max_iter is None else 1  # a number asks for a code
    restore(sample, replace(solve, effort="fast", learn=False, max_iter=rounds), everything, engine)
    started = time.perf_counter()
    restore(sample, solve, everything, engine)
    height, width = sample.observation.planes.shape[1:]
    busy = busy_pixels(sample)
    return (time.perf_counter() - started) / (height * width + TILE_OVERHEAD_PIXELS if busy is None else max(busy, 1))
