"""What the code and every stage make of a picture, gathered while it is restored: for a report."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.errors import InputError
from csc_cogd.restore.damage import as_planes
from csc_cogd.restore.tiles import Tile


class Step(NamedTuple):
    """What a picture was after a step of a stage.

    `seconds` are those that its tiles took until then, one after the other, and `mse` is the mean squared error over the
    values that are restored, in the picture's units; where tiles overlap, that of each by its weight.
    """

    stage: str
    step: int
    seconds: float
    mse: float


class Trace:
    """Gathers what :func:`csc_cogd.inpaint` and :func:`csc_cogd.denoise` do to a picture.

    Parameters
    ----------
    reference : array like the picture, optional
        What it should become.

    Attributes
    ----------
    fit : (C, H, W) array, or None
        What the sparse code alone says, in the picture's units; NaN where nothing was solved.
    dictionary : Dictionary, or None
        Of the first channels.
    usage : (K,) array, or None
        How many of its codes aren't zero, of each filter.
    history : list of Iteration
        Of the code solve of the first tile.
    """

    def __init__(self, reference: np.ndarray | None = None):
        self._given = reference
        self._reference: np.ndarray | None = None
        self._errors: dict[tuple[int, str, int], list[float]] = {}  # by the first channel, stage and step
        self._lock = threading.Lock()
        self.fit: np.ndarray | None = None
        self.dictionary: Dictionary | None = None
        self._usages: dict[int, np.ndarray] = {}  # by the first channel
        self.history: list[Iteration] = []

    def begin(
        self, shape: tuple[int, ...], channel_axis: int | None, units: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> None:
        """Learn the shape (C, H, W) of the picture, and how estimates get its units where they have others.

        Raises
        ------
        InputError
            If the reference has another one.
        """
        if self._given is not None:
            self._reference = as_planes(self._given, channel_axis, "reference").astype(np.float64)
            if self._reference.shape != shape:
                raise InputError(f"reference: shape {np.shape(self._given)} isn't the image's")
        self.units = units or (lambda estimate: estimate)
        self.fit = np.full(shape, np.nan, np.float32)

    def restart(self, channels: slice) -> None:
        """Forget what is known of channels."""
        assert self.fit is not None
        self.fit[channels] = np.nan
        self._errors = {key: total for key, total in self._errors.items() if key[0] != channels.start}
        self._usages.pop(channels.start, None)

    def count(self, dictionary: Dictionary, codes: np.ndarray, first_channel: int = 0) -> None:
        """Count the codes (N, K, ..) that aren't zero; those of the first dictionary only, if there are several."""
        if self.dictionary is None:
            self.dictionary = dictionary
        if self.dictionary.filters.shape == dictionary.filters.shape:
            used = np.count_nonzero(codes, axis=(0, 2, 3))
            self._usages[first_channel] = self._usages.get(first_channel, 0) + used

    @property
    def usage(self) -> np.ndarray | None:
        return np.sum(list(self._usages.values()), axis=0) if self._usages else None

    def curve(self) -> list[Step]:
        """The steps in their order, where there is a reference."""
        totals: dict[tuple[str, int], np.ndarray] = {}
        for (_, stage, step), total in self._errors.items():
            totals[stage, step] = totals.get((stage, step), np.zeros(3)) + total
        return [
            Step(stage, step, float(seconds), float(error / weight))
            for (stage, step), (seconds, error, weight) in totals.items()
            if weight > 0
        ]


@dataclass(frozen=True, eq=False)
class GroupTrace:
    """The trace of channels that are restored together, on a scale where `low` is 0 and `high` is 1.

    `restored` (C, H, W) tells which values are.
    """

    trace: Trace
    channels: slice
    restored: np.ndarray
    low: float
    high: float

    def restart(self) -> None:
        """Forget what an earlier try has left, which ended for want of memory."""
        self.trace.restart(self.channels)

    def tile(self, tile: Tile) -> TileTrace:
        return TileTrace(self, tile)


class TileTrace:
    """The trace of a tile of a group of channels."""

    def __init__(self, group: GroupTrace, tile: Tile):
        self._trace, self._restored, self._tile = group.trace, group.restored[:, *tile.window], tile
        self._window = (group.channels, *tile.window)
        self._low, self._range = group.low, group.high - group.low
        self._seconds, self._since = 0.0, time.perf_counter()

    def step(self, stage: str, number: int, estimate: np.ndarray) -> None:
        """A stage has made an estimate (C, h, w)."""
        self._seconds += time.perf_counter() - self._since
        trace = self._trace
        if trace._reference is not None:
            weight = self._tile.weight * self._restored
            error = trace.units(estimate * self._range + self._low) - trace._reference[self._window]
            with trace._lock:
                total = trace._errors.setdefault((self._window[0].start, stage, number), [0.0, 0.0, 0.0])
                total[0] += self._seconds
                total[1] += float((weight * error**2).sum())
                total[2] += float(weight.sum())
        self._since = time.perf_counter()

    def code(self, fit: np.ndarray, codes: np.ndarray, dictionary: Dictionary, history: list[Iteration]) -> None:
        """The code is solved for: its picture (C, h, w), and its maps (N, K, ..)."""
        trace = self._trace
        with trace._lock:
            assert trace.fit is not None
            place = trace.fit[self._window]
            place[...] = np.where(np.isnan(place), 0, place) + self._tile.weight * trace.units(fit * self._range + self._low)
            trace.history = trace.history or history
            trace.count(dictionary, codes, self._window[0].start)
