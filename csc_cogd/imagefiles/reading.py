"""Image files, read page by page."""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.array_layout import check_axes
from csc_cogd.imagefiles.formats.format import Format
from csc_cogd.imagefiles.formats.registry import FORMATS, SUFFIXES
from csc_cogd.imagefiles.image import ImageFile

UNSUPPORTED_SIGNATURES = {
    "GIF": re.compile(rb"GIF8"), "PDF": re.compile(rb"%PDF-"),
    "HEIC or AVIF": re.compile(rb"....ftyp(hei|hev|mif|msf|avi)", re.DOTALL),
    "Photoshop": re.compile(rb"8BPS"), "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "a raw photo": re.compile(rb"FUJIFILMCCD|IIU\0|....ftypcrx", re.DOTALL),
}  # fmt: skip
"""What files of formats that aren't read begin with."""

UNREAD_SUFFIXES = frozenset({
    ".3fr", ".apng", ".arw", ".avif", ".bmp", ".cr2", ".cr3", ".dcm", ".dib", ".dng", ".erf", ".exr", ".fit", ".fits",
    ".fts", ".gif", ".heic", ".heif", ".ico", ".iiq", ".j2k", ".jfif", ".jp2", ".jpe", ".jpf", ".jpm", ".jpx", ".jxl",
    ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pbm", ".pcx", ".pef", ".pgm", ".pnm", ".ppm", ".psb", ".psd",
    ".qoi", ".raf", ".raw", ".rw2", ".sr2", ".srf", ".srw", ".tga", ".webp", ".x3f", ".xcf",
}) - SUFFIXES.keys()  # fmt: skip
"""Suffixes of image files that aren't looked for in folders: most of them of formats that aren't read."""


class ImageReader:
    """The pages of an image file, read one at a time; a context manager, and iterable.

    Attributes
    ----------
    path : Path
    format : Format
        By the content, not the name.
    """

    def __init__(self, path: Path, known: Format, file: BinaryIO, axes: str | None, template: ImageFile | None):
        self.path, self.format, self._file = path, known, file
        self._only: ImageFile | None = None
        if axes is not None and not known.takes_axes:
            raise InputError("axes", f"must not be given for {known.title}, whose axes are known", subject=str(path))
        with error_context(path, known.title):
            self._pages = known.open_pages(path, file, axes, template)

    def __len__(self) -> int:
        return len(self._pages)

    def __iter__(self) -> Iterator[ImageFile]:
        return map(self.read, range(len(self)))

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *exception: object) -> None:
        """Close the file."""
        self._only = None
        self._pages.close()
        self._file.close()

    def read(self, page: int) -> ImageFile:
        """Read a page, counted from 0.

        Raises
        ------
        InputError
            If it is damaged, or of a kind that isn't supported.
        """
        if not 0 <= page < len(self):
            raise InputError("page", f"must be from 0 to {len(self) - 1}, got {page}", subject=str(self.path))
        if self._only is not None:
            only, self._only = self._only, None
            return only
        with error_context(self.path, self.format.title):
            image = self._pages.read(page)
        if 0 in image.pixels.shape:
            raise InputError("", "has no pixels", subject=str(self.path))
        dtype = image.pixels.dtype
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            fix = "convert it to integers or floats of up to 64 bits"
            fix = "restore its real and imaginary parts one by one" if dtype.kind == "c" else fix
            raise InputError("", f"pixels of type {dtype} aren't supported", fix, str(self.path))
        return image

    def peek(self) -> ImageFile:
        """Return the first page; if it is the only one, it is kept until it is read."""
        image = self.read(0)
        if len(self) == 1:
            self._only = image
        return image


def open_images(path: str | os.PathLike[str], *, axes: str | None = None, template: ImageFile | None = None) -> ImageReader:
    """Open an image file to read its pages.

    Parameters
    ----------
    path : path
    axes : str, optional
        Of NPY and NPZ arrays, by letters: Y, X, C (channels) and, for stacks, any others, such as "NYXC". Default: "YX", or
        "YXC" with up to four channels. Of TIFF: "CYX", where the pages are the channels of one image.
    template : ImageFile, optional
        The image that arrays, such as masks of it, belong to: their axes are its own, or fewer.

    Raises
    ------
    InputError
        If the file is missing or isn't an image of a known format, or the axes don't fit.
    """
    path = Path(path)
    if axes is not None:
        check_axes(axes)
    file = _open_file(path)
    try:
        return ImageReader(path, _format_of(path, file), file, axes, template)
    except BaseException:
        file.close()
        raise


def sniff_format(path: Path) -> Format:
    """Return the format of a file by its first bytes.

    Raises
    ------
    InputError
        If it can't be read, or isn't a known one.
    """
    with _open_file(path) as file:
        return _format_of(path, file)


def true_suffix(path: Path) -> str:
    """Return the suffix of the format of a file's content: its own if that fits, or if the file can't be read."""
    try:
        found = sniff_format(path)
    except InputError:
        return path.suffix
    return path.suffix if path.suffix.lower() in found.suffixes else found.suffixes[0]


def read_image(path: str | os.PathLike[str], *, axes: str | None = None) -> ImageFile:
    """Read the only image in a file; see :func:`open_images`.

    Raises
    ------
    InputError
        If the file is missing, isn't an image of a known format, or holds more than one.
    """
    with open_images(path, axes=axes) as reader:
        if len(reader) != 1:
            raise InputError("", f"has {len(reader)} pages, but one image is needed here", "split it first", str(path))
        return reader.read(0)


def _open_file(path: Path) -> BinaryIO:
    subject = str(path)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()  # one that can't be looked into says why
            raise InputError("", "is a directory", "name an image file", subject)
        if not stat.S_ISREG(mode):  # opening a pipe would wait for somebody to write
            raise InputError("", "isn't a regular file", "name an image file", subject)
        return path.open("rb")
    except FileNotFoundError:
        raise InputError("", "no such file", "check its name", subject) from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError("", f"can't be read: {getattr(error, 'strerror', None) or error}", subject=subject) from None


def _format_of(path: Path, file: BinaryIO) -> Format:
    """Return the format by the first bytes: names lie."""
    with error_context(path, "image"):
        start = file.read(12)
    if not start:
        raise InputError("", "the file is empty", subject=str(path))
    for known in FORMATS.values():
        if known.signature.match(start):
            return known
    for other, signature in UNSUPPORTED_SIGNATURES.items():
        if signature.match(start):
            fix = "convert it to PNG or TIFF first, which keep every pixel"
            raise InputError("", f"{other} can't be read", fix, str(path))
    *others, last = (known.title for known in FORMATS.values())
    fix = f"use {', '.join(others)} or {last}"
    fix += ", such as np.save(name, astropy.io.fits.getdata(path))" if start.startswith(b"SIMPLE  ") else ""
    raise InputError("", "isn't an image of a known format", fix, str(path))


@contextmanager
def error_context(path: Path, kind: str) -> Iterator[None]:
    """Prefix decoding errors with the file's path, in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of what they then raise, or of harmless tags
            yield
    except InputError as error:
        raise error if error.subject else error.about(str(path)) from None
    except MemoryError:
        raise
    except EOFError:
        raise InputError("", f"damaged {kind}: the file ends too early", subject=str(path)) from None
    except Exception as error:  # decoders raise whatever they like on damaged files
        what = shorten((str(error).strip().splitlines() or [type(error).__name__])[0], 150, placeholder=" ...")
        raise InputError("", f"damaged or unsupported {kind}: {what}", subject=str(path)) from None
