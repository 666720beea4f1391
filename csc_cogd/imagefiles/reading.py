"""Image files, read page by page.

The formats are known by their modules: each has pages, which are read one at a time.
"""

from __future__ import annotations

import os
import re
import stat
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import BinaryIO, Protocol

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.formats import arrays, jpeg, png, tiff
from csc_cogd.imagefiles.image import ImageFile

_OTHERS = {  # formats that are known by their first bytes, but not read
    "WebP": re.compile(rb"RIFF....WEBP", re.DOTALL), "GIF": re.compile(rb"GIF8"), "BMP": re.compile(rb"BM"),
    "HEIC or AVIF": re.compile(rb"....ftyp(hei|hev|mif|msf|avi)", re.DOTALL), "PDF": re.compile(rb"%PDF-"),
    "Photoshop": re.compile(rb"8BPS"), "JPEG 2000": re.compile(rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51"),
    "JPEG XL": re.compile(rb"\xff\x0a|\0\0\0\x0cJXL "),
    "a raw photo": re.compile(rb"FUJIFILMCCD|IIU\0|....ftypcrx", re.DOTALL),
}  # fmt: skip
_DECODERS: dict[str, Callable[[bytes, Path], ImageFile]] = {"png": png.read, "jpeg": jpeg.read}


class _Pages(Protocol):
    def __len__(self) -> int: ...
    def read(self, page: int) -> ImageFile: ...
    def close(self) -> None: ...


class ImageReader:
    """The pages of an image file, read one at a time; a context manager, and iterable.

    Attributes
    ----------
    path : Path
    format : {"png", "jpeg", "tiff", "npy", "npz"}
        By the content, not the name.
    """

    def __init__(self, path: Path, kind: str, file: BinaryIO, axes: str | None, like: ImageFile | None):
        self.path, self.format, self._file = path, kind, file
        self._only: ImageFile | None = None
        with _named(path, kind):
            self._pages = _open_pages(path, kind, file, axes, like)

    def __len__(self) -> int:
        return len(self._pages)

    def __iter__(self) -> Iterator[ImageFile]:
        return (self.read(page) for page in range(len(self)))

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, page: int) -> ImageFile:
        """Read a page, counted from 0.

        Raises
        ------
        InputError
            If it is damaged, or of a kind that isn't supported.
        """
        if not 0 <= page < len(self):
            raise InputError(f"{self.path}: no page {page}: it has {len(self)}")
        if self._only is not None:
            only, self._only = self._only, None
            return only
        with _named(self.path, self.format):
            image = self._pages.read(page)
        if 0 in image.pixels.shape:
            raise InputError(f"{self.path}: holds no pixel")
        if image.pixels.dtype.kind not in "biuf" or image.pixels.dtype.itemsize > 8:
            way = "; restore its real and imaginary parts one by one" if image.pixels.dtype.kind == "c" else ""
            raise InputError(
                f"{self.path}: {image.pixels.dtype} isn't a kind of pixels: integers or floats of up to 64 bits are{way}"
            )
        return image

    def look(self) -> ImageFile:
        """The first page; that of a file of one page is kept until it is read."""
        image = self.read(0)
        if len(self) == 1:
            self._only = image
        return image

    def close(self) -> None:
        self._only = None
        self._pages.close()
        self._file.close()


def open_images(path: str | os.PathLike[str], *, axes: str | None = None, like: ImageFile | None = None) -> ImageReader:
    """Open an image file to read its pages.

    Parameters
    ----------
    path : path
    axes : str, optional
        Of NPY and NPZ arrays, by letters: Y, X, C (channels) and, for stacks, any others, such as "NYXC". Default: "YX", or
        "YXC" with up to four channels. Of TIFF: "CYX", where the pages are the channels of one image.
    like : ImageFile, optional
        The image that arrays, such as masks of it, belong to: their axes are its own, or fewer.

    Raises
    ------
    InputError
        If the file is missing or isn't an image of a known format, or the axes don't fit.
    """
    path = Path(path)
    if axes is not None:
        arrays.check_axes(axes)
    file = _open_file(path)
    try:
        return ImageReader(path, _format_of(path, file), file, axes, like)
    except BaseException:
        file.close()
        raise


def sniff_format(path: Path) -> str:
    """The format of a file by its first bytes.

    Raises
    ------
    InputError
        If it can't be read, or isn't a known one.
    """
    with _open_file(path) as file:
        return _format_of(path, file)


def read_image(path: str | os.PathLike[str], *, axes: str | None = None) -> ImageFile:
    """Read the only image in a file; see :func:`open_images`.

    Raises
    ------
    InputError
        If the file is missing, isn't an image of a known format, or holds more than one.
    """
    with open_images(path, axes=axes) as reader:
        if len(reader) != 1:
            raise InputError(f"{path}: {len(reader)} pages: a single image is needed here, split it first")
        return reader.read(0)


class _OnePage:
    """The page of an open PNG or JPEG file."""

    def __init__(self, path: Path, file: BinaryIO, decode: Callable[[bytes, Path], ImageFile]):
        self._path, self._file, self._decode = path, file, decode

    def __len__(self) -> int:
        return 1

    def read(self, page: int) -> ImageFile:
        self._file.seek(0)
        return self._decode(self._file.read(), self._path)

    def close(self) -> None:
        pass


def _open_file(path: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            os.scandir(path).close()  # one that can't be looked into says why
            raise InputError(f"{path}: is a directory: name an image file")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for somebody to write
            raise InputError(f"{path}: isn't a regular file: name an image file")
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file: check its name") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None


def _format_of(path: Path, file: BinaryIO) -> str:
    """Format by the first bytes: names lie."""
    with _named(path, "image"):
        start = file.read(12)
    if not start:
        raise InputError(f"{path}: the file is empty")
    for kind, signatures in {
        "png": (png.SIGNATURE,), "jpeg": (b"\xff\xd8\xff",), "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "npy": (b"\x93NUMPY",), "npz": (b"PK\3\4", b"PK\5\6"),
    }.items():  # fmt: skip
        if start.startswith(signatures):
            return kind
    for other, signature in _OTHERS.items():
        if signature.match(start):
            raise InputError(f"{path}: {other} isn't read here: convert it to PNG or TIFF first, which keep every pixel")
    way = ", such as np.save(name, astropy.io.fits.getdata(path))" if start.startswith(b"SIMPLE  ") else ""
    raise InputError(f"{path}: not an image that is known here: use PNG, JPEG, TIFF, NPY or NPZ{way}")


def _open_pages(path: Path, kind: str, file: BinaryIO, axes: str | None, like: ImageFile | None) -> _Pages:
    if kind == "tiff":
        return tiff.TiffPages(path, file, axes)
    if kind == "npy":
        return arrays.NpyPages(path, file, axes, like)
    if kind == "npz":
        return arrays.NpzPages(path, file, axes, like)
    if axes is not None:
        raise InputError(f"{path}: --axes {axes}: the axes of {kind.upper()} are known: leave it out")
    return _OnePage(path, file, _DECODERS[kind])


@contextmanager
def _named(path: Path, kind: str) -> Iterator[None]:
    """Give errors in reading a name, in one line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of what they then raise, or of harmless tags
            yield
    except (InputError, MemoryError):
        raise
    except EOFError:
        raise InputError(f"{path}: damaged {kind.upper()}: the file ends too early") from None
    except Exception as error:  # decoders raise whatever they like on damaged files
        what = shorten((str(error).strip().splitlines() or [type(error).__name__])[0], 150, placeholder=" ...")
        raise InputError(f"{path}: damaged or unsupported {kind.upper()}: {what}") from None
