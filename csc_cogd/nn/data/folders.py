"""Images in folders of classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.files import SUFFIXES, ImageFiles, shape_of
from csc_cogd.nn.data.image_set import ImageSet

MEMORY = 1 << 30
"""Bytes of pixels up to which images of one size are kept in memory."""

PARTS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""Names of the folders of each part; of several, the first that holds folders of classes is taken."""


def find_part(folder: Path, part: str) -> Path | None:
    """The folder of a part, if there is one that holds folders of classes."""
    found = (folder / name for name in PARTS[part])
    return next((path for path in found if path.is_dir() and class_folders(path)), None)


def class_folders(folder: Path) -> list[str]:
    """The names of a folder's folders, sorted; hidden ones are left out."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise InputError(f"{folder}: the folder can't be read: {error.strerror}") from None


def read_classes(folder: Path, class_names: list[str], image_size: int | None) -> ImageSet:
    """The images of the classes of these names; those of one size, if they aren't too many, are read into memory.

    Raises
    ------
    InputError
        If a class is none of these or has no images, a file can't be read, or there are several sizes and no `image_size`.
    """
    unknown = sorted(set(class_folders(folder)) - set(class_names))
    if unknown:
        raise InputError(f"{folder / unknown[0]}: there is no such class to train on: take the folder away")
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        found = _images_below(folder / name)
        if not found and (folder / name).is_dir():
            raise InputError(f"{folder / name}: holds no images ({', '.join(SUFFIXES)}): add some, or take the folder away")
        paths += found
        labels += [label] * len(found)
    shape = _common_shape(paths, image_size)
    files = ImageFiles(tuple(paths), shape or (image_size or 0, image_size or 0))
    images = files.read(range(len(files))) if shape and len(files) * shape[0] * shape[1] * 3 <= MEMORY else files
    return ImageSet(images, np.array(labels), tuple(class_names))


def _images_below(folder: Path) -> list[str]:
    """Paths of the images in a folder and its folders, in the order of their names; hidden ones are left out."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = (name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
        found += [os.path.join(place, name) for name in sorted(images)]
    return found


def _common_shape(paths: list[str], image_size: int | None) -> tuple[int, int] | None:
    """Height and width that all images have, and that `image_size`, if given, asks for; None if they are to be resized."""
    first = (image_size, image_size) if image_size else shape_of(paths[0])
    for path in paths:
        shape = shape_of(path)
        if shape == first:
            continue
        if image_size:
            return None
        what = f"{shape[1]} x {shape[0]} pixels, {Path(paths[0]).name} {first[1]} x {first[0]}"
        raise InputError(f"{path}: has {what}: give the size to resize all to, such as image_size=224")
    return first
