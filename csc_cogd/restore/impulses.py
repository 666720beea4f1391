"""Impulses: values that are corrupted altogether, as by salt and pepper or as hot pixels, while the others are exact.

A sparse code under the sum of absolute deviations, which outliers hardly move, says what values should be. Those far from it
are impulses, unless something else explains them:

texture      Deviations are measured in their local mean, which is large where a picture is full of detail; how many are
             enough follows from how many impulses there are, as the odds of a value to be one do.
support      On edges and lines, other pixels beside have about the same value [as in Garnett et al. 2005].
point spread A lens lights up what surrounds a star, too [as in van Dokkum 2001].
scatter      Impulses hit any pixel; texture that was taken for impulses lies together. Where that is found, only pixels stay
             that stand out further than texture ever does, see :mod:`csc_cogd.restore.peaks`.

Where many values are those at the ends of the range and most of them deviate, that is salt and pepper, and these are all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import median_filter, rank_filter, uniform_filter

from csc_cogd.backend import single_threaded_blas
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.csc.codes import sparse_code
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, Remark, percent
from csc_cogd.restore.group import channel_groups
from csc_cogd.restore.observation import Observation, intensity_range
from csc_cogd.restore.peaks import AROUND, THRESHOLD, find_peaks, median_of_known, rounding_step, surroundings, usual
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import GroupReport, Reporter, RestorationReport
from csc_cogd.restore.settings import Tiling
from csc_cogd.restore.stages.base_layer import base_layer
from csc_cogd.restore.stages.code import frequency_weights
from csc_cogd.restore.stages.state import TileState, as_coded
from csc_cogd.restore.tiling import Plan, Tile, admm_memory, blend_tiles, choose_tiles, image_memory, memory_for

MEDIAN = 5  # side of the window whose median is the first guess
IMPULSE_LMBDA, IMPULSE_RHO = 1.5, 5.0
IMPULSE_ROUNDS, IMPULSE_ITERATIONS = 3, 25  # of the code; in each round, what deviated in the one before is left out
OUTLIER_SIGMAS = 4.0  # standard deviations by which it did, and in the image's range at least and at most:
OUTLIER_RANGE = (0.08, 0.25)
MIN_EXTREME_SHARE, MAX_EXTREME_SHARE = 0.01, 0.75  # of values at the ends of their range, under salt and pepper
MIN_EXTREME_DEVIATION = 0.02  # of the image's range, by which they deviate at least

CLIPPED = 2.0  # usual deviations at which the others are cut off, so that even many impulses leave the mean alone
LEAST_KNOWN = 0.01  # share of a window that counts as if it were sound at least
FIRST, LEAST, MOST = 4.5, 2.0, 7.0  # usual deviations that are enough: at first, and then with the share of impulses s:
AT_ALL, BY_ODDS = 0.55, 0.75  # AT_ALL - BY_ODDS log(s)
LEAST_DEVIATION = 0.03  # of the image's range: less hardly shows
CROWDED = 0.03  # share from which on impulses meet
TOGETHER = 2**16  # candidates whose surroundings are looked at: bounded memory beside the picture
SEARCHES = 8  # each without what the one before has found
NEAR = 9  # side of the surroundings in which impulses are counted that lie together
SCATTERED = 2.8  # times as many pairs as by chance are found of scattered impulses at most, as flat parts show more of them
STANDARD_DEVIATIONS = 4.0  # more
BYTES_A_VALUE = 80  # of the picture, that the search for impulses keeps besides: measured


class _Rules(NamedTuple):
    """What a pixel that deviates must fulfil.

    It and its deviation are above those of its `nth` highest neighbor by a `part` of the deviation at least, and the
    neighbors' median is above the ring around them by `glow` of the pixel's height at most.
    """

    nth: int
    part: float
    glow: float


SPARSE_RULES, CROWDED_RULES = _Rules(2, 0.5, 0.15), _Rules(3, 0.3, 0.3)


def like_texture(share: float) -> Remark:
    """Return what to say of a share of values that may be impulses but looks like texture."""
    problem = f"{percent(share, 2)} of the values stand out like impulses, but lie together as texture does, and are kept"
    return Remark("", problem, "if they are corrupted, mark them with {mask}")


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

    def mark(self, problem: Problem) -> Problem:
        """Return the problem with the impulses of its image missing, and a remark on those that may be texture."""
        impulses, texture = self.find(problem.observation, problem.dictionary)
        remarks = (*problem.remarks, like_texture(texture)) if texture else problem.remarks
        return replace(problem, observation=problem.observation.also_missing(impulses), remarks=remarks)

    @single_threaded_blas()
    def find(self, observation: Observation, dictionary: Dictionary | None) -> tuple[np.ndarray, float]:
        """Return which known values are impulses, (C, H, W) bool, and the share that looks alike but is texture."""
        found, texture = np.zeros(observation.planes.shape, bool), 0
        for channels, group_dictionary in channel_groups(len(observation.planes), dictionary):
            planes, known = observation.planes[channels], ~observation.missing[channels]
            values, predicted, outlying = self._predict(observation, channels, group_dictionary)
            extreme = known & _at_the_ends(planes, observation.known_values(channels))
            if _is_salt_and_pepper(extreme, outlying, known):
                found[channels] = extreme & (abs(values - predicted) > MIN_EXTREME_DEVIATION)
            else:
                for target, *of_channel in zip(found[channels], values, predicted, known, strict=True):
                    target[:], n_texture = _standing_out(*of_channel)
                    texture += n_texture
            if not (known & ~found[channels]).any(axis=(1, 2)).all():
                raise InputError("image", "has a channel in which no pixel looks intact", "is this impulse noise?")
        return found, texture / found.size

    def _predict(
        self, observation: Observation, channels: slice, dictionary: Dictionary
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return values (C, H, W) on the scale of [0, 1], what a sparse code makes of them, and which are far from that."""
        plan, planes = self.plan(observation, channels, dictionary), observation.planes[channels]
        known = ~observation.missing[channels]
        low, high = intensity_range(observation.known_values(channels))
        values = (np.where(known, planes, low).astype(np.float64) - low) / (high - low)
        if not known.all():
            values = _blended(plan, known.shape, lambda window: fill_biharmonic(values[window], ~known[window]))
        base = base_layer(median_filter(values, (1, MEDIAN, MEDIAN)))
        detail, trusted = np.where(known, values - base, 0.0), known
        for number in range(IMPULSE_ROUNDS):
            fit, stopped = self._robust_fit(detail, trusted, dictionary, plan, number)
            deviation = abs(values - base - fit)
            spread = np.quantile(deviation[trusted], 0.25) / 0.3186  # the quartile of a normal deviation: outliers are above
            trusted = known & (deviation <= np.clip(OUTLIER_SIGMAS * spread, *OUTLIER_RANGE))
            if stopped or not trusted.any():
                break
        return values, base + fit, known & ~trusted

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


def _is_salt_and_pepper(extreme: np.ndarray, outlying: np.ndarray, known: np.ndarray) -> bool:
    """Whether the values (C, H, W) at the ends of the range are impulses: frequent, most of them outlying, and scattered."""
    share = extreme[known].mean()
    if not MIN_EXTREME_SHARE < share < MAX_EXTREME_SHARE or outlying[extreme].mean() <= 0.5:
        return False
    return all(_is_scattered(*planes) for planes in zip(extreme & outlying, known, strict=True))


def _standing_out(plane: np.ndarray, predicted: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, int]:
    """Impulses of a channel (H, W), and how many values look like some but are taken for texture."""
    certain = find_peaks(plane, known, THRESHOLD) | find_peaks(-plane, known, THRESHOLD)
    deviation, step = plane - predicted, rounding_step(plane, known)
    found, enough = np.zeros(plane.shape, bool), FIRST
    for number in range(SEARCHES):
        sound, before = known & ~found, found
        rules = CROWDED_RULES if found[known].mean() > CROWDED else SPARSE_RULES
        least = np.maximum(enough * usual(abs(deviation), sound, CLIPPED, LEAST_KNOWN), max(2 * step, LEAST_DEVIATION))
        found = known & (_peaks(plane, deviation, least, sound, rules) | _peaks(-plane, -deviation, least, sound, rules))
        if number and not _is_scattered(found, known):
            return certain, int(np.count_nonzero(found & ~certain))
        if np.array_equal(found, before):
            break
        share = found[known].mean()
        enough = float(np.clip(AT_ALL - BY_ODDS * np.log(share), LEAST, MOST)) if share else MOST
    return found | certain, 0


def _peaks(plane: np.ndarray, deviation: np.ndarray, least: np.ndarray, sound: np.ndarray, rules: _Rules) -> np.ndarray:
    """Which pixels deviate upwards more than is usual, without support by sound ones beside, and light up none of them."""
    candidates = deviation > least
    for values in (plane, deviation):
        highest = rank_filter(np.where(sound, values, -np.inf), -rules.nth, footprint=AROUND, mode="constant", cval=-np.inf)
        candidates &= values - highest > rules.part * deviation
    where = np.nonzero(candidates)
    for first in range(0, len(where[0]), TOGETHER):
        rows, columns = (axis[first : first + TOGETHER] for axis in where)
        beside, ring = surroundings(plane, sound, rows, columns)
        level = median_of_known(ring)
        height, glow = plane[rows, columns] - level, median_of_known(beside) - level
        candidates[rows, columns] = (height > 0) & ~(glow > rules.glow * height)
    return candidates


def _is_scattered(found: np.ndarray, known: np.ndarray) -> bool:
    """Whether no more of what is found (H, W) lies close together than would by chance, if any known pixel could be hit."""
    share = found.sum() / known.sum()
    near_found, near_known = (
        uniform_filter(which.astype(np.float32), NEAR, mode="constant")[found] * NEAR**2 - 1 for which in (found, known)
    )
    pairs, expected = near_found.sum() / 2, near_known.sum() * share / 2
    return bool(pairs <= SCATTERED * expected + STANDARD_DEVIATIONS * np.sqrt(expected) + 2)
