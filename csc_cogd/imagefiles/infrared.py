"""Where the infrared channel of a scan is: in a fourth channel, on a page of its own, or in a file beside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.formats.tiff import TiffLayout
from csc_cogd.imagefiles.image import ImageFile
from csc_cogd.imagefiles.reading import ImageReader, open_images

ENDINGS = ("_IR", "_ir", "_Ir")
"""Of the names of files that hold the infrared channel of another."""
SUFFIXES = (".tif", ".tiff", ".TIF", ".TIFF", ".png", ".PNG")
OPACITY = 0.5
"""Share of values at either end of the range, from which a fourth channel that could be either is opacity."""


def split_infrared(image: ImageFile) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the colors of a page, (H, W) or (H, W, C), and the infrared channel (H, W) among its channels, if one is.

    That is the fourth channel of RGB TIFFs, where it isn't said what it is; or it is said to be opacity, and can't be, as
    hardly any of it is opaque or transparent.
    """
    pixels, layout = image.pixels, image.layout
    fourth = isinstance(layout, TiffLayout) and layout.color and pixels.ndim == 3 and pixels.shape[2] == 4
    if not fourth or pixels.dtype.kind not in "uf":
        return image.colors, None
    channel = pixels[..., 3]
    ends = (0, np.iinfo(channel.dtype).max) if channel.dtype.kind == "u" else (0, 1)
    if np.isin(channel, ends).mean() > OPACITY:
        return image.colors if image.has_alpha else pixels[..., :3], None
    return pixels[..., :3], channel


def with_cleaned(image: ImageFile, colors: np.ndarray) -> ImageFile:
    """Return a page with other colors, (H, W) or (H, W, C), and all further channels as they are."""
    n = 1 if colors.ndim == 2 else colors.shape[2]
    if image.pixels.ndim == 2 or image.pixels.shape[2] == n:
        return image.with_pixels(colors.reshape(image.pixels.shape))
    pixels = image.pixels.copy()
    pixels[..., :n] = colors.reshape(*colors.shape[:2], n)
    return image.with_pixels(pixels)


def is_infrared_page(image: ImageFile, before: ImageFile | None) -> bool:
    """Whether a page is the infrared channel of the one before it: gray, of the same size, behind one in color."""
    if before is None or image.pixels.ndim != 2 or before.colors.ndim != 3:
        return False
    return image.pixels.shape == before.pixels.shape[:2]


def beside(path: Path) -> Path | None:
    """Return the file with the infrared channel of another, such as ``scan_IR.tif`` of ``scan.tif``, if there is one."""
    return _named(path, path.parent)


def infrared_file(path: Path, given: Path | None, folder: Path = Path()) -> Path | None:
    """Return the file with the infrared channel of an image.

    Parameters
    ----------
    path : Path
    given : Path, optional
        The file, or a folder with one for each image, of its name or that and "_IR", at its place in the tree or at the top.
        Default: beside the image, if one is there.
    folder : Path
        The image's place in its tree.

    Raises
    ------
    InputError
        If the folder that is given has none.
    """
    if given is None:
        return beside(path)
    if not given.is_dir():
        return given
    for place in dict.fromkeys((given / folder, given)):
        if (found := _named(path, place, own=True)) is not None:
            return found
    raise InputError("", f"has no infrared channel for {path.name}", f"name it {path.stem}_IR.tif", str(given))


def _named(path: Path, folder: Path, *, own: bool = False) -> Path | None:
    stems = [path.stem + ending for ending in ENDINGS] + [path.stem] * own
    for found in (folder / f"{stem}{suffix}" for stem in stems for suffix in SUFFIXES):
        if os.path.isfile(found) and found.absolute() != path.absolute():
            return found
    return None


def read_infrared(path: Path, page: int, n_pages: int) -> np.ndarray:
    """Return the infrared channel (H, W) of a page from a file of its own; of colors, their mean.

    Raises
    ------
    InputError
        If it can't be read, or doesn't have a page for each.
    """
    with open_images(path) as pages:
        if len(pages) not in (1, n_pages):
            problem = f"has {len(pages)} infrared channels, but the image has {n_pages} page(s)"
            raise InputError("", problem, "give one for each page", str(path))
        colors = pages.read(page if len(pages) > 1 else 0).colors
    return colors if colors.ndim == 2 else colors.mean(axis=2)


def infrared_of_page(pages: ImageReader, page: int) -> np.ndarray | None:
    """Return the infrared channel on the page behind one of an open file, if that is what it is."""
    if page + 1 >= len(pages):
        return None
    behind = pages.read(page + 1)
    return behind.pixels if is_infrared_page(behind, pages.read(page)) else None
