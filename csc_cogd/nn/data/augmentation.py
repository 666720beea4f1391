"""Random changes of an image that keep its class."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.crops import random_resized_crop


@dataclass(frozen=True)
class Augmentation:
    """The random changes of each image of a batch: area, crop, flip and cutout, in this order; by default none.

    Parameters
    ----------
    crop : int
        Pad the image by this many black pixels on each side, and crop it to its size; 4 is usual for CIFAR.
    flip : bool
        Mirror the image, left to right, with probability 1/2.
    cutout : int
        Side of a square that is replaced. Its center may be any pixel, so that parts of it may lie outside
        [DeVries & Taylor 2017]; 16 is usual for CIFAR-10.
    area : float in [0, 1]
        Crop a rectangle of at least this share of the image's area, and of an aspect ratio from 3:4 to 4:3, and resize it to
        the image's size [Szegedy et al. 2015]; 0.08 is usual for ImageNet, 0 leaves the image whole. Images in files are
        cropped before they are resized to the size of their set.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> images = np.full((128, 32, 32, 3), 100, np.uint8)
    >>> changed = Augmentation(crop=4, flip=True, cutout=16)(images, np.random.default_rng(0), fill=125)
    >>> np.unique(changed).tolist()
    [0, 100, 125]
    """

    crop: int = 0
    flip: bool = False
    cutout: int = 0
    area: float = 0.0

    def __post_init__(self) -> None:
        for name in ("crop", "cutout"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
                raise InputError(name, f"must be an integer >= 0 (0 is off), got {value}")
        if not 0 <= self.area <= 1:
            raise InputError("area", f"must be in [0, 1] (0 is off), got {self.area}")

    def __call__(self, images: np.ndarray, rng: np.random.Generator, fill: Any = 0) -> np.ndarray:
        """Return changed copies of a batch.

        Parameters
        ----------
        images : (n, H, W, 3) array
            uint8, or of another type if `area` is 0.
        rng : numpy.random.Generator
        fill : float or (3,) array
            Value of the squares that are cut out: the mean of the pixels, which is 0 once they are normalized.

        Returns
        -------
        array of the same shape and type
        """
        crops = self.draw_crops(len(images), rng)
        if crops is not None:
            if images.dtype != np.uint8:
                raise InputError("images", f"must be uint8 to be cropped, got {images.dtype}", "or set {area} to 0")
            images = random_resized_crop(images, crops)
        return self.change(images, rng, fill)

    def draw_crops(self, n: int, rng: np.random.Generator) -> np.ndarray | None:
        """Draw crops (n, 4) for :meth:`ImageSet.fetch`; None if `area` is 0."""
        if not self.area:
            return None
        share = rng.uniform(self.area, 1, n)
        ratio = np.exp(rng.uniform(-log(4 / 3), log(4 / 3), n))
        return np.stack([share, ratio, *rng.random((2, n))], axis=1)

    def change(self, images: np.ndarray, rng: np.random.Generator, fill: Any = 0) -> np.ndarray:
        """Return copies with all changes but `area`, for images that were fetched with crops."""
        n, height, width, channels = images.shape
        images = _windows(images, self.crop, rng.integers(0, 2 * self.crop + 1, size=(2, n))) if self.crop else images.copy()
        if self.flip:
            pixels = images.view(f"V{channels * images.itemsize}")[..., 0]  # whole ones are moved ten times as fast
            flipped = rng.random((n,)) < 0.5
            pixels[flipped] = pixels[flipped, :, ::-1]
        if self.cutout:
            centers = rng.integers((height, width), size=(n, 2))
            for image, (top, left) in zip(images, centers - self.cutout // 2, strict=True):
                image[max(top, 0) : max(top + self.cutout, 0), max(left, 0) : max(left + self.cutout, 0)] = fill
        return images


def _windows(images: np.ndarray, padding: int, corners: np.ndarray) -> np.ndarray:
    """Return the window of each image, padded by zeros, that begins at its corner (top, left) and has the image's size."""
    n, height, width, channels = images.shape
    padded = np.zeros((n, height + 2 * padding, width + 2 * padding, channels), images.dtype)
    padded[:, padding : padding + height, padding : padding + width] = images
    windows = np.empty(images.shape, images.dtype)
    for window, image, top, left in zip(windows, padded, *corners, strict=True):
        window[:] = image[top : top + height, left : left + width]
    return windows
