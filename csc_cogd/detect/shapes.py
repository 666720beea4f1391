"""What is found becomes components: which pixels belong together, and whether they are a speck, a hair or a scratch."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, find_objects, label

from csc_cogd.detect.detection import Component

THIN = 5.0  # widths, from which what is long is no speck
STRAIGHT = 0.08  # of the length, by which a scratch is bent at most
SCRATCH_LENGTH = 24  # pixels
BESIDE = 4  # pixels around a component that its contrast is measured against


class Components(NamedTuple):
    """The components, worst first, and the label of the one that each pixel belongs to, (H, W) int32."""

    components: tuple[Component, ...]
    labels: np.ndarray


def components_of(found: np.ndarray, plane: np.ndarray) -> Components:
    """Group what was found (H, W), of which dark things are positive and light ones negative, in percent of confidence.

    `plane` is the picture in gray, (H, W). Labels follow the order of the components.
    """
    labels = np.zeros(found.shape, np.int32)
    weights: list[float] = []
    components: list[Component] = []
    for sign, polarity in ((1, "dark"), (-1, "light")):
        parts, _ = label(sign * found > 0, np.ones((3, 3)))
        for number, box in enumerate(find_objects(parts), 1):
            inside = parts[box] == number
            own = len(components) + 1
            labels[box][inside] = own
            area = int(inside.sum())
            confidence = float(abs(found[box])[inside].max()) / 100
            edges = (box[0].start, box[1].start, box[0].stop, box[1].stop)
            components.append(Component(own, kind_of(inside), confidence, area, edges, polarity))
            weights.append(area * _contrast(plane, parts, number, box))
    order = np.argsort(-np.array(weights), kind="stable")
    ranks = np.zeros(len(order) + 1, np.int32)
    ranks[order + 1] = np.arange(1, len(order) + 1)
    ordered = tuple(replace(components[index], label=rank) for rank, index in enumerate(order, 1))
    return Components(ordered, ranks[labels])


def kind_of(inside: np.ndarray) -> str:
    """Return "speck", "hair" or "scratch" for a component (h, w) bool."""
    area = inside.sum()
    width = max(4 * distance_transform_edt(np.pad(inside, 1)).sum() / area - 2.5, 1.0)
    if area < THIN * width**2:
        return "speck"
    places = np.argwhere(inside)
    centered = places - places.mean(axis=0)
    _, axes = np.linalg.eigh(centered.T @ centered)
    across, along = np.ptp(centered @ axes, axis=0)
    return "scratch" if along >= SCRATCH_LENGTH and across <= width + STRAIGHT * along else "hair"


def _contrast(plane: np.ndarray, parts: np.ndarray, number: int, box: tuple[slice, slice]) -> float:
    """How far the median of a component is from that of its surroundings."""
    window = tuple(slice(max(side.start - BESIDE, 0), side.stop + BESIDE) for side in box)
    inside, values = parts[window] == number, plane[window]
    around = binary_dilation(inside, iterations=BESIDE) & (parts[window] == 0)
    return float(abs(np.median(values[inside]) - np.median(values[around]))) if around.any() else 0.0
