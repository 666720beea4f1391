"""What callers see of image files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.formats.format import Format
from csc_cogd.imagefiles.formats.registry import SUFFIXES
from csc_cogd.imagefiles.image import ImageFile
from csc_cogd.imagefiles.reading import UNREAD_SUFFIXES, ImageReader, open_images, read_image, sniff_format
from csc_cogd.imagefiles.writing import ImageWriter, check_pixels
from csc_cogd.storage import check_writable

__all__ = [
    "SUFFIXES", "UNREAD_SUFFIXES", "ImageFile", "ImageReader", "ImageWriter", "check_output", "create_images",
    "format_by_name", "make_folder", "open_images", "read_image", "sniff_format", "true_suffix", "write_image",
]  # fmt: skip


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
    path = Path(path)
    _check_place(path, len(source), overwrite)
    return ImageWriter(path, len(source), overwrite, before)


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


def true_suffix(path: Path) -> str:
    """Return the suffix of the format of a file's content: its own if that fits, or if the file can't be read."""
    try:
        found = sniff_format(path)
    except InputError:
        return path.suffix
    return path.suffix if path.suffix.lower() in found.suffixes else found.suffixes[0]


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
    _check_place(path, n_pages, overwrite, inputs, new_folder)
    check_pixels(path, source.peek() if isinstance(source, ImageReader) else source)


def make_folder(path: Path) -> None:
    """Make a folder for outputs if there is none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("", f"the folder can't be made: {error.strerror}", subject=str(path)) from None


def format_by_name(path: Path) -> Format:
    """Return the format that a file is written in, by its name.

    Raises
    ------
    InputError
        If the name doesn't end in the suffix of a known format.
    """
    if (known := SUFFIXES.get(path.suffix.lower())) is None:
        fix = f"end it in {', '.join(SUFFIXES)}"
        raise InputError("", "the output's format isn't known by its name", fix, str(path))
    return known


def _check_place(path: Path, n_pages: int, overwrite: bool, inputs: tuple[Path, ...] = (), new_folder: bool = False) -> None:
    """Raise InputError where a file of so many pages may not be written."""
    known = format_by_name(path)
    check_writable(path, overwrite=overwrite, inputs=inputs, new_folder=new_folder)
    if n_pages > 1 and not known.multipage:
        raise InputError("", f"{known.title} can't hold {n_pages} pages", "write .tif", str(path))
