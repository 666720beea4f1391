"""Nonlocal Bayes: images repeat themselves, and what is lost here is often seen elsewhere.

Each small patch is estimated anew under a Gaussian fitted to the patches around it that look most like it [Lebrun, Buades,
Morel 2013, "A nonlocal Bayesian image denoising algorithm"; for missing pixels Aguerrebere et al. 2017, "A Bayesian
hyperprior approach for joint image denoising and interpolation"]. What looks alike, and how it varies, is read from a pilot
image; the sparse code is that pilot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np

from csc_cogd.backend import Backend
from csc_cogd.backend.patches import GroupModel
from csc_cogd.restore.settings import PatchModel
from csc_cogd.restore.stages.state import Recipe, TileState
from csc_cogd.unrolled.correlated import OPPONENT

FLOOR = 1e-6
"""Least variance of a patch's values, for images in [0, 1]."""
RELAXATION = 1.7
"""How far a pass goes: 1 to the estimate itself, more beyond it, but for the last."""
LEAST, MOST_ROWS = 64, 8
"""Reference patches of a task at least, unless it takes more than so many times the usual rows."""


def nonlocal_bayes(state: TileState, recipe: Recipe) -> TileState:
    """Refine what is missing, and under noise every value, from similar patches."""
    assert recipe.effort is not None
    done, passes, known = 0, recipe.effort.passes, state.known

    def count(number: int) -> bool:
        nonlocal done
        done = number
        return recipe.reporter.report("patches", number, passes)

    def watch(number: int, estimate: np.ndarray) -> None:
        if state.trace:
            state.trace.step("patches", number, estimate)

    pilot = state.estimate if recipe.noise_sigma else np.where(known, state.observed, state.estimate)
    estimate = refine(
        pilot, state.observed, known, recipe.effort.patches, passes, recipe.engine.backend,
        noise=recipe.noise_sigma, callback=count, watch=watch if state.trace else None,
    )  # fmt: skip
    return replace(state, estimate=estimate, passes=done)


def refine(
    pilot: np.ndarray,
    observed: np.ndarray,
    known: np.ndarray,
    model: PatchModel,
    passes: int,
    backend: Backend,
    *,
    noise: float = 0.0,
    callback: Callable[[int], Any] | None = None,
    watch: Callable[[int, np.ndarray], Any] | None = None,
) -> np.ndarray:
    """Estimate missing or noisy values from similar patches, in several passes.

    Where masks differ, channels are estimated together, so that one tells of another. Else luminance and color differences
    are estimated each by itself, for groups are too small for covariances between them, but for the last passes where the
    model says so; and channels that aren't three, under noise.

    Parameters
    ----------
    pilot : (C, H, W) array of float, in about [0, 1]
        First estimate of the image.
    observed : (C, H, W) array of float
        Values where `known`; anything elsewhere.
    known : (C, H, W) bool array
    model : PatchModel
    passes : int
        Each takes the last one's result for its pilot.
    noise : float
        Standard deviation of the noise in `observed`. Without noise, known values are kept; with it, and nothing missing,
        the covariances of the first pass are those of the noisy patches less the noise, as a pilot has lost texture.
    callback : callable, optional
        Called after every pass with its number; a true return value ends the refinement.
    watch : callable, optional
        Called after every pass with its number and what it has made, (C, H, W).

    Returns
    -------
    (C, H, W) array of float64
    """
    if min(pilot.shape[1:]) < 2 * model.size or not passes:
        return pilot
    C, known = len(pilot), np.array(known, order="C")
    apart = bool((noise > 0 or len(OPPONENT) == C) and (known == known[:1]).all())
    mixing = OPPONENT if apart and len(OPPONENT) == C else np.eye(C)
    start = pilot if noise else np.where(known, observed, pilot)
    observed, estimate = [
        backend.asarray(np.tensordot(mixing, planes, 1)) for planes in (np.where(known, observed, 0), start)
    ]
    groups = _Groups(known, model, apart, noise, backend)
    values, complete = estimate.reshape(-1), known.all()
    known = backend.xp.asarray(known)

    def mixed_back(values: Any) -> np.ndarray:
        return np.tensordot(mixing.T, backend.to_host(values).reshape(pilot.shape).astype(np.float64), 1)

    moved: np.ndarray | None = None
    for number in range(1, passes + 1):
        raw = noise > 0 and number == 1 and complete
        source = observed if raw else estimate
        again = noise > 0 or number & (number - 1) == 0  # what looks alike changes less and less
        if not noise and number == passes - model.together + 1:
            groups.join()
        chosen = None if number == passes else moved
        total, weight = groups.estimate(
            estimate, source, observed, known, noise if raw else 0.0, search=again, chosen=chosen
        )
        before = values[groups.places]
        refined = backend.xp.where(weight > 0, total / backend.xp.maximum(weight, 1), before)
        if not noise and model.still:
            moved = groups.touching(backend.to_host(abs(refined - before)) > model.still)
        if watch is not None:
            shown = values.copy()
            shown[groups.places] = refined
            watch(number, mixed_back(shown))
        stopped = callback is not None and callback(number)
        relaxation = 1.0 if noise or stopped or number == passes else RELAXATION
        values[groups.places] = before + backend.dtype.type(relaxation) * (refined - before)
        if stopped:
            break
    return mixed_back(values)


def estimate_once(
    guide: np.ndarray,
    source: np.ndarray,
    observed: np.ndarray,
    model: PatchModel,
    backend: Backend,
    *,
    noise: float,
    source_noise: float = 0.0,
) -> np.ndarray:
    """Estimate noisy values from similar patches, once: luminance and color differences each by itself.

    Parameters
    ----------
    guide, source, observed : (C, H, W) arrays of float, in about [0, 1], at least as large as a patch
        What similar patches are looked for in, what their mean and covariance are taken from, and what is estimated.
    model : PatchModel
    backend : Backend
    noise, source_noise : float
        Standard deviation of the noise in `observed`, and of that in `source`.

    Returns
    -------
    (C, H, W) array of float64
    """
    C, known = len(observed), np.ones(observed.shape, bool)
    mixing = OPPONENT if C == 3 else np.eye(C)
    mixed_guide, mixed_source, values = [
        backend.asarray(np.tensordot(mixing, planes, 1)) for planes in (guide, source, observed)
    ]
    groups = _Groups(known, model, True, noise, backend)
    total, weight = groups.estimate(mixed_guide, mixed_source, values, backend.xp.asarray(known), source_noise)
    return np.tensordot(mixing.T, backend.to_host(total / weight).reshape(known.shape).astype(np.float64), 1)


class _Groups:
    """The groups of similar patches of a picture (C, H, W), in tasks that threads share.

    Attributes
    ----------
    places : slice, or (n,) int array
        Of the values that are estimated, in the flattened picture: under noise all, else those that are missing.
    """

    def __init__(self, known: np.ndarray, model: PatchModel, apart: bool, noise: float, backend: Backend):
        self._shape, self._model, self._noise, self._backend = known.shape, model, noise, backend
        self._channels = [slice(c, c + 1) for c in range(len(known))] if apart else [slice(0, len(known))]
        self._corners = _corners(np.asarray(~known.all(axis=0)), model, noise > 0, backend.rows_at_once)
        self._matches: list[Any] = [None] * len(self._corners)
        self._missing: Any = None if noise else np.flatnonzero(~known)
        self.places: Any = slice(None) if self._missing is None else backend.xp.asarray(self._missing)

    def join(self) -> None:
        """Estimate all channels together from now on."""
        self._channels = [slice(0, self._shape[0])]
        if self._model.n_together is not None:
            self._model = replace(self._model, n_estimated=self._model.n_together)

    def touching(self, marked: np.ndarray) -> np.ndarray:
        """Return the corners of the patches that touch marked ones of the values at `places`, (H, W) bool."""
        _, H, W = self._shape
        corners, size = np.zeros((H, W), bool), self._model.size
        i, j = np.divmod(self._missing[marked] % (H * W), W)
        for up, left in product(range(size), repeat=2):
            corners[np.maximum(i - up, 0), np.maximum(j - left, 0)] = True
        return corners

    def estimate(
        self,
        guide: Any,
        pilot: Any,
        observed: Any,
        known: Any,
        pilot_noise: float = 0.0,
        search: bool = True,
        chosen: np.ndarray | None = None,
    ) -> tuple[Any, Any]:
        """Return the sum and the number of all patches' estimates of every value at `places`.

        Similar patches are those of `guide`; without `search`, those that were found before. Of the reference patches those
        are taken whose corners are `chosen`, (H, W) bool; by default all.
        """
        (C, H, W), xp, dtype = self._shape, self._backend.xp, self._backend.dtype
        model, kernels = self._model, self._backend.patches
        by = GroupModel(model.size, model.n_estimated, self._noise**2, pilot_noise**2, model.shrinkage, FLOOR)

        def work(task: int) -> list[tuple[slice, Any, Any]]:
            corners, matches = self._corners[task], self._matches[task]
            taken = None if chosen is None else np.flatnonzero(chosen[corners[:, 0], corners[:, 1]])
            if taken is not None:
                corners, matches = corners[taken], matches[xp.asarray(taken)]
                if not taken.size:
                    return []
            if search:
                matches = xp.empty((len(corners), model.n_similar, 2), np.int32)
                kernels.match_patches(guide, xp.asarray(corners), model.size, model.radius, matches)
                if taken is None:
                    self._matches[task] = matches
                else:
                    self._matches[task][xp.asarray(taken)] = matches
            top = max(int(corners[0, 0]) - model.radius, 0)
            bottom = min(int(corners[-1, 0]) + model.radius + model.size, H)
            total, weight = xp.zeros((2, C, bottom - top, W), dtype)
            for part in self._channels:
                planes = (pilot[part], observed[part], known[part])
                kernels.estimate_patches(*planes, matches, by, top, total[part], weight[part])
            return [(place, *sums) for c in range(C) for place, *sums in [self._wanted(c, top, total[c], weight[c])]]

        sums = xp.zeros((2, self._shape[0] * H * W if self._missing is None else len(self._missing)), dtype)
        for parts in self._backend.each(work, range(len(self._corners))):
            for place, total, weight in parts:
                sums[0, place] += total
                sums[1, place] += weight
        return sums[0], sums[1]

    def _wanted(self, channel: int, top: int, total: Any, weight: Any) -> tuple[slice, Any, Any]:
        """Return the place of a task's sums (rows, W) among those of all values, and what of them is wanted."""
        _, H, W = self._shape
        first, total, weight = (channel * H + top) * W, total.reshape(-1), weight.reshape(-1)
        if self._missing is None:
            return slice(first, first + total.size), total, weight
        place = slice(*(int(end) for end in np.searchsorted(self._missing, (first, first + total.size))))
        wanted = self.places[place] - first
        return place, total[wanted], weight[wanted]


def _corners(missing: np.ndarray, model: PatchModel, everywhere: bool, rows_at_once: int) -> list[np.ndarray]:
    """Return the corners of the reference patches, (n, 2) a task: a grid, or what of it touches missing pixels."""
    rows, columns = [
        np.unique(np.append(np.arange(0, length - model.size, model.step), length - model.size)) for length in missing.shape
    ]
    needed = np.full((len(rows), len(columns)), everywhere)
    if not everywhere:
        _mark_touching(needed, rows, columns, missing, model.size)
    tasks: list[np.ndarray] = []
    waiting = start = 0
    for stop in range(rows_at_once, len(rows) + rows_at_once, rows_at_once):
        waiting += int(needed[stop - rows_at_once : stop].sum())
        if waiting >= LEAST or stop >= len(rows) or stop - start >= MOST_ROWS * rows_at_once:
            i, j = np.nonzero(needed[start:stop])
            tasks += [np.stack([rows[start + i], columns[j]], axis=1)] * (len(i) > 0)
            waiting, start = 0, stop
    return tasks


def _mark_touching(needed: np.ndarray, rows: np.ndarray, columns: np.ndarray, missing: np.ndarray, size: int) -> None:
    """Mark the patches of a grid that touch missing pixels; where few are missing, few are looked at."""
    places = np.nonzero(missing)
    first = [np.searchsorted(grid, at - size, "right") for grid, at in zip((rows, columns), places, strict=True)]
    end = [np.searchsorted(grid, at, "right") for grid, at in zip((rows, columns), places, strict=True)]
    most = [int((b - a).max(initial=0)) for a, b in zip(first, end, strict=True)]
    for down, right in product(range(most[0]), range(most[1])):
        i, j = np.minimum(first[0] + down, end[0] - 1), np.minimum(first[1] + right, end[1] - 1)
        needed[i, j] = True
