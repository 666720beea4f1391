"""What kind of damage a component of a mask is, by its shape."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import find_objects, label

from csc_cogd.detect.detection import Component

EVERY_WAY = np.ones((3, 3), bool)
THIN = 5.0
"""Length to mean width, from which a thing is a hair or a scratch,"""
LONG = 20
"""and its length in pixels, at least."""
STRAIGHT, SCRATCH_LENGTH = 1.5, 30
"""Most that a scratch's pixels deviate from a line, in its widths; and its least length."""


def components_of(mask: np.ndarray, confidence: np.ndarray, darker: np.ndarray) -> tuple[np.ndarray, tuple[Component, ...]]:
    """Describe the connected parts of a mask, the most conspicuous first.

    Parameters
    ----------
    mask : (H, W) bool array
    confidence : (H, W) array
        From 0 to 1; a component has that of its surest pixel.
    darker : (H, W) array
        Positive where the picture is darker than it should be.

    Returns
    -------
    labels : (H, W) int32 array
    components : tuple of Component
    """
    labels, _ = label(mask, EVERY_WAY, output=np.int32)
    found = []
    for number, box in enumerate(find_objects(labels), 1):
        inside = labels[box] == number
        rows, columns = box
        found.append(
            Component(
                number, kind_of(inside), float(confidence[box][inside].max()), int(np.count_nonzero(inside)),
                (rows.start, columns.start, rows.stop, columns.stop), "dark" if darker[box][inside].sum() > 0 else "light",
            )
        )  # fmt: skip
    return labels, tuple(sorted(found, key=lambda one: (-one.confidence * one.area, one.label)))


def kind_of(inside: np.ndarray) -> str:
    """Return "speck", "hair" or "scratch" for a component (h, w) bool."""
    places = np.argwhere(inside)
    middle = places.mean(axis=0)
    _, _, axes = np.linalg.svd(places - middle, full_matrices=False)
    along, across = ((places - middle) @ axes.T).T if len(places) > 1 else np.zeros((2, 1))
    length = max(float(np.ptp(along)), float(np.hypot(*inside.shape)) / 2) + 1
    width = len(places) / length
    if length < LONG or length < THIN * width:
        return "speck"
    straight = float(np.abs(across).max()) <= STRAIGHT * max(width, 2.0)
    return "scratch" if straight and length >= SCRATCH_LENGTH else "hair"
