"""Exemplar filling: a hole is filled with what the picture shows elsewhere, coarse to fine.

What is filled in is to be such that every patch of it looks like some known patch [Wexler, Shechtman, Irani 2007,
"Space-time completion of video"]. Alternately, each patch that touches the hole gets the known patch most like it, found by
PatchMatch [Barnes et al. 2009], and each missing pixel a mean of what these say of it; from the coarsest level of a pyramid
on, where the hole is hardly larger than a patch. Besides values, patches are compared by the mean size of the gradients
around them, for else smooth places would be preferred [Newson et al. 2014, "Video inpainting of complex scenes"].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_cdt, gaussian_filter, uniform_filter

from csc_cogd.backend import kernels_for, patchmatch

SIZE, COARSEST = 7, 2.0
"""Side of a patch."""
TEXTURE_WEIGHT = 7.0
"""Of the mean size of the gradients against values: the square root of 50, as in Newson et al."""
ROUNDS, SWEEPS, TRIES = (4, 6, 8, 10), 2, 8
"""Rounds by level, the finest first; sweeps a round, and places that each looks at around the best one."""
CONFIDENCE = 1.3
"""A patch counts by this to the power of minus its distance from what is known [Wexler et al. 2007, section 3.2]."""
LOW = 5.0
"""Standard deviation in pixels of the low-pass whose output is that of the smooth fill."""
SHARP = 0.1
"""Of the distances' variance, in the last round: takes the most similar patches almost alone, so that nothing is blurred."""


class _Level(NamedTuple):
    """Of the pyramid: planes (C, h, w) and texture (2, h, w), as they are at first, and what is missing (h, w)."""

    planes: np.ndarray
    texture: np.ndarray
    missing: np.ndarray

    @property
    def features(self) -> np.ndarray:
        """What patches are compared by, and what is voted for."""
        return np.concatenate([self.planes, TEXTURE_WEIGHT * self.texture])


def synthesize(planes: np.ndarray, missing: np.ndarray, smooth: np.ndarray, seed: int = 0) -> np.ndarray | None:
    """Fill what is missing with patches of what is known.

    Parameters
    ----------
    planes : (C, h, w) array of float
        In about [0, 1] where known.
    missing : (h, w) bool array
    smooth : (C, h, w) array
        A first estimate.
    seed : int

    Returns
    -------
    (C, h, w) array of float32, or None if no patch is known
    """
    generator, C = np.random.default_rng(seed), len(planes)
    pyramid = _pyramid(np.where(missing, smooth, planes).astype(np.float32), missing)
    features, field = pyramid[-1].features, None
    for number, level in reversed(list(enumerate(pyramid))):
        finer = _Field.of(level.missing, field, generator)
        if finer is None:
            return None
        if field is not None:
            features = finer.vote(np.where(level.missing, _doubled(features, level.missing.shape), level.features))
        field, rounds = finer, ROUNDS[min(number, len(ROUNDS) - 1)]
        for turn in range(rounds):
            field.search(features, generator)
            features = field.vote(features, SHARP if number == 0 and turn == rounds - 1 else 1.0)
    return _with_low_frequencies(features[:C], smooth, missing)


def _with_low_frequencies(filled: np.ndarray, smooth: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return a fill with the low frequencies of a smooth one: these are known better than what was found elsewhere."""
    share = np.maximum(gaussian_filter(missing.astype(np.float32), LOW), 1e-6)
    correction = [gaussian_filter(np.where(missing, plane, 0), LOW) / share for plane in smooth - filled]
    return filled + np.where(missing, correction, 0)


class _Field:
    """The nearest-neighbor field of a level: for every patch that touches the hole, a known one.

    Attributes
    ----------
    targets, sources : (n, 2) int32 arrays
        Corners.
    numbers : (h - SIZE + 1, w - SIZE + 1) int32 array
        Of the targets, by their corners; -1 elsewhere.
    usable : bool array of the same shape
        Which corners are those of sources.
    """

    def __init__(self, missing: np.ndarray, usable: np.ndarray):
        self._missing, self.usable = missing, usable
        self.targets = np.argwhere(~usable).astype(np.int32)
        self.numbers = np.full(usable.shape, -1, np.int32)
        self.numbers[~usable] = np.arange(len(self.targets))
        self.sources = np.empty_like(self.targets)
        self._distances = np.zeros(len(self.targets), np.float32)
        depth = distance_transform_cdt(missing, "chessboard")
        middle = self.targets + SIZE // 2
        self._confidence = (CONFIDENCE ** -depth[middle[:, 0], middle[:, 1]].astype(float)).astype(np.float32)
        self._kernels: Any = kernels_for("patchmatch", self._distances) or patchmatch

    @classmethod
    def of(cls, missing: np.ndarray, coarser: _Field | None, generator: np.random.Generator) -> _Field | None:
        """Return the field of a level at first: at random, or what the coarser one has found; None if no patch is known."""
        if min(missing.shape) < SIZE:
            return None
        usable = ~_any_in_patch(missing)
        if not usable.any():
            return None
        field, places = cls(missing, usable), np.argwhere(usable)
        field.sources[:] = places[generator.integers(len(places), size=len(field.targets))]
        if coarser is not None:
            parents = np.minimum(field.targets // 2, np.array(coarser.numbers.shape) - 1)
            known_by = coarser.numbers[tuple(parents.T)]
            found = 2 * coarser.sources[known_by] + field.targets - 2 * parents
            found = np.minimum(found, np.array(usable.shape) - 1)
            good = (known_by >= 0) & usable[tuple(found.T)]
            field.sources[good] = found[good]
        return field

    def search(self, features: np.ndarray, generator: np.random.Generator) -> None:
        """Look for better sources by the features of a level."""
        self._kernels.measure_sources(features, self.targets, SIZE, self.sources, self._distances)
        radius = max(self.usable.shape) * 0.5 ** np.arange(TRIES)
        for sweep in range(SWEEPS):
            jumps = generator.uniform(-1, 1, (len(self.targets), TRIES, 2)) * radius[:, None]
            self._kernels.search_sources(
                features, self.targets, self.numbers, self.usable, SIZE, bool(sweep % 2), np.rint(jumps).astype(np.int32),
                self.sources, self._distances,
            )  # fmt: skip

    def vote(self, features: np.ndarray, sharpness: float = 1.0) -> np.ndarray:
        """Return the features with those of missing pixels from the sources."""
        at = tuple(self.targets.T)
        distances, there = (np.zeros(self.numbers.shape, np.float32) for _ in range(2))
        distances[at], there[at] = self._distances, 1.0
        usual = uniform_filter(distances, SIZE)[at] / uniform_filter(there, SIZE)[at]
        likeness = np.exp(-self._distances / (2 * sharpness * np.maximum(usual, 1e-6)))
        weights = self._confidence * likeness + np.float32(1e-12)
        total, weight = np.zeros_like(features), np.zeros(features.shape[1:], np.float32)
        self._kernels.vote_sources(features, self.targets, self.sources, weights.astype(np.float32), SIZE, total, weight)
        return np.where(self._missing, total / np.maximum(weight, np.float32(1e-30)), features)


def _pyramid(planes: np.ndarray, missing: np.ndarray) -> list[_Level]:
    """Return levels from the finest on, each half as large as the one before, until the hole is as large as a patch."""
    depth = int(distance_transform_cdt(np.pad(missing, 1, "edge"), "chessboard").max())
    n_levels = int(np.ceil(np.log2(max(COARSEST * depth / SIZE, 1)))) + 1
    texture = _texture(planes, missing, 2**n_levels)
    levels = [_Level(planes, texture, missing)]
    while len(levels) < n_levels and min(levels[-1].missing.shape) >= 4 * SIZE:
        planes, texture, missing = levels[-1]
        known = _halved((~missing).astype(np.float32))
        few = known < 0.5
        planes, texture = (
            np.where(few, _halved(plane), _halved(plane * ~missing) / np.maximum(known, 0.25)).astype(np.float32)
            for plane in (planes, texture)
        )
        levels.append(_Level(planes, texture, few))
    return levels


def _texture(planes: np.ndarray, missing: np.ndarray, reach: int) -> np.ndarray:
    """Return the mean sizes of the differences between neighbors, down and right, around every pixel, (2, h, w)."""
    gray, maps = planes.mean(axis=0), []
    for axis in (0, 1):
        size = abs(np.diff(gray, axis=axis, append=gray.take([-1], axis)))
        known = ~(missing | binary_dilation(missing, np.array([[0, 1, 0], [1, 0, 0], [0, 0, 0]])))
        weight = uniform_filter(known.astype(np.float32), 2 * reach + 1)
        mean = uniform_filter(np.where(known, size, 0).astype(np.float32), 2 * reach + 1)
        everywhere = size[known].mean() if known.any() else 0.0
        maps.append((mean + 1e-3 * everywhere) / (np.maximum(weight, 0) + 1e-3))
    return np.stack(maps).astype(np.float32)


def _any_in_patch(missing: np.ndarray) -> np.ndarray:
    """Return by its corner whether a patch has missing pixels, (h - SIZE + 1, w - SIZE + 1)."""
    windows = np.lib.stride_tricks.sliding_window_view(missing, (SIZE, SIZE))
    return np.asarray(windows.any(axis=(2, 3)))


def _halved(planes: np.ndarray) -> np.ndarray:
    """Return the means of 2 x 2 pixels; an odd last row or column is left out."""
    h, w = (length // 2 * 2 for length in planes.shape[-2:])
    even = planes[..., :h, :w]
    return (even[..., ::2, ::2] + even[..., 1::2, ::2] + even[..., ::2, 1::2] + even[..., 1::2, 1::2]) / 4


def _doubled(planes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return planes with each pixel four times, filled up to a shape (h, w)."""
    large = planes.repeat(2, axis=-2).repeat(2, axis=-1)
    return np.pad(large, [(0, 0)] + [(0, n - m) for n, m in zip(shape, large.shape[1:], strict=True)], "edge")
