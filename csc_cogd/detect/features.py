"""What tells dust from things of the scene: 50 numbers for each candidate, of its form, rim, color and surroundings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude

from csc_cogd.backend.windows import window_maximum, window_mean, window_minimum
from csc_cogd.detect.candidates import Candidates, find_candidates
from csc_cogd.restore.jpeg import quality_of

RADII = (2, 5, 12)
RADIUS = 43  # which feature it is
NEAR, WIDE = 41, 101  # sides of surroundings
WINDOWS = (15, NEAR, WIDE)
DARK, LIGHT = 0.07, 0.93  # what dust looks like where it is opaque
STEEP = 0.98  # share of the pixels that are less steep than what counts as a picture's steepest slope
BEYOND_ENDS = (4, 7, 10, 14)  # pixels from the middle of an end, where a candidate's going on is looked for
MOST_GOING_ON = 3.0  # of its height
SCALE_OF_EDGES = 1.5  # standard deviation, pixels, at which edges beneath a candidate are looked for
RED, BLUE = np.float32(0.299), np.float32(0.114)  # shares of luminance
UNTOLD, MIDDLE = 100.0, 256  # quality of what is no JPEG, and side of the part of a picture that tells it
BLOCK, LEAST_BLOCKINESS = 8, 1.05  # side of JPEG's blocks; blockiness up to which a picture isn't taken for one
LEAST = 1e-4  # contrast that is divided by, of the range
BEYOND = 0.25  # of the range, by which values may lie outside of it


def scaled(planes: np.ndarray, low: float, high: float) -> np.ndarray:
    """Return planes as float32, in which `low` is 0 and `high` is 1."""
    values: np.ndarray = (planes.astype(np.result_type(planes.dtype, np.float32)) - low) / (high - low)
    return np.clip(values, -BEYOND, 1 + BEYOND).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, with the maps that the candidates of all sizes are measured in.

    Attributes
    ----------
    plane : (H, W) float32 array
        Its gray values, in [0, 1]: luminance, which JPEG and scanners disturb least.
    colors : (C, H, W) float32 array
    gradient : (H, W) float32 array
    statistics : tuple of pairs
        Local mean and standard deviation, in windows of :data:`WINDOWS`.
    blockiness : float
        Mean step between JPEG's blocks, whose corner is at (0, 0), to that within them.
    quality : float
        That the picture was compressed with as JPEG, see :func:`quality_told`.
    """

    plane: np.ndarray
    colors: np.ndarray
    gradient: np.ndarray
    statistics: tuple[tuple[np.ndarray, np.ndarray], ...]
    blockiness: float
    quality: float

    @classmethod
    def of(cls, colors: np.ndarray, quality: float = UNTOLD) -> Scene:
        """Prepare a picture (C, H, W) of float32 in [0, 1]."""
        plane = luminance(colors)
        statistics = []
        for side in WINDOWS:
            mean = window_mean(plane, side)
            variance = window_mean(plane * plane, side) - mean * mean
            statistics.append((mean, np.sqrt(np.maximum(variance, 1e-6))))
        return cls(plane, colors, gaussian_gradient_magnitude(plane, 0.7), tuple(statistics), _blockiness(plane), quality)

    def candidates(self) -> Iterator[tuple[int, Candidates, np.ndarray]]:
        """Yield the candidates of each size and polarity: 1 of dark ones, -1 of light ones; and their features."""
        for radius in RADII:
            found = {sign: find_candidates(sign * self.plane, radius) for sign in (1, -1)}
            for sign in found:
                yield sign, found[sign], measure(self, found[sign], sign, found[-sign].height)


def luminance(colors: np.ndarray) -> np.ndarray:
    """Return the luminance of RGB (3, H, W), or the mean of other channels, (H, W) float32."""
    if len(colors) != 3:
        return np.asarray(colors.mean(axis=0))
    red, green, blue = colors
    return np.asarray(green + RED * (red - green) + BLUE * (blue - green))  # so that gray stays what it is


def quality_told(planes: np.ndarray) -> float:
    """Return the quality with which a picture (C, H, W) of values to 255 was compressed as JPEG, by its middle.

    It is :data:`UNTOLD` where that isn't told, and of pictures with other than one or three channels.
    """
    if len(planes) not in (1, 3):
        return UNTOLD
    rows, columns = (slice(max(side - MIDDLE, 0) // (2 * BLOCK) * BLOCK, None) for side in planes.shape[1:])
    middle = planes[:, rows, columns][:, :MIDDLE, :MIDDLE]
    return float(quality_of(middle.astype(np.float64)) or UNTOLD)


def _blockiness(plane: np.ndarray) -> float:
    """Return how much larger steps between blocks are than within them, on average over rows and columns.

    Less than :data:`LEAST_BLOCKINESS` would tell one picture without blocks from another, and nothing of dust.
    """
    ratios = []
    for turned in (plane, plane.T):
        steps = abs(np.diff(turned, axis=0)).mean(axis=1)
        between = np.arange(1, len(turned)) % BLOCK == 0
        if between.any() and not between.all():
            ratios.append(steps[between].mean() / (steps[~between].mean() + 1e-6))
    return max(float(np.mean(ratios)), LEAST_BLOCKINESS) if ratios else LEAST_BLOCKINESS


class Zone:
    """Pixels that belong to candidates, inside of them or around them: those where `labels` isn't 0."""

    def __init__(self, labels: np.ndarray, count: int):
        self.places = np.flatnonzero(labels)
        self.numbers = labels.ravel()[self.places] - 1
        self.count, self.width = count, labels.shape[1]
        self.size = np.maximum(np.bincount(self.numbers, minlength=count), 1)

    def of(self, plane: np.ndarray) -> np.ndarray:
        """Return the values of a map (H, W) in the zone."""
        return plane.ravel()[self.places].astype(np.float64)

    def mean(self, values: np.ndarray) -> np.ndarray:
        """Return the mean of values in the zone for each candidate, (count,)."""
        return np.bincount(self.numbers, values, self.count) / self.size

    def moments(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation for each candidate."""
        mean = self.mean(values)
        return mean, np.sqrt(self.mean((values - mean[self.numbers]) ** 2))

    def most(self, values: np.ndarray) -> np.ndarray:
        largest = np.zeros(self.count)
        np.maximum.at(largest, self.numbers, values)
        return largest

    def coordinates(self) -> tuple[np.ndarray, np.ndarray]:
        return np.divmod(self.places, self.width)


def measure(scene: Scene, candidates: Candidates, sign: int, opposite: np.ndarray) -> np.ndarray:
    """Return the features of candidates of one size and polarity, (count, n) float32.

    `opposite` is the top-hat of the other polarity, (H, W).
    """
    labels, count = candidates.labels, candidates.count
    inside, near = Zone(labels, count), window_maximum(labels, 3)
    ring_labels = np.where(near == 0, window_maximum(labels, 7), 0)
    ring = Zone(ring_labels, count)
    far = Zone(np.where((near == 0) & (ring_labels == 0), window_maximum(labels, 17), 0), count)
    rim = Zone(np.where(labels == 0, near, 0), count)

    plane = sign * scene.plane
    values, beside = inside.of(plane), ring.of(plane)
    level, spread = inside.moments(values)
    around, ring_spread = ring.moments(beside)
    contrast = np.maximum(around - level, LEAST)
    far_values = far.of(plane)
    height, usual = inside.of(candidates.height), inside.of(candidates.usual)
    columns = [
        *_form(inside),
        inside.most(height), inside.most(height / usual), inside.mean(height / usual),
        contrast, contrast / inside.mean(usual), ring_spread / contrast, spread / contrast,
        ring.mean(beside - level[ring.numbers] > 0.5 * contrast[ring.numbers]),
        far.moments(far_values)[1] / contrast, far.mean(far.of(scene.gradient)) / contrast,
        rim.mean(rim.of(scene.gradient)) / contrast, inside.mean(inside.of(scene.gradient)) / contrast,
        level + (sign < 0), around + (sign < 0), _tilt(inside, ring, beside - around[ring.numbers]) / contrast,
    ]  # fmt: skip
    for mean, deviation in scene.statistics:
        usual_deviation = inside.mean(inside.of(deviation))
        columns += [(sign * inside.mean(inside.of(mean)) - level) / usual_deviation, usual_deviation / contrast]
    columns += _company(candidates, inside, opposite, contrast)
    others = window_maximum(labels, 5) == 0
    columns += [(lowest - level) / contrast for lowest in _lowest_of_others(plane, others, inside)]
    columns += _sharpness(scene, others, inside, rim, contrast)
    columns += [np.mean(whole) / contrast for whole in (candidates.height, opposite)]
    columns += _color(scene.colors, inside, ring, DARK if sign > 0 else LIGHT)
    columns += [np.full(count, candidates.radius)]
    columns += _going_on(candidates, inside)
    columns += [np.full(count, scene.blockiness)]
    columns += _edge_beneath(candidates, inside, contrast)
    columns += [np.full(count, scene.quality)]
    return np.stack(columns, axis=1).astype(np.float32)


def _form(inside: Zone) -> list[np.ndarray]:
    """Area, length, width, elongation, and how much of a box of that length and width is filled."""
    rows, columns = inside.coordinates()
    down, across = (at - inside.mean(at)[inside.numbers] for at in (rows, columns))
    vertical, horizontal, mixed = inside.mean(down**2) + 1 / 12, inside.mean(across**2) + 1 / 12, inside.mean(down * across)
    half, difference = (vertical + horizontal) / 2, np.hypot((vertical - horizontal) / 2, mixed)
    major, minor = np.sqrt(half + difference), np.sqrt(np.maximum(half - difference, 1 / 12))
    length, area = np.sqrt(12) * major, inside.size
    return [np.log(area), np.log(length), np.log(area / length), major / minor, area / (12 * major * minor)]


def _going_on(candidates: Candidates, inside: Zone) -> list[np.ndarray]:
    """How high the top-hat is beyond either end, along a candidate's axis, to its own: the higher one, and the lower."""
    places = np.stack(inside.coordinates()).astype(np.float64)
    middle = np.stack([inside.mean(at) for at in places])
    down, across = offsets = places - middle[:, inside.numbers]
    angle = 0.5 * np.arctan2(2 * inside.mean(down * across), inside.mean(down**2) - inside.mean(across**2))
    axis = np.stack([np.cos(angle), np.sin(angle)])
    along = (offsets * axis[:, inside.numbers]).sum(axis=0)
    wide = window_maximum(candidates.height, 3)
    own = inside.mean(inside.of(candidates.height)) + 1e-6
    last = np.array(wide.shape)[:, None] - 1
    ratios = []
    for side in (1, -1):
        end = np.full(inside.count, -np.inf)
        np.maximum.at(end, inside.numbers, side * along)
        beyond = [np.clip(np.rint(middle + side * (end + by) * axis), 0, last).astype(int) for by in BEYOND_ENDS]
        ratios.append(np.clip(np.mean([wide[tuple(at)] for at in beyond], axis=0) / own, 0, MOST_GOING_ON))
    return [np.maximum(*ratios), np.minimum(*ratios)]


def _edge_beneath(candidates: Candidates, inside: Zone, contrast: np.ndarray) -> list[np.ndarray]:
    """How steep the picture is where a candidate is filled, and how far so on average: by edges, whose sides differ."""
    slopes = [gaussian_filter(candidates.filled, SCALE_OF_EDGES, order) for order in ((1, 0), (0, 1))]
    down, across = (inside.mean(inside.of(slope)) for slope in slopes)
    return [inside.mean(inside.of(np.hypot(*slopes))) / contrast, np.hypot(down, across) / contrast]


def _tilt(inside: Zone, ring: Zone, deviations: np.ndarray) -> np.ndarray:
    """How much darker the surroundings are on one side than on the other."""
    moments, reach = [], []
    for own, around in zip(inside.coordinates(), ring.coordinates(), strict=True):
        offset = around - inside.mean(own)[ring.numbers]
        moments.append(ring.mean(deviations * offset))
        reach.append(ring.mean(offset**2))
    return np.hypot(*moments) / np.sqrt(reach[0] + reach[1] + 1)


def _company(candidates: Candidates, inside: Zone, opposite: np.ndarray, contrast: np.ndarray) -> list[np.ndarray]:
    """How much else stands out nearby: candidates, top-hat, and that of the other polarity."""
    height = np.minimum(candidates.height, 1)
    own = inside.mean(inside.of(height)) * inside.size

    def nearby(plane: np.ndarray, side: int) -> np.ndarray:
        return inside.mean(inside.of(window_mean(plane, side)))

    return [
        nearby((candidates.labels > 0).astype(np.float32), NEAR) - inside.size / NEAR**2,
        (nearby(height, NEAR) - own / NEAR**2) / contrast, (nearby(height, WIDE) - own / WIDE**2) / contrast,
        nearby(opposite, NEAR) / contrast, inside.mean(inside.of(opposite)) / contrast,
    ]  # fmt: skip


def _lowest_of_others(plane: np.ndarray, others: np.ndarray, inside: Zone) -> Iterator[np.ndarray]:
    """The darkest values near and around that belong to no candidate."""
    without = np.where(others, gaussian_filter(plane, 1.0), plane.max())
    for side in (NEAR, WIDE):
        yield inside.mean(inside.of(window_minimum(without, side)))


def _sharpness(scene: Scene, others: np.ndarray, inside: Zone, rim: Zone, contrast: np.ndarray) -> list[np.ndarray]:
    """The steepest slope of what is nearby and no candidate, and that of the picture; against the rim and the contrast."""
    steepest = inside.mean(inside.of(window_maximum(np.where(others, scene.gradient, 0), NEAR)))
    of_picture = np.quantile(scene.gradient[::3, ::3], STEEP)
    return [rim.mean(rim.of(scene.gradient)) / (steepest + LEAST), steepest / contrast, of_picture / contrast]


def _color(colors: np.ndarray, inside: Zone, ring: Zone, tone: float) -> list[np.ndarray]:
    """How opaque a neutral thing of a tone would be, how badly that explains the color; saturations; change of chroma.

    Gray counts as three channels alike.
    """
    channels = colors if len(colors) > 1 else [colors[0]] * 3
    within = np.stack([inside.mean(inside.of(plane)) for plane in channels])
    around = np.stack([ring.mean(ring.of(plane)) for plane in channels])
    change, most = within - around, tone - around
    opacity = (change * most).sum(axis=0) / ((most**2).sum(axis=0) + 1e-3)
    scale = np.sqrt((change**2).sum(axis=0)) + 1e-3
    unexplained = np.sqrt(((change - opacity * most) ** 2).sum(axis=0)) / scale
    chroma = np.sqrt(((change - change.mean(axis=0)) ** 2).sum(axis=0)) / scale
    return [opacity, unexplained, np.ptp(within, axis=0), np.ptp(around, axis=0), chroma]
