"""Impulses: values that no sparse code explains, further from its fit than the others are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.ndimage import median_filter, rank_filter

from csc_cogd.backend import single_threaded_blas
from csc_cogd.csc.codes import sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.restore.observation import Observation, intensity_range
from csc_cogd.restore.report import GroupReport, Reporter, RestorationReport
from csc_cogd.restore.restore import channel_groups
from csc_cogd.restore.settings import Tiling
from csc_cogd.restore.stages.base_layer import base_layer
from csc_cogd.restore.stages.code import frequency_weights
from csc_cogd.restore.stages.pilot import pilot_estimate
from csc_cogd.restore.stages.state import TileState, as_coded
from csc_cogd.restore.tiling import Plan, Tile, admm_memory, blend_tiles, choose_tiles, image_memory, memory_for

MEDIAN = 5  # side of the window whose median is the first guess under impulse noise
IMPULSE_LMBDA, IMPULSE_RHO = 1.5, 5.0
IMPULSE_ROUNDS, IMPULSE_ITERATIONS = 3, 25  # in each, the pixels that were found before are left out
OUTLIER_SIGMAS = 4.0  # standard deviations, and in the image's range at least and at most:
OUTLIER_RANGE = (0.08, 0.25)
MIN_EXTREME_SHARE, MAX_EXTREME_SHARE = (
    0.01,
    0.75,
)  # share of values at the ends of their range in pictures with salt and pepper
MIN_EXTREME_DEVIATION = 0.02  # by which they deviate at least
BYTES_A_VALUE = 48  # of the picture, that the search for impulses keeps besides


@dataclass(frozen=True)
class ImpulseSearch:
    """How impulses are looked for."""

    tiling: Tiling
    engine: Engine
    reporter: Reporter

    def plan(self, observation: Observation, channels: slice, dictionary: Dictionary) -> Plan:
        """Choose tiles for channels."""
        planes, missing, backend = observation.planes, observation.missing[channels], self.engine.backend
        image_bytes = image_memory(planes.size, planes.dtype.itemsize) + BYTES_A_VALUE * missing.size
        of_tile = partial(admm_memory, dictionary, backend.dtype.itemsize)
        memory = memory_for(backend, image_bytes, of_tile, self.tiling.max_memory)
        return choose_tiles(np.ones(missing.shape[1:], bool), missing, memory, self.tiling, backend.threads)

    def plan_only(self, observation: Observation, dictionary: Dictionary | None) -> RestorationReport:
        """Say in which tiles impulses would be looked for."""
        groups = [
            GroupReport(self.plan(observation, channels, d), d)
            for channels, d in channel_groups(len(observation.planes), dictionary)
        ]
        return RestorationReport(float(observation.missing.mean()), groups)

    @single_threaded_blas()
    def find(self, observation: Observation, dictionary: Dictionary | None) -> np.ndarray:
        """Return which known values are impulses, (C, H, W) bool."""
        outlying = np.zeros(observation.planes.shape, bool)
        for channels, group_dictionary in channel_groups(len(observation.planes), dictionary):
            outlying[channels] = self._find_in(observation, channels, group_dictionary)
        return outlying

    def _find_in(self, observation: Observation, channels: slice, dictionary: Dictionary) -> np.ndarray:
        plan, planes = self.plan(observation, channels, dictionary), observation.planes[channels]
        known, known_values = ~observation.missing[channels], observation.known_values(channels)
        low, high = intensity_range(known_values)
        scaled = (np.where(known, planes, low).astype(np.float64) - low) / (high - low)
        if not known.all():
            scaled = _blended(plan, known.shape, lambda window: pilot_estimate(scaled[window], ~known[window]))
        base = base_layer(median_filter(scaled, (1, MEDIAN, MEDIAN)))
        detail, trusted = np.where(known, scaled - base, 0.0), known
        for number in range(IMPULSE_ROUNDS):
            fit, stopped = self._robust_fit(detail, trusted, dictionary, plan, number)
            deviation = abs(scaled - base - fit)
            spread = np.quantile(deviation[trusted], 0.25) / 0.3186  # the quartile of a normal deviation: outliers are above
            trusted = known & (deviation <= np.clip(OUTLIER_SIGMAS * spread, *OUTLIER_RANGE))
            if stopped or not trusted.any():
                break
        extreme = known & _at_the_ends(planes, known_values)
        if MIN_EXTREME_SHARE < extreme[known].mean() < MAX_EXTREME_SHARE and (~trusted)[extreme].mean() > 0.5:
            outlying = extreme & (deviation > MIN_EXTREME_DEVIATION)  # salt and pepper: nothing else is spoilt
        else:
            outlying = known & ~trusted & ((deviation > OUTLIER_RANGE[1]) | _beyond_neighbors(scaled))
        if not (known & ~outlying).any(axis=(1, 2)).all():
            raise InputError("image", "has a channel in which no pixel looks intact", "is this impulse noise?")
        return outlying

    def _robust_fit(
        self, detail: np.ndarray, trusted: np.ndarray, dictionary: Dictionary, plan: Plan, number: int
    ) -> tuple[np.ndarray, bool]:
        """Return the fit of a code under the sum of absolute deviations to (C, H, W) values, and whether to stop there."""
        several, stopped = len(plan.tiles) > 1, False
        engine = self.engine if plan.jobs == 1 else self.engine.single_threaded()

        def tell(done: int, total: int, record: Any = None) -> bool:
            nonlocal stopped
            stopped = self.reporter.report("impulses", number * total + done, IMPULSE_ROUNDS * total, record) or stopped
            return stopped

        def fit(window: tuple[Any, ...]) -> np.ndarray:
            images, weights = as_coded(dictionary, detail[window]), as_coded(dictionary, trusted[window])
            if stopped or not weights.any():
                return np.zeros_like(detail[window])
            code = sparse_code(
                images, dictionary, weights=weights, fidelity="absolute deviation", lmbda=IMPULSE_LMBDA,
                l1_weights=frequency_weights(dictionary), rho=IMPULSE_RHO, rho_data=2 * IMPULSE_RHO,
                max_iter=IMPULSE_ITERATIONS, tol=0.0, engine=engine,
                callback=None if several else lambda record: tell(record.iteration, IMPULSE_ITERATIONS, record),
            )  # fmt: skip
            return code.reconstruction.reshape(detail[window].shape)

        after = (lambda done, state: tell(done, len(plan.tiles))) if several else _silent
        return _blended(plan, detail.shape, fit, after), stopped


def _silent(number: int, state: TileState) -> None:
    """Tell nobody."""


def _blended(
    plan: Plan, shape: tuple[int, ...], function: Callable[[Any], np.ndarray], after: Callable[[int, Any], Any] = _silent
) -> np.ndarray:
    """Return what a function makes of the tiles' windows, (C, H, W) in all."""
    total = np.zeros(shape)

    def work(tile: Tile) -> TileState:
        window = (slice(None), *tile.window)
        return TileState(np.empty(0), np.empty(0), estimate=function(window))

    blend_tiles(work, plan, total, after=after)
    return total


def _at_the_ends(planes: np.ndarray, known_values: list[np.ndarray]) -> np.ndarray:
    """Return which values (C, H, W) are the smallest or the largest known ones of their channel."""
    lows, highs = (np.array([end(values) for values in known_values])[:, None, None] for end in (np.min, np.max))
    return np.asarray((planes == lows) | (planes == highs))


def _beyond_neighbors(planes: np.ndarray) -> np.ndarray:
    """Return which values (C, H, W) are smaller or larger than all their eight neighbors but one: edges and lines aren't."""
    around = np.array([[[1, 1, 1], [1, 0, 1], [1, 1, 1]]], bool)
    second_lowest, second_highest = (rank_filter(planes, rank, footprint=around) for rank in (1, -2))
    return np.asarray((planes < second_lowest) | (planes > second_highest))
