"""Image files, written page by page."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.formats.format import Encoder, Format
from csc_cogd.imagefiles.formats.registry import FORMATS, SUFFIXES
from csc_cogd.imagefiles.image import ImageFile
from csc_cogd.imagefiles.reading import ImageReader
from csc_cogd.storage import check_writable, whole_file

_FIELDS = {"icc_profile": "the ICC profile", "exif": "EXIF data", "xmp": "XMP data", "density": "the resolution"}


@dataclass
class ImageWriter:
    """Writes the pages of an image file, which :func:`create_images` has begun, in their order.

    Attributes
    ----------
    path : Path
    format : Format
    encoder : Encoder
    notes : list of str
        What the user should be warned of: what the format can't hold.
    n_written : int
    """

    path: Path
    format: Format
    encoder: Encoder
    notes: list[str] = field(default_factory=list)
    n_written: int = 0

    def write(self, image: ImageFile) -> None:
        """Write the next page.

        Raises
        ------
        InputError
            If the format can't hold the page, or the disk is full.
        """
        check_pixels(self.path, image)
        with _error_context(self.path, self.format):
            notes = [*image.notes, *unsupported_features(self.path, image), *self.encoder.write(image)]
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]
        self.n_written += 1


@contextmanager
def create_images(
    path: str | os.PathLike[str], source: Sized, *, overwrite: bool = False, before: Callable[[Path], Any] | None = None
) -> Iterator[ImageWriter]:
    """Write an image file with as many pages as the source, in the format of the path's suffix, in a ``with`` statement.

    At its end the file appears, whole; where it is left by an exception, nothing is left behind. `before` is called with the
    finished temporary file, before that gets its name.

    Raises
    ------
    InputError
        If the format is unknown or can't hold the pages, the file exists, or fewer or more pages were written.
    """
    path, n_pages = Path(path), len(source)
    known = _check_place(path, n_pages, overwrite=overwrite)
    with whole_file(path, overwrite=overwrite, before=before) as file:
        writer = ImageWriter(path, known, known.encoder(file, n_pages))
        try:
            yield writer
            if writer.n_written != n_pages:
                raise InputError("", f"{writer.n_written} of {n_pages} pages were given", subject=str(path))
            with _error_context(path, known):
                writer.encoder.finish()
                writer.encoder.close()
        except BaseException:
            with suppress(Exception):
                writer.encoder.close()
            raise


def write_image(image: ImageFile, path: str | os.PathLike[str], *, overwrite: bool = False) -> list[str]:
    """Write an image in the format of the path's suffix, in one step: the file is there whole or not at all.

    Returns what the user should be warned of: what the format can't hold.

    Raises
    ------
    InputError
        If the format is unknown or can't hold the pixels, the file exists, or it can't be written.
    """
    with create_images(path, [image], overwrite=overwrite) as writer:
        writer.write(image)
    return writer.notes


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
    n_pages = len(source) if isinstance(source, ImageReader) else 1
    _check_place(path, n_pages, overwrite=overwrite, inputs=inputs, new_folder=new_folder)
    check_pixels(path, source.peek() if isinstance(source, ImageReader) else source)


def _check_place(
    path: Path, n_pages: int, *, overwrite: bool, inputs: tuple[Path, ...] = (), new_folder: bool = False
) -> Format:
    """Return the format by the path's suffix, or raise InputError where a file of so many pages may not be written."""
    if (known := SUFFIXES.get(path.suffix.lower())) is None:
        fix = f"end it in {', '.join(SUFFIXES)}"
        raise InputError("", "the output's format isn't known by its name", fix, str(path))
    check_writable(path, overwrite=overwrite, inputs=inputs, new_folder=new_folder)
    if n_pages > 1 and not known.multipage:
        raise InputError("", f"{known.title} can't hold {n_pages} pages", "write .tif", str(path))
    return known


@contextmanager
def _error_context(path: Path, known: Format) -> Iterator[None]:
    """Prefix encoding errors with the file's path, in one line."""
    try:
        yield
    except OSError as error:
        raise InputError("", f"can't be written: {error.strerror or error}", subject=str(path)) from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # encoders raise whatever they like
        raise InputError("", f"can't be written as {known.title}: {error}", subject=str(path)) from None


def as_written(path: Path, image: ImageFile) -> ImageFile:
    """Return an image as a file of this name holds it: decoded again, where the format is lossy."""
    known = SUFFIXES[path.suffix.lower()]
    if not known.lossy:
        return image
    with _error_context(path, known):
        content = BytesIO()
        encoder = known.encoder(content, 1)
        encoder.write(image)
        encoder.finish()
        encoder.close()
        return known.open_pages(path, content, None, None).read(0)


def check_pixels(path: Path, image: ImageFile) -> None:
    """Raise InputError where the format of a file with this name can't hold the pixels."""
    try:
        SUFFIXES[path.suffix.lower()].check(image)
    except InputError as error:
        raise error.about(str(path)) from None


def unsupported_features(path: Path, image: ImageFile) -> list[str]:
    """Return in words what the format of a file with this name can't hold of an image."""
    known = SUFFIXES[path.suffix.lower()]
    lossy = f"{known.title} is lossy: compression changes all pixels slightly; write .png or .tif to keep them exactly"
    warnings = [*([lossy] if known.lossy else []), *known.caveats(image)]
    layout = image.layout if known.name != image.format else None
    absent = _FIELDS.keys() - known.carries - (layout.repeats if layout is not None else frozenset())
    lost = [words for field, words in _FIELDS.items() if field in absent and getattr(image, field)]
    lost += layout.lost_tags(known.carries) if layout is not None else []
    if not lost:
        return warnings
    verb = "isn't" if len(lost) == 1 else "aren't"
    return [*warnings, f"{', '.join(lost)} {verb} carried over from {FORMATS[image.format].title} to {known.title}"]
