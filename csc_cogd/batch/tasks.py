"""What can be done to each image of a batch, and what is said of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from csc_cogd.batch.job import RECORDS, PathLike, Settings
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.engine import as_number, record_of, take_fields
from csc_cogd.errors import InputError, Remark, likely_meant, percent
from csc_cogd.learning.reconstruct import LMBDA, Reconstruction, reconstruct
from csc_cogd.report.totals import DAMAGED, MISSING, Words
from csc_cogd.restore.denoise import GAIN_UNKNOWN, check_noise, denoising
from csc_cogd.restore.inpaint import inpainting
from csc_cogd.restore.noise import Gaussian
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.prior import (
    as_restored,
    check_fill_prior,
    check_prior,
    kind_of_noise,
    with_fill_prior,
    with_prior,
    with_scene_prior,
)
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import Reporter, RestorationReport
from csc_cogd.restore.restore_image import noise_behind, seen_through
from csc_cogd.restore.settings import Solve
from csc_cogd.unrolled.prior import Prior

Loaded = TypeVar("Loaded")
MACHINE = ("tile", "max_memory", "dtype", "device", "threads", "fft", "dry_run", "solve", "tiling", "engine")
PLANNED = ("lmbda", "max_iter", "tol", *MACHINE)


@dataclass(frozen=True)
class Task:
    """A way to restore colors (H, W) or (H, W, C).

    Attributes
    ----------
    ending : str
        Of its results' names.
    takes : tuple of str
        Names of its settings, as arguments of the Python function.
    problem : callable, optional
        Returns what is to be solved for an observation, a dictionary and settings; None for a reconstruction.
    check : callable
        Raises InputError for settings that suit no image.
    found : callable
        Says in words what was found, of a report, the settings and the observation.
    defaults : Settings
    needs_mask : bool
        Something must be missing.
    cleans : bool
        It finds what is missing by itself, see :mod:`csc_cogd.batch.cleaning`.
    words : Words
        What is said of what is restored, and of what isn't.
    """

    ending: str
    takes: tuple[str, ...]
    problem: Callable[[Observation, Dictionary | None, Settings], Problem] | None = None
    check: Callable[[Settings], Any] = lambda settings: None
    found: Callable[[RestorationReport, Settings, Observation], str] = lambda report, settings, observation: ""
    defaults: Settings = field(default_factory=Settings)
    needs_mask: bool = False
    cleans: bool = False
    words: Words = MISSING

    @property
    def keeps_the_rest(self) -> bool:
        """Whether values that aren't restored are to stay as they are."""
        return self.needs_mask or self.cleans

    def settings(self, given: dict[str, Any]) -> Settings:
        """Return the settings of these names, of which None stands for the default.

        Raises
        ------
        InputError
            If there is no such setting, or a record can't have a value.
        """
        for name in given:
            if name not in self.takes:
                near = likely_meant(name, self.takes)
                raise InputError(name, "is no setting of this task", f"use {near or ', '.join(self.takes)}")
        given = {name: as_number(value) for name, value in given.items() if value is not None}
        records = {
            name: record_of(take_fields(getattr(self.defaults, name), given), given.pop(name, None)) for name in RECORDS
        }
        return take_fields(self.defaults, given | records)


def _inpainting(observation: Observation, dictionary: Dictionary | None, settings: Settings) -> Problem:
    problem = inpainting(observation, dictionary, settings.noise_sigma, settings.keep_known)
    return with_fill_prior(problem, load_prior(settings.prior), settings.solve)


def _check_inpainting(settings: Settings) -> None:
    Gaussian(settings.noise_sigma)
    check_fill_prior(load_prior(settings.prior), settings.solve, settings.noise_sigma is not None)


def _denoising(observation: Observation, dictionary: Dictionary | None, settings: Settings) -> Problem:
    prior, solve = load_prior(settings.prior), settings.solve
    noise = kind_of_noise(settings.noise, dictionary, prior, solve)
    observation = as_restored(observation, dictionary, prior, noise, settings.noise_sigma)
    problem = denoising(observation, dictionary, noise, settings.noise_sigma, settings.gain, settings.strength)
    return with_prior(problem, prior, noise, solve)


def _check_denoising(settings: Settings) -> None:
    check_noise(settings.noise, settings.noise_sigma, settings.gain, settings.strength)
    check_prior(load_prior(settings.prior), settings.noise, settings.solve)


def _behind(observation: Observation, dictionary: Dictionary | None, settings: Settings) -> Problem:
    noise, prior = settings.noise, load_prior(settings.prior)
    observation = as_restored(observation, dictionary, prior, noise, settings.noise_sigma)
    problem = seen_through(observation, settings.operator, dictionary, noise, settings.noise_sigma, settings.gain)
    return with_scene_prior(problem, prior, noise, settings.solve)


def _check_behind(settings: Settings) -> None:
    noise_behind(settings.operator, settings.noise, settings.noise_sigma, settings.gain)
    check_prior(load_prior(settings.prior), settings.noise, settings.solve)


def _found_by_inpainting(report: RestorationReport, settings: Settings, observation: Observation) -> str:
    found = [] if settings.noise_sigma is None else [noise_text(report, settings)]
    if report.invented:
        found.append(f"{percent(report.invented, 2)} of the values are invented: texture from elsewhere in the picture")
    return "; ".join(found)


def _found_by_denoising(report: RestorationReport, settings: Settings, observation: Observation) -> str:
    if report.gain is not None:
        how = "given" if settings.gain != "auto" else "assumed" if GAIN_UNKNOWN in report.warnings else "estimated"
        return f"gain of {report.gain:.3g} ({how}), in counts to one unit"
    if report.found:
        return report.found
    if settings.noise != "impulse":
        return noise_text(report, settings)
    size = observation.planes.size
    found = round(report.missing * size) - int(observation.missing.sum())
    return f"impulses found: {found}, {percent(found / size, 2)} of the values"


def _found_behind(report: RestorationReport, settings: Settings, observation: Observation) -> str:
    return f"{report.operator}, {noise_text(report, settings, 'at the mean' if settings.noise == 'poisson' else None)}"


def noise_text(report: RestorationReport, settings: Settings, how: str | None = None) -> str:
    """Return the noise that was assumed, and how it is known."""
    numbers = ", ".join(f"{sigma:.3g}" for sigma in report.noise_sigmas) or "0"
    return f"noise of {numbers} ({how or ('estimated' if settings.noise_sigma == 'auto' else 'given')})"


DEBLUR = Task(
    "deblurred", ("operator", "noise", "noise_sigma", "gain", "prior", *PLANNED), _behind, _check_behind, _found_behind,
    Settings(noise_sigma="auto", gain=1.0),
)  # fmt: skip
TASKS = {
    "inpaint": Task(
        "inpainted", ("keep_known", "noise_sigma", "effort", "learn", "fill", "prior", *PLANNED), _inpainting,
        _check_inpainting, _found_by_inpainting, needs_mask=True,
    ),
    "denoise": Task(
        "denoised", ("noise", "noise_sigma", "gain", "strength", "prior", "effort", *PLANNED), _denoising, _check_denoising,
        _found_by_denoising, Settings(noise="auto", noise_sigma="auto"),
    ),
    "deblur": DEBLUR,
    "upscale": replace(DEBLUR, ending="upscaled"),
    "clean": Task(
        "cleaned", ("sensitivity", "polarity", "grain", "seed", "frames", "cleaning", "effort", *MACHINE), cleans=True,
        words=DAMAGED,
    ),
    "reconstruct": Task(
        "reconstructed", ("lmbda", "debias", "dtype", "device", "threads", "fft"), defaults=Settings(Solve(lmbda=LMBDA))
    ),
}  # fmt: skip


class Rebuilt:
    """The report of a reconstruction of one image."""

    def __init__(self, result: Reconstruction):
        self.figures = result.quality[0]._asdict()
        self.dictionary = result.dictionary
        self.codes = result.codes[0]
        self.warnings = list[Remark]()

    def lines(self) -> list[str]:
        """Say what it was coded with."""
        return [f"{self.dictionary.n_filters} given filters"]


def rebuild(
    colors: np.ndarray, dictionary: Dictionary | None, settings: Settings, reporter: Reporter
) -> tuple[np.ndarray, Rebuilt]:
    """Code colors with a dictionary, and return what the code stands for."""
    if dictionary is None:
        dictionary = Dictionary.default("color" if colors.shape[2:] == (3,) else "gray")
    engine, lmbda = settings.engine, settings.solve.lmbda
    assert lmbda is not None
    result = reconstruct(
        [colors], dictionary, channel_axis=None if colors.ndim == 2 else -1, lmbda=lmbda,
        debias=settings.debias, dtype=engine.dtype, device=engine.device, threads=engine.threads, fft=engine.fft,
        callback=reporter.callback,
    )  # fmt: skip
    return result.reconstruction[0], Rebuilt(result)


def prior_file(settings: Settings) -> Path | None:
    """Return the file of the prior that is asked for, if one is named."""
    return None if settings.prior in ("default", "none") else Path(settings.prior)


def load_prior(name: PathLike) -> Prior | str:
    """Return the prior of a file, read once by each process; "default" and "none" as they are."""
    name = os.fspath(name)
    if name in ("default", "none"):
        return name
    return _load(Prior.load, name)


def load_dictionary(name: str) -> Dictionary | None:
    """Return the dictionary of a file, read once by each process; None for the default one."""
    if name == "default":
        return None
    return _load(Dictionary.load, name)


def _load(load: Callable[[str], Loaded], name: str) -> Loaded:
    """Return what a function loads from a file, again only where the file has changed."""
    try:
        changed = Path(name).stat().st_mtime_ns
    except OSError:
        changed = 0  # loading it says what is wrong
    return _loaded(load, name, changed)


@lru_cache(maxsize=4)
def _loaded(load: Callable[[str], Loaded], name: str, changed: int) -> Loaded:
    return load(name)
