"""Learning a dictionary from pictures: their details together, or online where they are too many or too different."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend import device_of, get_backend
from csc_cogd.backend.fft import fast_length
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.csc.consensus import Mapper, learn_dictionary_consensus
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import LearnedDictionary, filter_shapes, learn_dictionary
from csc_cogd.csc.online import learn_dictionary_online
from csc_cogd.errors import DeviceError, InputError
from csc_cogd.imagefiles import ImageFile, open_images
from csc_cogd.learning.base_detail import split_layers
from csc_cogd.restore.report import Progress
from csc_cogd.restore.tiling import MAX_MEMORY

LMBDA = 0.02
ROUNDS, BATCHES = 30, 200
_ARRAYS, _ARRAYS_COGD = 3.5, 7  # of the codes' size, that learning from all pictures together keeps
_ARRAYS_SHARD = 4  # the same of a shard that is worked on; one that waits keeps one


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
    batch_size: int = 4,
    crop: int = 128,
    seed: int = 0,
    start: Dictionary | None = None,
    cogd: CogradientRule | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    callback: Callable[[Progress], Any] | None = None,
) -> LearnedDictionary:
    """Learn a dictionary for pictures like these, from their details (see :mod:`csc_cogd.learning.base_detail`).

    Parameters
    ----------
    images : sequence of (H, W) arrays, or with channels along `channel_axis`
        NaN is missing.
    n_filters, filter_shape, seed, start, checkpoint
        See :func:`csc_cogd.learn_dictionary`.
    channel_axis : int, optional
        Axis of the channels; default: grey images.
    lmbda : float >= 0
        Weight of the l1 term for pictures in [0, 1].
    max_iter : int, optional
        Rounds; default: 30, or online 200 batches.
    online : bool, optional
        Learn from crops; see :func:`csc_cogd.learn_dictionary_online`. Default: where the images' sizes differ or learning
        from all of them together would need more than `max_memory`.
    max_memory : float, optional
        In bytes, of learning from all images together. Default: 2e9.
    batch_size, crop : int
        Of online learning.
    cogd : CogradientRule, optional
        Learn with cogradient descent; not online.
    dtype, device, threads, fft
        As in :func:`csc_cogd.sparse_code`.
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
    images = images if hasattr(images, "__len__") else list(images)
    device = device_of(images[0], device) if len(images) else device
    layers = split_layers(images, channel_axis, get_backend(device, dtype=dtype, threads=threads, fft=fft))
    details = [layer.detail.astype(dtype) for layer in layers]
    known = [layer.known for layer in layers]
    complete = all(k.all() for k in known)
    if details[0].shape[0] == 1:
        details, known = [detail[0] for detail in details], [k[0] for k in known]
    shapes = {detail.shape for detail in details}
    needed = bytes_needed(details, filter_shapes(n_filters, filter_shape), cogd is not None, dtype)
    if online and cogd is not None:
        problem = "needs the codes of all images, which online learning doesn't keep"
        raise InputError("cogd", problem, "leave out {cogd} or {online}")
    if online is None:
        online = len(shapes) > 1 or needed > (MAX_MEMORY if max_memory is None else max_memory)
    if online and cogd is not None:
        raise InputError(
            "cogd", f"needs the codes of all images, {needed / 1e9:.1f} GB here, and equal sizes",
            "give fewer or smaller images, or raise {max_memory}, or learn without it",
        )  # fmt: skip
    if not online and len(shapes) > 1:
        problem = "can't be False, as the images' sizes differ"
        raise InputError("online", problem, "leave it out, or cut the images to one size")
    total = (BATCHES if online else ROUNDS) if max_iter is None else max_iter
    settings: dict[str, Any] = {
        "lmbda": lmbda, "max_iter": total, "seed": seed, "start": start, "checkpoint": checkpoint, "dtype": dtype,
        "device": device, "threads": threads, "fft": fft,
        "callback": lambda record: callback(Progress("learning", record.iteration, total, record)) if callback else None,
    }  # fmt: skip
    if online:
        return learn_dictionary_online(
            details, n_filters, filter_shape, weights=None if complete else known, batch_size=batch_size, crop=crop,
            **settings,
        )  # fmt: skip
    check_memory(needed)
    weights = None if complete else np.stack(known)
    return learn_dictionary(np.stack(details), n_filters, filter_shape, weights=weights, cogd=cogd, **settings)


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
    callback: Callable[[Progress], Any] | None = None,
) -> LearnedDictionary:
    """Learn a dictionary as :func:`learn_from_images` does, in shards of files that are read where they are worked on.

    Parameters
    ----------
    paths : sequence of Path
        Of pictures, or of stacks of them; file n belongs to shard n modulo their number.
    n_shards : int
    mapper : Mapper, optional
        Where to work on the shards; see :func:`csc_cogd.csc.consensus.learn_dictionary_consensus`.
    shards_together : int
        How many shards share a machine's memory.
    crop : int, optional
        Learn from a piece of each picture, chosen at random, of this height and width at most; default: from all of it.
    axes : str, optional
        Of NPY, NPZ and TIFF files; see :func:`csc_cogd.imagefiles.open_images`.
    max_iter : int, optional
        Rounds; default: 30.
    n_filters, filter_shape, lmbda, seed, start, checkpoint, dtype, device, threads, fft, callback
        As in :func:`learn_from_images`.

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
    if not 1 <= n_shards <= len(paths):
        raise InputError("n_shards", f"must be from 1 to the number of images, {len(paths)}, got {n_shards}")
    shapes = filter_shapes(n_filters, filter_shape)
    if crop is not None and crop < shapes.max():
        raise InputError("crop", f"must not be smaller than the filters, {shapes.max()} pixels, got {crop}")
    files = list(enumerate(paths))
    total = ROUNDS if max_iter is None else max_iter
    return learn_dictionary_consensus(
        [files[m::n_shards] for m in range(n_shards)], n_filters, filter_shape, lmbda=lmbda, max_iter=total, seed=seed,
        dtype=dtype, mapper=mapper,
        load=partial(
            _load_details, shapes=shapes, crop=crop, axes=axes, seed=seed, dtype=dtype, shards_together=shards_together
        ),
        callback=lambda record: callback(Progress("learning", record.iteration, total, record)) if callback else None,
        start=start, checkpoint=checkpoint, device=device, threads=threads, fft=fft,
    )  # fmt: skip


def _load_details(
    files: Sequence[tuple[int, Path]],
    shapes: np.ndarray,
    crop: int | None,
    axes: str | None,
    seed: int,
    dtype: Any,
    shards_together: int,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Details of the pictures in a shard's numbered files, (N, H, W) or (N, C, H, W), and what is known if not all is."""
    details: list[np.ndarray] = []
    known: list[np.ndarray] = []
    for number, path, page, image in _pages(files, axes):
        pixels = image.observed
        if crop is not None:
            pixels = _crop(pixels, crop, np.random.default_rng((seed, number, page)))
        try:
            (layer,) = split_layers([pixels], None if pixels.ndim == 2 else -1)
        except InputError as error:
            raise InputError("image", error.problem, error.fix, str(path)) from None
        if details and layer.detail.shape != details[0].shape:
            problem = f"of shape {pixels.shape} can't share a shard with {files[0][1]}"
            raise InputError("", problem, "cut all to one size by {crop}, and give gray and color images apart", str(path))
        details.append(layer.detail.astype(dtype))
        known.append(layer.known)
        needed = len(details) * bytes_needed(details[:1], shapes, False, dtype)
        needed *= (_ARRAYS_SHARD + shards_together - 1) / _ARRAYS
        check_memory(needed, "a shard", "use more shards or machines, fewer filters, or {crop}")
    gray = len(details[0]) == 1
    images, weights = (np.stack(arrays)[:, 0] if gray else np.stack(arrays) for arrays in (details, known))
    return images, None if weights.all() else weights


def _pages(files: Sequence[tuple[int, Path]], axes: str | None) -> Iterator[tuple[int, Path, int, ImageFile]]:
    """Number and path of each file, number of each page in it, and the page."""
    for number, path in files:
        with open_images(path, axes=axes) as pages:
            for page, image in enumerate(pages):
                yield number, path, page, image


def _crop(pixels: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """A piece of (H, W) or (H, W, C) pixels, `size` x `size` at most."""
    starts = [int(generator.integers(0, max(length - size, 0) + 1)) for length in pixels.shape[:2]]
    return pixels[starts[0] : starts[0] + size, starts[1] : starts[1] + size]


def bytes_needed(details: Sequence[np.ndarray] | np.ndarray, shapes: np.ndarray, cogd: bool, dtype: Any) -> float:
    """Memory of learning filters of these shapes (K, 2) from all details together."""
    sizes = np.array([detail.shape[-2:] for detail in details]) + shapes.max(axis=0) - 1
    pixels = sum(fast_length(int(height)) * fast_length(int(width)) for height, width in sizes)
    return float((_ARRAYS_COGD if cogd else _ARRAYS) * pixels * len(shapes) * np.dtype(dtype).itemsize)


def check_memory(
    needed: float, work: str = "all images together", advice: str = "use fewer filters, or fewer or smaller images"
) -> None:
    """Raise DeviceError where learning needs more than the machine has: some systems would just end the process."""
    present = physical_memory()
    if present is not None and needed > present:
        problem = f"out of memory: learning from {work} takes {needed / 1e9:.0f} GB, this machine has {present / 1e9:.0f} GB"
        raise DeviceError("", problem, advice)


def physical_memory() -> float | None:
    """Bytes that this machine has; None where that isn't to be known."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, ValueError, OSError):
        return None
