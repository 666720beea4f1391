"""NPY and NPZ: arrays whose axes are rows, columns, channels and, with any other letter, stacks. Nothing is unpickled."""

from __future__ import annotations

import math
import os
import shutil
import zipfile
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.image import ImageFile, check_pixels_claim
from csc_cogd.imagefiles.pieces import ArrayInFile, Index
from csc_cogd.npy import check_members, member_header, open_archive, read_header, read_member


@dataclass(frozen=True, eq=False)
class ArrayLayout:
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
        return math.prod(length for letter, length in zip(self.axes, self.shape, strict=True) if letter not in "YXC")

    def names(self, kind: str) -> list[str]:
        return [f"array {name.removesuffix('.npy')}" for name in self.others]

    def index(self, page: int) -> Index:
        """Where one page is in the array."""
        lengths = [length for letter, length in zip(self.axes, self.shape, strict=True) if letter not in "YXC"]
        positions = iter(np.unravel_index(page, lengths))
        return tuple(slice(None) if letter in "YXC" else int(next(positions)) for letter in self.axes)

    def upright(self, piece: np.ndarray) -> np.ndarray:
        """A view of a piece at such a place as an image, (H, W) or (H, W, C)."""
        kept = [letter for letter in self.axes if letter in "YXC"]
        return piece.transpose([kept.index(letter) for letter in "YXC" if letter in kept])

    def laid(self, pixels: np.ndarray) -> np.ndarray:
        """A view of an image as a piece of the array: the way back from :meth:`upright`."""
        ordered = [letter for letter in "YXC" if letter in self.axes]
        return pixels.transpose([ordered.index(letter) for letter in self.axes if letter in "YXC"])

    def filled_with(self, pixels: np.ndarray) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array that holds such pixels in every page, in the byte order that it had."""
        lengths = dict(zip("YXC", pixels.shape, strict=False))
        shape = tuple(lengths.get(letter, length) for letter, length in zip(self.axes, self.shape, strict=True))
        return shape, self.dtype if pixels.dtype == self.dtype.newbyteorder("=") else pixels.dtype


class NpyPages:
    """The pages of an open NPY file."""

    def __init__(self, path: Path, file: BinaryIO, axes: str | None, like: ImageFile | None):
        self._path = path
        file_size = file.seek(0, os.SEEK_END)
        file.seek(0)
        shape, fortran, dtype = header = read_header(file)
        if dtype.hasobject:
            raise InputError(
                f"{path}: it holds Python objects, which are never unpickled here: save it as an array of numbers, as by "
                "np.save(path, array.astype(float))"
            )
        if 0 in (*shape, dtype.itemsize):
            raise InputError(f"{path}: holds no pixel")
        if header.n_bytes > file_size - file.tell():
            raise ValueError("the file ends too early")
        if like is not None:
            axes = axes_like(like, len(shape))
        self._layout = ArrayLayout(_axes(path, shape, axes), shape, dtype, fortran)
        self._array = ArrayInFile(file, file.tell(), shape, dtype, fortran)

    def __len__(self) -> int:
        return self._layout.n_pages

    def read(self, page: int) -> ImageFile:
        return _image(self._path, "npy", self._array.read(self._layout.index(page)), self._layout)

    def close(self) -> None:
        pass


class NpzPages:
    """The pages of all arrays in an NPZ file that are images; one array at a time is in memory."""

    def __init__(self, path: Path, file: BinaryIO, axes: str | None, like: ImageFile | None):
        self._path, self._file_size = path, file.seek(0, os.SEEK_END)
        self._zip = open_archive(path, file)
        self._held: tuple[str, Any] = ("", None)
        members = {member.filename: member for member in self._zip.infolist()}
        others, self._layouts = list[str](), list[ArrayLayout]()
        for name, member in members.items():
            header = member_header(self._zip, member)
            named = axes if like is None or header is None else axes_like(like, len(header[0]))
            if header is None or not _is_image(*header, named):
                others.append(name)
                continue
            shape, fortran, dtype = header
            check_pixels_claim(path, shape[-1], shape[-2], header.n_bytes, self._file_size)
            if header.n_bytes > member.file_size:
                raise ValueError("the file ends too early")
            axes_of_it = _axes(path, shape, named)
            self._layouts.append(ArrayLayout(axes_of_it, shape, dtype, fortran, name, member.compress_type, path))
        check_members(path, [members[name] for name in others], self._file_size)
        if not self._layouts:
            raise InputError(f"{path}: no array in it is an image" + (f" of axes {axes}" if axes else ""))
        self._layouts = [replace(layout, others=tuple(others)) for layout in self._layouts]
        self._ends = list(accumulate(layout.n_pages for layout in self._layouts))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, page: int) -> ImageFile:
        number = bisect_right(self._ends, page)
        layout = self._layouts[number]
        within = page - self._ends[number] + layout.n_pages
        return _image(self._path, "npz", self._member(layout)[layout.index(within)].copy(), layout)

    def close(self) -> None:
        self._held = ("", None)
        self._zip.close()

    def _member(self, layout: ArrayLayout) -> np.ndarray:
        if self._held[0] != layout.name:
            self._held = ("", None)  # before the next one is read
            self._held = (layout.name, read_member(self._zip, self._zip.getinfo(layout.name)))
        held: np.ndarray = self._held[1]
        return held


class NpyEncoder:
    """Writes images as pages of one array."""

    def __init__(self, file: BinaryIO, n_pages: int):
        self._file, self._n_pages = file, n_pages
        self._layout: ArrayLayout | None = None
        self._array: ArrayInFile | None = None
        self._written = 0

    def write(self, image: ImageFile) -> list[str]:
        if self._layout is None or self._array is None:
            self._layout = _layout_for(image, self._n_pages)
            self._shape, self._dtype = self._layout.filled_with(image.pixels)
            self._array = self._allocate(self._layout.fortran)
        _check_page(self._layout, self._shape, self._dtype, image)
        self._array.write(self._layout.index(self._written), self._layout.laid(image.pixels))
        self._written += 1
        return []

    def finish(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _allocate(self, fortran: bool) -> ArrayInFile:
        """The array in the file, whose place on the disk is taken first, so that a full one is known of early."""
        shape, dtype = self._shape, self._dtype
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": fortran, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, described)
        offset = self._file.tell()
        for start in range(0, n_bytes := math.prod(shape) * dtype.itemsize, 2**20):
            self._file.write(bytes(min(2**20, n_bytes - start)))
        return ArrayInFile(self._file, offset, shape, dtype, fortran)


class NpzEncoder:
    """Writes images as pages of the arrays they came from, or as an array each; one array at a time is in memory."""

    def __init__(self, file: BinaryIO, n_pages: int):
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._n_pages, self._written, self._page = n_pages, 0, 0
        self._array: Any = None
        self._last: ArrayLayout | None = None

    def write(self, image: ImageFile) -> list[str]:
        layout = image.layout if isinstance(image.layout, ArrayLayout) and image.layout.name else None
        if layout is None or not _fits(layout, image.pixels):
            layout = _layout_for(image, 1, "image.npy" if self._n_pages == 1 else f"image_{self._written:04d}.npy")
        if self._array is None:
            shape, dtype = layout.filled_with(image.pixels)
            self._array, self._page = np.zeros(shape, dtype, "F" if layout.fortran else "C"), 0
        _check_page(layout, self._array.shape, self._array.dtype, image)
        self._array[layout.index(self._page)] = layout.laid(image.pixels)
        self._page, self._written, self._last = self._page + 1, self._written + 1, layout
        if self._page == layout.n_pages:
            with self._zip.open(self._info(layout.name, layout.compression), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, self._array, allow_pickle=False)
            self._array = None
        return []

    def finish(self) -> None:
        if self._last is not None and self._last.source is not None and self._last.others:
            with self._last.source.open("rb") as file, open_archive(self._last.source, file) as source:
                for name in self._last.others:
                    info = self._info(name, source.getinfo(name).compress_type)
                    with source.open(name) as read, self._zip.open(info, "w", force_zip64=True) as written:
                        shutil.copyfileobj(read, written, 2**20)

    def close(self) -> None:
        self._zip.close()

    def _info(self, name: str, compression: int) -> zipfile.ZipInfo:
        info = zipfile.ZipInfo(name)
        info.compress_type = compression
        return info


def check_axes(axes: str) -> None:
    """Raise InputError where letters don't name the axes of images."""
    if not {"Y", "X"} <= set(axes) or len(set(axes)) != len(axes) or not axes.isalpha() or not axes.isupper():
        raise InputError(f"--axes {axes}: name Y, X, C (channels) and stacks by any other capital, each once, such as NYX")


def axes_like(image: ImageFile, n_axes: int) -> str | None:
    """Axes for an array that belongs to an image, such as its mask: the image's own, channels or stacks left out."""
    own = image.layout.axes if isinstance(image.layout, ArrayLayout) else "NYX"
    flat = own.replace("C", "")
    alone = "".join(letter for letter in own if letter in "YXC")
    return next((axes for axes in (own, flat, alone, "YX") if len(axes) == n_axes), None)


def _axes(path: Path, shape: tuple[int, ...], axes: str | None) -> str:
    if axes is not None:
        if len(axes) != len(shape):
            raise InputError(f"{path}: --axes {axes} names {len(axes)} axes, but an array of shape {shape} has {len(shape)}")
        return axes
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3 and shape[2] <= 4:
        return "YXC"
    if len(shape) not in (3, 4):
        way = f": say what its axes are by --axes, such as {'TZCYX'[-len(shape) :]}" if 1 < len(shape) <= 5 else ""
        raise InputError(f"{path}: an array of shape {shape} isn't (H, W) or (H, W, channels){way}")
    examples = "NYX for a stack, YXC or CYX for channels" if len(shape) == 3 else "NYXC for a stack in colour, TZYX for grey"
    raise InputError(f"{path}: an array of shape {shape} may be several things: say which by --axes, such as {examples}")


def _is_image(shape: tuple[int, ...], fortran: bool, dtype: np.dtype, axes: str | None) -> bool:
    return dtype.kind in "biuf" and 0 not in shape and (len(shape) in (2, 3, 4) if axes is None else len(shape) == len(axes))


def _image(path: Path, kind: str, piece: np.ndarray, layout: ArrayLayout) -> ImageFile:
    pixels = np.ascontiguousarray(layout.upright(piece), piece.dtype.newbyteorder("="))
    return ImageFile(pixels, path, kind, layout=layout)


def _fits(layout: ArrayLayout, pixels: np.ndarray) -> bool:
    return ("C" in layout.axes) == (pixels.ndim == 3)


def _layout_for(image: ImageFile, n_pages: int, name: str = "") -> ArrayLayout:
    """The image's own layout where it holds that many pages, else a plain one."""
    own, pixels = image.layout, image.pixels
    if not name and isinstance(own, ArrayLayout) and own.n_pages == n_pages and _fits(own, pixels):
        return own
    axes, stack = "YXC"[: pixels.ndim], () if n_pages == 1 else (n_pages,)
    return ArrayLayout("N" * len(stack) + axes, (*stack, *pixels.shape), pixels.dtype, name=name)


def _check_page(layout: ArrayLayout, shape: tuple[int, ...], dtype: np.dtype, image: ImageFile) -> None:
    """Refuse a page that an array of such a shape and type can't hold."""
    lengths = dict(zip(layout.axes, shape, strict=True))
    expected, pixels = tuple(lengths[letter] for letter in "YXC" if letter in lengths), image.pixels
    if expected != pixels.shape or dtype.newbyteorder("=") != pixels.dtype:
        raise InputError(
            f"{image.path}: the images differ in shape or type ({expected} {dtype}, {pixels.shape} {pixels.dtype}), and one "
            "array can't hold them: write .tif or .npz"
        )
