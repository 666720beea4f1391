"""Labeled images, in memory or in files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend import check_unmasked
from csc_cogd.errors import InputError
from csc_cogd.nn.data.crops import random_resized_crop
from csc_cogd.nn.data.files import ImageFiles


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labeled images of one size.

    Parameters
    ----------
    images : (N, H, W, 3) uint8 array, or ImageFiles
        Pixels in memory, or files that are read when they are fetched.
    labels : (N,) integer array
        From 0 to the number of classes - 1; kept as int64.
    class_names : tuple of str

    Raises
    ------
    InputError
        If there are no images, or shapes, types or labels don't fit.

    Examples
    --------
    >>> images = ImageSet(np.zeros((4, 8, 8, 3), np.uint8), np.array([0, 1, 0, 1]), ("day", "night"))
    >>> len(images), images.image_shape, images.take([1, 3]).labels.tolist()
    (4, (3, 8, 8), [1, 1])
    """

    images: np.ndarray | ImageFiles
    labels: np.ndarray
    class_names: tuple[str, ...]

    def __post_init__(self) -> None:
        check_unmasked(self.labels, "labels")
        check_unmasked(self.images, "images")
        labels = np.asarray(self.labels)
        if not isinstance(self.images, ImageFiles):
            images = np.asarray(self.images)
            if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
                raise InputError("images", f"must be uint8 of shape (N, H, W, 3), got {images.dtype} of {images.shape}")
            object.__setattr__(self, "images", np.ascontiguousarray(images))
        if not len(self.images):
            raise InputError("images", "must not be empty")
        if labels.shape != (len(self.images),) or labels.dtype.kind not in "iu":
            problem = f"must be {len(self.images)} integers, one an image, got {labels.dtype} of shape {labels.shape}"
            raise InputError("labels", problem)
        if labels.min() < 0 or labels.max() >= len(self.class_names):
            wrong = labels[(labels < 0) | (labels >= len(self.class_names))][0]
            raise InputError("labels", f"must be from 0 to {len(self.class_names) - 1}, one a class, got {wrong}")
        object.__setattr__(self, "labels", labels.astype(np.int64))
        object.__setattr__(self, "class_names", tuple(self.class_names))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images as networks take them, (3, H, W)."""
        height, width = self.images.size if isinstance(self.images, ImageFiles) else self.images.shape[1:3]
        return 3, height, width

    @property
    def in_memory(self) -> bool:
        """Whether images are fetched without reading files."""
        return not isinstance(self.images, ImageFiles)

    def fetch(self, indices: Any, crops: np.ndarray | None = None) -> np.ndarray:
        """Return the pixels of some images, which are read from their files if they aren't in memory.

        Parameters
        ----------
        indices : (n,) integer array
        crops : (n, 4) array, optional
            The crop of each image that is resized to the set's size, as :meth:`Augmentation.draw_crops` draws them.

        Returns
        -------
        (n, H, W, 3) uint8 array
            A new one.

        Raises
        ------
        InputError
            If a file can't be read as an image.
        """
        if isinstance(self.images, ImageFiles):
            return self.images.read(indices, crops)
        images = self.images[np.asarray(indices)]
        return images if crops is None else random_resized_crop(images, crops)

    def take(self, indices: Any) -> ImageSet:
        """Return the set of the images at these indices, in this order, or of those that a mask of N booleans selects."""
        indices = np.arange(len(self))[np.asarray(indices)]
        images = self.images.take(indices) if isinstance(self.images, ImageFiles) else self.images[indices]
        return replace(self, images=images, labels=self.labels[indices])

    def first(self, n: int) -> ImageSet:
        """Return the set of the first `n` images, or of all if there are fewer."""
        return self.take(np.arange(min(n, len(self))))

    def split(self, holdout: float, *, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Hold a share of each class out, at random: at least one image of it, and at most all but one.

        Nothing of a class of one image is held out.

        Parameters
        ----------
        holdout : float between 0 and 1
            Share of the images.
        seed : int

        Returns
        -------
        most, held_out : ImageSet
            In the order of this set.

        Raises
        ------
        InputError
            If `holdout` is out of range, or no class has two images.
        """
        if not 0 < holdout < 1:
            raise InputError("holdout", f"must be between 0 and 1, got {holdout}")
        rng = np.random.default_rng(seed)
        held_out = np.zeros(len(self), bool)
        for label in range(len(self.class_names)):
            members = np.flatnonzero(self.labels == label)
            n_out = min(max(1, round(holdout * len(members))), len(members) - 1)
            held_out[rng.permutation(members)[: max(n_out, 0)]] = True
        if not held_out.any():
            raise InputError("holdout", "needs a class of two or more images, one of which is held out")
        return self.take(~held_out), self.take(held_out)


def check_labeled(images: Any) -> None:
    """Raise InputError for anything but an :class:`ImageSet`, such as an array of pixels."""
    if not isinstance(images, ImageSet):
        problem = f"must be an ImageSet of pixels, labels and class names, got {type(images).__name__}"
        raise InputError("images", problem)


def labeled(path: Path, images: Any, labels: Any, class_names: Iterable[str]) -> ImageSet:
    """Return an :class:`ImageSet` from a file, which is named in errors."""
    try:
        return ImageSet(images, labels, tuple(class_names))
    except InputError as error:
        raise error.about(str(path)) from None


def concatenate(sets: Sequence[ImageSet]) -> ImageSet:
    """Return one set of several sets in memory of the same classes."""
    images = np.concatenate([one.images for one in sets])
    return ImageSet(images, np.concatenate([one.labels for one in sets]), sets[0].class_names)
