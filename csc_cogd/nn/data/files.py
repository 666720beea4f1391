"""Images in files, decoded when they are wanted: sets that don't fit into memory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageOps

from csc_cogd.backend import usable_processors
from csc_cogd.errors import InputError
from csc_cogd.nn.data.pieces import resized

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
"""Of files that are taken for images."""

_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_TRANSPOSING = (5, 6, 7, 8)  # orientations of EXIF
_DEEP = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
T = TypeVar("T")


@dataclass(frozen=True)
class ImageFiles:
    """Files of images that are decoded, in threads, when they are read.

    Parameters
    ----------
    paths : tuple of str
    size : (int, int)
        Height and width that images are resized and cropped to: see :meth:`read`.
    """

    paths: tuple[str, ...]
    size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.paths)

    def take(self, indices: Iterable[int]) -> ImageFiles:
        return replace(self, paths=tuple(self.paths[index] for index in indices))

    def read(self, indices: Any, pieces: np.ndarray | None = None) -> np.ndarray:
        """Some images, upright and in RGB, (n, H, W, 3) uint8.

        With `pieces` (n, 4), that piece of each, resized; else the centre: see :func:`csc_cogd.nn.data.pieces.resized`.

        Raises
        ------
        InputError
            If a file can't be read as an image, or has more than 8 bits a channel.
        """
        indices = np.asarray(indices)

        def read_one(position: int) -> np.ndarray:
            piece = None if pieces is None else pieces[position]
            return read_picture(self.paths[indices[position]], lambda picture: resized(picture, self.size, piece))

        images = np.empty((len(indices), *self.size, 3), np.uint8)
        for position, image in enumerate(in_threads(read_one, range(len(indices)))):
            images[position] = image
        return images


def in_threads(function: Callable[[Any], T], items: Iterable[Any]) -> Iterable[T]:
    """The function's results in order, computed by as many threads as there are processors; the first error is raised."""
    pool = ThreadPoolExecutor(usable_processors())
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)


def read_picture(path: str, use: Callable[[Image.Image], T]) -> T:
    """What a function makes of a file's picture, which it is given upright and in RGB."""
    return _opened(path, lambda picture: use(_in_rgb(ImageOps.exif_transpose(picture))))


def shape_of(path: str) -> tuple[int, int]:
    """Height and width of a file's picture, upright; its pixels aren't decoded."""

    def upright(picture: Image.Image) -> tuple[int, int]:
        turned = picture.getexif().get(0x0112) in _TRANSPOSING
        return picture.size if turned else picture.size[::-1]

    return _opened(path, upright)


def _opened(path: str, use: Callable[[Image.Image], T]) -> T:
    try:
        with open(path, "rb") as file, Image.open(file, formats=_FORMATS) as picture:  # by its name, it may be mapped
            return use(picture)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: read the folder again") from None
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (
        OSError, ValueError, SyntaxError, EOFError, TypeError, KeyError, IndexError, AttributeError, struct.error,
        Image.DecompressionBombError,
    ) as error:  # fmt: skip  # whatever a damaged file makes Pillow stumble over
        raise InputError(f"{path}: can't be read as an image ({error}): replace it, or take it out of its folder") from None


def _in_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in _DEEP:
        raise InputError("has more than 8 bits a channel: convert it to 8 bits")
    if picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert("RGB")
