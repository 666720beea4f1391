"""NPY and NPZ: arrays whose axes are rows, columns, channels and, with any other letter, stacks. Nothing is unpickled."""

from __future__ import annotations

import math
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.image import ImageFile, check_claim

_HEADERS: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


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

    def page(self, array: np.ndarray, page: int) -> np.ndarray:
        """A view of one page, (H, W) or (H, W, C)."""
        stack = [letter for letter in self.axes if letter not in "YXC"]
        ordered = array.transpose([self.axes.index(letter) for letter in (*stack, *"YXC") if letter in self.axes])
        view: np.ndarray = ordered[np.unravel_index(page, ordered.shape[: len(stack)])]
        return view

    def filled_with(self, pixels: np.ndarray) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array that holds such pixels in every page, in the byte order that it had."""
        lengths = dict(zip("YXC", pixels.shape, strict=False))
        shape = tuple(lengths.get(letter, length) for letter, length in zip(self.axes, self.shape, strict=True))
        return shape, self.dtype if pixels.dtype == self.dtype.newbyteorder("=") else pixels.dtype


class NpyPages:
    """The pages of an NPY file, through a memory map."""

    def __init__(self, path: Path, axes: str | None, like: ImageFile | None):
        self._path = path
        try:
            self._array: Any = np.lib.format.open_memmap(path, mode="r")
        except ValueError as error:
            if "Python objects" not in str(error):
                raise
            raise InputError(
                f"{path}: it holds Python objects, which are never unpickled here: save it as an array of numbers, as by "
                "np.save(path, array.astype(float))"
            ) from None
        if like is not None:
            axes = axes_like(like, self._array.ndim)
        shape, fortran = self._array.shape, self._array.flags.f_contiguous and not self._array.flags.c_contiguous
        self._layout = ArrayLayout(_axes(path, shape, axes), shape, self._array.dtype, fortran)

    def __len__(self) -> int:
        return self._layout.n_pages

    def read(self, page: int) -> ImageFile:
        return _image(self._path, "npy", self._layout.page(self._array, page), self._layout)

    def close(self) -> None:
        self._array = None


class NpzPages:
    """The pages of all arrays in an NPZ file that are images; one array at a time is in memory."""

    def __init__(self, path: Path, file: BinaryIO, axes: str | None, like: ImageFile | None):
        self._path, self._file_size = path, file.seek(0, os.SEEK_END)
        self._zip = zipfile.ZipFile(file)
        self._held: tuple[str, Any] = ("", None)
        headers = {name: self._header(name) for name in self._zip.namelist()}
        others, self._layouts = list[str](), list[ArrayLayout]()
        for name, header in headers.items():
            named = axes if like is None or header is None else axes_like(like, len(header[0]))
            if header is None or not _is_image(*header, named):
                others.append(name)
                continue
            shape, fortran, dtype = header
            compression = self._zip.getinfo(name).compress_type
            self._layouts.append(ArrayLayout(_axes(path, shape, named), shape, dtype, fortran, name, compression, path))
        if not self._layouts:
            raise InputError(f"{path}: no array in it is an image" + (f" of axes {axes}" if axes else ""))
        self._layouts = [replace(layout, others=tuple(others)) for layout in self._layouts]

    def __len__(self) -> int:
        return sum(layout.n_pages for layout in self._layouts)

    def read(self, page: int) -> ImageFile:
        for layout in self._layouts:
            if page < layout.n_pages:
                return _image(self._path, "npz", layout.page(self._member(layout), page), layout)
            page -= layout.n_pages
        raise IndexError(page)

    def close(self) -> None:
        self._held = ("", None)
        self._zip.close()

    def _header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype] | None:
        with self._zip.open(name) as member:
            try:
                return _HEADERS[np.lib.format.read_magic(member)](member)
            except (ValueError, KeyError):  # something else than an array, or one of a structured type
                return None

    def _member(self, layout: ArrayLayout) -> np.ndarray:
        if self._held[0] != layout.name:
            self._held = ("", None)  # before the next one is read
            n_bytes = math.prod(layout.shape) * layout.dtype.itemsize
            check_claim(self._path, layout.shape[-1], layout.shape[-2], n_bytes, self._file_size)
            with self._zip.open(layout.name) as member:
                self._held = (layout.name, np.lib.format.read_array(member, allow_pickle=False))
        held: np.ndarray = self._held[1]
        return held


class NpyEncoder:
    """Writes images as pages of one array, through a memory map."""

    def __init__(self, file: BinaryIO, n_pages: int):
        self._file, self._n_pages = file, n_pages
        self._layout: ArrayLayout | None = None
        self._array: Any = None
        self._written = 0

    def write(self, image: ImageFile) -> list[str]:
        if self._layout is None:
            self._layout = _layout_for(image, self._n_pages)
            self._array = self._allocate(self._layout, image.pixels)
        _put(self._layout, self._array, self._written, image)
        self._written += 1
        return []

    def finish(self) -> None:
        if self._array is not None:
            self._array.flush()

    def close(self) -> None:
        self._array = None

    def _allocate(self, layout: ArrayLayout, pixels: np.ndarray) -> Any:
        """The array in the file, whose place on the disk is taken first: a map of a full disk would end the process."""
        shape, dtype = layout.filled_with(pixels)
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": layout.fortran, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, described)
        offset = self._file.tell()
        for start in range(0, n_bytes := math.prod(shape) * dtype.itemsize, 2**20):
            self._file.write(bytes(min(2**20, n_bytes - start)))
        self._file.flush()
        return np.memmap(self._file, dtype, "r+", offset, shape, "F" if layout.fortran else "C")


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
        _put(layout, self._array, self._page, image)
        self._page, self._written, self._last = self._page + 1, self._written + 1, layout
        if self._page == layout.n_pages:
            with self._zip.open(self._info(layout.name, layout.compression), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, self._array, allow_pickle=False)
            self._array = None
        return []

    def finish(self) -> None:
        if self._last is not None and self._last.source is not None and self._last.others:
            with zipfile.ZipFile(self._last.source) as source:
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


def _image(path: Path, kind: str, page: np.ndarray, layout: ArrayLayout) -> ImageFile:
    pixels = np.array(page, page.dtype.newbyteorder("="), order="C")
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


def _put(layout: ArrayLayout, array: np.ndarray, page: int, image: ImageFile) -> None:
    place = layout.page(array, page)
    if place.shape != image.pixels.shape or array.dtype.newbyteorder("=") != image.pixels.dtype:
        raise InputError(
            f"{image.path}: the images differ in shape or type ({place.shape} {array.dtype}, {image.pixels.shape} "
            f"{image.pixels.dtype}), and one array can't hold them: write .tif or .npz"
        )
    place[...] = image.pixels
