"""Pieces of photographs to learn from: drawn by their detail, turned and mirrored, at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from csc_cogd.backend import to_numpy
from csc_cogd.errors import InputError

SCALES = (1.0, 0.75, 0.5)
CANDIDATES = 3
"""Of which the one with the most detail is taken: many photographs have blurred backgrounds."""
LUMINANCE = np.array([0.2125, 0.7154, 0.0721])  # of linear ITU-R BT.709 primaries, as scikit-image has it


class Photographs:
    """Photographs at several scales.

    Parameters
    ----------
    images : sequence of (H, W) or (H, W, 3) arrays
        Integers, or floats in [0, 1].
    channels : {1, 3}
        1: color images become gray.
    crop : int
        Side of the pieces in pixels. What is smaller at a scale is left out there.

    Raises
    ------
    InputError
        If an image isn't one, or is too small.
    """

    def __init__(self, images: Sequence[Any], channels: int, crop: int):
        self.crop, self.pictures = crop, []
        for number, image in enumerate(images):
            planes = as_planes(image, channels, f"images[{number}]")
            if min(planes.shape[1:]) < crop:
                size = f"{planes.shape[1]} x {planes.shape[2]}"
                raise InputError(f"images[{number}]", f"must be at least {crop} x {crop}, got {size}", "leave it out")
            self.pictures += [smaller for scale in SCALES if min((smaller := reduced(planes, scale)).shape[1:]) >= crop]
        self.means = [np.float32(picture.mean(dtype=np.float64) / 255) for picture in self.pictures]

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.float32]:
        """Draw a piece, (C, crop, crop) float32 in [0, 1], and return it with the mean of its photograph.

        Of a few, it is the one with the largest gradients.
        """
        pieces = [self._piece(rng) for _ in range(CANDIDATES)]
        best, mean = max(
            pieces, key=lambda piece: sum(float(np.abs(np.diff(piece[0], axis=axis)).mean()) for axis in (1, 2))
        )  # fmt: skip
        turned = np.rot90(best, int(rng.integers(4)), axes=(1, 2))
        return np.ascontiguousarray(turned[:, :, ::-1] if rng.random() < 0.5 else turned), mean

    def _piece(self, rng: np.random.Generator) -> tuple[np.ndarray, np.float32]:
        number = rng.integers(len(self.pictures))
        picture, mean = self.pictures[number], self.means[number]
        i, j = (int(rng.integers(length - self.crop + 1)) for length in picture.shape[1:])
        return picture[:, i : i + self.crop, j : j + self.crop].astype(np.float32) / np.float32(255), mean


def as_planes(image: Any, channels: int, name: str = "image") -> np.ndarray:
    """Return an image as planes (C, H, W) of numbers in [0, 255]: 8 bits where it has them, else float32."""
    array = to_numpy(image, name)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3) or array.dtype.kind not in "uif":
        raise InputError(name, f"must be (H, W) or (H, W, 3) numbers, got {array.shape} {array.dtype}")
    if channels == 3 and array.ndim == 2:
        raise InputError(name, "is gray, but the prior is one for color", "leave it out, or learn one for gray")
    planes = array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)
    if planes.dtype != np.uint8:
        largest = 1.0 if planes.dtype.kind == "f" else float(np.iinfo(planes.dtype).max)
        planes = planes.astype(np.float32) * np.float32(255 / largest)
        if not (np.isfinite(planes).all() and planes.min() >= 0 and planes.max() <= 255.001):
            raise InputError(name, "must be in [0, 1] where it is float, and not negative", "scale it")
    if channels == 1 and len(planes) == 3:
        gray = np.tensordot(LUMINANCE.astype(np.float32), planes, 1)[None]
        return np.rint(gray).astype(np.uint8) if planes.dtype == np.uint8 else gray
    return np.ascontiguousarray(planes)


def reduced(planes: np.ndarray, scale: float) -> np.ndarray:
    """Return planes (C, H, W) of [0, 255] on a coarser grid, without aliases."""
    if scale == 1:
        return planes
    size = round(planes.shape[2] * scale), round(planes.shape[1] * scale)
    smaller = np.stack([
        np.asarray(Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)) for plane in planes
    ])  # fmt: skip
    smaller = smaller.clip(0, 255)
    return np.rint(smaller).astype(np.uint8) if planes.dtype == np.uint8 else smaller
