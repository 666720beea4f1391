"""CIFAR-10 and CIFAR-100 [Krizhevsky 2009], in their binary version, and packed into lossless pictures."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from csc_cogd.errors import InputError
from csc_cogd.nn.data.files import in_threads
from csc_cogd.nn.data.image_set import ImageSet
from csc_cogd.storage import read_arrays

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PLANES = (3, 32, 32)


@dataclass(frozen=True)
class BinaryForm:
    """How a binary version is laid out: each record is label bytes, the last of which counts, and an image's planes."""

    name: str
    files: dict[str, tuple[str, ...]]
    records: dict[str, int]
    n_labels: int
    names: str

    @property
    def all_files(self) -> tuple[str, ...]:
        return self.files["train"] + self.files["test"]


CIFAR10 = BinaryForm(
    "CIFAR-10",
    {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
    {"train": 10_000, "test": 10_000},
    1,
    "batches.meta.txt",
)
CIFAR100 = BinaryForm(
    "CIFAR-100",
    {"train": ("train.bin",), "test": ("test.bin",)},
    {"train": 50_000, "test": 10_000},
    2,
    "fine_label_names.txt",
)
PACKED = {
    "train": tuple(f"cifar10_data_batch_{number}.npz" for number in range(1, 6)),
    "test": ("cifar10_test_batch.npz",),
}


def read_binary(folder: Path, part: str, form: BinaryForm) -> ImageSet:
    """A part of a binary version, with the fine labels of CIFAR-100."""
    class_names = _class_names(folder / form.names, form)
    images, labels = [], []
    for name in form.files[part]:
        records = _records(folder / name, form, form.records[part])
        labels.append(records[:, form.n_labels - 1])
        _check_labels(folder / name, labels[-1], len(class_names))
        images.append(records[:, form.n_labels :].reshape(-1, *_PLANES).transpose(0, 2, 3, 1))
    return ImageSet(np.concatenate(images), np.concatenate(labels), class_names)


def read_packed(folder: Path, part: str) -> ImageSet:
    """A part of CIFAR-10 packed into npz files: `webp`, bytes of lossless strips of images, 32 pixels wide, one below the
    other; `offsets`, where each begins and the last ends; `labels`.
    """
    images, labels = [], []
    for name in PACKED[part]:
        path = folder / name
        arrays, _ = read_arrays(path, "packed CIFAR-10")
        images.append(_unpacked(path, arrays))
        labels.append(arrays["labels"])
        if labels[-1].shape != (len(images[-1]),) or labels[-1].dtype.kind not in "iu":
            raise InputError(f"{path}: it hasn't a label for each of {len(images[-1])} images: copy it again")
        _check_labels(path, labels[-1], len(CIFAR10_CLASSES))
    return ImageSet(np.concatenate(images), np.concatenate(labels), CIFAR10_CLASSES)


def _unpacked(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    try:
        webp, offsets = arrays["webp"].tobytes(), arrays["offsets"]
        arrays["labels"]
        strips = [webp[start:end] for start, end in pairwise(offsets)]
        return np.concatenate(list(in_threads(_pixels, strips)))
    except (KeyError, IndexError, TypeError, ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: not packed CIFAR-10 ({error}): copy it again") from None


def _pixels(strip: bytes) -> np.ndarray:
    with Image.open(BytesIO(strip), formats=("WEBP",)) as picture:
        return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)


def _records(path: Path, form: BinaryForm, count: int) -> np.ndarray:
    size = form.n_labels + int(np.prod(_PLANES))
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(f"{path}: {form.name}'s file can't be read: {error.strerror or error}: unpack it again") from None
    if content.size != count * size:
        text = f"holds {content.size} bytes where {form.name}'s holds {count * size}"
        raise InputError(f"{path}: {text}: it is damaged or not whole: unpack it again")
    return content.reshape(count, size)


def _class_names(path: Path, form: BinaryForm) -> tuple[str, ...]:
    try:
        names = tuple(path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise InputError(
            f"{path}: the names of the classes can't be read: {error.strerror}: unpack {form.name} again"
        ) from None
    except ValueError:
        names = ()
    if not names:
        raise InputError(f"{path}: holds no names of classes: unpack {form.name} again")
    return names


def _check_labels(path: Path, labels: np.ndarray, n_classes: int) -> None:
    if labels.max() >= n_classes:
        raise InputError(f"{path}: label {labels.max()} names none of {n_classes} classes: it is damaged: unpack it again")
