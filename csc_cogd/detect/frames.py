"""Dust on one frame of a film whose scene stands still: what its neighbors lack.

A pixel's evidence is the smaller one of its differences from both neighbors, where these have the same sign, as in the spike
detection of Kokaram (1998); in units of what noise and motion make of it nearby, which the neighbors' difference tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter, label, maximum, maximum_filter, uniform_filter

from csc_cogd.detect.detection import POLARITIES, DustDetection
from csc_cogd.detect.features import scaled
from csc_cogd.detect.shapes import components_of
from csc_cogd.errors import InputError
from csc_cogd.restore.observation import intensity_range

FEWEST = 3
"""Frames of a scene."""
SMOOTHING = 0.7
"""Standard deviation, in pixels, of the Gaussian that evidence is smoothed with."""
LEVEL = 65
"""Side of the surroundings over which neighbors are brought to a frame's brightness."""
ROUNDS = 3
"""Of fitting brightness."""
NEARBY = 9
"""Side of the surroundings where motion counts."""
SURE, LIKELY = 8.0, 3.0
"""Evidence that a thing has somewhere at the usual sensitivity, and everywhere."""
SPAN = 4.0
"""By which factor the evidence falls from a sensitivity of 0.5 to 1."""
LEAST = 0.002
"""Deviation, of the range."""
TO_DEVIATION = 1.4826
"""Standard deviation of normal noise, in medians of its absolute value."""
_EVERY_WAY = np.ones((3, 3), bool)


class Seen(NamedTuple):
    """A frame (C, H, W), the one beside it, in floats and as bright, and what the one has that its neighbors lack."""

    frame: np.ndarray
    beside: np.ndarray
    detection: DustDetection


def look_at_frame(number: int, count: int, read: Callable[[int], np.ndarray], polarity: str, sensitivity: float) -> Seen:
    """Find what a frame has and its neighbors lack.

    Parameters
    ----------
    number, count : int
        Of the frame, from 0, and of all.
    read : callable
        Returns a frame (C, H, W) by its number.
    polarity, sensitivity
        As in :func:`csc_cogd.find_dust`.

    Raises
    ------
    InputError
        If there are too few frames, or they differ in size or miss pixels.
    """
    frame, around = read(number), [read(each) for each in neighbors_of(number, count)]
    if {each.shape for each in around} != {frame.shape}:
        raise InputError("frames", "must be of one size", "give them one by one")
    if not all(np.isfinite(each).all() for each in (frame, *around)):
        raise InputError("frames", "must not miss pixels, which are NaN", "fill them first")
    nearest, other = (at_level(frame, each) for each in around)
    return Seen(frame, nearest, find_in_frame(frame, (nearest, other), polarity, sensitivity))


def neighbors_of(number: int, count: int) -> tuple[int, int]:
    """Return the numbers of the two frames nearest to one; InputError if there are none."""
    if count < FEWEST:
        raise InputError("frames", f"must be {FEWEST} or more of one scene, got {count}", "give them one by one")
    if 0 < number < count - 1:
        return number - 1, number + 1
    return (1, 2) if number == 0 else (count - 2, count - 3)


def at_level(frame: np.ndarray, neighbor: np.ndarray) -> np.ndarray:
    """Return a neighbor (C, H, W), in floats, as bright as a frame, as exposure flickers: by a line for each channel.

    The line is fitted by least squares to the pixels that are near it, twice; then the mean is, from place to place.
    """
    level = np.empty(frame.shape, np.float32)
    for own, other, out in zip(frame.astype(np.float32), neighbor.astype(np.float32), level, strict=True):
        slope, start, near = 1.0, float(np.median(own - other)), np.ones(own.shape, bool)
        for _ in range(ROUNDS):
            error = abs(own - slope * other - start)
            near = error <= 3 * np.median(error)
            spread = float(other[near].var())
            if spread > 0:
                slope = float(np.mean((own[near] - own[near].mean()) * (other[near] - other[near].mean()))) / spread
            start = float(own[near].mean()) - slope * float(other[near].mean())
        out[:] = slope * other + start
        left = np.where(near, own - out, 0)
        out += uniform_filter(left, LEVEL) / np.maximum(uniform_filter(near.astype(np.float32), LEVEL), 0.1)
    return level


def evidence(plane: np.ndarray, before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Return how far a frame is from both neighbors, in usual deviations: positive where it is lighter, (H, W) float32."""
    earlier, later = plane - before, plane - after
    both = np.where(earlier * later > 0, np.sign(earlier) * np.minimum(abs(earlier), abs(later)), 0)
    change = gaussian_filter(before - after, SMOOTHING)
    usual = TO_DEVIATION * float(np.median(abs(change))) + LEAST
    moving = maximum_filter(np.maximum(abs(change) - 3 * usual, 0), NEARBY)
    return np.asarray(gaussian_filter(both, SMOOTHING) / (usual + moving))


def find_in_frame(
    frame: np.ndarray, neighbors: tuple[np.ndarray, np.ndarray], polarity: str, sensitivity: float
) -> DustDetection:
    """Find what a frame has and both neighbors lack.

    Parameters
    ----------
    frame : (C, H, W) array
    neighbors : two arrays like it
        As bright as the frame, see :func:`at_level`.
    polarity, sensitivity
        As in :func:`csc_cogd.find_dust`.
    """
    gray = frame.mean(axis=0, dtype=np.float32)
    low, high = intensity_range([frame.ravel()])
    seen = evidence(*(scaled(planes.mean(axis=0, dtype=np.float32), low, high) for planes in (frame, *neighbors)))
    factor = SPAN ** (1 - 2 * sensitivity)
    found = np.zeros(gray.shape, np.int8)
    for sign in POLARITIES[polarity]:
        labels, count = label(-sign * seen > LIKELY * min(factor, 1), _EVERY_WAY)
        if count:
            highest = maximum(-sign * seen, labels, np.arange(1, count + 1))
            confidence = np.clip(100 / (1 + np.exp(np.clip(SURE - highest, -30, 30) / 2)), 1, 100)
            percent = np.where(highest >= SURE * factor, np.rint(confidence), 0).astype(np.int8)
            marked = np.append(np.int8(0), percent)[labels]
            found = np.where(marked > abs(found), np.int8(sign) * marked, found)
    components, labels = components_of(found, gray)
    return DustDetection(found != 0, labels, components)
