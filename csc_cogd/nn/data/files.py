"""Images in files that are decoded when they are needed, for sets that don't fit into memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from math import ceil
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps

from csc_cogd.backend.parallel import thread_count
from csc_cogd.errors import InputError
from csc_cogd.nn.data.crops import needed_share, resized_crop

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Suffixes of the files that are images."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_TRANSPOSING = (5, 6, 7, 8)  # orientations of EXIF
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
T = TypeVar("T")


@dataclass(frozen=True)
class ImageFiles:
    """Files of images, which are decoded in threads when they are read.

    Parameters
    ----------
    paths : tuple of str
    size : (int, int)
        Height and width to which images are resized and cropped; see :meth:`read`.
    """

    paths: tuple[str, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Iterable[int]) -> ImageFiles:
        """Return the files at these indices."""
        return replace(self, paths=tuple(self.paths[index] for index in indices))

    def read(self, indices: Any, crops: np.ndarray | None = None) -> np.ndarray:
        """Read some images, upright and in RGB.

        Parameters
        ----------
        indices : (n,) integer array
        crops : (n, 4) array, optional
            The crop of each, see :func:`csc_cogd.nn.data.crops.resized_crop`; default: the center.

        Returns
        -------
        (n, H, W, 3) uint8 array

        Raises
        ------
        InputError
            If a file can't be read as an image, or has more than 8 bits a channel.
        """
        indices = np.asarray(indices)

        def read_one(position: int) -> np.ndarray:
            return read_crop(self.paths[indices[position]], self.size, None if crops is None else crops[position])

        images = np.empty((len(indices), *self.size, 3), np.uint8)
        for position, image in enumerate(in_threads(read_one, range(len(indices)))):
            images[position] = image
        return images


def in_threads(function: Callable[[Any], T], items: Iterable[Any]) -> Iterable[T]:
    """Yield the results of a function in order, computed on as many threads as networks are; raise its first error."""
    pool = ThreadPoolExecutor(thread_count())
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def read_crop(path: str, shape: tuple[int, int], crop: np.ndarray | None = None) -> np.ndarray:
    """Return a crop of the picture in a file, see :func:`csc_cogd.nn.data.crops.resized_crop`.

    Of a JPEG, only as many frequencies are decoded as leave twice the pixels that are wanted in each direction.
    """

    def crop_of(picture: Image.Image) -> np.ndarray:
        if picture.format == "JPEG":
            upright = picture.size if _is_turned(picture) else picture.size[::-1]
            share = needed_share(upright, shape, crop)
            picture.draft(None, (ceil(share * picture.width), ceil(share * picture.height)))
        return resized_crop(_in_rgb(ImageOps.exif_transpose(picture)), shape, crop)

    return _opened(path, crop_of)


def shape_of(path: str) -> tuple[int, int]:
    """Return height and width of a file's picture, upright, without decoding its pixels."""

    return _opened(path, lambda picture: picture.size if _is_turned(picture) else picture.size[::-1])


def _is_turned(picture: Image.Image) -> bool:
    """Return whether height and width change places when a picture is put upright."""
    return picture.getexif().get(0x0112) in _TRANSPOSING


def _opened(path: str, use: Callable[[Image.Image], T]) -> T:
    try:
        with open(path, "rb") as file, Image.open(file, formats=_FORMATS) as picture:  # by its name, it may be mapped
            return use(picture)
    except FileNotFoundError:
        raise InputError("", "no such file", "read its folder again", path) from None
    except InputError as error:
        raise error.about(path) from None
    except (
        OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, AttributeError, struct.error,
        Image.DecompressionBombError,
    ) as error:  # fmt: skip  # whatever a damaged file makes Pillow stumble over
        raise InputError("", f"can't be read as an image ({error})", "replace it, or remove it", path) from None


def _in_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP:
        raise InputError("", "has more than 8 bits a channel", "convert it to 8 bits")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
