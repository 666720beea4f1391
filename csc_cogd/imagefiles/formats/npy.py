"""NPY: an array, whose pages are read and written one by one. Nothing is unpickled."""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import BinaryIO

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.array_layout import ArrayLayout, axes_like, axes_of, check_page, layout_for
from csc_cogd.imagefiles.formats.format import Encoder, Format, Pages
from csc_cogd.imagefiles.image import ImageFile
from csc_cogd.imagefiles.pieces import ArrayInFile
from csc_cogd.npy import MAGIC, read_header


class NpyPages(Pages):
    """The pages of an open NPY file."""

    def __init__(self, path: Path, file: BinaryIO, axes: str | None, template: ImageFile | None):
        self._path = path
        file_size = file.seek(0, os.SEEK_END)
        file.seek(0)
        shape, fortran, dtype = header = read_header(file)
        if dtype.hasobject:
            fix = "save it as an array of numbers, as by np.save(path, array.astype(float))"
            raise InputError("", "has Python objects, which are never unpickled here", fix)
        if 0 in (*shape, dtype.itemsize):
            raise InputError("", "has no pixels")
        if header.n_bytes > file_size - file.tell():
            raise ValueError("the file ends too early")
        if template is not None:
            axes = axes_like(template, len(shape))
        self._layout = ArrayLayout(axes_of(shape, axes), shape, dtype, fortran)
        self._array = ArrayInFile(file, file.tell(), shape, dtype, fortran)

    def __len__(self) -> int:
        return self._layout.n_pages

    def read(self, page: int) -> ImageFile:
        """Read a page."""
        return page_of_array(self._path, "npy", self._array.read(self._layout.index(page)), self._layout)


class NpyEncoder(Encoder):
    """Writes images as pages of one array."""

    def __init__(self, file: BinaryIO, n_pages: int):
        self._file, self._n_pages = file, n_pages
        self._layout: ArrayLayout | None = None
        self._array: ArrayInFile | None = None
        self._written = 0

    def write(self, image: ImageFile) -> list[str]:
        """Write the next page."""
        if self._layout is None or self._array is None:
            self._layout = layout_for(image, self._n_pages)
            self._shape, self._dtype = self._layout.array_of(image.pixels)
            self._array = self._allocate(self._layout.fortran)
        check_page(self._layout, self._shape, self._dtype, image)
        self._array.write(self._layout.index(self._written), self._layout.from_image(image.pixels))
        self._written += 1
        return []

    def _allocate(self, fortran: bool) -> ArrayInFile:
        """Take the array's place on the disk first, so that a full one is known of early."""
        shape, dtype = self._shape, self._dtype
        described = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": fortran, "shape": shape}
        np.lib.format.write_array_header_1_0(self._file, described)
        offset = self._file.tell()
        for start in range(0, n_bytes := math.prod(shape) * dtype.itemsize, 2**20):
            self._file.write(bytes(min(2**20, n_bytes - start)))
        return ArrayInFile(self._file, offset, shape, dtype, fortran)


def page_of_array(path: Path, name: str, piece: np.ndarray, layout: ArrayLayout) -> ImageFile:
    """Return a piece of an array as an image, in the machine's byte order."""
    pixels = np.ascontiguousarray(layout.to_image(piece), piece.dtype.newbyteorder("="))
    return ImageFile(pixels, path, name, layout=layout)


NPY = Format(
    name="npy", title="NPY", suffixes=(".npy",), signature=re.compile(re.escape(MAGIC)),
    open_pages=NpyPages, encoder=NpyEncoder, multipage=True, takes_axes=True,
)  # fmt: skip
