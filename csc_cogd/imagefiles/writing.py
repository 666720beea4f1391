"""Image files, written page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from io import BytesIO
from pathlib import Path

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.formats.format import Encoder, Format
from csc_cogd.imagefiles.formats.registry import FORMATS, SUFFIXES
from csc_cogd.imagefiles.image import ImageFile
from csc_cogd.storage import whole_file

_FIELDS = {"icc_profile": "the ICC profile", "exif": "EXIF data", "xmp": "XMP data", "density": "the resolution"}


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
        self._format = SUFFIXES[path.suffix.lower()]
        self._context: AbstractContextManager[Encoder] = _encoder(path, self._format, n_pages, overwrite, before)

    def __enter__(self) -> ImageWriter:
        self._encoder = self._context.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is None and self._n_written != self._n_pages:
            error = InputError("", f"{self._n_written} of {self._n_pages} pages were given", subject=str(self.path))
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
        check_pixels(self.path, image)
        with _error_context(self.path, self._format):
            notes = [*image.notes, *unsupported_features(self.path, image), *self._encoder.write(image)]
        self.notes += [note for note in dict.fromkeys(notes) if note not in self.notes]
        self._n_written += 1


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


@contextmanager
def _encoder(
    path: Path, known: Format, n_pages: int, overwrite: bool, before: Callable[[Path], None] | None
) -> Iterator[Encoder]:
    """Return an encoder that writes to a temporary file, which gets its name at the end."""
    with whole_file(path, overwrite=overwrite, before=before) as file:
        encoder = known.encoder(file, n_pages)
        try:
            yield encoder
            with _error_context(path, known):
                encoder.finish()
                encoder.close()
        except BaseException:
            with suppress(Exception):
                encoder.close()
            raise


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
