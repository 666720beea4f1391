"""Cleaning scans: dust, hairs and scratches are found, taken off where light came through, else filled, with grain."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from csc_cogd.backend import from_gpu
from csc_cogd.cleaning.fill import fill
from csc_cogd.cleaning.frames import clean_frame
from csc_cogd.cleaning.report import CleaningReport
from csc_cogd.cleaning.settings import Cleaning
from csc_cogd.cleaning.transmission import divide
from csc_cogd.detect.dust import find_dust
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, Remark, with_hints
from csc_cogd.imagefiles.smears import take_off_smeared_color
from csc_cogd.restore.grain import Grain
from csc_cogd.restore.observation import Observation, as_planes, frames_of
from csc_cogd.restore.report import SILENT, Progress, Reporter
from csc_cogd.restore.settings import Solve, Tiling

MUCH = 0.05
"""Share of the picture that is hardly ever dust."""


@with_hints()
def clean(
    image: Any,
    *,
    channel_axis: int | None = None,
    stack_axis: int | None = None,
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
    image : (H, W) array, or with channels along `channel_axis`, frames along `stack_axis`, or both
        Integers or floats of any range.
    channel_axis : int, optional
        Axis of the channels; default: a gray image.
    stack_axis : int, optional
        Axis of the frames, three or more, of a film whose scene stands still. What a frame has and its neighbors lack is
        dust, and the frame beside it shows what is below: nothing is interpolated, and grain is the film's own.
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
        Also return a :class:`csc_cogd.CleaningReport`; of a stack, a list of them.

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
    >>> image[40:46, 50:56] = 20
    >>> cleaned, report = clean(image, return_report=True)
    >>> report.detection.counts()["speck"], int(cleaned[42, 52]) > 100
    (1, True)
    """
    cleaning = Cleaning(sensitivity, polarity, grain, seed)
    if stack_axis is not None:
        if infrared is not None:
            raise InputError("infrared", "isn't used for frames of a film", "leave it out, or clean the frames one by one")
        frames, reports = _cleaned_stack(from_gpu(image), stack_axis, channel_axis, cleaning, Reporter(callback))
        return (frames, reports) if return_report else frames
    if np.ndim(image) > 2 + (channel_axis is not None):
        raise InputError(
            "image", f"must be a single picture, got shape {np.shape(image)}",
            "name the axis of the channels, {channel_axis}=-1, or that of frames whose scene stands still, {stack_axis}=0",
        )  # fmt: skip
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


def _cleaned_stack(
    image: Any, stack_axis: int, channel_axis: int | None, cleaning: Cleaning, reporter: Reporter
) -> tuple[np.ndarray, list[CleaningReport]]:
    """Clean frames along an axis, each by its neighbors."""
    frames, channels = frames_of(image, stack_axis, channel_axis)
    cleaned, reports = np.array(frames), []
    for number in range(len(frames)):
        planes, report = clean_frame(number, len(frames), lambda other: as_planes(frames[other], channels), cleaning)
        cleaned[number] = planes[0] if channels is None else np.moveaxis(planes, 0, channels)
        reports.append(report)
        if reporter.report("frames", number + 1, len(frames)):
            break
    return np.moveaxis(cleaned, 0, stack_axis), reports


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
    coarse_color: bool = False,
) -> tuple[np.ndarray, CleaningReport]:
    """Clean a picture (C, H, W); with `dry_run`, only find what is to be cleaned.

    With `coarse_color`, its chroma was stored at less resolution than its luma, which has smeared the damage's color.
    """
    if infrared is not None:
        reporter.report("looking for dust", 0, 1)
    detection = find_dust(
        planes, channel_axis=0, infrared=infrared, polarity=cleaning.polarity, sensitivity=cleaning.sensitivity,
        callback=lambda seen: reporter.report("looking for dust", seen.done, seen.total),
    )  # fmt: skip
    if infrared is not None:
        reporter.report("looking for dust", 1, 1)
    report = CleaningReport(detection, warnings=[*detection.remarks])
    if detection.mask.mean() > MUCH:
        problem = f"holds damage on {detection.mask.mean():.1%} of its area, as it seems: much of that may be the picture"
        report.warnings.append(Remark("image", problem, "look at the result, or lower the {sensitivity}"))
    if dry_run or not detection.mask.any():
        return planes, report
    if coarse_color and len(planes) == 3:
        cleared, _ = take_off_smeared_color(np.moveaxis(planes, 0, 2), detection.mask, exact=True)
        planes = np.moveaxis(cleared, 2, 0)
    restored, divided = divide(planes, detection)
    missing = detection.mask & ~divided
    of_fill = None
    if missing.any():
        filled, of_fill = fill(restored, missing, solve, tiling, engine, reporter)
        restored = np.where(missing, filled, restored)  # NaN stays: it isn't dust
    made = Grain.of(planes) if cleaning.grain == "auto" and missing.any() else None
    if made is not None:
        restored = made.add_to(restored, missing, missing=detection.mask, seed=cleaning.seed)
    grain = None if made is None else made.sigma
    return restored, replace(report, divided=float(divided.mean()), grain=grain, restoration=of_fill)
