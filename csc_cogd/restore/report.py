"""What a restoration tells: its progress, what it did, and what each stage made of the image."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.csc.alternation import OuterIteration
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.errors import InputError, Remark, percent
from csc_cogd.restore.observation import as_planes
from csc_cogd.restore.settings import Effort
from csc_cogd.restore.tiling import Plan, Tile
from csc_cogd.unrolled.prior import Prior

# -- progress ----------------------------------------------------------------------------------------------------------


class Progress(NamedTuple):
    """What the callback of a task is told.

    Attributes
    ----------
    stage : str
        Such as "base layer", "codes", "patches", "tiles" or "learning".
    done, total : int
        How far the stage is, from 0 to `total`.
    record : Iteration, OuterIteration, or None
        The solver's, where there is one.
    """

    stage: str
    done: int
    total: int
    record: Iteration | OuterIteration | None


@dataclass(frozen=True)
class Reporter:
    """Passes progress on to a callback, if there is one."""

    callback: Callable[[Progress], Any] | None = None

    def report(self, stage: str, done: int, total: int, record: Any = None) -> bool:
        """Tell how far a stage is; whether the callback asks to end it."""
        return bool(self.callback(Progress(stage, done, total, record))) if self.callback else False


SILENT = Reporter()

# -- what was done -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GroupReport:
    """What was done to channels that are restored together.

    Attributes
    ----------
    plan : Plan
        The tiles.
    dictionary : Dictionary
    noise_sigma : float
        Standard deviation of the noise that was assumed, in the image's units; for Poisson noise that at the mean.
    effort : Effort, or None
        Of filling and denoising.
    lmbda : float
        Weight of the l1 term for an image in [0, 1]; 0 after a dry run that wasn't told.
    history : list of Iteration
        Of the code solve of the first tile; empty after a dry run.
    passes : int
        Over similar patches.
    blend_weight : float, or None
        Of the result against biharmonic interpolation, where it was measured.
    holes : int
        That were filled each by itself, see :mod:`csc_cogd.restore.holes`.
    n_invented : int
        Values that were filled with texture from elsewhere in the picture.
    prior : Prior, or None
        That took the noise off, in place of a code.
    """

    plan: Plan
    dictionary: Dictionary
    noise_sigma: float = 0.0
    effort: Effort | None = None
    lmbda: float = 0.0
    history: list[Iteration] = field(default_factory=list)
    passes: int = 0
    blend_weight: float | None = None
    holes: int = 0
    n_invented: int = 0
    prior: Prior | None = None

    def __str__(self) -> str:
        if self.prior is not None and self.effort is not None and self.effort.pilot != "prior":
            size = self.effort.patches.size
            return (
                f"{self.plan}; noise {self.noise_sigma:.3g}; {self.prior}, and {self.passes} passes over groups of similar "
                f"patches, at last of {size} x {size}"
            )
        if self.prior is not None and self.effort is None and self.passes:
            return f"{self.plan}; noise {self.noise_sigma:.3g}; {self.prior}, {self.passes} times in turn with the picture"
        if not self.history and not self.passes:
            return str(self.plan)
        line, effort = f"{self.plan}; noise {self.noise_sigma:.3g}; {self._pilot()}", self.effort
        if effort:
            patches = effort.patches
            line += (
                f"; {self.passes} passes over groups of {patches.n_similar} similar {patches.size} x {patches.size} patches"
            )
        if self.blend_weight is not None:
            line += f"; weight {self.blend_weight:.2f} against biharmonic interpolation"
        if self.holes:
            line += f"; {self.holes} {'hole' if self.holes == 1 else 'holes'} filled in the ways that fit what is around"
        if self.n_invented:
            line += f", {self.n_invented} values of them with texture from elsewhere: invented"
        return line

    def _pilot(self) -> str:
        """Say what similar patches began with."""
        if not self.history:
            return "biharmonic interpolation" if self.prior is None else str(self.prior)
        end, (h, w) = self.history[-1], self.dictionary.filter_shape
        adapted = ", adapted" if self.effort and self.effort.learn else ""
        return (
            f"{self.dictionary.n_filters} filters up to {h} x {w}{adapted}, "
            f"lmbda {self.lmbda:.3g}: {end.iteration} iterations in {end.seconds:.1f} s, objective {end.objective:.4g}, "
            f"residuals {end.primal_residual:.1e} and {end.dual_residual:.1e}"
        )


@dataclass(frozen=True, eq=False)
class RestorationReport:
    """What restoring an image did, for those who ask.

    Attributes
    ----------
    missing : float
        Fraction of the values that were missing, or found to be impulses.
    groups : list of GroupReport
        One for each group of channels that are restored together; none where there was nothing to do.
    gain : float, or None
        Counts to one unit of the image, with Poisson noise.
    noise_sigmas : list of float
        Standard deviation of the noise that was assumed, in the image's units, also of channels to which nothing was done.
    n_values : int
        Of the image.
    operator : str
        What the image was taken to show of the scene; nothing where that is the scene itself.
    warnings : list of Remark
        What the caller should know, such as that noise couldn't be estimated. Where no report is asked for, these are
        warnings of Python's.
    found : str
        What noise was found, in words, where more than its standard deviation was looked for.
    """

    missing: float
    groups: list[GroupReport] = field(default_factory=list)
    gain: float | None = None
    noise_sigmas: list[float] = field(default_factory=list)
    n_values: int = 1
    operator: str = ""
    warnings: list[Remark] = field(default_factory=list)
    found: str = ""

    @property
    def invented(self) -> float:
        """Fraction of the values that were filled with texture from elsewhere in the picture."""
        return sum([group.n_invented for group in self.groups]) / self.n_values

    def __repr__(self) -> str:
        invented = f", {percent(self.invented)} invented" if self.invented else ""
        return "\n".join([f"RestorationReport: {percent(self.missing)} of the values missing{invented}", *self.lines()])

    def lines(self) -> list[str]:
        """Say what was chosen and how it went, a line a group."""
        return ([self.found] if self.found else []) + [str(group) for group in self.groups]


# -- what each stage made of the image ---------------------------------------------------------------------------------


class Step(NamedTuple):
    """What an image was after a step of a stage.

    `seconds` are those that its tiles took until then, one after the other, and `mse` is the mean squared error over the
    values that are restored, in the image's units; where tiles overlap, that of each by its weight.
    """

    stage: str
    step: int
    seconds: float
    mse: float


class Trace:
    """Gathers what :func:`csc_cogd.inpaint` and :func:`csc_cogd.denoise` do to an image.

    Parameters
    ----------
    reference : array like the image, optional
        What it should become.

    Attributes
    ----------
    fit : (C, H, W) array, or None
        What the sparse code alone says, in the image's units; NaN where nothing was solved.
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
        self.history: list[Iteration] | list[OuterIteration] = []

    def begin(
        self, shape: tuple[int, ...], channel_axis: int | None, units: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> None:
        """Begin with an image of a shape (C, H, W); `units` gives estimates the image's units where they have others.

        Raises
        ------
        InputError
            If the reference has another one.
        """
        if self._given is not None:
            self._reference = as_planes(self._given, channel_axis, "reference").astype(np.float64)
            if shape[0] == 1:  # of a gray picture kept in color, one channel is restored
                self._reference = self._reference.mean(axis=0, keepdims=True)
            if self._reference.shape != shape:
                raise InputError("reference", f"must be of the image's shape, got {np.shape(self._given)}")
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


class TileTrace:
    """The trace of a tile of channels that are restored together.

    Parameters
    ----------
    trace : Trace
    channels : slice
    tile : Tile
    restored : (C, h, w) bool array
        Which of its values are restored.
    low, value_range : float
        What is 0 on the scale of the estimates, and how far it is to 1.
    """

    def __init__(self, trace: Trace, channels: slice, tile: Tile, restored: np.ndarray, low: float, value_range: float):
        self._trace, self._restored, self._tile = trace, restored, tile
        self._window = (channels, *tile.window)
        self._low, self._range = low, value_range
        self._seconds, self._since = 0.0, time.perf_counter()

    def step(self, stage: str, number: int, estimate: np.ndarray) -> None:
        """Note that a stage has made an estimate (C, h, w)."""
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
        """Note the code: the image that it stands for (C, h, w), and its maps (N, K, ..)."""
        trace = self._trace
        with trace._lock:
            assert trace.fit is not None
            place = trace.fit[self._window]
            place[...] = np.where(np.isnan(place), 0, place) + self._tile.weight * trace.units(fit * self._range + self._low)
            trace.history = trace.history or history
            trace.count(dictionary, codes, self._window[0].start)
