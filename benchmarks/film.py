"""Pictures with the dust, hairs and scratches of film: what the benchmarks and the training of their detection damage.

Stamps of real damage, from the folder ``film`` in ``CSC_COGD_DATA``, are turned, scaled to the sizes that they have in
scans, softened as a scanner does, and laid over a photograph, darker or lighter than what is below. Of each kind, the first
two thirds are for training, the others for testing. Long straight scratches are drawn.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, label, uniform_filter

TRAINING_SHARE = 2 / 3
PRESENT = 0.03  # opacity from which a pixel counts as damaged
DEVIATIONS = 3.0  # contrast over local deviation, from which damage is visible,
LEAST_CONTRAST = 0.02  # and least contrast, of the range
WINDOW = 15  # side of the surroundings that tell the local deviation
LEAST_CORE = 4  # pixels of a visible object that are at least half as opaque as its most opaque one


class Kind(NamedTuple):
    """How often a kind of stamp occurs in a picture of a megapixel, and how large it is there.

    `size` is the range of the longer side, in pixels; of sheets of small things, that of the whole stamp. A `line` is thin.
    """

    folder: str
    count: float
    size: tuple[float, float]
    line: bool = False


KINDS = (
    Kind("dots", 40, (3, 24)), Kind("smut", 8, (8, 40)), Kind("spots", 6, (200, 480)),
    Kind("dirt", 1, (200, 480)), Kind("hair", 4, (80, 320), True), Kind("hair-short", 10, (20, 80), True),
    Kind("lint", 6, (30, 150), True), Kind("scratches", 1, (100, 320), True),
)  # fmt: skip
LONG_SCRATCHES = 2.0  # in a picture of a megapixel


@dataclass(frozen=True, eq=False)
class Film:
    """A photograph and what became of it.

    Attributes
    ----------
    clean, damaged : (H, W) or (H, W, 3) float32 arrays in [0, 1]
    opacity : (H, W) float32 array
        Of the damage.
    """

    clean: np.ndarray
    damaged: np.ndarray
    opacity: np.ndarray

    @property
    def present(self) -> np.ndarray:
        return self.opacity > PRESENT

    def visible(self) -> np.ndarray:
        """Which pixels the damage changes by more than three local deviations of the clean picture."""
        return self._contrast() > self._least_visible()

    def objects(self) -> Iterator[np.ndarray]:
        """The cores of the visible objects, each as flat indices of its pixels."""
        labels, count = label(self.present, np.ones((3, 3)))
        order = np.argsort(labels.ravel(), kind="stable")
        bounds = np.searchsorted(labels.ravel()[order], np.arange(1, count + 2))
        opacity, contrast, least = self.opacity.ravel(), self._contrast().ravel(), self._least_visible().ravel()
        for start, stop in pairwise(bounds):
            places = order[start:stop]
            core = places[opacity[places] >= opacity[places].max() / 2]
            if len(core) >= LEAST_CORE and contrast[core].mean() > least[core].mean():
                yield core

    def _contrast(self) -> np.ndarray:
        return abs(luminance(self.damaged) - luminance(self.clean))

    def _least_visible(self) -> np.ndarray:
        plane = luminance(self.clean).astype(np.float64)
        variance = uniform_filter(plane**2, WINDOW) - uniform_filter(plane, WINDOW) ** 2
        return np.maximum(DEVIATIONS * np.sqrt(np.maximum(variance, 0)), LEAST_CONTRAST)


def luminance(picture: np.ndarray) -> np.ndarray:
    return picture if picture.ndim == 2 else picture @ np.array([0.299, 0.587, 0.114], np.float32)


def data_folder() -> Path:
    return Path(os.environ["CSC_COGD_DATA"])


@lru_cache
def stamps(folder: str, training: bool) -> tuple[Path, ...]:
    paths = sorted((data_folder() / "film" / "stamps" / folder).glob("*.png"))
    cut = round(len(paths) * TRAINING_SHARE)
    return tuple(paths[:cut] if training else paths[cut:])


@lru_cache(maxsize=1024)
def stamp(path: Path) -> Image.Image:
    """The opacity of a stamp, cropped to what it shows."""
    alpha = Image.open(path).getchannel("A")
    return alpha.crop(alpha.point(lambda value: 255 * (value > 25)).getbbox())


def damage(clean: np.ndarray, seed: int, *, training: bool = False, lines: float = 1.0, amount: float = 1.0) -> Film:
    """Damage a photograph (H, W) or (H, W, 3) in [0, 1]: a third of the seeds darken it, a third lighten it, others do both.

    There is `amount` times the usual damage; hairs and scratches are `lines` times as frequent, besides.
    """
    rng = np.random.default_rng(seed)
    share_dark = (0.0, 0.5, 1.0)[seed % 3]
    height, width = clean.shape[:2]
    amount *= max(height * width / 1e6, 0.2)
    damaged, opacity = clean.astype(np.float32).copy(), np.zeros((height, width), np.float32)
    for layer, left, top in _layers(height, width, rng, amount, lines, training):
        strength, dark = rng.uniform(0.35, 1.0), rng.random() < share_dark
        tone = rng.uniform(0.0, 0.15) if dark else rng.uniform(0.85, 1.0)
        color = np.clip(tone + rng.normal(0, 0.015, clean.shape[2:]), 0, 1).astype(np.float32)
        _blend(damaged, opacity, gaussian_filter(layer * strength, rng.uniform(0.3, 1.0)), top, left, color)
    return Film(clean.astype(np.float32), damaged, opacity)


def _layers(
    height: int, width: int, rng: np.random.Generator, amount: float, lines: float, training: bool
) -> Iterator[tuple[np.ndarray, int, int]]:
    """Opacities of one thing or sheet after the other, with the place of their corner."""
    for kind in KINDS:
        for _ in range(rng.poisson(kind.count * amount * (lines if kind.line else 1))):
            paths = stamps(kind.folder, training)
            layer = _scaled(stamp(paths[rng.integers(len(paths))]), np.exp(rng.uniform(*np.log(kind.size))), rng)
            yield layer, int(rng.integers(width) - layer.shape[1] // 2), int(rng.integers(height) - layer.shape[0] // 2)
    for _ in range(rng.poisson(LONG_SCRATCHES * amount * lines)):
        yield _long_scratch(height, width, rng), 0, 0


def _scaled(image: Image.Image, size: float, rng: np.random.Generator) -> np.ndarray:
    factor = size / max(image.size)
    sides = [
        max(round(side * factor * stretch), 1) for side, stretch in zip(image.size, rng.uniform(0.8, 1.25, 2), strict=True)
    ]
    reduced = image.resize(sides, Image.Resampling.BOX if factor < 1 else Image.Resampling.BICUBIC)  # type: ignore[arg-type]
    turned = reduced.rotate(rng.uniform(0, 360), Image.Resampling.BICUBIC, expand=True)
    layer = np.pad(np.asarray(turned, np.float32) / 255, 3)
    return layer[:, ::-1] if rng.random() < 0.5 else layer


def _long_scratch(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """A scratch along the film's way, or across: nearly straight, and fainter here and there."""
    across = rng.random() < 0.3
    rows, columns = (width, height) if across else (height, width)
    along = np.arange(rows)
    place = rng.uniform(0, columns) + rng.normal(0, 0.03) * along + gaussian_filter(rng.normal(0, 8, rows), 40)
    start, stop = sorted(rng.uniform(-0.3, 1.3, 2) * rows)
    strength = np.clip(1 + gaussian_filter(rng.normal(0, 4, rows), 25), 0.2, 1) * ((along >= start) & (along < stop))
    distance = abs(np.arange(columns) - place[:, None])
    layer = np.clip(rng.uniform(0.5, 1.4) + 0.5 - distance, 0, 1) * strength[:, None]
    return (layer.T if across else layer).astype(np.float32)


def _blend(damaged: np.ndarray, opacity: np.ndarray, layer: np.ndarray, top: int, left: int, color: np.ndarray) -> None:
    """Lay a color over a picture, in place, as opaque as `layer`, whose corner is at (top, left)."""
    height, width = opacity.shape
    rows = slice(max(top, 0), min(top + layer.shape[0], height))
    columns = slice(max(left, 0), min(left + layer.shape[1], width))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        return
    part = layer[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    below = damaged[rows, columns]
    below += (part if damaged.ndim == 2 else part[..., None]) * (color - below)
    opacity[rows, columns] = np.maximum(opacity[rows, columns], part)
