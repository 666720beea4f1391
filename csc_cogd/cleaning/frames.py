"""Frames of a film whose scene stands still: what one has and its neighbors lack is dust, and they show what is below."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from csc_cogd.cleaning.report import CleaningReport
from csc_cogd.cleaning.settings import Cleaning
from csc_cogd.detect.frames import look_at_frame
from csc_cogd.restore.observation import as_pixels


def clean_frame(
    number: int, count: int, read: Callable[[int], np.ndarray], cleaning: Cleaning
) -> tuple[np.ndarray, CleaningReport]:
    """Clean a frame: what is found is taken from the frame beside it; see :func:`csc_cogd.detect.frames.look_at_frame`."""
    frame, beside, detection = look_at_frame(number, count, read, cleaning.polarity, cleaning.sensitivity)
    taken = np.where(detection.mask, as_pixels(beside, frame.dtype), frame)
    return taken, CleaningReport(detection, copied=float(detection.mask.mean()))
