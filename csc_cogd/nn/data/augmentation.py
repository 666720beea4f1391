"""Random changes that an image's class doesn't depend on."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.pieces import cut_pieces


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random in each image of a batch, in this order; by default nothing.

    Parameters
    ----------
    area : float
        A piece of the image, of at least this share of its area, and of a ratio of sides from 3:4 to 4:3, is resized to the
        image's size [Szegedy et al. 2015]; 0.08 is usual for ImageNet, 0 leaves the image whole. The piece is cut from the
        whole picture where images are read from files.
    crop : int
        The image is padded by this many black pixels on each side, and cropped to its size; 4 is usual for CIFAR.
    flip : bool
        Each image is mirrored, left to right, with probability 1/2.
    cutout : int
        Side of a square that is replaced; its centre may be any pixel, so that parts of it may lie outside
        [DeVries & Taylor 2017]; 16 is usual for CIFAR-10.

    Raises
    ------
    InputError
        If a number is out of its range.

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
                raise InputError(f"{name}: {value} is no number of pixels: use 0 (off) or more")
        if not 0 <= self.area <= 1:
            raise InputError(f"area: {self.area} is no share of an image: use one between 0 (off) and 1")

    def __call__(self, images: np.ndarray, rng: np.random.Generator, fill: Any = 0) -> np.ndarray:
        """Changed copies of a batch.

        Parameters
        ----------
        images : (n, H, W, 3) array
            uint8, or of another type if `area` is 0.
        rng : numpy.random.Generator
            Decides everything.
        fill : float or (3,) array
            What squares are filled with: use the mean of the pixels, which is 0 once they are normalised.

        Returns
        -------
        array of the same shape and type
        """
        pieces = self.draw_pieces(len(images), rng)
        if pieces is not None:
            if images.dtype != np.uint8:
                raise InputError(f"images: {images.dtype} can't be cut into pieces: give uint8, or area=0")
            images = cut_pieces(images, pieces)
        return self.change(images, rng, fill)

    def draw_pieces(self, n: int, rng: np.random.Generator) -> np.ndarray | None:
        """Pieces for `n` images, (n, 4), as :meth:`ImageSet.fetch` takes them; None if `area` is 0."""
        if not self.area:
            return None
        share = rng.uniform(self.area, 1, n)
        ratio = np.exp(rng.uniform(-log(4 / 3), log(4 / 3), n))
        return np.stack([share, ratio, *rng.random((2, n))], axis=1)

    def change(self, images: np.ndarray, rng: np.random.Generator, fill: Any = 0) -> np.ndarray:
        """All but the pieces, for images that were fetched by them: crop, flip and cutout."""
        n, height, width, channels = images.shape
        images = _windows(images, self.crop, rng.integers(0, 2 * self.crop + 1, size=(2, n))) if self.crop else images.copy()
        if self.flip:
            pixels = images.view(f"V{channels * images.itemsize}")[..., 0]  # whole ones are moved ten times as fast
            flipped = rng.random((n,)) < 0.5
            pixels[flipped] = pixels[flipped, :, ::-1]
        if self.cutout:
            centres = rng.integers((height, width), size=(n, 2))
            for image, (top, left) in zip(images, centres - self.cutout // 2, strict=True):
                image[max(top, 0) : max(top + self.cutout, 0), max(left, 0) : max(left + self.cutout, 0)] = fill
        return images


def _windows(images: np.ndarray, padding: int, corners: np.ndarray) -> np.ndarray:
    """Of each image, padded by zeros, the window of its size whose top and left are given."""
    n, height, width, channels = images.shape
    padded = np.zeros((n, height + 2 * padding, width + 2 * padding, channels), images.dtype)
    padded[:, padding : padding + height, padding : padding + width] = images
    windows = np.empty(images.shape, images.dtype)
    for window, image, top, left in zip(windows, padded, *corners, strict=True):
        window[:] = image[top : top + height, left : left + width]
    return windows
