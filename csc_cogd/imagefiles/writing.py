"""Image files, written page by page.

The formats are known by their modules: each has an encoder, which is given one page after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.formats import arrays, jpeg, png, tiff
from csc_cogd.imagefiles.image import ImageFile, n_channels
from csc_cogd.storage import whole_file

SUFFIXES = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff", ".npy": "npy", ".npz": "npz",
}  # fmt: skip


class _Encoder(Protocol):
    def write(self, image: ImageFile) -> list[str]: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


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
        check_pixels(self.path, kind, image)
        with _writing(self.path, kind):
            notes = [*image.notes, *losses(self.path, image), *self._encoder.write(image)]
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]
        self._n_written += 1


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

    def close(self) -> None:
        pass


@contextmanager
def _writing(path: Path, kind: str) -> Iterator[None]:
    """Give errors in writing a name, in one line."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # encoders raise whatever they like
        raise InputError(f"{path}: can't be written as {kind.upper()}: {error}") from None


@contextmanager
def _encoder(path: Path, n_pages: int, overwrite: bool, before: Callable[[Path], None] | None) -> Iterator[_Encoder]:
    """An encoder that writes to a temporary file, which gets its name at the end."""
    kind = SUFFIXES[path.suffix.lower()]
    with whole_file(path, overwrite=overwrite, before=before) as file:
        encoders: dict[str, Callable[[BinaryIO, int], _Encoder]] = {
            "tiff": tiff.TiffEncoder, "npy": arrays.NpyEncoder, "npz": arrays.NpzEncoder,
        }  # fmt: skip
        encoder = encoders[kind](file, n_pages) if kind in encoders else _OneEncoder(file, kind)
        try:
            yield encoder
            with _writing(path, kind):
                encoder.finish()
                encoder.close()
        except BaseException:
            with suppress(Exception):
                encoder.close()
            raise


def check_pixels(path: Path, kind: str, image: ImageFile) -> None:
    pixels, channels = image.pixels, n_channels(image.pixels)
    if kind == "png" and (pixels.dtype not in ("uint8", "uint16") or channels > 4):
        raise InputError(f"{path}: PNG can't hold {channels} channel(s) of {pixels.dtype}: write .tif or .npy")
    if kind == "jpeg" and (pixels.dtype != "uint8" or channels not in (1, 3) or image.has_alpha):
        raise InputError(f"{path}: JPEG can't hold {channels} channel(s) of {pixels.dtype}: write .png or .tif")
    if kind == "jpeg" and max(pixels.shape[:2]) > jpeg.LARGEST:
        raise InputError(f"{path}: JPEG can't hold more than {jpeg.LARGEST} pixels a side: write .png or .tif")
    if kind == "tiff" and pixels.dtype == bool:
        raise InputError(f"{path}: a bilevel image is written as .npy only: widen it to 8 bits first")


def losses(path: Path, image: ImageFile) -> list[str]:
    """What of an image the format of a file with this name can't hold, in words."""
    kind = SUFFIXES[path.suffix.lower()]
    warnings = ["JPEG is lossy: none of the pixels will be exact; write .png or .tif to keep them"] if kind == "jpeg" else []
    if kind == "png" and n_channels(image.pixels) in (2, 4) and not image.has_alpha:
        warnings = ["the last channel means opacity in PNG"]
    lost = list[str]()
    if kind in ("npy", "npz"):
        fields = {
            "the ICC profile": image.icc_profile, "EXIF data": image.format != "tiff" and image.exif, "XMP data": image.xmp,
            "the resolution": image.density,
        }  # fmt: skip
        lost += [name for name, value in fields.items() if value]
    if image.layout is not None and kind != image.format:
        lost += image.layout.names(kind)
    if not lost:
        return warnings
    verb = "isn't" if len(lost) == 1 else "aren't"
    return [*warnings, f"{', '.join(lost)} {verb} carried over from {image.format.upper()} to {kind.upper()}"]
