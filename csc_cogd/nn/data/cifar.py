"""CIFAR-10 and CIFAR-100 [Krizhevsky 2009]: the binary versions, and CIFAR-10 packed into lossless pictures."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from csc_cogd.errors import InputError
from csc_cogd.nn.data.files import in_threads
from csc_cogd.nn.data.image_set import ImageSet, concatenate, labeled
from csc_cogd.storage import read_arrays

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PLANES = (3, 32, 32)


@dataclass(frozen=True)
class BinaryForm:
    """Layout of a binary version, whose records are labels followed by the three planes of an image.

    Attributes
    ----------
    name : str
    files : dict of str to tuple of str
        The files of each part.
    records : dict of str to int
        The number of records in each file of a part.
    n_labels : int
        Bytes of labels in a record, of which the last one is used.
    names : str
        The file of the names of classes.
    """

    name: str
    files: dict[str, tuple[str, ...]]
    records: dict[str, int]
    n_labels: int
    names: str

    @property
    def all_files(self) -> tuple[str, ...]:
        """The files of all parts."""
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
    """Read a part of a binary version, with the fine labels of CIFAR-100."""
    class_names = _class_names(folder / form.names, form)
    sets = []
    for name in form.files[part]:
        records = _records(folder / name, form, form.records[part])
        images = records[:, form.n_labels :].reshape(-1, *_PLANES).transpose(0, 2, 3, 1)
        sets.append(labeled(folder / name, images, records[:, form.n_labels - 1], class_names))
    return concatenate(sets)


def read_packed(folder: Path, part: str) -> ImageSet:
    """Read a part of CIFAR-10 packed into npz files.

    They hold `webp`, the bytes of lossless strips of images, 32 pixels wide, one below the other; `offsets`, where each
    strip begins and the last one ends; and `labels`.
    """
    sets = []
    for path in (folder / name for name in PACKED[part]):
        arrays, _ = read_arrays(path, "packed CIFAR-10")
        missing = {"webp", "offsets", "labels"} - set(arrays)
        if missing:
            problem = f"isn't packed CIFAR-10, as it has no {' and no '.join(sorted(missing))}"
            raise InputError("", problem, "copy it again", str(path))
        sets.append(labeled(path, _unpacked(path, arrays), arrays["labels"], CIFAR10_CLASSES))
    return concatenate(sets)


def _unpacked(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray:
    try:
        webp, offsets = arrays["webp"].tobytes(), arrays["offsets"]
        strips = [webp[start:end] for start, end in pairwise(offsets)]
        return np.concatenate(list(in_threads(_pixels, strips)))
    except (TypeError, ValueError, OSError, EOFError) as error:
        raise InputError("", f"its images can't be unpacked ({error})", "copy it again", str(path)) from None


def _pixels(strip: bytes) -> np.ndarray:
    with Image.open(BytesIO(strip), formats=("WEBP",)) as picture:
        return np.asarray(picture.convert("RGB")).reshape(-1, 32, 32, 3)


def _records(path: Path, form: BinaryForm, count: int) -> np.ndarray:
    size = form.n_labels + int(np.prod(_PLANES))
    try:
        content = np.fromfile(path, np.uint8)
    except OSError as error:
        raise _damaged(path, form, f"can't be read ({error.strerror or error})") from None
    if content.size != count * size:
        raise _damaged(path, form, f"must hold {count * size} bytes, got {content.size}")
    return content.reshape(count, size)


def _class_names(path: Path, form: BinaryForm) -> tuple[str, ...]:
    try:
        names = tuple(path.read_text(encoding="utf-8").split())
    except OSError as error:
        raise _damaged(path, form, f"the names of the classes can't be read ({error.strerror})") from None
    except ValueError:
        names = ()
    if not names:
        raise _damaged(path, form, "holds no names of classes")
    return names


def _damaged(path: Path, form: BinaryForm, problem: str) -> InputError:
    return InputError("", problem, f"unpack {form.name} again", str(path))
