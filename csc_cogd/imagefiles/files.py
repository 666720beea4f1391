"""Reading and writing image files page by page: PNG, JPEG, TIFF, NPY, NPZ, at their own depth.

The formats are known by their modules: for reading, each has pages, which are read one at a time; for writing, an encoder,
which is given one page after the other.
"""

from __future__ import annotations

import os
import stat
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from csc_cogd.errors import InputError
from csc_cogd.imagefiles import arrays, jpeg, png, tiff
from csc_cogd.imagefiles.image import ImageFile, n_channels
from csc_cogd.storage import check_writable

SUFFIXES = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff", ".npy": "npy", ".npz": "npz",
}  # fmt: skip
_SINGLE = ("png", "jpeg")  # formats of one page
_DECODERS: dict[str, Callable[[bytes, Path], ImageFile]] = {"png": png.read, "jpeg": jpeg.read}


class _Pages(Protocol):
    def __len__(self) -> int: ...
    def read(self, page: int) -> ImageFile: ...
    def close(self) -> None: ...


class _Encoder(Protocol):
    def write(self, image: ImageFile) -> list[str]: ...
    def finish(self) -> None: ...


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
            raise InputError(
                f"{self.path}: {image.pixels.dtype} isn't a kind of pixels: integers or floats of up to 64 bits are"
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


class ImageWriter:
    """Writes the pages of an image file in their order; a context manager.

    Leaving it makes the file appear, whole; where it is left by an exception, nothing is left behind.

    Attributes
    ----------
    path : Path
    notes : list of str
        What the user should be warned of: what the format can't hold.
    """

    def __init__(self, path: Path, n_pages: int, overwrite: bool, before: Callable[[Path], None] | None):
        self.path, self.notes = path, list[str]()
        self._n_pages, self._n_written = n_pages, 0
        self._context: AbstractContextManager[_Encoder] = _encoder(path, n_pages, overwrite, before)

    def __enter__(self) -> ImageWriter:
        self._encoder = self._context.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None and self._n_written != self._n_pages:
            error = InputError(f"{self.path}: {self._n_written} of {self._n_pages} pages were given")
            self._context.__exit__(InputError, error, None)
            raise error
        self._context.__exit__(*exception)  # type: ignore[arg-type]

    def write(self, image: ImageFile) -> None:
        """Write the next page.

        Raises
        ------
        InputError
            If the format can't hold the page, or the disk is full.
        """
        kind = SUFFIXES[self.path.suffix.lower()]
        _check_pixels(self.path, kind, image)
        with _writing(self.path, kind):
            notes = [*image.notes, *_lost(image, kind), *self._encoder.write(image)]
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]
        self._n_written += 1


def open_images(path: str | os.PathLike[str], *, axes: str | None = None, like: ImageFile | None = None) -> ImageReader:
    """Open an image file to read its pages.

    Parameters
    ----------
    path : path
    axes : str, optional
        Of NPY and NPZ arrays, by letters: Y, X, C (channels) and, for stacks, any others, such as "NYXC". Default: "YX", or
        "YXC" with up to four channels. Of TIFF: "CYX", where the pages are the channels of one image.
    like : ImageFile, optional
        The image that an NPY file of masks belongs to: its axes are those of the image, or fewer.

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


def create_images(
    path: str | os.PathLike[str],
    source: ImageReader,
    *,
    overwrite: bool = False,
    before: Callable[[Path], None] | None = None,
) -> ImageWriter:
    """Begin an image file with as many pages as the source, in the format of the path's suffix.

    `before` is called with the finished temporary file, before that gets its name.

    Raises
    ------
    InputError
        If the format is unknown or can't hold the pages, or the file exists.
    """
    check_output(Path(path), source, overwrite=overwrite)
    return ImageWriter(Path(path), len(source), overwrite, before)


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


def write_image(image: ImageFile, path: str | os.PathLike[str], *, overwrite: bool = False) -> list[str]:
    """Write an image in the format of the path's suffix, in one step: the file is there whole or not at all.

    Returns what the user should be warned of: what the format can't hold.

    Raises
    ------
    InputError
        If the format is unknown or can't hold the pixels, the file exists, or it can't be written.
    """
    path = Path(path)
    check_output(path, image, overwrite=overwrite)
    with ImageWriter(path, 1, overwrite, None) as writer:
        writer.write(image)
    return writer.notes


def true_suffix(source: ImageFile | ImageReader) -> str:
    """The suffix of the content's format: the file's own where it fits."""
    own = source.path.suffix
    if SUFFIXES.get(own.lower()) == source.format:
        return own
    return next(suffix for suffix, kind in SUFFIXES.items() if kind == source.format)


def check_output(
    path: Path,
    source: ImageFile | ImageReader,
    *,
    overwrite: bool,
    inputs: tuple[Path, ...] = (),
    new_folder: bool = False,
) -> None:
    """Raise InputError now for what writing would refuse later, and for an output that is one of the inputs.

    Only shape and dtype of the first image's pixels are looked at. With `new_folder`, the folder may still have to be made.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path}: the output's format isn't known by its name: end it in {', '.join(SUFFIXES)}")
    check_writable(path, overwrite=overwrite, inputs=inputs, new_folder=new_folder)
    if isinstance(source, ImageReader):
        if kind in _SINGLE and len(source) > 1:
            raise InputError(f"{path}: {kind.upper()} can't hold the {len(source)} pages of {source.path}: write .tif")
        source = source.look()
    _check_pixels(path, kind, source)


def make_folder(path: Path) -> None:
    """Make a folder for outputs where there is none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: the folder can't be made: {error.strerror}") from None


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


class _OneEncoder:
    """Writes one image as PNG or JPEG."""

    def __init__(self, file: BinaryIO, kind: str):
        self._file, self._kind = file, kind

    def write(self, image: ImageFile) -> list[str]:
        content, notes = (png.encode(image), list[str]()) if self._kind == "png" else jpeg.encode(image)
        self._file.write(content)
        return notes

    def finish(self) -> None:
        pass


def _open_file(path: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise InputError(f"{path}: is a directory: name an image file")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for somebody to write
            raise InputError(f"{path}: isn't a regular file: name an image file")
        return path.open("rb")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except InputError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise InputError(f"{path}: can't be read: {getattr(error, 'strerror', None) or error}") from None


def _format_of(path: Path, file: BinaryIO) -> str:
    """Format by the first bytes: names lie."""
    with _named(path, "image"):
        start = file.read(8)
    if not start:
        raise InputError(f"{path}: the file is empty")
    for kind, signatures in {
        "png": (png.SIGNATURE,), "jpeg": (b"\xff\xd8\xff",), "tiff": (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"),
        "npy": (b"\x93NUMPY",), "npz": (b"PK\3\4", b"PK\5\6"),
    }.items():  # fmt: skip
        if start.startswith(signatures):
            return kind
    raise InputError(f"{path}: not an image that is known here: use PNG, JPEG, TIFF, NPY or NPZ")


def _open_pages(path: Path, kind: str, file: BinaryIO, axes: str | None, like: ImageFile | None) -> _Pages:
    if kind == "tiff":
        return tiff.TiffPages(path, file, axes)
    if kind == "npy":
        return arrays.NpyPages(path, axes, like)
    if kind == "npz":
        return arrays.NpzPages(path, file, axes)
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
    except Exception as error:  # decoders raise whatever they like on damaged files
        what = str(error).strip().splitlines()
        raise InputError(f"{path}: damaged or unsupported {kind.upper()}: {what[0] if what else error!r}") from None


@contextmanager
def _writing(path: Path, kind: str) -> Iterator[None]:
    """Give errors in writing a name, in one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from None
    except (ValueError, RuntimeError) as error:  # of encoders
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: can't be written as {kind.upper()}: {error}") from None


@contextmanager
def _encoder(path: Path, n_pages: int, overwrite: bool, before: Callable[[Path], None] | None) -> Iterator[_Encoder]:
    """An encoder that writes to a temporary file, which gets its name at the end."""
    kind = SUFFIXES[path.suffix.lower()]
    with _whole_file(path, overwrite, before) as file:
        encoders: dict[str, Callable[[BinaryIO, int], _Encoder]] = {
            "tiff": tiff.TiffEncoder, "npy": arrays.NpyEncoder, "npz": arrays.NpzEncoder,
        }  # fmt: skip
        encoder = encoders[kind](file, n_pages) if kind in encoders else _OneEncoder(file, kind)
        yield encoder
        with _writing(path, kind):
            encoder.finish()
            file.flush()


@contextmanager
def _whole_file(path: Path, overwrite: bool, before: Callable[[Path], None] | None) -> Iterator[BinaryIO]:
    """A temporary file in the folder of `path`, which gets that name where no exception was raised, else goes."""
    from csc_cogd.storage import _exists, _rename_new, _umask

    temporary = None
    try:
        with _writing(path, ""):
            handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".csc-cogd-", suffix=path.suffix)
        os.close(handle)
        with open(temporary, "w+b") as file:  # by its name, which tifffile wants to know
            yield file
        if before is not None:
            before(Path(temporary))
        with _writing(path, ""):
            try:
                os.chmod(temporary, 0o666 & ~_umask())
                if overwrite:
                    os.replace(temporary, path)
                else:
                    _rename_new(temporary, path)
            except FileExistsError:
                raise _exists(path) from None
        temporary = None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def _check_pixels(path: Path, kind: str, image: ImageFile) -> None:
    pixels, channels = image.pixels, n_channels(image.pixels)
    if kind == "png" and (pixels.dtype not in ("uint8", "uint16") or channels > 4):
        raise InputError(f"{path}: PNG can't hold {channels} channel(s) of {pixels.dtype}: write .tif or .npy")
    if kind == "jpeg" and (pixels.dtype != "uint8" or channels not in (1, 3) or image.has_alpha):
        raise InputError(f"{path}: JPEG can't hold {channels} channel(s) of {pixels.dtype}: write .png or .tif")
    if kind == "jpeg" and max(pixels.shape[:2]) > jpeg.LARGEST:
        raise InputError(f"{path}: JPEG can't hold more than {jpeg.LARGEST} pixels a side: write .png or .tif")
    if kind == "tiff" and pixels.dtype == bool:
        raise InputError(f"{path}: a bilevel image is written as .npy only: widen it to 8 bits first")


def _lost(image: ImageFile, kind: str) -> list[str]:
    """What of an image a format can't hold, in words."""
    lossy = ["JPEG is lossy: none of the pixels will be exact; write .png or .tif to keep them"] if kind == "jpeg" else []
    lost = list[str]()
    if kind in ("npy", "npz"):
        fields = {
            "the ICC profile": image.icc_profile, "EXIF data": image.exif, "XMP data": image.xmp,
            "the resolution": image.density,
        }  # fmt: skip
        lost += [name for name, value in fields.items() if value]
    if image.layout is not None and kind != image.format:
        lost += image.layout.names()
    if not lost:
        return lossy
    return [*lossy, f"{', '.join(lost)}: not carried over from {image.format.upper()} to {kind.upper()}"]
