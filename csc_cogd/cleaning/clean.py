"""Cleaning scans: dust, hairs and scratches are found, taken off where light came through, else filled, with grain."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from csc_cogd.backend import from_gpu
from csc_cogd.cleaning.settings import Cleaning
from csc_cogd.cleaning.transmission import divide
from csc_cogd.detect.detection import DustDetection
from csc_cogd.detect.dust import find_dust
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, Remark
from csc_cogd.restore.grain import Grain
from csc_cogd.restore.inpaint import inpainting
from csc_cogd.restore.observation import Observation, as_planes
from csc_cogd.restore.report import SILENT, Progress, Reporter, RestorationReport
from csc_cogd.restore.restore import restore
from csc_cogd.restore.settings import Solve, Tiling

MUCH = 0.05
"""Share of the picture that is hardly ever dust."""


@dataclass(frozen=True, eq=False)
class CleaningReport:
    """What cleaning a scan found and did.

    Attributes
    ----------
    detection : DustDetection
    divided : float
        Share of the picture that was restored from the light that came through the dust.
    grain : float, optional
        Standard deviation in gray levels of the picture's grain, which fills were given; None where they weren't.
    restoration : RestorationReport, optional
        Of what was filled; None where nothing was.
    warnings : list of Remark
        What the caller should know.
    """

    detection: DustDetection
    divided: float = 0.0
    grain: float | None = None
    restoration: RestorationReport | None = None
    warnings: list[Remark] = field(default_factory=list)

    def __repr__(self) -> str:
        return "\n".join([f"CleaningReport: {self.summary()}", *self.lines()])

    def summary(self) -> str:
        """Say what was found, and what was done to it."""
        found = self.detection.summary()
        by = " by infrared" if self.detection.transmission is not None else ""
        parts = [f"{found}{by}"]
        if self.divided:
            parts.append(f"{self.divided / self.detection.mask.mean():.0%} of it restored from the light that came through")
        if self.grain is not None:
            parts.append(f"grain of {self.grain:.2g} gray levels put back")
        return "; ".join(parts)

    def lines(self) -> list[str]:
        """Say how it was filled."""
        return [] if self.restoration is None else self.restoration.lines()


def clean(
    image: Any,
    *,
    channel_axis: int | None = None,
    infrared: Any = None,
    polarity: str = "both",
    sensitivity: float = 0.5,
    grain: str = "auto",
    seed: int = 0,
    effort: str = "default",
    engine: Engine | None = None,
    callback: Callable[[Progress], Any] | None = None,
    return_report: bool = False,
) -> Any:
    """Find dust, hairs and scratches in a scan, and fill them.

    Where an infrared channel is given, it says where dust is and how much light came through it; where enough did, that is
    divided out, see :mod:`csc_cogd.cleaning.transmission`. All else is filled as by :func:`csc_cogd.inpaint`, and gets grain
    like that around it, see :mod:`csc_cogd.restore.grain`. What isn't found to be damaged stays as it is, bit for bit.

    Parameters
    ----------
    image : (H, W) array, or with channels along `channel_axis`
        Integers or floats of any range.
    channel_axis : int, optional
        Axis of the channels; default: a gray image.
    infrared : (H, W) array, optional
        The scanner's infrared channel, of any range; it may be off by a few pixels.
    polarity, sensitivity
        As in :func:`csc_cogd.find_dust`.
    grain : {"auto", "off"}
        "auto" gives fills the grain of the picture, in photographs: images of unsigned integers with 1 or 3 channels.
    seed : int
        Of the grain.
    effort : {"default", "fast", "best"}
        As in :func:`csc_cogd.inpaint`.
    engine : Engine, optional
        Where to compute; default: as in :func:`csc_cogd.inpaint`.
    callback : callable, optional
        Called with a :class:`csc_cogd.Progress` while damage is filled; a true return value ends the present stage early.
    return_report : bool
        Also return a :class:`csc_cogd.CleaningReport`.

    Returns
    -------
    array of the image's shape and dtype, or (array, CleaningReport)

    Raises
    ------
    InputError
        If the image isn't one, or an argument doesn't fit.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.random.default_rng(0).normal(120, 3, (96, 96)).astype(np.uint8)
    >>> image[40:44, 50:53] = 20
    >>> cleaned, report = clean(image, return_report=True)
    >>> report.detection.counts()["speck"], int(cleaned[42, 51]) > 100
    (1, True)
    """
    if np.ndim(image) > 2 + (channel_axis is not None):
        raise InputError(
            "image", f"must be a single picture, got shape {np.shape(image)}", "clean the frames of a stack one by one"
        )
    cleaning = Cleaning(sensitivity, polarity, grain, seed)
    planes = as_planes(from_gpu(image), channel_axis)
    cleaned, report = clean_planes(
        planes, from_gpu(infrared), cleaning, Solve(effort), Tiling(), engine or Engine(), reporter=Reporter(callback)
    )
    restored = Observation(cleaned, np.zeros(cleaned.shape, bool), channel_axis).to_image(cleaned)
    if return_report:
        return restored, report
    for remark in report.warnings:
        warnings.warn(remark, stacklevel=2)
    return restored


def clean_planes(
    planes: np.ndarray,
    infrared: Any,
    cleaning: Cleaning,
    solve: Solve,
    tiling: Tiling,
    engine: Engine,
    *,
    reporter: Reporter = SILENT,
    dry_run: bool = False,
) -> tuple[np.ndarray, CleaningReport]:
    """Clean a picture (C, H, W); with `dry_run`, only find what is to be cleaned."""
    reporter.report("looking for dust", 0, 1)
    detection = find_dust(
        planes, channel_axis=0, infrared=infrared, polarity=cleaning.polarity, sensitivity=cleaning.sensitivity
    )
    reporter.report("looking for dust", 1, 1)
    report = CleaningReport(detection, warnings=[*detection.remarks])
    if detection.mask.mean() > MUCH:
        problem = f"holds damage on {detection.mask.mean():.1%} of its area, as it seems: much of that may be the picture"
        report.warnings.append(Remark("image", problem, "look at the result, or lower the {sensitivity}"))
    if dry_run or not detection.mask.any():
        return planes, report
    restored, divided = divide(planes, detection)
    missing = detection.mask & ~divided
    of_fill = None
    if missing.any():
        observation = Observation.of(restored, np.broadcast_to(missing, planes.shape), channel_axis=0, complete=True)
        filled, of_fill = restore(inpainting(observation), solve, tiling, engine.without_measuring(), reporter=reporter)
        restored = np.where(missing, filled, restored)  # NaN stays: it isn't dust
    made = Grain.of(planes) if cleaning.grain == "auto" and missing.any() else None
    if made is not None:
        restored = made.add_to(restored, missing, missing=detection.mask, seed=cleaning.seed)
    return restored, CleaningReport(
        detection, float(divided.mean()), None if made is None else made.sigma, of_fill, report.warnings
    )
