"""Labelled images, in memory or in files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend import check_unmasked
from csc_cogd.errors import InputError
from csc_cogd.nn.data.files import ImageFiles
from csc_cogd.nn.data.pieces import cut_pieces


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one size.

    Parameters
    ----------
    images : (N, H, W, 3) uint8 array, or ImageFiles
        Pixels in memory, or files that are read when they are fetched.
    labels : (N,) integer array
        Each 0 or more, and below the number of classes; kept as int64.
    class_names : tuple of str

    Raises
    ------
    InputError
        If there are no images, or shapes, types or labels are others.

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
                raise InputError(f"images: {images.dtype} of shape {images.shape}: give uint8 of (N, H, W, 3)")
            object.__setattr__(self, "images", np.ascontiguousarray(images))
        if not len(self.images):
            raise InputError("images: there are none: give at least one")
        if labels.shape != (len(self.images),) or labels.dtype.kind not in "iu":
            text = f"{labels.dtype} of shape {labels.shape}"
            raise InputError(f"labels: {text} for {len(self.images)} images: give an integer for each")
        if labels.min() < 0 or labels.max() >= len(self.class_names):
            wrong = labels[(labels < 0) | (labels >= len(self.class_names))][0]
            raise InputError(f"labels: {wrong} names none of {len(self.class_names)} classes: count them from 0")
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
        """Whether fetching reads no files."""
        return not isinstance(self.images, ImageFiles)

    def fetch(self, indices: Any, pieces: np.ndarray | None = None) -> np.ndarray:
        """Pixels of some images, read from their files if they aren't in memory.

        Parameters
        ----------
        indices : (n,) integer array
        pieces : (n, 4) array, optional
            For each image, the piece that is cut from it and resized to the set's size, as
            :meth:`Augmentation.draw_pieces` draws them.

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
            return self.images.read(indices, pieces)
        images = self.images[np.asarray(indices)]
        return images if pieces is None else cut_pieces(images, pieces)

    def take(self, indices: Any) -> ImageSet:
        """The set of the images at these indices, or of those that a mask of N booleans selects, in this order."""
        indices = np.arange(len(self))[np.asarray(indices)]
        images = self.images.take(indices) if isinstance(self.images, ImageFiles) else self.images[indices]
        return replace(self, images=images, labels=self.labels[indices])

    def first(self, n: int) -> ImageSet:
        """The set of the first `n` images, or of all if there are fewer."""
        return self.take(np.arange(min(n, len(self))))

    def split(self, holdout: float, *, seed: int = 0) -> tuple[ImageSet, ImageSet]:
        """Two sets, of most images and of the share `holdout` that is held out, both in the order of this set.

        The same share of each class is held out, at least one image of it and at most all but one; which ones, the seed
        decides. A class of one image isn't held out.

        Raises
        ------
        InputError
            If `holdout` isn't between 0 and 1, or no class has two images.
        """
        if not 0 < holdout < 1:
            raise InputError(f"holdout: {holdout} is no share of the images to hold out: use one between 0 and 1")
        rng = np.random.default_rng(seed)
        held_out = np.zeros(len(self), bool)
        for label in range(len(self.class_names)):
            members = np.flatnonzero(self.labels == label)
            n_out = min(max(1, round(holdout * len(members))), len(members) - 1)
            held_out[rng.permutation(members)[: max(n_out, 0)]] = True
        if not held_out.any():
            raise InputError("holdout: no class has two images, one of which could be held out: give more images")
        return self.take(~held_out), self.take(held_out)


def check_labelled(images: Any) -> None:
    """Raise InputError for anything but an :class:`ImageSet`, such as an array of pixels."""
    if not isinstance(images, ImageSet):
        raise InputError(f"images: {type(images).__name__} is given: make an ImageSet of pixels, labels and class names")


def labelled(path: Path, images: Any, labels: Any, class_names: Iterable[str]) -> ImageSet:
    """An :class:`ImageSet` of what a file holds; errors name the file."""
    try:
        return ImageSet(images, labels, tuple(class_names))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def joined(sets: Sequence[ImageSet]) -> ImageSet:
    """One set of several in memory, of the same classes."""
    images = np.concatenate([one.images for one in sets])
    return ImageSet(images, np.concatenate([one.labels for one in sets]), sets[0].class_names)
