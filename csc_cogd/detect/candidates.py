"""What could be dust: small or thin things that stand out from all around them, with their outlines.

A morphological closing fills what is darker than its surroundings and too narrow for a square of a given radius; the
top-hat, by how much, is how far each pixel stands out (Serra 1982). Edges leave no top-hat, nor do wide things, and a hair
of any length and form leaves one. Lighter things are the dark ones of the negative.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, label

from csc_cogd.backend.windows import closing, window_maximum, window_mean

SMOOTHING, OF_RADIUS = 0.6, 0.11  # standard deviation, pixels: at least, and to the radius, so that grain hides nothing wide
WINDOW = 41  # side of the surroundings that tell how far pixels usually stand out
CLIPPED = 3.0  # means, at which heights are cut off before averaging, so that dust hardly counts
ROUNDS = 3  # of that
STEP = 0.004  # of the range; lower things aren't seen
SEED, LEAST = 3.5, 1.2  # usual heights that a candidate reaches somewhere, and everywhere
OUTLINE = 0.4  # of the highest top-hat nearby


@dataclass(frozen=True, eq=False)
class Candidates:
    """Dark things of up to one size.

    Attributes
    ----------
    radius : int
        Of the square that they are too narrow for.
    labels : (H, W) int32 array
        From 1 to `count`; 0 where there is none.
    count : int
    filled : (H, W) float32 array
        The picture without them.
    height : (H, W) float32 array
        The top-hat.
    usual : (H, W) float32 array
        Its usual value nearby.
    """

    radius: int
    labels: np.ndarray
    count: int
    filled: np.ndarray
    height: np.ndarray
    usual: np.ndarray


def find_candidates(plane: np.ndarray, radius: int) -> Candidates:
    """Find what is darker than its surroundings in a gray picture (H, W) of float32 in [0, 1]."""
    smooth = gaussian_filter(plane, smoothing_of(radius))
    filled = closing(smooth, 2 * radius + 1)
    height = filled - smooth
    usual = usual_height(height)
    inside = (height > OUTLINE * window_maximum(height, 2 * radius + 1)) & (height > LEAST * usual)
    labels, count = label(inside, np.ones((3, 3)))
    seeded = np.zeros(count + 1, bool)
    seeded[labels[inside & (height > np.maximum(SEED * usual, 2 * STEP))]] = True
    seeded[0] = False
    numbers = (np.cumsum(seeded) * seeded).astype(np.int32)
    return Candidates(radius, numbers[labels], int(seeded.sum()), filled, height, usual)


def smoothing_of(radius: int) -> float:
    """Return the standard deviation, in pixels, of the Gaussian that a picture is smoothed with."""
    return max(SMOOTHING, OF_RADIUS * radius)


def usual_height(height: np.ndarray) -> np.ndarray:
    """Return the local mean of a top-hat, to which few large values contribute little; never 0."""
    overall = float(np.median(height)) + STEP / 1000
    for _ in range(ROUNDS):
        overall = float(np.minimum(height, CLIPPED * overall).mean()) + STEP / 1000
    local = np.full(height.shape, CLIPPED * overall, np.float32)
    for _ in range(ROUNDS):
        local = window_mean(np.minimum(height, CLIPPED * local), WINDOW)
    return np.maximum(local, overall / 3) + STEP / 2
