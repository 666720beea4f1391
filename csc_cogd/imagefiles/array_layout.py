"""Arrays as stacks of images: their axes are rows, columns, channels and, with any other letter, stacks."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.image import ImageFile, Layout
from csc_cogd.imagefiles.pieces import Index


@dataclass(frozen=True, eq=False)
class ArrayLayout(Layout):
    """The array that an image was a page of: its axes by letters, shape and type.

    In an NPZ file `name` is the array's member; `others` are those of the file `source` that are no images.
    """

    axes: str
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool = False
    name: str = ""
    compression: int = zipfile.ZIP_DEFLATED
    source: Path | None = None
    others: tuple[str, ...] = ()

    @property
    def n_pages(self) -> int:
        """Number of images in the array."""
        return math.prod(length for letter, length in zip(self.axes, self.shape, strict=True) if letter not in "YXC")

    def lost_tags(self, carried: Collection[str]) -> list[str]:
        """Name the other arrays, which no other format holds."""
        return [f"array {name.removesuffix('.npy')}" for name in self.others]

    def index(self, page: int) -> Index:
        """Return where a page is in the array."""
        lengths = [length for letter, length in zip(self.axes, self.shape, strict=True) if letter not in "YXC"]
        positions = iter(np.unravel_index(page, lengths))
        return tuple(slice(None) if letter in "YXC" else int(next(positions)) for letter in self.axes)

    def to_image(self, piece: np.ndarray) -> np.ndarray:
        """Return a view of a piece at such an index as an image, (H, W) or (H, W, C)."""
        kept = [letter for letter in self.axes if letter in "YXC"]
        return piece.transpose([kept.index(letter) for letter in "YXC" if letter in kept])

    def from_image(self, pixels: np.ndarray) -> np.ndarray:
        """Return a view of an image as a piece of the array: the way back from :meth:`to_image`."""
        ordered = [letter for letter in "YXC" if letter in self.axes]
        return pixels.transpose([ordered.index(letter) for letter in self.axes if letter in "YXC"])

    def array_of(self, pixels: np.ndarray) -> tuple[tuple[int, ...], np.dtype]:
        """Return shape and type of an array with such pixels in every page, in the byte order that it had."""
        lengths = dict(zip("YXC", pixels.shape, strict=False))
        shape = tuple(lengths.get(letter, length) for letter, length in zip(self.axes, self.shape, strict=True))
        return shape, self.dtype if pixels.dtype == self.dtype.newbyteorder("=") else pixels.dtype

    def fits(self, pixels: np.ndarray) -> bool:
        """Return whether pages have channels just if the pixels have."""
        return ("C" in self.axes) == (pixels.ndim == 3)


def check_axes(axes: str) -> None:
    """Raise InputError where letters don't name the axes of images."""
    if not {"Y", "X"} <= set(axes) or len(set(axes)) != len(axes) or not axes.isalpha() or not axes.isupper():
        problem = f"must have Y, X, C for channels, and other capitals for stacks, each once, such as 'NYX', got {axes!r}"
        raise InputError("axes", problem)


def axes_like(image: ImageFile, n_axes: int) -> str | None:
    """Return axes for an array that belongs to an image, such as its mask: the image's own, channels or stacks left out."""
    own = image.layout.axes if isinstance(image.layout, ArrayLayout) else "NYX"
    flat = own.replace("C", "")
    alone = "".join(letter for letter in own if letter in "YXC")
    return next((axes for axes in (own, flat, alone, "YX") if len(axes) == n_axes), None)


def axes_of(shape: tuple[int, ...], axes: str | None) -> str:
    """Return the axes of an array of a shape, as they were named, or where there is no doubt.

    Raises
    ------
    InputError
        If they don't fit, or there is a doubt.
    """
    if axes is not None:
        if len(axes) != len(shape):
            raise InputError("axes", f"must name {len(shape)} axes for an array of shape {shape}, got {axes!r}")
        return axes
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3 and shape[2] <= 4:
        return "YXC"
    if len(shape) not in (3, 4):
        fix = f"name its axes by {{axes}}, such as {'TZCYX'[-len(shape) :]}" if 1 < len(shape) <= 5 else ""
        raise InputError("", f"an array of shape {shape} isn't (H, W) or (H, W, channels)", fix)
    examples = {3: "NYX for a stack, YXC or CYX for channels", 4: "NYXC for a color stack, TZYX for a gray one"}
    fix = f"name them by {{axes}}, such as {examples[len(shape)]}"
    raise InputError("", f"the axes of an array of shape {shape} are ambiguous", fix)


def layout_for(image: ImageFile, n_pages: int, name: str = "") -> ArrayLayout:
    """Return the image's own layout where it holds that many pages, else a plain one."""
    own, pixels = image.layout, image.pixels
    if not name and isinstance(own, ArrayLayout) and own.n_pages == n_pages and own.fits(pixels):
        return own
    axes, stack = "YXC"[: pixels.ndim], () if n_pages == 1 else (n_pages,)
    return ArrayLayout("N" * len(stack) + axes, (*stack, *pixels.shape), pixels.dtype, name=name)


def check_page(layout: ArrayLayout, shape: tuple[int, ...], dtype: np.dtype, image: ImageFile) -> None:
    """Raise InputError for a page that an array of such a shape and type can't hold."""
    lengths = dict(zip(layout.axes, shape, strict=True))
    expected, pixels = tuple(lengths[letter] for letter in "YXC" if letter in lengths), image.pixels
    if expected != pixels.shape or dtype.newbyteorder("=") != pixels.dtype:
        kinds = f"{expected} {dtype}, {pixels.shape} {pixels.dtype}"
        problem = f"the images differ in shape or type ({kinds}), and one array can't hold them"
        raise InputError("", problem, "write .tif or .npz", str(image.path))
