"""NPZ: an archive of arrays; those that are images are read and written, the others kept. Nothing is unpickled."""

from __future__ import annotations

import os
import re
import shutil
import zipfile
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.array_layout import ArrayLayout, axes_like, axes_of, check_page, layout_for
from csc_cogd.imagefiles.formats.format import Encoder, Format, Pages
from csc_cogd.imagefiles.formats.npy import page_of_array
from csc_cogd.imagefiles.image import ImageFile, check_declared_pixels
from csc_cogd.npy import Header, check_members, member_header, open_archive, read_member


class NpzPages(Pages):
    """The pages of all arrays in an NPZ file that are images; one array at a time is in memory."""

    def __init__(self, path: Path, file: BinaryIO, axes: str | None, template: ImageFile | None):
        self._path, self._file_size = path, file.seek(0, os.SEEK_END)
        self._zip = open_archive(path, file)
        self._held: tuple[str, Any] = ("", None)
        members = {member.filename: member for member in self._zip.infolist()}
        others, self._layouts = list[str](), list[ArrayLayout]()
        for name, member in members.items():
            header = member_header(self._zip, member)
            named = axes if template is None or header is None else axes_like(template, len(header.shape))
            if header is None or not _is_image(header, named):
                others.append(name)
                continue
            shape, fortran, dtype = header
            check_declared_pixels(path, shape[-1], shape[-2], header.n_bytes, self._file_size)
            if header.n_bytes > member.file_size:
                raise ValueError("the file ends too early")
            own = axes_of(shape, named)
            self._layouts.append(ArrayLayout(own, shape, dtype, fortran, name, member.compress_type, path))
        check_members(path, [members[name] for name in others], self._file_size)
        if not self._layouts:
            what = "no array in it is an image" + (f" of axes {axes}" if axes else "")
            raise InputError("", what)
        self._layouts = [replace(layout, others=tuple(others)) for layout in self._layouts]
        self._ends = list(accumulate(layout.n_pages for layout in self._layouts))

    def __len__(self) -> int:
        return self._ends[-1]

    def read(self, page: int) -> ImageFile:
        """Read a page."""
        number = bisect_right(self._ends, page)
        layout = self._layouts[number]
        within = page - self._ends[number] + layout.n_pages
        return page_of_array(self._path, "npz", self._member(layout)[layout.index(within)].copy(), layout)

    def close(self) -> None:
        """Forget the array in memory."""
        self._held = ("", None)
        self._zip.close()

    def _member(self, layout: ArrayLayout) -> np.ndarray:
        if self._held[0] != layout.name:
            self._held = ("", None)  # before the next one is read
            self._held = (layout.name, read_member(self._zip, self._zip.getinfo(layout.name)))
        held: np.ndarray = self._held[1]
        return held


class NpzEncoder(Encoder):
    """Writes images as pages of the arrays they came from, or as an array each; one array at a time is in memory."""

    def __init__(self, file: BinaryIO, n_pages: int):
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED)
        self._n_pages, self._written, self._page = n_pages, 0, 0
        self._array: Any = None
        self._last: ArrayLayout | None = None

    def write(self, image: ImageFile) -> list[str]:
        """Write the next page; its array is written with its last one."""
        layout = image.layout if isinstance(image.layout, ArrayLayout) and image.layout.name else None
        if layout is None or not layout.fits(image.pixels):
            layout = layout_for(image, 1, "image.npy" if self._n_pages == 1 else f"image_{self._written:04d}.npy")
        if self._array is None:
            shape, dtype = layout.array_of(image.pixels)
            self._array, self._page = np.zeros(shape, dtype, "F" if layout.fortran else "C"), 0
        check_page(layout, self._array.shape, self._array.dtype, image)
        self._array[layout.index(self._page)] = layout.from_image(image.pixels)
        self._page, self._written, self._last = self._page + 1, self._written + 1, layout
        if self._page == layout.n_pages:
            with self._zip.open(_info(layout.name, layout.compression), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, self._array, allow_pickle=False)
            self._array = None
        return []

    def finish(self) -> None:
        """Copy the arrays of the source that are no images."""
        if self._last is not None and self._last.source is not None and self._last.others:
            with self._last.source.open("rb") as file, open_archive(self._last.source, file) as source:
                for name in self._last.others:
                    info = _info(name, source.getinfo(name).compress_type)
                    with source.open(name) as read, self._zip.open(info, "w", force_zip64=True) as written:
                        shutil.copyfileobj(read, written, 2**20)

    def close(self) -> None:
        """Write the archive's table of contents."""
        self._zip.close()


def _info(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = compression
    return info


def _is_image(header: Header, axes: str | None) -> bool:
    n_axes, dtype = len(header.shape), header.dtype
    return dtype.kind in "biuf" and 0 not in header.shape and (n_axes in (2, 3, 4) if axes is None else n_axes == len(axes))


NPZ = Format(
    name="npz", title="NPZ", suffixes=(".npz",), signature=re.compile(rb"PK(\x03\x04|\x05\x06)"),
    open_pages=NpzPages, encoder=NpzEncoder, multipage=True, takes_axes=True,
)  # fmt: skip
