"""Scans of film that the tests make: a photograph, dust on it, and the infrared channel that a scanner gives along."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter
from skimage import data

MARGIN = 8  # pixels that are cropped, as beyond the borders of the scene nothing is known


class Scan(NamedTuple):
    """`dusty` and `clean` are (H, W, 3) uint8, `infrared` (H, W) uint16, `dust` (H, W) bool: what is visibly covered."""

    dusty: np.ndarray
    clean: np.ndarray
    infrared: np.ndarray
    dust: np.ndarray


def scan(
    height: int = 240, width: int = 320, *, seed: int = 0, leakage: float = 0.06, core: float = 0.75, specks: int = 30,
    shift: tuple[float, float] = (1.4, -0.8), noise: float = 0.006, grain: float = 2.0, sees: float = 0.0,
) -> Scan:  # fmt: skip
    """Make a scan; `sees` is how far infrared sees the picture itself, as on silver film."""
    rng = np.random.default_rng(seed)
    photo = np.array(data.astronaut()[20 : 20 + height + 2 * MARGIN, 60 : 60 + width + 2 * MARGIN], np.float64)
    opacity = np.zeros(photo.shape[:2])
    for _ in range(specks):
        y, x = rng.integers(16, height), rng.integers(16, width)
        opacity[y : y + rng.integers(2, 6), x : x + rng.integers(2, 6)] = 1
    opacity = np.clip(1.2 * gaussian_filter(opacity, 0.7), 0, 1)
    grainy = photo + grain * gaussian_filter(rng.standard_normal(photo.shape), (0.5, 0.5, 0)) / 0.5
    light = np.log(photo / 255 + 0.02).mean(axis=2) * (leakage + sees) + np.log(1 - (1 - core) * opacity)
    middle = (np.array(light.shape) - 1) / 2
    light = affine_transform(light, np.ones(2) / 1.001, middle - (middle + shift) / 1.001, order=3, mode="nearest")
    infrared = 0.8 * np.exp(light) + noise * rng.standard_normal(light.shape)
    channel = np.clip(np.rint(infrared * 65535), 0, 65535).astype(np.uint16)
    made = (as_bytes(grainy * (1 - 0.8 * opacity[..., None])), as_bytes(grainy), channel, opacity > 0.3)
    return Scan(*(part[MARGIN:-MARGIN, MARGIN:-MARGIN] for part in made))


def as_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
