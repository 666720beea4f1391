"""Dust by a film scanner's infrared channel, to which the dyes of film are nearly transparent and dust isn't.

The model, after registration, is ``log I = a + sum_c l_c log P_c + log T + noise``: a slowly varying lamp a, the leakage
l_c of the dyes, which differs a little from place to place, and the share T of the light that dust lets through. Leakage is
found by robust regression in overlapping blocks, pulled towards that of the whole frame where a block tells little. What is
left is thresholded in units of its own noise, at several scales, so that neither the scanner's contrast nor its noise has
to be known.

On silver film and Kodachrome infrared light is stopped by the picture itself; then the channel tells nothing of dust.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, binary_fill_holes, gaussian_filter, label, maximum_filter, mean, median_filter
from skimage.filters import apply_hysteresis_threshold

from csc_cogd.detect.detection import DustDetection
from csc_cogd.detect.registration import Registration, register
from csc_cogd.detect.shapes import components_of
from csc_cogd.errors import InputError, Remark

DARKEST = 0.01
"""Added to values in [0, 1] before their logarithm is taken: in deep shadows it is mostly noise."""
BLOCK, BAND = 96, 256
"""Side of the blocks in which leakage and noise are found, in pixels; rows that are looked at together."""
WINDOW, REDUCED = 72, 8
"""Side of the window whose median is the background, in pixels, of which every so many are looked at."""
SAMPLES = 1 << 19
"""Pixels that tell the leakage, at least as many, spread evenly over the frame."""
UPPER = 0.6
"""Quantile of a block's light that is free of dust."""
ROUNDS, OUTLYING = 3, 3.0
"""Of robust regression, which leaves out what is farther from the last round's than so many standard deviations."""
STIFFNESS = 0.05
"""Squared contrast, in units of the logarithm, by which a block's own leakage is believed as much as that of the frame."""
SLIGHT = 0.3
"""Contrast of infrared to that of the picture, from which it isn't leakage but the picture itself,"""
EXPLAINED = 0.7
"""and the share of the infrared channel's contrast that it explains, at least."""
SCALES = (0.6, 1.6)
"""Standard deviations of the Gaussians over which evidence is gathered."""
THRESHOLD, GROWTH = 5.0, 2.0
"""Standard deviations of noise from which a place is dust, with the default sensitivity, and to which it reaches out."""
REACH, RIM = 9, 0.1
"""Side of the window whose darkest pixel is the depth of dust, and the share of it at which dust ends."""
SENSITIVITY_RANGE = 1.8
"""Factor on the threshold at sensitivity 0; at 1 it is divided by it."""
MISPLACED = 0.15
"""Pixels by which the registration may be off,"""
UNSURE = 0.2
"""and share by which the leakage may be: leaking edges, and things darker than what is around, are no dust."""
NORMAL = 1.4826
"""Standard deviation of normal deviates by their median absolute value."""
CALMEST = 0.7
"""Least noise of a block, as a share of the usual one."""
LEAST_DIP, DARK = -0.06, -0.7
"""Logarithms: of infrared light, below which a thing that is dark in the picture may be dust; and of the picture's
brightness to that around, below which what dust encloses is part of it."""
PART, LARGE_PART = 0.25, 40
"""Least share of a thing that infrared tells by itself, and least area of that, in pixels."""
SURROUNDINGS = 6.0
"""Standard deviation of the Gaussian that says what is around a component."""
OPAQUE = 0.02
"""Least transmission that is told."""

WITHOUT = "and isn't used: dust is looked for in the picture alone"
SEES_THE_PICTURE = Remark("", f"infrared shows the picture itself, as on silver film and Kodachrome, {WITHOUT}")
EMPTY = Remark("", f"the infrared channel is the same everywhere, {WITHOUT}")


@dataclass(frozen=True, eq=False)
class Evidence:
    """What an infrared channel says of dust.

    Attributes
    ----------
    dips : (H, W) array of float32
        Logarithm of the light that came through, less what is explained without dust.
    doubt : (H, W) array of float32
        What small errors of registration and leakage would make of it.
    relative : (H, W) array of float32
        Logarithm of the picture's brightness, less what is around.
    registration : Registration
    leakage : float
        Contrast of the infrared channel to that of the picture.
    """

    dips: np.ndarray
    doubt: np.ndarray
    relative: np.ndarray
    registration: Registration
    leakage: float


class Sight(NamedTuple):
    """What a search of the picture alone says.

    Attributes
    ----------
    found : (H, W) int8 array
        Positive where it is dark.
    suspects : iterable of int arrays
        Flat indices of the pixels of each dark thing that isn't ruled out.
    """

    found: np.ndarray
    suspects: Iterable[np.ndarray]


def find_by_infrared(
    planes: np.ndarray, infrared: Any, *, sensitivity: float = 0.5, seen: Callable[[], Sight] | None = None
) -> DustDetection:
    """Find dust by an infrared channel.

    Parameters
    ----------
    planes : (C, H, W) array
        The picture, integers or floats.
    infrared : (H, W) array
        Of any range; dust is dark in it.
    sensitivity : float
        From 0 to 1.
    seen : callable, optional
        Returns what a search of the picture alone finds. It is believed where infrared light is stopped, too, even if dyes
        as dark would stop as much; so is what it suspects, where infrared alone tells a part of it.

    Returns
    -------
    DustDetection
        With the infrared transmission. Where infrared sees the picture, or nothing, a remark says so and nothing is found.

    Raises
    ------
    InputError
        If the infrared channel isn't of the picture's size.
    """
    infrared = checked_infrared(infrared, planes.shape[1:])
    nothing = np.zeros(planes.shape[1:], bool)
    if infrared.max() <= infrared.min():
        return DustDetection(nothing, nothing.astype(np.int32), (), remarks=(EMPTY,))
    evidence = gather_evidence(planes, infrared)
    if evidence is None:
        return DustDetection(nothing, nothing.astype(np.int32), (), remarks=(SEES_THE_PICTURE,))
    mask, strength = _thresholded(evidence, threshold_of(sensitivity))
    depth = evidence.dips + evidence.leakage * np.minimum(evidence.relative, 0)  # dust hides the dyes, which leak
    if seen is not None:
        _add_dark(mask, depth, evidence, seen())
        strength[mask] = np.maximum(strength[mask], threshold_of(sensitivity))
    transmission = np.where(mask, np.exp(np.minimum(depth, 0)), 1).astype(np.float32)
    surest = np.maximum(strength / threshold_of(sensitivity), 1.0)
    percent = np.rint(100 * (1 - 0.5 / surest**2)).astype(np.int8)
    components, labels = components_of(np.where(mask, percent * _signs(planes, mask), 0).astype(np.int8), _gray(planes))
    return DustDetection(mask, labels, components, np.maximum(transmission, OPAQUE))


def _add_dark(mask: np.ndarray, depth: np.ndarray, evidence: Evidence, sight: Sight) -> None:
    """Add dark damage that lets as much infrared through as dyes as dark would, in place: only the picture tells it.

    It is what the search of the picture marks as dark where infrared is dark, too; things that it suspects there, and of
    which infrared tells a part, such as half of a hair, where the rest stops more than dyes are likely to on average; and
    dark cores within what is marked.
    """
    smooth = gaussian_filter(depth, SCALES[0])
    weakened = smooth < -GROWTH * noise_level(smooth)
    stopped = weakened & (smooth < LEAST_DIP)
    parts, count = label(sight.found > 0, np.ones((3, 3), bool))
    if count:
        borne_out = mean(stopped, parts, np.arange(1, count + 1)) > 0.5
        mask |= np.append(False, borne_out)[parts]
    told, excess = mask.ravel().copy(), (evidence.dips + UNSURE * evidence.leakage * abs(evidence.relative)).ravel()
    for pixels in sight.suspects:
        rest = pixels[~told[pixels]]
        likely = len(pixels) - len(rest) > max(PART * len(pixels), LARGE_PART) and weakened.ravel()[pixels].mean() > 0.5
        if likely and len(rest) and excess[rest].mean() < 0:
            mask.ravel()[pixels] = True
    mask |= binary_fill_holes(mask) & stopped & (evidence.relative < DARK)


def _gray(planes: np.ndarray) -> np.ndarray:
    return np.asarray(planes.mean(axis=0, dtype=np.float32))


def _signs(planes: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return 1 for the connected parts of a mask that are darker than what is around them, -1 for lighter ones, (H, W)."""
    gray, known = _gray(planes), (~mask).astype(np.float32)
    around = gaussian_filter(gray * known, SURROUNDINGS) / np.maximum(gaussian_filter(known, SURROUNDINGS), 1e-6)
    labels, count = label(mask, np.ones((3, 3), bool))
    lighter = mean(gray - around, labels, np.arange(1, count + 1)) > 0 if count else np.zeros(0, bool)
    return np.append(1, np.where(lighter, -1, 1))[labels]


def checked_infrared(infrared: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Return an infrared channel as (H, W) of numbers.

    Raises
    ------
    InputError
        If it isn't finite, or not of a shape.
    """
    infrared = np.asarray(infrared)
    if infrared.ndim == 3 and 1 in (infrared.shape[0], infrared.shape[2]):
        infrared = infrared.reshape(*(length for length in infrared.shape if length != 1))
    if infrared.shape != tuple(shape):
        fix = "scan both in one pass, or at the same resolution"
        raise InputError("infrared", f"must be of the picture's size {tuple(shape)}, got {infrared.shape}", fix)
    if infrared.dtype.kind not in "iuf" or (infrared.dtype.kind == "f" and not np.isfinite(infrared).all()):
        raise InputError("infrared", f"must have finite numbers, got {infrared.dtype}")
    return infrared


def threshold_of(sensitivity: float) -> float:
    """Return standard deviations of noise from which a place is dust."""
    return THRESHOLD * SENSITIVITY_RANGE ** (1 - 2 * sensitivity)


def gather_evidence(planes: np.ndarray, infrared: np.ndarray) -> Evidence | None:
    """Return what an infrared channel says of dust; None where it shows the picture."""
    low, high = _range_of(planes)
    brightness = np.zeros(infrared.shape, np.float32)
    for plane in planes:
        brightness += _logarithm(plane, low, high) / len(planes)
    light = _logarithm(infrared, *_range_of(infrared[None], floor=0.0))
    registration = register(brightness, light)
    light = registration.apply(light)
    model = Leakage.of(planes, (low, high), light)
    if model.contrast > SLIGHT and model.explained > EXPLAINED:
        return None
    left = model.left(planes, light)
    left -= background(left)
    told = np.zeros(left.shape, bool)
    told[registration.inside(left.shape)] = True
    left[~told] = 0
    slope = np.maximum(*(abs(part) for part in np.gradient(brightness)))
    relative = brightness - background(brightness)
    doubt = np.float32(model.contrast) * (MISPLACED * maximum_filter(slope, 3) + UNSURE * abs(relative))
    return Evidence(left, doubt, relative, registration, model.contrast)


def _range_of(planes: np.ndarray, floor: float | None = None) -> tuple[float, float]:
    """Return the values that are taken for black and white."""
    if planes.dtype.kind == "u":
        return 0.0, float(np.iinfo(planes.dtype).max)
    step = max(planes[0].size >> 20, 1)
    low, high = np.quantile(np.nan_to_num(planes.reshape(len(planes), -1)[:, ::step]), (0.001, 0.999))
    low = min(low, 0.0) if floor is None else floor
    return float(low), float(high if high > low else low + 1)


def _logarithm(plane: np.ndarray, low: float, high: float) -> np.ndarray:
    scaled = (plane.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    return np.log(np.clip(np.nan_to_num(scaled), 0, 2) + np.float32(DARKEST))


def _spread(values: np.ndarray) -> float:
    """Return the standard deviation of about a million values, less sensitive to a few."""
    some = values.ravel()[:: max(values.size >> 20, 1)]
    return float(np.subtract(*np.quantile(some, (0.84, 0.16))) / 2)


@dataclass(frozen=True, eq=False)
class Leakage:
    """How the logarithm of infrared light depends on the picture where no dust is.

    Attributes
    ----------
    coefficients : (rows, columns, n) array
        Of each term, in blocks of a grid.
    scale : (float, float)
        The picture's values that are black and white.
    center : (C,) array
        Logarithms of the channels that are taken for zero.
    contrast : float
        Of what leaks through in the whole frame to that of the picture's brightness,
    explained : float
        and to that of the infrared channel.
    """

    coefficients: np.ndarray
    scale: tuple[float, float]
    center: np.ndarray
    contrast: float = 0.0
    explained: float = 0.0

    @classmethod
    def of(cls, planes: np.ndarray, scale: tuple[float, float], light: np.ndarray) -> Leakage:
        """Fit it by robust regression: over the frame, then in blocks that share what they know with their neighbors."""
        grid = tuple(max(round(length / BLOCK), 1) for length in light.shape)
        step = max(int(np.sqrt(light.size / SAMPLES)), 1)
        planes, light = planes[:, ::step, ::step], light[::step, ::step]
        center = np.array([np.median(_logarithm(plane, *scale)) for plane in planes], np.float32)
        model = cls._of_the_frame(planes, scale, center, light)
        whole = model.coefficients[0, 0]
        model = replace(model, coefficients=np.broadcast_to(whole, (*grid, len(whole))))
        for _ in range(ROUNDS):
            model = replace(model, coefficients=_of_blocks(model, planes, light, whole))
        return model

    @classmethod
    def _of_the_frame(cls, planes: np.ndarray, scale: tuple[float, float], center: np.ndarray, light: np.ndarray) -> Leakage:
        """Fit one set of coefficients for the whole frame, together with a lamp that is a parabola over it."""
        empty = cls(np.zeros((1, 1, 1)), scale, center)
        values = empty.terms(planes)
        n = len(values)
        rows, columns = np.meshgrid(*(np.linspace(-1, 1, length, dtype=np.float32) for length in light.shape), indexing="ij")
        lamp = np.stack([rows, columns, rows**2, columns**2, rows * columns])
        terms, target = np.concatenate([values, lamp]).reshape(n + len(lamp), -1), light.ravel()
        found, kept = np.zeros(len(terms), np.float32), slice(None)
        for _ in range(2 * ROUNDS):
            inside = terms[:, kept].astype(np.float64)
            found = np.linalg.lstsq(inside @ inside.T, inside @ target[kept], rcond=1e-7)[0].astype(np.float32)
            off = target - found @ terms
            off -= np.median(off)
            kept = abs(off) < OUTLYING * NORMAL * np.median(abs(off)) + 1e-6
        picture, lit = _spread(found[1:n] @ terms[1:n]), _spread(found[n:] @ terms[n:])
        brightness = _spread(terms[1 : 1 + len(planes)].mean(axis=0))
        total = max(np.sqrt(max(_spread(target) ** 2 - lit**2, 0)), 1e-6)
        return cls(found[None, None, :n], scale, center, picture / max(brightness, 1e-6), min(picture / total, 1.0))

    def terms(self, planes: np.ndarray) -> np.ndarray:
        """Return the terms of the regression for a part of the picture, (n, h, w).

        They are a constant, the channels' logarithms, and brightness and its logarithm's square, with which leakage bends.
        """
        logs = np.array([_logarithm(plane, *self.scale) for plane in planes]) - self.center[:, None, None]
        mean = logs.mean(axis=0)
        return np.stack([np.ones_like(mean), *logs, np.exp(mean + self.center.mean()), mean**2 / 4])

    def left(self, planes: np.ndarray, light: np.ndarray) -> np.ndarray:
        """Return the logarithm of the light less what the picture and the lamp explain, (H, W)."""
        grid, (H, W) = self.coefficients.shape[:2], light.shape
        down, across = _hats(H, grid[0]), _hats(W, grid[1])
        left = np.empty_like(light)
        for top in range(0, H, BAND):
            rows = slice(top, top + BAND)
            rest = light[rows].copy()
            for term, coarse in zip(self.terms(planes[:, rows]), np.moveaxis(self.coefficients, 2, 0), strict=True):
                rest -= term * (down[rows] @ coarse.astype(np.float32) @ across.T)
            left[rows] = rest
        return left


def _of_blocks(model: Leakage, planes: np.ndarray, light: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return the coefficients of blocks, (rows, columns, n), from what the last ones explain."""
    grid, n = model.coefficients.shape[:2], model.coefficients.shape[2]
    left = model.left(planes, light)
    upper = np.array([np.quantile(left[window], UPPER) for _, window in _blocks(light.shape, grid)]).reshape(grid)
    lamp = median_filter(upper, 3, mode="nearest")
    sigma = NORMAL * float(
        np.median([np.median(abs(left[window] - lamp[place])) for place, window in _blocks(light.shape, grid)])
    )
    products = np.zeros((*grid, n + 1, n + 1))
    for place, window in _blocks(light.shape, grid):
        kept = abs(left[window] - lamp[place]) < OUTLYING * sigma + 1e-6
        values = np.concatenate([model.terms(planes[:, *window]), light[window][None]])[:, kept].astype(np.float64)
        products[place] = values @ values.T
    shared = gaussian_filter(products, (1, 1, 0, 0), mode="nearest")
    count = shared[..., :1, :1]
    ridge = count * STIFFNESS * np.diag(np.arange(n) > 0) + 1e-6 * np.eye(n)
    return np.linalg.solve(shared[..., :n, :n] + ridge, (shared[..., :n, n] + ridge @ whole)[..., None])[..., 0]


def _blocks(shape: tuple[int, ...], grid: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], tuple[slice, slice]]]:
    edges = [np.linspace(0, length, count + 1).round().astype(int) for length, count in zip(shape, grid, strict=True)]
    for i, j in np.ndindex(*grid):
        yield (i, j), (slice(edges[0][i], edges[0][i + 1]), slice(edges[1][j], edges[1][j + 1]))


def _hats(length: int, count: int) -> np.ndarray:
    """Return the weights (length, count) by which pixels interpolate between the middles of blocks."""
    places = np.clip((np.arange(length) + 0.5) * count / length - 0.5, 0, count - 1)
    return np.maximum(1 - abs(places[:, None] - np.arange(count)), 0).astype(np.float32)


def _thresholded(evidence: Evidence, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what is dust, (H, W) bool, and by how many standard deviations of noise it stands out, (H, W).

    It begins where a scale sees it, and reaches out to a share of its depth; on a coarse scale, which blurs its outline,
    only where the finer ones see none.
    """
    depths = -evidence.dips - evidence.doubt
    marked, strength = np.zeros(depths.shape, bool), np.zeros(depths.shape, np.float32)
    for scale in SCALES:
        smooth = gaussian_filter(depths, scale)
        seen = smooth / noise_level(gaussian_filter(evidence.dips, scale))
        extent = (seen > GROWTH) & (smooth > RIM * maximum_filter(smooth, REACH))
        if scale > SCALES[0]:
            extent &= ~binary_dilation(marked, iterations=REACH // 2)
        marked |= apply_hysteresis_threshold(np.where(extent, seen, 0), GROWTH, threshold)
        np.maximum(strength, seen, out=strength)
    return binary_dilation(marked, np.ones((3, 3), bool)), strength


def background(values: np.ndarray) -> np.ndarray:
    """Return the median of what is around each pixel, (H, W), smoothly."""
    coarse = values[REDUCED // 2 :: REDUCED, REDUCED // 2 :: REDUCED] if min(values.shape) > 4 * REDUCED else values
    middle = gaussian_filter(median_filter(coarse, WINDOW // REDUCED, mode="nearest"), 1.0)
    return _hats(values.shape[0], coarse.shape[0]) @ middle @ _hats(values.shape[1], coarse.shape[1]).T


def noise_level(values: np.ndarray) -> np.ndarray:
    """Return the standard deviation of noise at every pixel, from medians in blocks, (H, W)."""
    grid = tuple(max(round(length / BLOCK), 1) for length in values.shape)
    step = max(int(np.sqrt(values.size / SAMPLES)) // 2, 1)
    parts = [values[window][::step, ::step] for _, window in _blocks(values.shape, grid)]
    levels = np.array([NORMAL * np.median(abs(part - np.median(part))) for part in parts])
    levels = np.maximum(levels, CALMEST * np.median(levels) + 1e-6).reshape(grid)
    return _hats(values.shape[0], grid[0]) @ levels.astype(np.float32) @ _hats(values.shape[1], grid[1]).T
