"""Nonlocal Bayes: images repeat themselves, and what is lost here is often seen elsewhere.

Each small patch is estimated anew under a Gaussian fitted to the patches around it that look most like it [Lebrun, Buades,
Morel 2013, "A nonlocal Bayesian image denoising algorithm"; for missing pixels Aguerrebere et al. 2017, "A Bayesian
hyperprior approach for joint image denoising and interpolation"]. What looks alike, and how it varies, is read from a pilot
image; the sparse code is that pilot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
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

"""Orthonormal change of RGB to luminance and two color differences, which vary independently in most images."""


def nonlocal_bayes(state: TileState, recipe: Recipe) -> TileState:
    """Refine what is missing, and under noise every value, from similar patches."""
    assert recipe.effort is not None
    done, passes, model = 0, recipe.effort.passes, recipe.effort.patches

    def count(number: int) -> bool:
        nonlocal done
        done = number
        return recipe.reporter.report("patches", number, passes)

    def watch(number: int, estimate: np.ndarray) -> None:
        if state.trace:
            state.trace.step("patches", number, estimate)

    pilot = state.estimate if recipe.noise_sigma else np.where(state.known, state.observed, state.estimate)
    estimate = refine(
        pilot, state.observed, state.known, model, passes, recipe.engine.backend,
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

    Channels are estimated together, so that one tells of another where their masks differ; under noise, luminance and
    color differences are estimated each by itself, for groups are too small then for covariances between them.

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
    apart = bool(noise > 0 and (known == known[:1]).all())
    mixing = OPPONENT if apart and C == 3 else np.eye(C)
    groups = [slice(c, c + 1) for c in range(C)] if apart else [slice(0, C)]
    observed, estimate = (
        backend.asarray(np.tensordot(mixing, planes, 1)) for planes in (np.where(known, observed, 0), pilot)
    )
    corners = _corners(np.asarray(~known.all(axis=0)), model, noise > 0, backend.rows_at_once)
    complete, known = known.all(), backend.xp.asarray(known)

    def mixed_back(planes: Any) -> np.ndarray:
        return np.tensordot(mixing.T, backend.to_host(planes).astype(np.float64), 1)

    for number in range(1, passes + 1):
        raw = noise > 0 and number == 1 and complete
        source = observed if raw else estimate
        pilot_noise = noise if raw else 0.0
        total, weight = _pass(estimate, source, observed, known, corners, groups, model, noise, pilot_noise, backend)
        refined = np.where(weight > 0, total / np.maximum(weight, 1), estimate)
        if not noise:
            refined = np.where(known, observed, refined)
        if watch is not None:
            watch(number, mixed_back(refined))
        relaxation = RELAXATION if not noise and number < passes else 1.0
        estimate = backend.asarray(estimate + relaxation * (refined - estimate))
        if callback is not None and callback(number):
            estimate = backend.asarray(refined)
            break
    return mixed_back(estimate)


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
    corners = _corners(np.zeros(observed.shape[1:], bool), model, True, backend.rows_at_once)
    groups = [slice(c, c + 1) for c in range(C)]
    known = backend.xp.asarray(known)
    total, weight = _pass(
        mixed_guide, mixed_source, values, known, corners, groups, model, noise, source_noise, backend
    )  # fmt: skip
    return np.tensordot(mixing.T, backend.to_host(total / weight).astype(np.float64), 1)


def _corners(missing: np.ndarray, model: PatchModel, everywhere: bool, rows_at_once: int) -> list[np.ndarray]:
    """Return the corners of the reference patches, (n, 2) a task: a grid, or what of it touches missing pixels."""
    rows, columns = (
        np.unique(np.append(np.arange(0, length - model.size, model.step), length - model.size)) for length in missing.shape
    )
    touched = np.lib.stride_tricks.sliding_window_view(missing, (model.size, model.size))
    tasks = []
    for start in range(0, len(rows), rows_at_once):
        part = rows[start : start + rows_at_once]
        needed = np.ones((len(part), len(columns)), bool) if everywhere else touched[np.ix_(part, columns)].any(axis=(2, 3))
        i, j = np.nonzero(needed)
        if len(i):
            tasks.append(np.stack([part[i], columns[j]], axis=1))
    return tasks


def _pass(
    guide: Any, pilot: Any, observed: Any, known: Any, corners: list[np.ndarray], groups: list[slice], model: PatchModel,
    noise: float, pilot_noise: float, backend: Backend,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the sum and the number of all patches' estimates of every value."""
    H, xp = guide.shape[1], backend.xp
    by = GroupModel(model.size, model.n_estimated, noise**2, pilot_noise**2, model.shrinkage, FLOOR)

    def work(references: np.ndarray) -> tuple[int, Any, Any]:
        matches = xp.empty((len(references), model.n_similar, 2), np.int32)
        backend.patches.match_patches(guide, xp.asarray(references), model.size, model.radius, matches)
        top = max(int(references[0, 0]) - model.radius, 0)
        bottom = min(int(references[-1, 0]) + model.radius + model.size, H)
        total, weight = xp.zeros((2, len(guide), bottom - top, guide.shape[2]), backend.dtype)
        for group in groups:
            planes = (pilot[group], observed[group], known[group])
            backend.patches.estimate_patches(*planes, matches, by, top, total[group], weight[group])
        return top, total, weight

    total, weight = np.zeros_like(guide), np.zeros_like(guide)
    for top, part_total, part_weight in backend.each(work, corners):
        total[:, top : top + part_total.shape[1]] += part_total
        weight[:, top : top + part_total.shape[1]] += part_weight
    return total, weight
