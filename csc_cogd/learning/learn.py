"""Learn a dictionary from images: from their details together, or online if there are too many or sizes differ."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend.fft import fast_length
from csc_cogd.backend.selection import physical_memory
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.csc.consensus import Mapper, learn_dictionary_consensus
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import LearnedDictionary, filter_shapes, learn_dictionary
from csc_cogd.csc.online import learn_dictionary_online
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import DeviceError, InputError
from csc_cogd.imagefiles import open_images
from csc_cogd.learning.base_detail import Decomposer, decompose
from csc_cogd.restore.report import Progress
from csc_cogd.restore.tiling import MAX_MEMORY

LMBDA = 0.02
ROUNDS, BATCHES = 30, 200
CROPS, CROP = 4, 128  # in a batch, and pixels of their height and width
_ARRAYS, _COGD_ARRAYS = 3.5, 7  # of the codes' size, that learning from all pictures together keeps
_SHARD_ARRAYS = 4  # the same of a shard that is worked on; one that waits keeps one


def learn_from_images(
    images: Sequence[Any],
    n_filters: int | Sequence[int],
    filter_shape: int | Sequence[Any],
    *,
    channel_axis: int | None = None,
    lmbda: float = LMBDA,
    max_iter: int | None = None,
    online: bool | None = None,
    max_memory: float | None = None,
    batch_size: int = CROPS,
    crop: int = CROP,
    seed: int = 0,
    start: Dictionary | None = None,
    cogd: CogradientRule | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[Progress], Any] | None = None,
) -> LearnedDictionary:
    """Learn a dictionary for images like these, from their details (see :mod:`csc_cogd.learning.base_detail`).

    Parameters
    ----------
    images : sequence of (H, W) arrays, or with channels along `channel_axis`
        NaN is missing.
    n_filters : int, or sequence of int
        See :func:`csc_cogd.learn_dictionary`.
    filter_shape : int or (h, w), or sequence of these
        See :func:`csc_cogd.learn_dictionary`.
    channel_axis : int, optional
        Axis of the channels; default: gray images.
    lmbda : float
        Weight of the l1 term, >= 0, for images in [0, 1].
    max_iter : int, optional
        Rounds; default: 30, or online 200 batches.
    online : bool, optional
        Learn from crops; see :func:`csc_cogd.learn_dictionary_online`. Default: if the images' sizes differ, or learning
        from all of them together would need more than `max_memory`.
    max_memory : float, optional
        In bytes, of learning from all images together. Default: 2e9.
    batch_size : int
        Crops in a batch of online learning; default: 4.
    crop : int
        Their height and width; default: 128.
    seed : int
        Random seed for the initial filters.
    start : Dictionary, optional
        Initial filters.
    cogd : CogradientRule, optional
        Learn with cogradient descent; not online.
    checkpoint : path, optional
        File to save the run to, and to continue it from; see :func:`csc_cogd.learn_dictionary`.
    dtype : {"float32", "float64"}
        Precision of the computation.
    device : str
        See :func:`csc_cogd.backend.get_backend`, also for `threads` and `fft`.
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.
    callback : callable, optional
        Called with a :class:`csc_cogd.Progress`; a true return value stops learning.

    Returns
    -------
    LearnedDictionary

    Raises
    ------
    InputError
        If an argument doesn't fit; the message says which.
    DeviceError
        If learning needs more memory than the machine has.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 256, (2, 20, 20), np.uint8)
    >>> learned = learn_from_images(images, 3, 5, max_iter=1)
    >>> learned.dictionary.n_filters, learned.summary().partition(",")[0]
    (3, '1 rounds')
    """
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    images = images if hasattr(images, "__len__") else list(images)
    engine = engine.beside(images)
    decompositions = decompose(images, channel_axis, engine.backend)
    details, known = [each.detail.astype(engine.dtype) for each in decompositions], [each.known for each in decompositions]
    details, known = without_single_channel(details, known)
    weights = None if all(k.all() for k in known) else known
    needed = bytes_needed(details, filter_shapes(n_filters, filter_shape), cogd is not None, engine.dtype)
    same_size = len({detail.shape for detail in details}) == 1
    if _is_online(online, cogd, same_size, needed, MAX_MEMORY if max_memory is None else max_memory):
        total = BATCHES if max_iter is None else max_iter
        return learn_dictionary_online(
            details, n_filters, filter_shape, lmbda=lmbda, weights=weights, max_iter=total, batch_size=batch_size,
            crop=crop, seed=seed, start=start, checkpoint=checkpoint, engine=engine,
            callback=report_to(callback, "learning", total),
        )  # fmt: skip
    check_memory(needed)
    total = ROUNDS if max_iter is None else max_iter
    return learn_dictionary(
        np.stack(details), n_filters, filter_shape, lmbda=lmbda, weights=None if weights is None else np.stack(weights),
        max_iter=total, seed=seed, start=start, cogd=cogd, checkpoint=checkpoint, engine=engine,
        callback=report_to(callback, "learning", total),
    )  # fmt: skip


def _is_online(online: bool | None, cogd: CogradientRule | None, same_size: bool, needed: float, max_memory: float) -> bool:
    """Return whether to learn online, as requested or by default; InputError if that isn't possible."""
    if online and cogd is not None:
        raise InputError(
            "cogd", "needs the codes of all images, which online learning doesn't keep", "leave out {cogd} or {online}"
        )
    if online is False and not same_size:
        raise InputError(
            "online", "must not be False for images of different sizes", "leave it out, or cut them to one size"
        )
    if online is None:
        online = not same_size or needed > max_memory
    if online and cogd is not None:
        raise InputError(
            "cogd", f"needs images of one size, and the codes of all of them at once, {needed / 1e9:.1f} GB here",
            "give fewer or smaller images, raise {max_memory}, or learn without it",
        )  # fmt: skip
    return online


def report_to(callback: Callable[[Progress], Any] | None, stage: str, total: int) -> Callable[[Any], Any]:
    """Return a function that reports each of the `total` iterations of a stage to the callback."""
    return lambda record: callback(Progress(stage, record.iteration, total, record)) if callback else None


def without_single_channel(*lists: list[np.ndarray]) -> list[list[np.ndarray]]:
    """Return lists of (C, H, W) arrays as lists of (H, W) arrays if C is 1, else as they are."""
    return [[array[0] for array in arrays] if len(arrays[0]) == 1 else arrays for arrays in lists]


def learn_from_files(
    paths: Sequence[Path],
    n_filters: int | Sequence[int],
    filter_shape: int | Sequence[Any],
    *,
    n_shards: int,
    lmbda: float = LMBDA,
    mapper: Mapper | None = None,
    shards_together: int = 1,
    max_iter: int | None = None,
    crop: int | None = None,
    axes: str | None = None,
    seed: int = 0,
    start: Dictionary | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[Progress], Any] | None = None,
) -> LearnedDictionary:
    """Learn a dictionary as :func:`learn_from_images` does, in shards of files that are read where they are processed.

    Parameters
    ----------
    paths : sequence of Path
        Of images, or of stacks of them; file n belongs to shard n modulo their number.
    n_filters : int, or sequence of int
        See :func:`learn_from_images`, also for the parameters without a description here.
    filter_shape : int or (h, w), or sequence of these
    n_shards : int
    lmbda : float
    mapper : Mapper, optional
        Where to process the shards; see :func:`csc_cogd.csc.consensus.learn_dictionary_consensus`.
    shards_together : int
        How many shards share a machine's memory.
    max_iter : int, optional
        Rounds; default: 30.
    crop : int, optional
        Learn from a crop of each image, at random, of this height and width at most; default: from the whole image.
    axes : str, optional
        Of NPY, NPZ and TIFF files; see :func:`csc_cogd.imagefiles.open_images`.
    seed : int
        Random seed for the crops and the initial filters.
    start : Dictionary, optional
    checkpoint : path, optional
    dtype : {"float32", "float64"}
    device : str
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
    callback : callable, optional

    Returns
    -------
    LearnedDictionary

    Raises
    ------
    InputError
        If an argument or a file doesn't fit; the message says which.
    DeviceError
        If a shard needs more memory than the machine that it is on has.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     paths = [Path(folder, f"{n}.npy") for n in range(2)]
    ...     for path in paths:
    ...         np.save(path, np.random.default_rng(0).random((20, 20)))
    ...     learn_from_files(paths, 3, 5, n_shards=2, max_iter=1).dictionary.n_filters
    3
    """
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    if not 1 <= n_shards <= len(paths):
        raise InputError("n_shards", f"must be between 1 and {len(paths)}, the number of files, got {n_shards}")
    shapes = filter_shapes(n_filters, filter_shape)
    if crop is not None and crop < shapes.max():
        raise InputError("crop", f"must not be smaller than the filters, {shapes.max()}, got {crop}")
    files = list(enumerate(paths))
    total = ROUNDS if max_iter is None else max_iter
    return learn_dictionary_consensus(
        [files[m::n_shards] for m in range(n_shards)], n_filters, filter_shape, lmbda=lmbda, max_iter=total, seed=seed,
        mapper=mapper, start=start, checkpoint=checkpoint, engine=engine, callback=report_to(callback, "learning", total),
        load=_DetailLoader(shapes, crop, axes, seed, engine.dtype, shards_together),
    )  # fmt: skip


@dataclass(frozen=True)
class _DetailLoader:
    """Loads the details of a shard's images, where the shard is processed; see :func:`learn_from_files`."""

    shapes: np.ndarray
    crop: int | None
    axes: str | None
    seed: int
    dtype: Any
    shards_together: int

    def __call__(self, files: Sequence[tuple[int, Path]]) -> tuple[np.ndarray, np.ndarray | None]:
        """Return the details in numbered files, (N, H, W) or (N, C, H, W), and what is known unless all is."""
        details: list[np.ndarray] = []
        known: list[np.ndarray] = []
        for path, pixels in self._pages(files):
            try:
                decomposition = Decomposer(None if pixels.ndim == 2 else -1).split(pixels)
            except InputError as error:
                raise error.about(str(path)) from None
            if details and decomposition.detail.shape != details[0].shape:
                raise InputError(
                    "", f"can't share a shard with {files[0][1]}, for it is of shape {pixels.shape}",
                    "cut all to one size by {crop}, and give gray and color images separately", str(path),
                )  # fmt: skip
            details.append(decomposition.detail.astype(self.dtype))
            known.append(decomposition.known)
            needed = len(details) * bytes_needed(details[:1], self.shapes, False, self.dtype)
            needed *= (_SHARD_ARRAYS + self.shards_together - 1) / _ARRAYS
            check_memory(needed, "a shard", "use a larger {n_shards}, more machines, fewer filters, or {crop}")
        images, weights = map(np.stack, without_single_channel(details, known))
        return images, None if weights.all() else weights

    def _pages(self, files: Sequence[tuple[int, Path]]) -> Iterator[tuple[Path, np.ndarray]]:
        """Yield the path of each page of numbered files, and its pixels, cropped."""
        for number, path in files:
            with open_images(path, axes=self.axes) as pages:
                for page, image in enumerate(pages):
                    pixels = image.observed
                    if self.crop is not None:
                        pixels = _crop(pixels, self.crop, np.random.default_rng((self.seed, number, page)))
                    yield path, pixels


def _crop(pixels: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Return a random crop of (H, W) or (H, W, C) pixels, `size` x `size` at most."""
    starts = [int(generator.integers(0, max(length - size, 0) + 1)) for length in pixels.shape[:2]]
    return pixels[starts[0] : starts[0] + size, starts[1] : starts[1] + size]


def bytes_needed(details: Sequence[np.ndarray] | np.ndarray, shapes: np.ndarray, cogd: bool, dtype: Any) -> float:
    """Return the memory of learning filters of these shapes (K, 2) from all details together."""
    sizes = np.array([detail.shape[-2:] for detail in details]) + shapes.max(axis=0) - 1
    pixels = sum(fast_length(int(height)) * fast_length(int(width)) for height, width in sizes)
    return float((_COGD_ARRAYS if cogd else _ARRAYS) * pixels * len(shapes) * np.dtype(dtype).itemsize)


def check_memory(
    needed: float, work: str = "all images together", advice: str = "use fewer filters, or fewer or smaller images"
) -> None:
    """Raise DeviceError if learning needs more memory than the machine has, as some systems would kill the process."""
    present = physical_memory()
    if present is not None and needed > present:
        wrong = f"need {needed / 1e9:.0f} GB of memory to learn from {work}, this machine has {present / 1e9:.0f} GB"
        raise DeviceError("n_filters", wrong, advice)
