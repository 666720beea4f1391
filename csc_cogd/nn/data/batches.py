"""Batches for networks: normalized, channels first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.augmentation import Augmentation
from csc_cogd.nn.data.image_set import ImageSet, check_labeled

Batch = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Normalization:
    """Subtraction of each channel's mean, and division by its standard deviation.

    Parameters
    ----------
    mean : (float, float, float)
        For pixels in [0, 1].
    std : (float, float, float)
        Standard deviations, positive.

    Raises
    ------
    InputError
        If they aren't three finite numbers each, or a standard deviation isn't positive.

    Examples
    --------
    >>> half = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> half(np.full((1, 1, 2, 3), 255, np.uint8))[0, 0]
    array([[1., 1.]], dtype=float32)
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            try:
                values = np.asarray(getattr(self, name), float)
            except (TypeError, ValueError, OverflowError):  # text, a mapping, anything else
                values = np.empty(0)
            if values.shape != (3,) or not np.isfinite(values).all() or (name == "std" and (values <= 0).any()):
                what = "positive numbers" if name == "std" else "numbers"
                raise InputError(name, f"must be three {what}, one a channel, got {getattr(self, name)}")
            object.__setattr__(self, name, tuple(values.tolist()))

    def __call__(self, images: np.ndarray, dtype: Any = "float32") -> np.ndarray:
        """Normalize uint8 images (n, H, W, 3) to (n, 3, H, W), C-contiguous."""
        wide = np.promote_types(dtype, np.float32)
        normalized = images.transpose(0, 3, 1, 2).astype(wide, order="C")
        normalized *= (1 / (255 * np.asarray(self.std))).astype(wide)[:, None, None]
        normalized -= np.divide(self.mean, self.std).astype(wide)[:, None, None]
        return normalized.astype(dtype, copy=False)


def measure_normalization(images: ImageSet) -> Normalization:
    """Measure the mean and the standard deviation of each channel over all pixels of a set.

    Parameters
    ----------
    images : ImageSet

    Returns
    -------
    Normalization

    Raises
    ------
    InputError
        If all pixels of a channel are equal, or an image can't be read.

    Examples
    --------
    >>> pixels = np.stack([np.full((8, 8, 3), level, np.uint8) for level in (0, 255)])
    >>> measure_normalization(ImageSet(pixels, np.array([0, 1]), ("black", "white"))).mean
    (0.5, 0.5, 0.5)
    """
    check_labeled(images)
    counts = np.zeros((3, 256), np.int64)
    for start in range(0, len(images), 256):
        pixels = images.fetch(np.arange(start, min(start + 256, len(images))))
        for channel in range(3):
            counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
    values = np.arange(256) / 255
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ values
    std = np.sqrt((shares * (values - mean[:, None]) ** 2).sum(axis=1))
    if not std.all():
        raise InputError("images", "must have different pixels in each channel", "or give a Normalization instead")
    return Normalization(tuple(mean), tuple(std))


def batches(
    images: ImageSet,
    batch_size: int,
    *,
    normalization: Normalization,
    rng: np.random.Generator | None = None,
    augmentation: Augmentation | None = None,
    at_least: int = 1,
    dtype: Any = "float32",
) -> Iterator[Batch]:
    """Return all images of a set, once each, in batches of `batch_size`.

    The generator decides order and content; all that is drawn from it is drawn before this returns, however many batches
    are consumed. Images in files are read a batch ahead, in a thread.

    Parameters
    ----------
    images : ImageSet
    batch_size : int
    normalization : Normalization
    rng : numpy.random.Generator, optional
        Shuffles the images; without one they keep their order.
    augmentation : Augmentation, optional
        Needs `rng`. Squares are filled with the mean, to half a gray level.
    at_least : int
        Where fewer images than this are left over for the last batch, they join the one before it, if there is one.
    dtype : {"float32", "float64", "float16"}

    Yields
    ------
    x : (n, 3, H, W) array
        Normalized, C-contiguous.
    labels : (n,) int64 array

    Raises
    ------
    InputError
        If an argument is out of range, or, during iteration, a file can't be read as an image.

    Examples
    --------
    >>> pixels = np.zeros((5, 8, 8, 3), np.uint8)
    >>> images = ImageSet(pixels, np.arange(5), tuple("abcde"))
    >>> half = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> [labels.tolist() for _, labels in batches(images, 2, normalization=half)]
    [[0, 1], [2, 3], [4]]
    """
    check_labeled(images)
    if batch_size < 1:
        raise InputError("batch_size", f"must be 1 or more, got {batch_size}")
    if augmentation is not None and rng is None:
        raise InputError("augmentation", "needs a random generator", "add {rng}")
    if np.dtype(dtype).kind != "f":
        raise InputError("dtype", f"must be a floating-point type, got {dtype}")
    order = np.arange(len(images)) if rng is None else rng.permutation(len(images))
    seed = None if rng is None else int(rng.integers(1 << 63))
    fill = np.rint(255 * np.asarray(normalization.mean))
    n_batches = count_batches(len(images), batch_size, at_least)

    def make(number: int) -> Batch:
        chosen = order[number * batch_size : (number + 1) * batch_size if number < n_batches - 1 else None]
        if augmentation is None or seed is None:
            pixels = images.fetch(chosen)
        else:
            own = np.random.default_rng([seed, number])
            pixels = images.fetch(chosen, augmentation.draw_crops(len(chosen), own))
            pixels = augmentation.change(pixels, own, fill)
        return normalization(pixels, dtype), images.labels[chosen]

    return map(make, range(n_batches)) if images.in_memory else _prefetched(make, n_batches)


def count_batches(n_images: int, batch_size: int, at_least: int = 1) -> int:
    """Return how many :func:`batches` there are."""
    full, left = divmod(n_images, batch_size)
    return full + (left >= at_least or (not full and left > 0))


def _prefetched(make: Callable[[int], Batch], n_batches: int) -> Iterator[Batch]:
    """Yield each batch, while the next one is made in a thread."""
    with ThreadPoolExecutor(1) as pool:
        ahead = pool.submit(copy_context().run, make, 0)
        for number in range(1, n_batches + 1):
            batch = ahead.result()
            if number < n_batches:
                ahead = pool.submit(copy_context().run, make, number)
            yield batch
