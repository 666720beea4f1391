"""Sets of labeled images on disk, in any of several forms."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.cifar import CIFAR10, CIFAR100, PACKED, read_binary, read_packed
from csc_cogd.nn.data.folders import PARTS, class_folders, find_part, read_classes
from csc_cogd.nn.data.image_set import ImageSet, labeled
from csc_cogd.storage import read_arrays

_PICKLED = ("batches.meta", "data_batch_1", "test_batch", "meta", "train", "test")
_MOST_CLASSES = 1 << 16
_BINARY_AT = "https://www.cs.toronto.edu/~kriz/cifar.html"


def load_images(
    path: str | os.PathLike[str], part: str, *, image_size: int | None = None, holdout: float | None = None
) -> ImageSet:
    """Load the images to train on, or to test with, from a set on disk, whose form is recognized.

    - **CIFAR-10 or CIFAR-100**, the binary version: a folder of ``data_batch_1.bin`` to ``test_batch.bin``, or of
      ``train.bin`` and ``test.bin``, whose fine labels are used; or the folder above it.
    - **CIFAR-10, packed**: a folder of ``cifar10_data_batch_1.npz`` to ``cifar10_test_batch.npz``.
    - **Folders of classes**: ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``, or ``val`` for ``test``; classes are those of
      ``train``, in the order of their names. Without these parts, ``CLASS/*.jpg``. Images may also be PNG, WebP, BMP, GIF,
      TIFF or PPM; they are rotated upright and converted to RGB. If all have one size, they are read into memory, up to a
      gibibyte of pixels; else they are read batch by batch, and resized to `image_size`.
    - **An npz file** of plain arrays: `images`, uint8, (N, H, W), (N, H, W, 1) or (N, H, W, 3), `labels`, integers from 0,
      and optionally `class_names`; or parts: `train_images`, `train_labels`, `test_images`, `test_labels`. A gray channel
      becomes three equal ones, as networks take three.

    Parameters
    ----------
    path : str or path
    part : {"train", "test", "whole"}
        ``"whole"`` is all of a set without parts of which nothing is held out, else the images to test with.
    image_size : int, optional
        Height and width to which images in folders of classes are resized and cropped; without it they must have one size.
    holdout : float, optional
        For a set without parts: share of each class that is held out for tests, such as 0.1; always the same images.

    Returns
    -------
    ImageSet

    Raises
    ------
    InputError
        If the form isn't recognized, files are missing or damaged, labels are of no class, or an option doesn't apply.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/set.npz", images=np.zeros((10, 8, 8), np.uint8), labels=np.arange(10) % 2)
    ...     len(load_images(f"{folder}/set.npz", "train", holdout=0.2))
    8
    """
    path = Path(path)
    if part not in ("train", "test", "whole"):
        raise InputError("part", f"must be 'train', 'test' or 'whole', got {part!r}")
    whole, part = part == "whole" and holdout is None, "train" if part == "train" else "test"
    if image_size is not None and image_size < 1:
        raise InputError("image_size", f"must be 1 or more, got {image_size}")
    if not path.exists():
        raise InputError("", "no such file or folder of images", subject=str(path))
    read_cifar = _find_cifar(path)
    if path.is_dir() and read_cifar is None:
        return _read_folders(path, part, image_size, holdout, whole)
    if image_size is not None:
        raise InputError("image_size", f"is for folders of classes; the images of {path} have one size", "omit it")
    if read_cifar is None:
        return _read_npz(path, part, holdout, whole)
    _check_has_parts(path, holdout)
    return read_cifar(part)


def _find_cifar(path: Path) -> Callable[[str], ImageSet] | None:
    """Return a function that reads a part of the CIFAR set in a folder, or in the one that its archive unpacks to."""
    for folder in (path, path / "cifar-10-batches-bin", path / "cifar-100-binary"):
        for form in (CIFAR10, CIFAR100):
            if any((folder / name).is_file() for name in form.all_files):
                return partial(read_binary, folder, form=form)
    if any((path / name).is_file() for name in PACKED["train"] + PACKED["test"]):
        return partial(read_packed, path)
    for folder in (path, path / "cifar-10-batches-py", path / "cifar-100-python"):
        if any((folder / name).is_file() for name in _PICKLED):
            problem = "holds CIFAR as Python pickles, which may run code"
            raise InputError("", problem, f"get the binary version, {_BINARY_AT}", str(folder))
    return None


def _read_folders(path: Path, part: str, image_size: int | None, holdout: float | None, all_of_it: bool) -> ImageSet:
    train, test = find_part(path, "train"), find_part(path, "test")
    if train and test:
        _check_has_parts(path, holdout)
        return read_classes(train if part == "train" else test, class_folders(train), image_size)
    if test:
        if part == "train":
            raise InputError("", "has images to test with, but none to train on", "add train/CLASS/*.jpg", str(path))
        return read_classes(test, class_folders(test), image_size)
    whole = train or path
    class_names = class_folders(whole)
    if not class_names or (not train and any(name in names for names in PARTS.values() for name in class_names)):
        fix = "put images into train/CLASS and test/CLASS"
        raise InputError("", "holds neither CIFAR nor folders of classes", fix, str(path))
    if train and part == "train" and holdout is None:
        return read_classes(train, class_names, image_size)
    if all_of_it and not train:
        return read_classes(path, class_names, image_size)
    share = _share_for_tests(path, holdout)
    return read_classes(whole, class_names, image_size).split(share)[part == "test"]


def _read_npz(path: Path, part: str, holdout: float | None, all_of_it: bool) -> ImageSet:
    if path.suffix != ".npz":
        raise InputError("", "isn't an npz file or a folder", "unpack it first, if it is an archive", str(path))
    arrays, _ = read_arrays(path, "data set")
    if "images" in arrays and "test_images" in arrays:
        raise InputError("", "holds images beside test_images", "rename them train_images and train_labels", str(path))
    if "images" in arrays and all_of_it:
        return _from_arrays(path, arrays, "")
    if "images" in arrays:
        share = _share_for_tests(path, holdout)
        return _from_arrays(path, arrays, "").split(share)[part == "test"]
    if f"{part}_images" in arrays:
        _check_has_parts(path, holdout)
        return _from_arrays(path, arrays, f"{part}_")
    raise InputError("", f"holds neither images nor {part}_images", "rename its arrays, and the labels likewise", str(path))


def _from_arrays(path: Path, arrays: dict[str, np.ndarray], prefix: str) -> ImageSet:
    images = arrays[f"{prefix}images"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        wanted = "must be uint8 of shape (N, H, W) or (N, H, W, 3), 255 being white"
        raise InputError(f"{prefix}images", f"{wanted}, got {images.dtype} of {images.shape}", subject=str(path))
    integers = {name: array for name, array in arrays.items() if name.endswith("labels") and array.dtype.kind in "iu"}
    if f"{prefix}labels" not in integers:
        raise InputError(f"{prefix}labels", "must be stored, an integer an image", subject=str(path))
    if "class_names" in arrays:
        names = [str(name) for name in arrays["class_names"].ravel()]
    else:  # of both parts' labels, so that both have the same classes
        last = max(int(labels.max(initial=0)) for labels in integers.values())
        names = [str(label) for label in range(min(last + 1, _MOST_CLASSES))]
    channels = images[..., None] if images.ndim == 3 else images
    return labeled(path, np.broadcast_to(channels, (*channels.shape[:3], 3)), integers[f"{prefix}labels"], names)


def _check_has_parts(path: Path, holdout: float | None) -> None:
    if holdout is not None:
        fix = "omit it, or use only the images to train on"
        raise InputError("holdout", f"can't be used with {path}, which has images to test with", fix)


def _share_for_tests(path: Path, holdout: float | None) -> float:
    if holdout is None:
        fix = "add {holdout}, such as 0.1 for a tenth of each class, or test/CLASS (test_images and test_labels in an npz)"
        raise InputError("", "has no images to test with", fix, str(path))
    return holdout
