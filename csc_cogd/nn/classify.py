"""Classes of images in files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.files import in_threads, read_crop
from csc_cogd.nn.functions.checks import check_positive
from csc_cogd.nn.module import Module
from csc_cogd.nn.training.evaluate import predict


@dataclass(frozen=True)
class Classified:
    """The classes of one image.

    Attributes
    ----------
    path : str
    classes : tuple of (str, float)
        The most probable ones, each with its probability, the largest first; empty if the file can't be read.
    error : InputError or None
        Why not.
    """

    path: str
    classes: tuple[tuple[str, float], ...]
    error: InputError | None = None


def classify_files(
    network: Module, files: Iterable[str | os.PathLike[str]], *, class_names: Sequence[str], size: tuple[int, int],
    normalization: Normalization, top: int = 5, batch_size: int = 32,
) -> Iterator[Classified]:  # fmt: skip
    """Classify images, batch by batch; a file that can't be read costs only itself.

    Parameters
    ----------
    network : Module
    files : iterable of str or path
    class_names : sequence of str
        One a logit.
    size : (int, int)
        Height and width to which images are resized and cropped, as those of a test are.
    normalization : Normalization
        As the network was trained with.
    top : int
        How many classes of each image are told of.
    batch_size : int

    Yields
    ------
    Classified
        In the order of `files`.

    Raises
    ------
    InputError
        If the names aren't as many as the logits, or a logit is NaN.

    Examples
    --------
    >>> import tempfile
    >>> from PIL import Image
    >>> from csc_cogd.nn import build_network
    >>> half = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Image.new("RGB", (9, 9)).save(f"{folder}/black.png")
    ...     (found,) = classify_files(
    ...         build_network("resnet20", 2), [f"{folder}/black.png"], class_names=("day", "night"), size=(8, 8),
    ...         normalization=half,
    ...     )
    >>> sorted(name for name, probability in found.classes)
    ['day', 'night']
    """
    check_positive("top", top)
    check_positive("batch_size", batch_size)
    remaining = iter([os.fspath(path) for path in files])
    while some := list(islice(remaining, batch_size)):
        read = list(in_threads(lambda path: _read(path, size), some))
        pixels = [picture for picture in read if isinstance(picture, np.ndarray)]
        logits = iter(predict(network, np.stack(pixels), normalization=normalization) if pixels else ())
        for path, picture in zip(some, read, strict=True):
            if isinstance(picture, InputError):
                yield Classified(path, (), picture)
            else:
                yield Classified(path, _best(next(logits), class_names, top))


def _read(path: str, size: tuple[int, int]) -> np.ndarray | InputError:
    try:
        return read_crop(path, size)
    except InputError as error:
        return error


def _best(logits: np.ndarray, class_names: Sequence[str], top: int) -> tuple[tuple[str, float], ...]:
    if len(logits) != len(class_names):
        raise InputError("class_names", f"must be {len(logits)}, one a logit, got {len(class_names)}")
    if not np.isfinite(logits).all():
        raise InputError("network", "must have finite logits", "use other weights, as these are damaged")
    powers = np.exp(np.float64(logits) - logits.max())
    shares = powers / powers.sum()
    order = np.argsort(-shares, kind="stable")[:top]
    return tuple((class_names[label], float(shares[label])) for label in order)
