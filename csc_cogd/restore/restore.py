"""The way from a damaged image to a restored one, which every task goes.

An image b = H s + noise, of which values may be missing, is restored on a scale where it is in about [0, 1], channels that
belong together at a time, tile by tile:

1. a smooth base layer u is taken off: the low-passed pilot, or behind an operator H the Tikhonov solution;
2. the detail ``b - H u`` is coded sparsely over a dictionary from the known values, ``argmin_x 1/2 ||W (sum_k (H d_k) * x_k
   - (b - H u))||^2 + lmbda ||x||_1``, and ``u + sum_k d_k * x_k`` fills the gaps [CoGD, eq. 21, with the filters fixed];
3. similar patches refine that: where H is the identity, by themselves, and cross-validation may blend it with the pilot;
   else in turn with the picture;
4. each hole is then filled in the ways that are right about what is known around it, see :mod:`csc_cogd.restore.holes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from csc_cogd.backend import single_threaded_blas
from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, Remark
from csc_cogd.restore.camera_noise import Correlated
from csc_cogd.restore.holes import LARGE, fill_holes, find_holes, widened
from csc_cogd.restore.noise import Gaussian, Noise, mean_level
from csc_cogd.restore.observation import LARGEST, Observation, ScaledPlanes, as_pixels, intensity_range
from csc_cogd.restore.operators import Identity, Operator
from csc_cogd.restore.report import SILENT, GroupReport, Reporter, RestorationReport, TileTrace, Trace
from csc_cogd.restore.settings import Effort, Solve, Tiling, choose_effort
from csc_cogd.restore.stages.adaptation import adapt_dictionary
from csc_cogd.restore.stages.base_layer import deconvolve
from csc_cogd.restore.stages.blend_weight import REFINEMENT, blend, cross_validated_weight, refined
from csc_cogd.restore.stages.code import code_scene
from csc_cogd.restore.stages.pilot import pilot
from csc_cogd.restore.stages.plug_and_play import refine_scene
from csc_cogd.restore.stages.prior import prior_effort, prior_estimate, prior_memory, similar_patches
from csc_cogd.restore.stages.state import Recipe, Stage, TileState
from csc_cogd.restore.tiling import (
    PLAIN,
    Memory,
    Overlap,
    Plan,
    PlansInLessMemory,
    Tile,
    admm_memory,
    blend_tiles,
    choose_tiles,
    code_memory,
    image_memory,
    map_tiles,
    memory_for,
)
from csc_cogd.unrolled.prior import Prior

FILLING: Sequence[Stage] = (pilot, *REFINEMENT, blend)
DENOISING: Sequence[Stage] = (prior_estimate, similar_patches)
DECONVOLUTION: Sequence[Stage] = (deconvolve, code_scene, refine_scene)
LMBDA, LMBDA_NOISE, LMBDA_NOISE_COLOR = 0.015, 1.0, 2.0  # at least, and times the noise's standard deviation
LMBDA_SCENE, LMBDA_POWER = 0.4, 1.6  # tuned on photographs, see `_scene_lmbda`
ADMM_ITERATIONS_A_ROUND = 20  # where ADMM solves, as on a GPU: about the same images
SCENE_ITERATIONS = 60
NO_NOISE_FOUND = Remark("noise_sigma", "was estimated to be 0, so no noise was removed", "give it if you see noise")
NOISE_UNKNOWN = Remark(
    "noise_sigma", "can't be estimated, as too few pixels differ from their neighbors, and is taken to be 0",
    "give the standard deviation of the noise",
)  # fmt: skip
IDENTITY, NO_NOISE = Identity(), Gaussian(None)


@dataclass(frozen=True, eq=False)
class Problem:
    """What is to be restored from what.

    Attributes
    ----------
    observation : Observation
    operator : Operator
        What the image shows of the scene.
    noise : Noise
    dictionary : Dictionary, optional
        Default: the ones that ship, for gray or for color.
    keep_known : bool
        Keep known values as they are.
    remarks : tuple of Remark
        For the report's warnings.
    correlated : Correlated, optional
        Noise that isn't white, instead of `noise`.
    prior : Prior, optional
        That takes noise off complete images, in place of a code; default: none.
    prior_above : float
        Standard deviation of the noise on the scale of [0, 1], above which it does.
    """

    observation: Observation
    operator: Operator = IDENTITY
    noise: Noise = NO_NOISE
    dictionary: Dictionary | None = None
    keep_known: bool = False
    remarks: tuple[Remark, ...] = ()
    correlated: Correlated | None = None
    prior: Prior | None = None
    prior_above: float = 0.0


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
        float(given.missing.mean()), gain=getattr(noise, "gain", None), operator="" if direct else str(operator),
        n_values=given.planes.size, warnings=[*problem.remarks],
    )  # fmt: skip
    shape = (len(given.planes), *operator.final_shape(given.planes.shape[1:]))
    restored = observation.planes.copy() if direct else np.empty(shape, observation.planes.dtype)
    for channels, dictionary in _groups_by_noise(channel_groups(len(given.planes), problem.dictionary), noise):
        if direct and problem.keep_known and not observation.missing[channels].any():
            continue
        group = _Group.of(problem, observation, channels, dictionary, solve, engine)
        if np.isnan(group.noise_sigma):
            group, report.warnings[:] = replace(group, noise_sigma=0.0, prior=None), [NOISE_UNKNOWN]
        report.noise_sigmas.append(group.noise_sigma * group.scaled.range)
        if direct and not (observation.missing[channels].any() or group.noise_sigma):
            continue
        n_restored = None if direct else restored[channels].size
        image_bytes = image_memory(observation.planes.size, observation.planes.dtype.itemsize, n_restored)
        memory = memory_for(backend, image_bytes, group.tile_bytes, tiling.max_memory)
        plan_for = partial(group.plan, tiling)
        if dry_run:
            report.groups.append(group.report(plan_for(memory)))
            continue
        for attempt in PlansInLessMemory(plan_for, memory, backend.release):
            with attempt as plan:
                planes, done = _restore_group(group, plan, reporter, trace)
                planes = operator.finish(planes, *group.whole) if not direct else planes
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
    restored = noise.remove(planes, replace(engine, device="cpu"), solve.effort, reporter)
    return as_pixels(np.clip(restored, planes.min(), planes.max()), planes.dtype), report


@dataclass(frozen=True, eq=False)
class _Group:
    """Channels that are restored together, and how."""

    problem: Problem
    channels: slice
    dictionary: Dictionary
    scaled: ScaledPlanes
    known_values: list[np.ndarray]
    noise_sigma: float  # on the scale of [0, 1]
    effort: Effort | None
    solve: Solve
    engine: Engine
    prior: Prior | None = None

    @classmethod
    def of(
        cls, problem: Problem, observed: Observation, channels: slice, dictionary: Dictionary, solve: Solve, engine: Engine
    ) -> _Group:
        """Look at the values and the noise of channels."""
        direct, noise = isinstance(problem.operator, Identity), problem.noise.of(channels)
        known_values, missing = observed.known_values(channels), observed.missing[channels]
        low, high = intensity_range(known_values)
        if not direct and noise.fidelity == "poisson":
            low = 0.0
        scaled = ScaledPlanes(observed.planes[channels], missing, low, high, LARGEST if direct else np.inf)
        sigma = noise.sigma(scaled, stabilized=direct)
        effort = choose_effort(solve, missing, np.nan_to_num(sigma)) if direct else None
        prior = None if missing.any() or not sigma > problem.prior_above else problem.prior
        if prior is not None:
            effort = prior_effort(prior, solve, len(missing))
        return cls(problem, channels, dictionary, scaled, known_values, sigma, effort, solve, engine, prior)

    @property
    def whole(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture on the scale of [0, 1], (C, H, W), and what of it is known."""
        observed, missing = self.scaled.crop(slice(None), slice(None))
        return observed, ~missing

    @property
    def everything(self) -> bool:
        """Whether known values are restored, too."""
        return self.effort is None or (bool(self.noise_sigma) and not self.problem.keep_known)

    @property
    def texture_from(self) -> float:
        """Half the width in pixels of the holes that are filled with texture."""
        planes = self.problem.observation.planes
        photograph = planes.dtype in (np.uint8, np.uint16) and len(planes) in (1, 3, 4) and self.channels.start < 3
        return {"smooth": np.inf, "texture": 0, "auto": LARGE if photograph else np.inf}[self.solve.fill]

    def tile_bytes(self, shape: tuple[int, int]) -> int:
        """Bytes that a tile takes."""
        backend = self.engine.backend
        itemsize = backend.dtype.itemsize
        if self.prior is not None:
            return prior_memory(self.prior, len(self.scaled.planes), shape, backend.threads)
        if not isinstance(self.problem.operator, Identity):
            return admm_memory(self.dictionary, itemsize, self.problem.operator.scene_shape(shape), gradient_penalty=True)
        if backend.compiled:
            return code_memory(self.dictionary, len(self.scaled.planes), itemsize, shape)
        return admm_memory(self.dictionary, itemsize, shape)

    def plan(self, tiling: Tiling, memory: Memory) -> Plan:
        """Choose tiles."""
        missing, operator = self.scaled.missing, self.problem.operator
        needed = np.ones(missing.shape[1:], bool) if self.everything else np.asarray(missing.any(axis=0))
        if self.prior is not None:
            overlap = PLAIN._replace(margin=max(PLAIN.margin, self.prior.network.shape.halo))
        else:
            overlap = PLAIN if isinstance(operator, Identity) else Overlap.on_grid(operator.factor, operator.reach)
        return choose_tiles(needed, missing, memory, tiling, self.engine.backend.threads, overlap)

    def recipe(self, dictionary: Dictionary, lmbda: float, max_iter: int) -> Recipe:
        """Return what the stages are told."""
        level = mean_level(self.scaled) if self.effort is None and self.problem.noise.fidelity == "poisson" else 1.0
        operator, noise, tol = self.problem.operator, self.problem.noise, self.solve.tol
        return Recipe(
            dictionary, operator, noise, self.noise_sigma, self.effort, lmbda, tol, max_iter, self.engine, level,
            prior=self.prior,
        )  # fmt: skip

    def start(self, tile: Tile, trace: Trace | None = None) -> TileState:
        """Return what is observed of a tile."""
        observed, missing = self.scaled.crop(*tile.window)
        state = TileState(observed, missing)
        if trace is None:
            return state
        restored = np.ones_like(missing) if self.everything else missing
        return replace(state, trace=TileTrace(trace, self.channels, tile, restored, self.scaled.low, self.scaled.range))

    def report(self, plan: Plan, recipe: Recipe | None = None) -> GroupReport:
        """Say what was, or would be, done."""
        lmbda = (self.solve.lmbda or 0.0) if recipe is None else recipe.lmbda
        dictionary = self.dictionary if recipe is None else recipe.dictionary
        weight = None if recipe is None else recipe.blend_weight
        sigma = self.noise_sigma * self.scaled.range
        return GroupReport(plan, dictionary, sigma, self.effort, lmbda, blend_weight=weight, prior=self.prior)

    def write(self, planes: np.ndarray, restored: np.ndarray) -> None:
        """Write restored values (C, height, width), on the scale of [0, 1], where they belong, in the image's units."""
        scaled, poisson = self.scaled, self.problem.noise.fidelity == "poisson"
        if self.effort is None:
            for target, plane in zip(restored, planes, strict=True):
                plane *= scaled.range
                plane += scaled.low
                target[...] = as_pixels(np.maximum(plane, 0) if poisson else plane, restored.dtype)
            return
        for target, plane, known, changed in zip(restored, planes, self.known_values, scaled.missing, strict=True):
            changed = np.ones_like(changed) if self.everything else changed
            values = plane[changed].astype(np.float64) * scaled.range + scaled.low
            target[changed] = as_pixels(np.clip(values, known.min(), known.max()), restored.dtype)


def _restore_group(group: _Group, plan: Plan, reporter: Reporter, trace: Trace | None) -> tuple[np.ndarray, GroupReport]:
    """Restore (C, height, width) on the scale of [0, 1]; of filled channels, only what was to be restored is valid."""
    scaled, operator, several = group.scaled, group.problem.operator, len(plan.tiles) > 1
    if trace:
        trace.restart(group.channels)
    stages, first = FILLING, None
    if group.prior is not None:
        stages, recipe = DENOISING, replace(group.recipe(group.dictionary, 0.0, 0), means=group.scaled.means())
    elif group.effort:
        recipe = _recipe_of_filling(group, reporter)
    first_stage = "prior" if group.prior is not None else "base layer"
    reporter.report("tiles" if several else first_stage, 0, len(plan.tiles))
    if not group.effort:
        stages, (recipe, first) = DECONVOLUTION, _recipe_of_deconvolution(group, plan)
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

    shape = operator.restored_shape(scaled.planes.shape[1:])
    blended = np.zeros((len(scaled.planes), *shape), np.result_type(scaled.planes.dtype, np.float32))
    blend_tiles(work, plan, blended, factor=operator.factor, after=after)
    return (blended, done) if stopped or not group.effort else _fill_holes(group, plan, recipe, blended, done, reporter)


def _fill_holes(
    group: _Group, plan: Plan, recipe: Recipe, planes: np.ndarray, done: GroupReport, reporter: Reporter
) -> tuple[np.ndarray, GroupReport]:
    """Fill the holes among what is missing in the ways that are best for each, in place."""
    assert group.effort is not None
    holes = find_holes(group.scaled.missing)
    if not holes or reporter.report("holes", 0, len(holes)):
        return planes, done
    hidden = None
    if group.solve.effort != "fast":
        trial = replace(group, scaled=replace(group.scaled, missing=widened(holes, group.scaled.missing)))
        tiles = [tile for tile in plan.tiles if any(hole.overlaps(tile.window) for hole in holes)]

        def work(tile: Tile) -> TileState:
            state = trial.start(tile)
            for stage in FILLING:
                state = stage(state, replace(recipe, reporter=SILENT))
            return state

        hidden = np.zeros_like(planes)
        blend_tiles(work, plan._replace(tiles=tiles), hidden)
    known = planes if group.everything else None
    n_invented = fill_holes(holes, group.scaled, planes, hidden, known, group.texture_from, recipe.engine.backend)
    return planes, replace(done, holes=len(holes), n_invented=n_invented)


def _recipe_of_filling(group: _Group, reporter: Reporter) -> Recipe:
    """Settle what holds for all tiles: lmbda, the adapted dictionary, and the weight against the pilot."""
    effort, scaled, dictionary, lmbda = group.effort, group.scaled, group.dictionary, group.solve.lmbda
    assert effort is not None
    if lmbda is None:
        lmbda = max(LMBDA, (LMBDA_NOISE if dictionary.n_channels == 1 else LMBDA_NOISE_COLOR) * group.noise_sigma)
    if effort.learn:
        dictionary = adapt_dictionary(dictionary, scaled, lmbda, group.engine, reporter)
    rounds = 1 if group.engine.backend.compiled else ADMM_ITERATIONS_A_ROUND
    recipe = group.recipe(dictionary, lmbda, effort.max_iter * rounds)
    if effort.check and scaled.missing.any() and not reporter.report("checking", 0, 1):
        return replace(recipe, blend_weight=cross_validated_weight(partial(refined, recipe=recipe), scaled))
    return recipe


def _recipe_of_deconvolution(group: _Group, plan: Plan) -> tuple[Recipe, TileState | None]:
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


def _groups_by_noise(groups: list[tuple[slice, Dictionary]], noise: Noise) -> list[tuple[slice, Dictionary]]:
    """Add, behind each group, those of its channels that have less noise than the others: they do better by themselves.

    The noisier ones gain from the others, and stay as they were restored together.
    """
    if not (isinstance(noise, Gaussian) and isinstance(noise.noise_sigma, tuple)):
        return groups
    found = []
    for channels, dictionary in groups:
        found.append((channels, dictionary))
        together = noise.of(channels).noise_sigma
        for c in range(channels.start, channels.stop) if channels.stop - channels.start > 1 else ():
            if noise.noise_sigma[c] < together:
                found.append((slice(c, c + 1), Dictionary.default("gray")))
    return found


def channel_groups(n_channels: int, dictionary: Dictionary | None) -> list[tuple[slice, Dictionary]]:
    """Return which channels are coded together, and over which dictionary."""
    if dictionary is not None:
        check_dictionary(dictionary)
    if dictionary is not None and dictionary.n_channels not in (1, 3, n_channels):
        have = f"has filters of {dictionary.n_channels} channels, but the image has {n_channels}"
        raise InputError("dictionary", have, "use a gray one, or one with the image's channels")
    if dictionary is not None and dictionary.n_channels == n_channels:
        return [(slice(0, n_channels), dictionary)]
    if n_channels not in (3, 4) or (dictionary is not None and dictionary.n_channels == 1):
        gray = Dictionary.default("gray") if dictionary is None else dictionary
        if gray.n_channels != 1:
            raise InputError("dictionary", f"has filters of 3 channels, but the image has {n_channels}", "use a gray one")
        return [(slice(c, c + 1), gray) for c in range(n_channels)]
    color = Dictionary.default("color") if dictionary is None else dictionary
    groups = [(slice(0, 3), color)]
    if n_channels == 4:
        groups.append((slice(3, 4), Dictionary.default("gray")))
    return groups
