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
from csc_cogd.nn.data.image_set import ImageSet, joined, labelled
from csc_cogd.storage import read_arrays

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PLANES = (3, 32, 32)


@dataclass(frozen=True)
class BinaryForm:
    """How a binary version is laid out: by part its files and the records in each; by record its bytes of labels, the last
    of which counts, followed by an image's three planes; and the file of the classes' names.
    """

    name: str
    files: dict[str, tuple[str, ...]]
    records: dict[str, int]
    n_labels: int
    names: str

    @property
    def all_files(self) -> tuple[str, ...]:
        return self.files["train"] + self.files["test"]


CIFAR10 = BinaryForm(
    name="CIFAR-10",
    files={"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)},
    records={"train": 10_000, "test": 10_000},
    n_labels=1,
    names="batches.meta.txt",
)
CIFAR100 = BinaryForm(
    name="CIFAR-100",
    files={"train": ("train.bin",), "test": ("test.bin",)},
    records={"train": 50_000, "test": 10_000},
    n_labels=2,
    names="fine_label_names.txt",
)
PACKED = {
    "train": tuple(f"cifar10_data_batch_{number}.npz" for number in range(1, 6)),
    "test": ("cifar10_test_batch.npz",),
}


def read_binary(folder: Path, part: str, form: BinaryForm) -> ImageSet:
    """A part of a binary version, with the fine labels of CIFAR-100."""
    class_names = _class_names(folder / form.names, form)
    sets = []
    for name in form.files[part]:
        records = _records(folder / name, form, form.records[part])
        images = records[:, form.n_labels :].reshape(-1, *_PLANES).transpose(0, 2, 3, 1)
        sets.append(labelled(folder / name, images, records[:, form.n_labels - 1], class_names))
    return joined(sets)


def read_packed(folder: Path, part: str) -> ImageSet:
    """A part of CIFAR-10 packed into npz files: `webp`, bytes of lossless strips of images, 32 pixels wide, one below the
    other; `offsets`, where each begins and the last ends; `labels`.
    """
    sets = []
    for path in (folder / name for name in PACKED[part]):
        arrays, _ = read_arrays(path, "packed CIFAR-10")
        missing = {"webp", "offsets", "labels"} - set(arrays)
        if missing:
            raise InputError(f"{path}: not packed CIFAR-10, it has no {' and no '.join(sorted(missing))}: copy it again")
        sets.append(labelled(path, _unpacked(path, arrays), arrays["labels"], CIFAR10_CLASSES))
    return joined(sets)


def _unpacked(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    try:
        webp, offsets = arrays["webp"].tobytes(), arrays["offsets"]
        strips = [webp[start:end] for start, end in pairwise(offsets)]
        return np.concatenate(list(in_threads(_pixels, strips)))
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise InputError(f"{path}: its images can't be unpacked ({error}): copy it again") from None


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
