"""What the code and every stage make of a picture, gathered while it is restored: for a report."""

from __future__ import annotations

import threading
import time
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
        self._errors: dict[tuple[str, int], list[float]] = {}
        self._lock = threading.Lock()
        self.fit: np.ndarray | None = None
        self.dictionary: Dictionary | None = None
        self.usage: np.ndarray | None = None
        self.history: list[Iteration] = []

    def begin(self, shape: tuple[int, ...], channel_axis: int | None) -> None:
        """Learn the shape (C, H, W) of the picture.

        Raises
        ------
        InputError
            If the reference has another one.
        """
        if self._given is not None:
            self._reference = as_planes(self._given, channel_axis, "reference").astype(np.float64)
            if self._reference.shape != shape:
                raise InputError(f"reference: shape {np.shape(self._given)} isn't the image's")
        self.fit = np.full(shape, np.nan, np.float32)

    def curve(self) -> list[Step]:
        """The steps in their order, where there is a reference."""
        return [
            Step(stage, step, seconds, error / weight)
            for (stage, step), (seconds, error, weight) in self._errors.items()
            if weight > 0
        ]


class TileTrace:
    """The trace of a tile of channels that are restored together, on a scale where they are in [0, 1]."""

    def __init__(self, trace: Trace, channels: slice, restored: np.ndarray, tile: Tile, low: float, high: float):
        self._trace, self._restored, self._tile = trace, restored, tile
        self._window = (channels, *tile.window)
        self._low, self._range = low, high - low
        self._seconds, self._since = 0.0, time.perf_counter()

    def step(self, stage: str, number: int, estimate: np.ndarray) -> None:
        """A stage has made an estimate (C, h, w)."""
        self._seconds += time.perf_counter() - self._since
        trace = self._trace
        if trace._reference is not None:
            weight = self._tile.weight * self._restored
            error = estimate * self._range + self._low - trace._reference[self._window]
            with trace._lock:
                total = trace._errors.setdefault((stage, number), [0.0, 0.0, 0.0])
                total[0] += self._seconds
                total[1] += float((weight * error**2).sum())
                total[2] += float(weight.sum())
        self._since = time.perf_counter()

    def code(self, fit: np.ndarray, codes: np.ndarray, dictionary: Dictionary, history: list[Iteration]) -> None:
        """The code is solved for: its picture (C, h, w), and its maps (N, K, ..)."""
        trace, usage = self._trace, np.count_nonzero(codes, axis=(0, 2, 3))
        with trace._lock:
            assert trace.fit is not None
            place = trace.fit[self._window]
            place[...] = np.where(np.isnan(place), 0, place) + self._tile.weight * (fit * self._range + self._low)
            trace.history = trace.history or history
            if trace.dictionary is None:
                trace.dictionary, trace.usage = dictionary, np.zeros_like(usage)
            if trace.usage is not None and trace.dictionary.filters.shape == dictionary.filters.shape:
                trace.usage = trace.usage + usage
