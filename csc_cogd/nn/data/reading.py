"""Sets of labelled images from what lies on disk, whatever its form."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.cifar import CIFAR10, CIFAR100, PACKED, read_binary, read_packed
from csc_cogd.nn.data.folders import PARTS, class_folders, find_part, read_classes
from csc_cogd.nn.data.image_set import ImageSet, labelled
from csc_cogd.storage import read_arrays

_PICKLED = ("batches.meta", "data_batch_1", "test_batch", "meta", "train", "test")
_MOST_CLASSES = 1 << 16
_BINARY_AT = "https://www.cs.toronto.edu/~kriz/cifar.html"


def load_images(
    path: str | os.PathLike[str], part: str, *, image_size: int | None = None, holdout: float | None = None
) -> ImageSet:
    """The images to train on, or to test with, of a set on disk, whose form is recognised.

    - **CIFAR-10 or CIFAR-100**, the binary version: a folder of ``data_batch_1.bin`` to ``test_batch.bin``, or of
      ``train.bin`` and ``test.bin``, whose fine labels are taken; or the folder above it.
    - **CIFAR-10, packed**: a folder of ``cifar10_data_batch_1.npz`` to ``cifar10_test_batch.npz``.
    - **Folders of classes**: ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, or ``val`` for ``test``; classes are those of
      ``train``, in the order of their names. Without these parts, ``CLASS/*.jpg``. Images may be PNG, WebP, BMP, GIF, TIFF
      or PPM too; they are turned upright and converted to RGB. If all have one size, they are read into memory, up to a
      gibibyte of pixels; else they are read batch by batch, and resized to `image_size`.
    - **An npz file** of plain arrays: `images`, uint8, (N, H, W), (N, H, W, 1) or (N, H, W, 3), `labels`, integers from 0,
      and perhaps `class_names`; or parts: `train_images`, `train_labels`, `test_images`, `test_labels`. A grey channel
      becomes three equal ones, as networks take three.

    Parameters
    ----------
    path : path
    part : {"train", "test"}
    image_size : int, optional
        Height and width that images in folders of classes are resized and cropped to; without it they must have one size.
    holdout : float, optional
        For a set without parts: the share of each class that is held out for tests, such as 0.1. Always the same images.

    Returns
    -------
    ImageSet

    Raises
    ------
    InputError
        If the form isn't recognised, files are missing or damaged, labels name no class, or an option doesn't fit the form.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/set.npz", images=np.zeros((10, 8, 8), np.uint8), labels=np.arange(10) % 2)
    ...     len(load_images(f"{folder}/set.npz", "train", holdout=0.2))
    8
    """
    path = Path(path)
    if part not in ("train", "test"):
        raise InputError(f"part: {part!r} is unknown: use train or test")
    if image_size is not None and image_size < 1:
        raise InputError(f"image_size: {image_size} is too small: use 1 or more")
    if not path.exists():
        raise InputError(f"{path}: no such file or folder of images")
    read_cifar = _find_cifar(path)
    if path.is_dir() and read_cifar is None:
        return _read_folders(path, part, image_size, holdout)
    if image_size is not None:
        raise InputError(f"image_size: the images of {path} have one: leave it out")
    if read_cifar is None:
        return _read_npz(path, part, holdout)
    _check_has_parts(path, holdout)
    return read_cifar(part)


def _find_cifar(path: Path) -> Callable[[str], ImageSet] | None:
    """What reads a part of the CIFAR set in a folder, or in the folder that its archive unpacks to; None without one."""
    for folder in (path, path / "cifar-10-batches-bin", path / "cifar-100-binary"):
        for form in (CIFAR10, CIFAR100):
            if any((folder / name).is_file() for name in form.all_files):
                return partial(read_binary, folder, form=form)
    if any((path / name).is_file() for name in PACKED["train"] + PACKED["test"]):
        return partial(read_packed, path)
    for folder in (path, path / "cifar-10-batches-py", path / "cifar-100-python"):
        if any((folder / name).is_file() for name in _PICKLED):
            raise InputError(f"{folder}: CIFAR as Python pickles, which may run code: get the binary version, {_BINARY_AT}")
    return None


def _read_folders(path: Path, part: str, image_size: int | None, holdout: float | None) -> ImageSet:
    train, test = find_part(path, "train"), find_part(path, "test")
    if train and test:
        _check_has_parts(path, holdout)
        return read_classes(train if part == "train" else test, class_folders(train), image_size)
    if test:
        if part == "train":
            raise InputError(f"{path}: there are folders to test with, and none to train on: add train/CLASS/*.jpg")
        return read_classes(test, class_folders(test), image_size)
    whole = train or path
    class_names = class_folders(whole)
    if not class_names or (not train and any(name in names for names in PARTS.values() for name in class_names)):
        raise InputError(f"{path}: neither CIFAR nor folders of classes: put images into train/CLASS and test/CLASS")
    if train and part == "train" and holdout is None:
        return read_classes(train, class_names, image_size)
    share = _share_for_tests(path, holdout)
    return read_classes(whole, class_names, image_size).split(share)[part == "test"]


def _read_npz(path: Path, part: str, holdout: float | None) -> ImageSet:
    if path.suffix != ".npz":
        raise InputError(f"{path}: not an npz file: name one, or a folder; an archive must be unpacked first")
    arrays, _ = read_arrays(path, "data set")
    if "images" in arrays:
        share = _share_for_tests(path, holdout)
        return _from_arrays(path, arrays, "").split(share)[part == "test"]
    if f"{part}_images" in arrays:
        _check_has_parts(path, holdout)
        return _from_arrays(path, arrays, f"{part}_")
    raise InputError(f"{path}: holds neither images nor {part}_images: give its arrays such names, and labels too")


def _from_arrays(path: Path, arrays: dict[str, np.ndarray], prefix: str) -> ImageSet:
    images = arrays[f"{prefix}images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        what = f"{prefix}images is {images.dtype} of shape {images.shape}"
        raise InputError(f"{path}: {what}: store uint8 of (N, H, W) or (N, H, W, 3), 255 being white")
    integers = {name: array for name, array in arrays.items() if name.endswith("labels") and array.dtype.kind in "iu"}
    if f"{prefix}labels" not in integers:
        raise InputError(f"{path}: there are no integers {prefix}labels: store one for each image")
    if "class_names" in arrays:
        names = [str(name) for name in arrays["class_names"].ravel()]
    else:  # of both parts' labels, so that both have the same classes
        last = max(int(labels.max(initial=0)) for labels in integers.values())
        names = [str(label) for label in range(min(last + 1, _MOST_CLASSES))]
    channels = images[..., None] if images.ndim == 3 else images
    return labelled(path, np.broadcast_to(channels, (*channels.shape[:3], 3)), integers[f"{prefix}labels"], names)


def _check_has_parts(path: Path, holdout: float | None) -> None:
    if holdout is not None:
        raise InputError(f"holdout: {path} has a part to test with: leave it out, or split the part to train on")


def _share_for_tests(path: Path, holdout: float | None) -> float:
    if holdout is None:
        raise InputError(
            f"{path}: has no part to test with: set holdout=0.1 to keep a tenth of each class for that, or put images into "
            "test/CLASS (test_images and test_labels of an npz)"
        )
    return holdout
