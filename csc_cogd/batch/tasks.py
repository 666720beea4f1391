"""What can be done to each image of a batch, and what is said of it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.errors import InputError
from csc_cogd.learning.reconstruct import Reconstruction, reconstruct
from csc_cogd.restore.denoise import denoise
from csc_cogd.restore.inpaint import inpaint
from csc_cogd.restore.restore_image import restore_image

Done = tuple[np.ndarray, Any, str]
"""The restored colours, a report with ``lines()``, and what to say of them in any case."""


NOT_SETTINGS = {  # arguments that are an image's own, or the batch's
    "image", "images", "mask", "mask_polarity", "channel_axis", "stack_axis", "dictionary", "callback", "trace",
    "return_report",
}  # fmt: skip
OF_LEARNING = {"n_filters", "filter_shape", "max_iter", "cogd", "seed", "checkpoint"}


class Task(NamedTuple):
    """A way to restore colours (H, W) or (H, W, C) by a public `function`, called by `run`.

    `ending` is that of its results' names; with `needs_mask`, something must be missing; `takes_mask`, `plans` and `traced`
    say whether its function has the arguments `mask`, `dry_run` and `trace`; with `faithful`, the result should be the
    image itself, and is compared with it.
    """

    ending: str
    function: Callable[..., Any]
    run: Callable[..., Done]
    needs_mask: bool = False
    takes_mask: bool = True
    plans: bool = True
    traced: bool = False
    faithful: bool = False

    def defaults(self) -> dict[str, Any]:
        """The settings, with their defaults."""
        none = NOT_SETTINGS | (OF_LEARNING if self.faithful else set())
        parameters = inspect.signature(self.function).parameters
        return {name: parameter.default for name, parameter in parameters.items() if name not in none}

    def result_shape(self, shape: tuple[int, ...], settings: dict[str, Any]) -> tuple[int, ...]:
        """The shape of the restored colours."""
        factor = settings["operator"].factor if "operator" in settings else 1
        return (factor * shape[0], factor * shape[1], *shape[2:])


def _inpaint(colours: np.ndarray, **settings: Any) -> Done:
    given, mask = settings.get("noise_sigma"), settings.get("mask")
    if given is not None and mask is not None and not mask.any():  # a page of a stack, where others have gaps
        names = inspect.signature(denoise).parameters
        restored, report = denoise(colours, return_report=True, **{n: v for n, v in settings.items() if n in names})
    else:
        restored, report = inpaint(colours, return_report=True, **settings)
    return restored, report, "" if given is None else noise_text(report.noise_sigmas, given)


def _denoise(colours: np.ndarray, **settings: Any) -> Done:
    restored, report = denoise(colours, return_report=True, **settings)
    if report.gain is not None:
        how = "estimated" if settings.get("gain", "auto") == "auto" else "given"
        return restored, report, f"{report.gain:.3g} counts to one unit ({how})"
    if settings.get("noise", "gaussian") == "gaussian":
        return restored, report, noise_text(report.noise_sigmas, settings.get("noise_sigma", "auto"))
    mask = settings.get("mask")
    found = round(report.missing * colours.size) - (0 if mask is None else int(mask.sum()))
    return restored, report, f"impulses found: {found}, {found / colours.size:.2%} of the values"


def _by_operator(colours: np.ndarray, **settings: Any) -> Done:
    """Restore the scene that ``settings["operator"]``, a Blur or a Decimation, made the image of."""
    restored, report = restore_image(colours, return_report=True, **settings)
    how = "at the mean" if settings.get("noise") == "poisson" else None
    h, w = settings["operator"].kernel.shape
    noise = noise_text(report.noise_sigmas, settings.get("noise_sigma", "auto"), how)
    return restored, report, f"kernel of {h} x {w}, {noise}"


def _reconstruct(colours: np.ndarray, dictionary: Dictionary | None = None, **settings: Any) -> Done:
    if dictionary is None:
        dictionary = Dictionary.default("color" if colours.shape[2:] == (3,) else "gray")
    result = reconstruct([colours], dictionary, **settings)
    return result.reconstruction[0], _Rebuilt(result), ""


class _Rebuilt:
    """The report of a reconstruction."""

    def __init__(self, result: Reconstruction):
        self.figures = result.quality[0]._asdict()
        self.dictionary = result.dictionary
        self.codes = result.codes[0]
        self.warnings = list[str]()

    def lines(self) -> list[str]:
        return [f"{self.dictionary.n_filters} given filters"]


TASKS = {
    "inpaint": Task("inpainted", inpaint, _inpaint, needs_mask=True, traced=True),
    "denoise": Task("denoised", denoise, _denoise, traced=True),
    "deblur": Task("deblurred", restore_image, _by_operator),
    "upscale": Task("upscaled", restore_image, _by_operator),
    "reconstruct": Task("reconstructed", reconstruct, _reconstruct, takes_mask=False, plans=False, faithful=True),
}


def noise_text(sigmas: list[float], given: float | str, how: str | None = None) -> str:
    """The noise that was assumed, and how it is known."""
    numbers = ", ".join(f"{sigma:.3g}" for sigma in sigmas) or "0"
    return f"noise of {numbers} ({how or ('estimated' if given == 'auto' else 'given')})"


def try_settings(task: str, settings: dict[str, Any], dictionary: Dictionary | None) -> None:
    """Raise InputError for settings that no image can be restored with, by planning the restoration of a ramp."""
    for name in settings:
        if name not in TASKS[task].defaults():
            raise InputError(f"{name}: {task} has no such setting: use {', '.join(TASKS[task].defaults())}")
    if not TASKS[task].plans:
        return
    operator = settings.get("operator")
    side = max(64, 2 * max(operator.kernel.shape)) if operator else 64
    channels = 1 if dictionary is None else dictionary.n_channels
    ramp = np.add.outer(np.arange(side, dtype=np.float32), np.arange(side)) + 1
    image, mask = np.repeat(ramp[..., None], channels, axis=2), np.zeros((side, side), bool)
    mask[side // 2, side // 2] = True
    TASKS[task].run(image, mask=mask, dictionary=dictionary, channel_axis=-1, **settings | {"dry_run": True})


def load_dictionary(name: str) -> Dictionary | None:
    """The dictionary of a file, read once by each process; None for the default one."""
    if name == "default":
        return None
    try:
        changed = Path(name).stat().st_mtime_ns
    except OSError:
        changed = 0  # loading it says what is wrong
    return _load_dictionary(name, changed)


@lru_cache(maxsize=2)
def _load_dictionary(name: str, changed: int) -> Dictionary:
    return Dictionary.load(name)
