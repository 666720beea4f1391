"""Images in folders of classes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.files import SUFFIXES, ImageFiles, shape_of
from csc_cogd.nn.data.image_set import ImageSet

MEMORY = 1 << 30
"""Most bytes of pixels that are kept in memory, of images of one size."""

PARTS = {"train": ("train",), "test": ("test", "val", "valid", "validation")}
"""Names of the folders of each part; the first that holds folders of classes is used."""


def find_part(folder: Path, part: str) -> Path | None:
    """Return the folder of a part that holds folders of classes, if there is one."""
    found = (folder / name for name in PARTS[part])
    return next((path for path in found if path.is_dir() and class_folders(path)), None)


def class_folders(folder: Path) -> list[str]:
    """Return the sorted names of a folder's subfolders, without hidden ones."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith((".", "__MACOSX")))
    except OSError as error:
        raise InputError("", f"can't be read: {error.strerror}", subject=str(folder)) from None


def read_classes(folder: Path, class_names: list[str], image_size: int | None) -> ImageSet:
    """Return the images of some classes, in memory if they have one size and aren't too many.

    Raises
    ------
    InputError
        If the folder has other classes, a class has no images, a file can't be read, or sizes differ without `image_size`.
    """
    unknown = sorted(set(class_folders(folder)) - set(class_names))
    if unknown:
        raise InputError("", "isn't a class of the training images", "remove this folder", str(folder / unknown[0]))
    paths: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(class_names):
        found = _images_below(folder / name)
        if not found and (folder / name).is_dir():
            problem = f"holds no images ({', '.join(SUFFIXES)})"
            raise InputError("", problem, "add some, or remove this folder", str(folder / name))
        paths += found
        labels += [label] * len(found)
    shape = (image_size, image_size) if image_size else shape_of(paths[0])
    other = next((path for path in paths if shape_of(path) != shape), None)
    if other is not None and not image_size:
        (height, width), path = shape_of(other), Path(paths[0])
        problem = f"has {width} x {height} pixels, but {path.name} {shape[1]} x {shape[0]}"
        raise InputError("", problem, "add {image_size}, such as 224, to resize all", other)
    files = ImageFiles(tuple(paths), shape)
    fits = other is None and len(files) * shape[0] * shape[1] * 3 <= MEMORY
    return ImageSet(files.read(range(len(files))) if fits else files, np.array(labels), tuple(class_names))


def _images_below(folder: Path) -> list[str]:
    """Return the paths of the images in a folder and its subfolders, sorted by name, without hidden ones."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = (name for name in names if name.lower().endswith(SUFFIXES) and not name.startswith("."))
        found += [os.path.join(place, name) for name in sorted(images)]
    return found
