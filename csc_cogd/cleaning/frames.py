"""Frames of a film whose scene stands still: what one has and its neighbors lack is dust, and they show what is below."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from csc_cogd.cleaning.report import CleaningReport
from csc_cogd.cleaning.settings import Cleaning
from csc_cogd.detect.frames import at_level, find_in_frame
from csc_cogd.errors import InputError
from csc_cogd.restore.observation import as_pixels

FEWEST = 3
"""Frames."""


def neighbors_of(number: int, count: int) -> tuple[int, int]:
    """Return the numbers of the two frames nearest to one; InputError if there are none."""
    if count < FEWEST:
        raise InputError("frames", f"must be {FEWEST} or more of one scene, got {count}", "clean them one by one")
    if 0 < number < count - 1:
        return number - 1, number + 1
    return (1, 2) if number == 0 else (count - 2, count - 3)


def clean_frame(
    number: int, count: int, read: Callable[[int], np.ndarray], cleaning: Cleaning
) -> tuple[np.ndarray, CleaningReport]:
    """Clean a frame: what is found is taken from the frame beside it.

    Parameters
    ----------
    number, count : int
        Of the frame, from 0, and of all.
    read : callable
        Returns a frame (C, H, W) by its number.
    cleaning : Cleaning
    """
    frame, beside = read(number), [read(each) for each in neighbors_of(number, count)]
    if {each.shape for each in beside} != {frame.shape}:
        raise InputError("frames", "must be of one size", "clean them one by one")
    if not all(np.isfinite(each).all() for each in (frame, *beside)):
        raise InputError("frames", "must not miss pixels, which are NaN", "fill them first")
    nearest, other = (at_level(frame, each) for each in beside)
    detection = find_in_frame(frame, (nearest, other), cleaning.polarity, cleaning.sensitivity)
    taken = np.where(detection.mask, as_pixels(nearest, frame.dtype), frame)
    return taken, CleaningReport(detection, copied=float(detection.mask.mean()))
