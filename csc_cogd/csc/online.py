"""Online learning: a dictionary from many or large images, a few crops at a time, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd import __version__
from csc_cogd.backend import Backend, check_unmasked, to_numpy
from csc_cogd.csc.alternation import Alternation, Model, OuterIteration
from csc_cogd.csc.checkpoint import Checkpoint
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import LearnedDictionary, alternate, check_iterations, filter_shapes, initial_filters
from csc_cogd.csc.problem import check_images, check_weights, refuse_masked_images
from csc_cogd.csc.prox import Anchor
from csc_cogd.csc.settings import check_count, check_settings
from csc_cogd.csc.state import COUNT, Entry
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import InputError
from csc_cogd.storage import digest


def learn_dictionary_online(
    images: Sequence[Any],
    n_filters: int | Sequence[int],
    filter_shape: int | Sequence[Any],
    *,
    lmbda: float,
    weights: Sequence[Any] | None = None,
    max_iter: int = 100,
    batch_size: int = 4,
    crop: int = 128,
    code_iterations: int = 40,
    filter_iterations: int = 15,
    forgetting: float = 0.98,
    zero_mean: bool = False,
    l1_weights: Any = None,
    gradient_penalty: float = 0.0,
    rho: float | None = None,
    rho_data: float | None = None,
    relaxation: float = 1.8,
    seed: int = 0,
    start: Dictionary | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 10,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[OuterIteration], Any] | None = None,
) -> LearnedDictionary:
    """Learn filters from many or large images, looking at a few crops at a time.

    Batch t codes its crops over the present filters, then updates the filters by

        d^t = argmin 1/2 sum_n ||W_n (sum_k d_k * x_nk - b_n)||^2 + 1/2 sum_k E_k ||d_k - d_k^{t-1}||^2,   ||d_k|| <= 1

    with E_k = forgetting * (E_k + ||x_k||^2) the energy of filter k's codes in the batches so far. This is the surrogate of
    online dictionary learning [Mairal et al. 2010; Liu, Garcia-Cardona, Wohlberg 2018] with its quadratic form cut
    down to the diagonal: exact for codes that don't overlap. Memory depends on the batch, not on the images.

    Codes of earlier batches aren't kept, so the rule of cogradient descent, which needs them, isn't available.

    Parameters
    ----------
    images : sequence of (H, W) or of (C, H, W) arrays
        Of any sizes from the largest filter's upwards; also an (N, H, W) array or memory map. Read one at a time.
    n_filters : int, or sequence of int
        See :func:`csc_cogd.learn_dictionary`, also for the parameters without a description here.
    filter_shape : int or (h, w), or sequence of these
    lmbda : float
        Weight of the l1 term, >= 0.
    weights : sequence of arrays like `images`, optional
        1 where observed, 0 where missing.
    max_iter : int
        Batches.
    batch_size : int
        Crops in a batch, each from another image as long as there are some.
    crop : int
        Their height and width at most.
    code_iterations, filter_iterations : int
        Of each batch, which starts without codes.
    forgetting : float
        Factor, in (0, 1], by which the past counts less with every batch; 1 keeps all of it.
    zero_mean : bool
    l1_weights : (1, K, 1, 1) array, optional
        One weight for each filter.
    gradient_penalty : float
    rho, rho_data : float, optional
    relaxation : float
    seed : int
        Random seed for the initial filters and the crops.
    start : Dictionary, optional
    checkpoint : path, optional
        The first image stands for all when a checkpoint is compared with the run.
    checkpoint_every : int
        Batches from one save to the next.
    dtype : {"float32", "float64"}
    device : str
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.
    callback : callable, optional
        Called after every batch with an :class:`OuterIteration`; a true return value stops learning.

    Returns
    -------
    LearnedDictionary
        Its history has a record a batch: the objective of the batch's crops, after the update by them.

    Raises
    ------
    InputError
        If an argument's shape, type or value doesn't fit, or an image is smaller than the filters.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).standard_normal((5, 40, 30))
    >>> learned = learn_dictionary_online(images, 3, 4, lmbda=0.5, max_iter=3, batch_size=2, crop=16)
    >>> learned.dictionary.filters.shape, len(learned.history)
    ((3, 4, 4), 3)
    """
    check_settings(lmbda, max_iter, 0.0, relaxation, gradient_penalty)
    shapes = filter_shapes(n_filters, filter_shape)
    crops = _Crops(images, weights, batch_size, crop, tuple(shapes.max(axis=0).tolist()), seed)
    model = Model(shapes, lmbda, l1_weights, gradient_penalty, zero_mean, rho, rho_data, relaxation)
    iterations = check_iterations(code_iterations, filter_iterations)
    if not 0 < forgetting <= 1:
        raise InputError("forgetting", f"must be above 0 and at most 1, got {forgetting}")
    backend = record_of(Engine(dtype, device, threads, fft), engine).backend
    filters = initial_filters(shapes, crops.channels, seed, start)
    learner = _Learner(backend, model, crops, filters, forgetting)
    settings = model.settings() | {
        "code_iterations": iterations[0], "filter_iterations": iterations[1], "batch_size": crops.batch_size,
        "crop": crop, "forgetting": forgetting, "seed": seed,
    }  # fmt: skip
    saved = None
    if checkpoint is not None:
        data = digest(*crops.take(0))
        identity = settings | {"images": data, "start": digest(filters, shapes), "dtype": str(backend.dtype)}
        saved = Checkpoint(Path(checkpoint), checkpoint_every, identity)
    history = alternate(learner, max_iter, iterations, None, callback, saved)
    provenance = {"version": __version__, "images": len(images), "masked": weights is not None, "settings": settings}
    found = learner.filters
    dictionary = Dictionary(found[:, 0] if crops.gray else found, shapes, provenance)
    return LearnedDictionary(dictionary, None, history[-1].objective, history)


class _Learner:
    """The filters, and the energies of the codes so far; a batch is a round for :func:`alternate`."""

    def __init__(self, backend: Backend, model: Model, crops: _Crops, filters: np.ndarray, forgetting: float):
        self.backend, self.model, self.crops, self.forgetting = backend, model, crops, forgetting
        self.filters, self.energy, self.batches = filters, np.zeros(len(filters)), 0

    def round(self, code_iterations: int, filter_iterations: int) -> OuterIteration:
        anchor = Anchor(self.backend.asarray(self.filters), self.energy)
        batch = Alternation(self.backend, self.model, self.filters, *self.crops.take(self.batches), anchor)
        record = batch.round(code_iterations, filter_iterations)
        self.filters = self.backend.to_host(batch.filters)
        self.energy = self.forgetting * (self.energy + batch.code_energies())
        self.batches += 1
        return record

    def saved_entries(self) -> dict[str, Entry]:
        return {"filters": Entry(self.filters.shape), "energy": Entry(self.energy.shape, 0.0), "batches": COUNT}

    def saved_state(self) -> dict[str, np.ndarray]:
        return {"filters": self.filters, "energy": self.energy, "batches": np.array(self.batches)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.filters, self.energy, self.batches = state["filters"], state["energy"], int(state["batches"])


class _Crops:
    """Batches of equally large crops at random, each a function of seed and number alone."""

    def __init__(
        self, images: Sequence[Any], weights: Sequence[Any] | None, batch_size: int, crop: int,
        smallest: tuple[int, int], seed: int,
    ):  # fmt: skip
        if not (hasattr(images, "__len__") and hasattr(images, "__getitem__")) or len(images) == 0:
            raise InputError("images", "must be a sequence of one image or more, such as a list or an (N, H, W) array")
        if weights is not None and len(weights) != len(images):
            raise InputError("weights", f"must be as many as the images, {len(images)}, got {len(weights)}")
        check_unmasked(weights, "weights")
        self.batch_size, crop = check_count("batch_size", batch_size), check_count("crop", crop)
        for image in images:
            refuse_masked_images(image)
        sizes = [np.shape(image) for image in images]
        if any(len(size) not in (2, 3) or size[:-2] != sizes[0][:-2] for size in sizes):
            raise InputError("images", "must be all of shape (H, W), or all (C, H, W) with the same number of channels")
        for n, size in enumerate(sizes):
            if any(np.less(size[-2:], smallest)):
                wrong = f"must not be smaller than the filters, {smallest}, got {tuple(size[-2:])}"
                raise InputError(f"images[{n}]", wrong, "leave it out, or use smaller filters")
        if any(np.less(crop, smallest)):
            raise InputError("crop", f"must not be smaller than the filters, {smallest}, got {crop}")
        self.gray = len(sizes[0]) == 2
        self.channels = 1 if self.gray else sizes[0][0]
        self.shape = tuple(int(min(crop, *(size[axis] for size in sizes))) for axis in (-2, -1))
        self.images, self.weights, self.seed = images, weights, seed

    def take(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the images (B, C, h, w) of a batch, and their weights."""
        generator = np.random.default_rng((self.seed, number))
        chosen = generator.permutation(max(len(self.images), self.batch_size))[: self.batch_size] % len(self.images)
        pairs = [self._crop(int(n), generator) for n in chosen]
        images = check_images(np.stack([image for image, _ in pairs]))
        weights = None if self.weights is None else np.stack([weight for _, weight in pairs])
        return images, check_weights(weights, images)

    def _crop(self, n: int, generator: np.random.Generator) -> tuple[np.ndarray, Any]:
        image = self.images[n]
        image = image if hasattr(image, "shape") else np.asarray(image)
        size = image.shape
        starts = [int(generator.integers(0, size[axis] - self.shape[axis] + 1)) for axis in (-2, -1)]
        rows, columns = (slice(start, start + part) for start, part in zip(starts, self.shape, strict=True))
        cropped = to_numpy(image[..., rows, columns], "images")
        if self.weights is None:
            return cropped, None
        return cropped, np.broadcast_to(to_numpy(self.weights[n], "weights"), size)[..., rows, columns]
