"""The way from a damaged image to a restored one, which every task goes.

An image b = H s + noise, of which values may be missing, is restored on a scale where it is in about [0, 1], channels that
belong together at a time, tile by tile:

1. a smooth base layer u is taken off: the low-passed pilot, or behind an operator H the Tikhonov solution;
2. the detail ``b - H u`` is coded sparsely over a dictionary from the known values, ``argmin_x 1/2 ||W (sum_k (H d_k) * x_k
   - (b - H u))||^2 + lmbda ||x||_1``, and ``u + sum_k d_k * x_k`` fills the gaps [CoGD, eq. 21, with the filters fixed].
   Where little is missing, these two steps are left out: similar patches make as much of the pilot;
3. similar patches refine that: where H is the identity, by themselves, and cross-validation may blend it with the pilot;
   else in turn with the picture. Where a prior is used, it does both, with patches where H is the identity, and in turn with
   the picture elsewhere;
4. each hole is then filled in the ways that are right about what is known around it, see :mod:`csc_cogd.restore.holes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from csc_cogd.backend import single_threaded_blas
from csc_cogd.engine import Engine
from csc_cogd.errors import Remark
from csc_cogd.restore.camera_noise import Correlated, remove_camera_noise
from csc_cogd.restore.extents import missing_anywhere, planes_for, share_of
from csc_cogd.restore.group import Group, channel_groups, groups_by_noise
from csc_cogd.restore.hole_finding import Hole, count_holes, find_holes, with_rims
from csc_cogd.restore.holes import fill_holes
from csc_cogd.restore.noise import Gaussian, in_other_units
from csc_cogd.restore.observation import as_pixels
from csc_cogd.restore.operators import Identity, Operator
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import SILENT, GroupReport, Reporter, RestorationReport, Trace
from csc_cogd.restore.settings import Effort, Solve, Tiling
from csc_cogd.restore.stages.adaptation import ROUNDS, adapt_dictionary
from csc_cogd.restore.stages.base_layer import deconvolve
from csc_cogd.restore.stages.code import code_scene
from csc_cogd.restore.stages.pilot import blend, cross_validated_weight, pilot, refined, refinement
from csc_cogd.restore.stages.plug_and_play import refine_scene
from csc_cogd.restore.stages.prior import prior_estimate, similar_patches
from csc_cogd.restore.stages.prior_scene import prior_scene
from csc_cogd.restore.stages.state import Recipe, Stage, TileState
from csc_cogd.restore.tiling import (
    Plan,
    Tile,
    blend_tiles,
    image_memory,
    in_less_memory,
    map_tiles,
    memory_for,
)

DENOISING: Sequence[Stage] = (prior_estimate, similar_patches)
DECONVOLUTION: Sequence[Stage] = (deconvolve, code_scene, refine_scene)
DECONVOLUTION_BY_PRIOR: Sequence[Stage] = (deconvolve, prior_scene)
LMBDA, LMBDA_NOISE, LMBDA_NOISE_COLOR = 0.015, 1.0, 2.0  # at least, and times the noise's standard deviation
LMBDA_SCENE, LMBDA_POWER = 0.4, 1.6  # tuned on photographs, see `_scene_lmbda`
ADMM_ITERATIONS_A_ROUND = 20  # where ADMM solves, as on a GPU: about the same images
SCENE_ITERATIONS = 60
NO_NOISE_FOUND = Remark("noise_sigma", "was estimated to be 0, so no noise was removed", "give it if you see noise")
NOISE_UNKNOWN = Remark(
    "noise_sigma", "can't be estimated, as too few pixels differ from their neighbors, and is taken to be 0",
    "give the standard deviation of the noise",
)  # fmt: skip


@single_threaded_blas()
def restore(
    problem: Problem,
    solve: Solve,
    tiling: Tiling,
    engine: Engine,
    *,
    reporter: Reporter = SILENT,
    trace: Trace | None = None,
    dry_run: bool = False,
) -> tuple[np.ndarray, RestorationReport]:
    """Restore an image.

    Parameters
    ----------
    problem : Problem
    solve, tiling, engine : records
    reporter : Reporter, optional
        Is told of progress: within the stages, or where there are several tiles, of each one that is done; when it asks to
        stop, those that are left get their first estimate.
    trace : Trace, optional
        Gathers what the stages make of the image; not behind an operator.
    dry_run : bool
        Only plan: the channels come back as they are.

    Returns
    -------
    (C, height, width) array of the image's dtype, RestorationReport

    Raises
    ------
    InputError
        If the image, the operator and the noise don't go together, or memory doesn't suffice.
    """
    noise, operator, given = problem.noise, problem.operator, problem.observation
    if problem.correlated is not None:
        return _without_correlated_noise(problem, problem.correlated, solve, engine, reporter, dry_run)
    noise.check(given)
    direct, backend = isinstance(operator, Identity), engine.backend
    observation = noise.stabilize(given) if direct else given
    if not direct:
        operator.check(given.planes.shape[1:])
    if trace:
        trace.begin(given.planes.shape, given.channel_axis, noise.expected)
    report = RestorationReport(
        share_of(given.missing), gain=getattr(noise, "gain", None), operator="" if direct else str(operator),
        n_values=given.planes.size, warnings=[*problem.remarks],
    )  # fmt: skip
    if direct:
        restored = observation.planes.copy(order="K")
    else:
        shape = (len(given.planes), *operator.final_shape(given.planes.shape[1:]))
        restored = np.empty(shape, observation.planes.dtype)
    for channels, dictionary in groups_by_noise(channel_groups(len(given.planes), problem.dictionary), noise):
        if direct and problem.keep_known and not missing_anywhere(observation.missing[channels]).any():
            continue
        group = Group.of(problem, observation, channels, dictionary, solve, engine)
        if np.isnan(group.noise_sigma):
            group, report.warnings[:] = replace(group, noise_sigma=0.0, prior=None), [NOISE_UNKNOWN]
        remark = in_other_units(noise.of(channels), group.scaled)
        if remark is not None and not any(said.argument == "noise_sigma" for said in report.warnings):
            report.warnings.append(remark)
        report.noise_sigmas.append(group.noise_sigma * group.scaled.range)
        if direct and not (missing_anywhere(observation.missing[channels]).any() or group.noise_sigma):
            continue
        n_restored = None if direct else restored[channels].size
        image_bytes = image_memory(observation.planes.size, observation.planes.dtype.itemsize, n_restored)
        memory = memory_for(backend, image_bytes, group.tile_bytes, tiling.max_memory)
        plan_for = partial(group.plan, tiling)
        if dry_run:
            report.groups.append(group.report(plan_for(memory)))
            continue
        by_plan = partial(_restore_group, group, reporter=reporter, trace=trace)
        planes, done = in_less_memory(by_plan, plan_for, memory, backend.release)
        group.write(planes, restored[channels])
        report.groups.append(done)
    estimated = isinstance(noise, Gaussian) and isinstance(noise.noise_sigma, str)
    if direct and estimated and not (report.warnings or any(report.noise_sigmas)):
        report.warnings.append(NO_NOISE_FOUND)
    if dry_run:
        return given.planes, report
    if observation is not given:
        restored = as_pixels(noise.expected(restored), given.planes.dtype)
    return restored, report


def _without_correlated_noise(
    problem: Problem, noise: Correlated, solve: Solve, engine: Engine, reporter: Reporter, dry_run: bool
) -> tuple[np.ndarray, RestorationReport]:
    """Remove noise that isn't white, tile by tile, on the CPU."""
    planes, warnings = problem.observation.planes, [*problem.remarks]
    report = RestorationReport(0.0, noise_sigmas=noise.sigmas, warnings=warnings, found=noise.found)
    if dry_run or not noise.noise.variances.any():
        return planes.copy(), report
    without = remove_camera_noise(
        (planes.astype(np.float64) - noise.low) / noise.unit, noise.noise, replace(engine, device="cpu"), solve.effort,
        reporter, prior=problem.prior, strength=noise.strength,
    )  # fmt: skip
    restored = without.astype(np.float64) * noise.unit + noise.low
    return as_pixels(np.clip(restored, planes.min(), planes.max()), planes.dtype), report


def _restore_group(group: Group, plan: Plan, reporter: Reporter, trace: Trace | None) -> tuple[Any, GroupReport]:
    """Restore (C, height, width) on the scale of [0, 1]; of filled channels, only what was to be restored is valid.

    Where that is little, these are :class:`SparsePlanes`.
    """
    scaled, operator, several = group.scaled, group.problem.operator, len(plan.tiles) > 1
    if trace:
        trace.restart(group.channels)
    stages, first, first_stage = DECONVOLUTION, None, "base layer"
    if group.effort and group.fills:
        stages, recipe = filling(group.effort), _recipe_of_filling(group, reporter)
        first_stage = "base layer" if group.effort.pilot == "code" else "pilot"
    elif group.prior is not None:
        stages, recipe = DENOISING if group.effort else DECONVOLUTION_BY_PRIOR, group.recipe(group.dictionary, 0.0, 0)
        first_stage = "prior" if group.effort else "base layer"
    reporter.report("tiles" if several else first_stage, 0, len(plan.tiles))
    if not group.effort and group.prior is None:
        recipe, first = _recipe_of_deconvolution(group, plan)
    recipe = replace(
        recipe,
        engine=group.engine if plan.jobs == 1 else group.engine.single_threaded(),
        reporter=SILENT if several else reporter,
    )
    done, stopped = group.report(plan, recipe), False

    def work(tile: Tile) -> TileState:
        state = first or stages[0](group.start(tile, trace), recipe)
        for stage in () if stopped else stages[1:]:
            state = stage(state, recipe)
        return state

    def after(number: int, state: TileState) -> None:
        nonlocal done, stopped
        done = replace(done, history=done.history or state.history, passes=max(done.passes, state.passes))
        if several and reporter.report("tiles", number, len(plan.tiles)):
            stopped = True

    dtype = np.result_type(scaled.planes.dtype, np.float32)
    if group.everything:
        blended = np.zeros((len(scaled.planes), *operator.restored_shape(scaled.planes.shape[1:])), dtype)
    else:
        blended = planes_for(scaled.missing, dtype)
    blend_tiles(work, plan, blended, factor=operator.factor, after=after)
    if group.effort is None:
        return operator.finish(blended, *group.whole), done
    return (blended, done) if stopped else _fill_holes(group, plan, recipe, blended, done, reporter)


def filling(effort: Effort) -> Sequence[Stage]:
    """Return the stages by which what is missing is filled."""
    return (pilot, *refinement(effort), blend)


def _fill_holes(
    group: Group, plan: Plan, recipe: Recipe, planes: Any, done: GroupReport, reporter: Reporter
) -> tuple[Any, GroupReport]:
    """Fill the holes among what is missing in the ways that are best for each, in place."""
    assert group.effort is not None
    holes = find_holes(group.scaled.missing)
    if not holes or reporter.report("holes", 0, count_holes(holes)):
        return planes, done
    hidden = None if group.solve.effort == "fast" else _with_rims_hidden(group, holes, plan, recipe, planes)
    known = planes if group.everything else None
    n_invented = fill_holes(holes, group.scaled, planes, hidden, known, group.texture_from, recipe.engine.backend)
    return planes, replace(done, holes=count_holes(holes), n_invented=n_invented)


def _with_rims_hidden(group: Group, holes: list[Hole], plan: Plan, recipe: Recipe, planes: Any) -> Any:
    """Return what the stages make of holes and their rims, if these are missing, and everything else is as restored."""
    assert group.effort is not None
    stages, wide = filling(group.effort), with_rims(holes, planes.shape)

    def work(tile: Tile) -> TileState:
        window = (slice(None), *tile.window)
        observed, missing = group.scaled.crop(*tile.window)
        observed = np.where(wide[window], 0.0, np.where(missing, planes[window], observed))
        state = TileState(observed, wide[window])
        for stage in stages:
            state = stage(state, replace(recipe, reporter=SILENT))
        return state

    hidden = planes_for(wide, planes.dtype)
    blend_tiles(work, plan._replace(tiles=[tile for tile in plan.tiles if wide[:, *tile.window].any()]), hidden)
    return hidden


def _recipe_of_filling(group: Group, reporter: Reporter) -> Recipe:
    """Settle what holds for all tiles: lmbda, the adapted dictionary, and the weight against the pilot."""
    effort, scaled, dictionary, lmbda = group.effort, group.scaled, group.dictionary, group.solve.lmbda
    assert effort is not None
    if lmbda is None:
        lmbda = max(LMBDA, (LMBDA_NOISE if dictionary.n_channels == 1 else LMBDA_NOISE_COLOR) * group.noise_sigma)
    if effort.learn:
        dictionary = adapt_dictionary(
            dictionary, scaled, lmbda, group.engine,
            lambda record: reporter.report("learning", record.iteration, ROUNDS, record),
        )  # fmt: skip
    rounds = 1 if group.engine.backend.compiled else ADMM_ITERATIONS_A_ROUND
    recipe = group.recipe(dictionary, lmbda, effort.max_iter * rounds)
    if effort.check and scaled.missing.any() and not reporter.report("checking", 0, 1):
        return replace(recipe, blend_weight=cross_validated_weight(partial(refined, recipe=recipe), scaled))
    return recipe


def _recipe_of_deconvolution(group: Group, plan: Plan) -> tuple[Recipe, TileState | None]:
    """Settle lmbda from the detail of all tiles; with the state of a single tile after its first stage."""
    max_iter = SCENE_ITERATIONS if group.solve.max_iter is None else group.solve.max_iter
    recipe, scaled = group.recipe(group.dictionary, group.solve.lmbda or 0.0, max_iter), group.scaled
    first = deconvolve(group.start(plan.tiles[0]), recipe) if len(plan.tiles) == 1 else None
    if group.solve.lmbda is not None:
        return recipe, first

    def energy(tile: Tile) -> float:
        state = first or deconvolve(group.start(tile), recipe)
        return float((tile.weight * state.known * (state.observed - operator.apply(state.base)) ** 2).sum())

    operator, n_known = group.problem.operator, np.count_nonzero(~scaled.missing)
    lmbda = _scene_lmbda(group.noise_sigma, sum(map_tiles(energy, plan.tiles, plan.jobs)) / n_known, operator)
    return replace(recipe, lmbda=lmbda), first


def _scene_lmbda(sigma: float, energy: float, operator: Operator) -> float:
    """Return lmbda for noise of sigma: ``LMBDA_SCENE sigma^p a^(1 - p)``, a the standard deviation of the detail less noise.

    `energy` is the detail's mean square. So lmbda scales with the image. If codes were independent with a Laplacian
    distribution, p would be 2.
    """
    sigma = max(sigma, operator.least_sigma)
    amplitude = np.sqrt(max(energy - sigma**2, sigma**2 / 4))
    return float(LMBDA_SCENE * sigma**LMBDA_POWER * amplitude ** (1 - LMBDA_POWER))
