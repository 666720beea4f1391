"""Channels that are restored together: which they are, and how they are restored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.restore.extents import SparsePlanes, missing_anywhere
from csc_cogd.restore.holes import LARGE
from csc_cogd.restore.noise import Gaussian, Noise, mean_level
from csc_cogd.restore.observation import LARGEST, Observation, ScaledPlanes, as_pixels, clipped_to_known, known_range
from csc_cogd.restore.operators import Identity
from csc_cogd.restore.prior import check_channels
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import GroupReport, TileTrace, Trace
from csc_cogd.restore.settings import Effort, Solve, Tiling, choose_effort
from csc_cogd.restore.stages.plug_and_play import scene_patches_memory
from csc_cogd.restore.stages.prior import fill_memory, gpu_memory, prior_effort, prior_memory
from csc_cogd.restore.stages.prior_scene import scene_memory
from csc_cogd.restore.stages.state import Recipe, TileState
from csc_cogd.restore.tiling import (
    PLAIN,
    Memory,
    Overlap,
    Plan,
    Tile,
    admm_memory,
    choose_tiles,
    code_memory,
    largest_share,
    patches_memory,
)
from csc_cogd.unrolled.prior import Prior


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that are restored together, and how."""

    problem: Problem
    channels: slice
    dictionary: Dictionary
    scaled: ScaledPlanes
    noise_sigma: float  # on the scale of [0, 1]
    effort: Effort | None
    solve: Solve
    engine: Engine
    prior: Prior | None = None

    @classmethod
    def of(
        cls, problem: Problem, observed: Observation, channels: slice, dictionary: Dictionary, solve: Solve, engine: Engine
    ) -> Group:
        """Look at the values and the noise of channels."""
        direct, noise = isinstance(problem.operator, Identity), problem.noise.of(channels)
        planes, missing = observed.planes[channels], observed.missing[channels]
        low, high = known_range(planes, missing)
        if not direct and noise.fidelity == "poisson":
            low = 0.0
        scaled = ScaledPlanes(planes, missing, low, high, LARGEST if direct else np.inf)
        sigma = noise.sigma(scaled, stabilized=direct)
        own, effort = problem.dictionary is not None, None
        if direct:
            that_fills = "own" if isinstance(problem.fill_prior, Prior) else problem.fill_prior
            effort = choose_effort(solve, missing, np.nan_to_num(sigma), own_dictionary=own, prior=that_fills)
        prior = problem.color_prior if problem.color_prior and len(missing) == 3 else problem.prior
        serves = not direct or (sigma > problem.prior_above and not missing.any())
        prior = prior if serves else None
        if effort is not None and effort.pilot == "prior":
            prior = problem.fill_prior if isinstance(problem.fill_prior, Prior) else Prior.default("fill")
        elif prior is not None and direct:
            effort = prior_effort(prior, solve, len(missing))
        elif prior is not None:
            check_channels(prior, len(missing))
        return cls(problem, channels, dictionary, scaled, sigma, effort, solve, engine, prior)

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
    def fills(self) -> bool:
        """Whether what is missing is filled, rather than noise taken off by a prior, or a scene found."""
        return self.effort is not None and (self.prior is None or self.effort.pilot == "prior")

    @cached_property
    def largest_share(self) -> float:
        """Of the pixels that are missing, where they are densest."""
        return largest_share(missing_anywhere(self.scaled.missing))

    @property
    def texture_from(self) -> float:
        """Half the width in pixels of the holes that are filled with texture."""
        planes = self.problem.observation.planes
        photograph = planes.dtype in (np.uint8, np.uint16) and len(planes) in (1, 3, 4) and self.channels.start < 3
        return {"smooth": np.inf, "texture": 0, "auto": LARGE if photograph else np.inf}[self.solve.fill]

    def tile_bytes(self, shape: tuple[int, int]) -> int:
        """Bytes that a tile takes: the most that one of the steps does, which follow one another."""
        backend, prior, operator = self.engine.backend, self.prior, self.problem.operator
        itemsize, channels, threads = backend.dtype.itemsize, len(self.scaled.planes), backend.threads
        if not isinstance(operator, Identity):
            scene = operator.scene_shape(shape)
            if prior is not None:
                steps = [scene_memory(prior, channels, scene, threads)]
            else:
                code = admm_memory(self.dictionary, itemsize, scene, gradient_penalty=True)
                steps = [code, scene_patches_memory(channels, scene)]
        elif prior is not None and not self.fills:
            steps = [prior_memory(prior, channels, shape, threads)]
        elif prior is not None:
            steps = [patches_memory(channels, shape, self.largest_share), fill_memory(prior, channels, shape, threads)]
        elif self.effort is not None and self.effort.pilot == "biharmonic":
            steps = [patches_memory(channels, shape, self.largest_share)]
        elif backend.compiled:
            steps = [code_memory(self.dictionary, channels, itemsize, shape)]
        else:
            steps = [admm_memory(self.dictionary, itemsize, shape)]
        return max(steps) + (gpu_memory(prior, shape) if prior is not None and backend.xp is not np else 0)

    def plan(self, tiling: Tiling, memory: Memory) -> Plan:
        """Choose tiles."""
        missing, operator = self.scaled.missing, self.problem.operator
        needed = np.ones(missing.shape[1:], bool) if self.everything else missing_anywhere(missing)
        halo = self.prior.network.shape.halo if self.prior is not None else 0
        if isinstance(operator, Identity):
            overlap = PLAIN._replace(margin=max(PLAIN.margin, halo))
        else:
            overlap = Overlap.on_grid(operator.factor, operator.reach + max(halo - PLAIN.margin, 0))
        return choose_tiles(needed, missing, memory, tiling, self.engine.backend.threads, overlap)

    def recipe(self, dictionary: Dictionary, lmbda: float, max_iter: int) -> Recipe:
        """Return what the stages are told."""
        level = mean_level(self.scaled) if self.effort is None and self.problem.noise.fidelity == "poisson" else 1.0
        operator, noise, tol = self.problem.operator, self.problem.noise, self.solve.tol
        return Recipe(
            dictionary, operator, noise, self.noise_sigma, self.effort, lmbda, tol, max_iter, self.engine, level,
            prior=self.prior, means=self._means() if self.prior is not None else (),
        )  # fmt: skip

    def _means(self) -> tuple[float, ...]:
        """Return the mean of what is known of each channel, on the scale of [0, 1]."""
        scaled = self.scaled
        means = (
            float(plane[~gone].mean(dtype=np.float64)) for plane, gone in zip(scaled.planes, scaled.missing, strict=True)
        )
        return tuple((mean - scaled.low) / scaled.range for mean in means)

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

    def write(self, planes: Any, restored: np.ndarray) -> None:
        """Write restored values (C, height, width), on the scale of [0, 1], where they belong, in the image's units."""
        scaled, poisson = self.scaled, self.problem.noise.fidelity == "poisson"
        if self.effort is None:
            for target, plane in zip(restored, planes, strict=True):
                plane *= scaled.range
                plane += scaled.low
                target[...] = as_pixels(np.maximum(plane, 0) if poisson else plane, restored.dtype)
            return
        sparse = planes if isinstance(planes, SparsePlanes) else None
        for c, (target, observed, missing) in enumerate(zip(restored, scaled.planes, scaled.missing, strict=True)):
            if sparse is not None:
                changed, values = np.unravel_index(sparse.places[c], target.shape), sparse.values[c]
            else:
                changed = np.nonzero(np.ones_like(missing) if self.everything else missing)
                values = planes[c][changed]
            if values.size:
                values = values.astype(np.float64) * scaled.range + scaled.low
                target[changed] = as_pixels(clipped_to_known(values, observed, missing), restored.dtype)


def groups_by_noise(groups: list[tuple[slice, Dictionary]], noise: Noise) -> list[tuple[slice, Dictionary]]:
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
