"""Learning: filters and codes of given images, by alternating the code solve and the filter solve."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd import __version__
from csc_cogd.backend import on_gpu
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.csc.alternation import Alternation, Model, OuterIteration
from csc_cogd.csc.backtracking import CogradientAlternation
from csc_cogd.csc.checkpoint import Checkpoint
from csc_cogd.csc.dictionary import Dictionary, check_dictionary
from csc_cogd.csc.problem import check_filters_fit, check_images, check_weights
from csc_cogd.csc.settings import check_count, check_settings
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import InputError
from csc_cogd.storage import digest


@dataclass(frozen=True, eq=False)
class LearnedDictionary:
    """A dictionary, and how it was learned: the result of all functions that learn one.

    Attributes
    ----------
    dictionary : Dictionary
        Filters of norm at most one.
    codes : (N, K, H + h - 1, W + w - 1) array, or None
        Sparse codes of the images over this dictionary; None where they aren't kept in one place: online, and in shards.
    objective : float
        The minimized function at these filters and the codes found for them; online, that of the last batch.
    history : list of OuterIteration
    """

    dictionary: Dictionary
    codes: Any
    objective: float
    history: list[OuterIteration]

    def __repr__(self) -> str:
        return f"LearnedDictionary({self.dictionary}, {len(self.history)} rounds, objective {self.objective:.6g})"

    def summary(self) -> str:
        """Return how it was learned, in words, such as ``"30 rounds, objective 12.3456"``."""
        settings = self.dictionary.provenance["settings"]
        if "batch_size" in settings:
            return f"online, {len(self.history)} batches of {settings['batch_size']} crops"
        shards = f"{settings['shards']} shard(s), " if "shards" in settings else ""
        return f"{shards}{len(self.history)} rounds, objective {self.objective:.6g}"


def learn_dictionary(
    images: Any,
    n_filters: int | Sequence[int],
    filter_shape: int | Sequence[Any],
    *,
    lmbda: float,
    weights: Any = None,
    max_iter: int = 30,
    code_iterations: int = 5,
    filter_iterations: int = 5,
    tol: float = 1e-4,
    zero_mean: bool = False,
    l1_weights: Any = None,
    gradient_penalty: float = 0.0,
    boundary: str = "free",
    rho: float | None = None,
    rho_data: float | None = None,
    relaxation: float = 1.8,
    seed: int = 0,
    start: Dictionary | None = None,
    cogd: CogradientRule | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 5,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[OuterIteration], Any] | None = None,
) -> LearnedDictionary:
    """Learn filters from images, complete or with missing pixels.

    Minimizes over filters d and codes x [FFCSC, eq. 2; CoGD, eqs. 21-23]

        sum_n 1/2 ||W_n (sum_k d_k * x_nk - b_n)||^2 + lmbda sum |x_nk| + mu/2 sum ||grad x_nk||^2,   ||d_k|| <= 1

    by alternating a few iterations of the code solve and of the filter solve; both keep their dual variables from round to
    round. The filter solve is the code solve with the factors exchanged: per frequency an N x N system (Woodbury).

    Parameters
    ----------
    images : (N, H, W) or (N, C, H, W) array
        (N, P, T) and (Z, H, W) are read as N and Z images of one channel: give signals of P sensors as (N, P, 1, T), single
        ones as (N, 1, T). Best without their smooth part, such as a local mean.
    n_filters : int, or sequence of int
        For filters of mixed sizes, one number for each size: ``n_filters=(16, 32), filter_shape=(8, 12)`` asks for 16
        filters of 8 x 8 and 32 of 12 x 12.
    filter_shape : int or (h, w), or sequence of these
        Size of the filters.
    lmbda : float
        Weight of the l1 term, >= 0.
    weights : array that broadcasts against `images`, optional
        1 where observed, 0 where missing.
    max_iter : int
        Rounds.
    code_iterations : int
        Of the code solve in a round.
    filter_iterations : int
        Of the filter solve in a round.
    tol : float
        Stop when the objective falls by less than this fraction in a round.
    zero_mean : bool
        Learn filters of mean zero in each channel: they can't shift the brightness.
    l1_weights : array, optional
        See :func:`csc_cogd.sparse_code`.
    gradient_penalty : float
        mu; see :func:`csc_cogd.sparse_code`.
    boundary : {"free", "circular"}
        See :func:`csc_cogd.sparse_code`.
    rho : float, optional
        ADMM's penalty of the codes' l1 split; default: from `lmbda` and the images' range.
    rho_data : float, optional
        ADMM's penalty of the code solve's data split; default: a third of `rho`.
    relaxation : float
        ADMM's over-relaxation, between 0 and 2.
    seed : int
        Random seed for the initial filters, standard normal and scaled to unit norm.
    start : Dictionary, optional
        Initial filters; their number and shapes must be those asked for.
    cogd : CogradientRule, optional
        Backtrack the codes against the filters before every round by the rule of cogradient descent [CoGD, algorithm 1];
        a round that ends above the last objective is done again without it. Keeps two more arrays of the codes' size.
    checkpoint : path, optional
        File to save the run to. If it exists already, learning continues from it, to the same result as without the
        interruption (in another process, pyFFTW may choose other plans, which differ in the last bits; ``fft="scipy"`` does
        not); images and settings must be the same, except for `max_iter` and `tol`.
    checkpoint_every : int
        Rounds from one save to the next.
    dtype : {"float32", "float64"}
        Precision of the computation.
    device : str
        See :func:`csc_cogd.backend.get_backend`, also for `threads` and `fft`.
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.
    callback : callable, optional
        Called after every round with an :class:`OuterIteration`; a true return value stops learning.

    Returns
    -------
    LearnedDictionary

    Raises
    ------
    InputError
        If an argument's shape, type or value doesn't fit.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).standard_normal((2, 16, 16))
    >>> learned = learn_dictionary(images, 3, 4, lmbda=0.5, max_iter=2)
    >>> learned.dictionary.filters.shape, learned.codes.shape
    ((3, 4, 4), (2, 3, 19, 19))
    """
    images, gray = check_images(images), np.ndim(images) == 3
    check_settings(lmbda, max_iter, tol, relaxation, gradient_penalty, boundary)
    shapes = filter_shapes(n_filters, filter_shape)
    model = Model(shapes, lmbda, l1_weights, gradient_penalty, zero_mean, rho, rho_data, relaxation, boundary)
    iterations = check_iterations(code_iterations, filter_iterations)
    if not (cogd is None or isinstance(cogd, CogradientRule)):
        raise InputError("cogd", f"must be a csc_cogd.CogradientRule, such as CogradientRule(), got {cogd!r}")
    check_filters_fit(shapes, images)
    filters = initial_filters(shapes, images.shape[1], seed, start)
    engine = record_of(Engine(dtype, device, threads, fft), engine)
    backend = engine.beside(images).backend
    problem = (backend, model, filters, images, check_weights(weights, images))
    alternation = Alternation(*problem) if cogd is None else CogradientAlternation(cogd, *problem)
    settings = model.settings() | {
        "code_iterations": iterations[0], "filter_iterations": iterations[1], "seed": seed, "cogd": cogd and repr(cogd),
    }  # fmt: skip
    saved = None
    if checkpoint is not None:
        data = digest(*map(backend.to_host, (alternation.data.images, alternation.data.squared_weights)))
        identity = settings | {"images": data, "start": digest(filters, shapes), "dtype": str(backend.dtype)}
        saved = Checkpoint(Path(checkpoint), checkpoint_every, identity)
    history = alternate(alternation, max_iter, iterations, tol, callback, saved)
    found = backend.to_host(alternation.filters)
    codes = alternation.code_solver.take_maps()
    codes = alternation.domain.crop_codes(codes if on_gpu(images) else backend.to_host(codes))
    provenance = {
        "version": __version__, "images": list(images.shape), "masked": weights is not None,
        "settings": settings | {"rounds": len(history)},
    }  # fmt: skip
    dictionary = Dictionary(found[:, 0] if gray else found, shapes, provenance)
    return LearnedDictionary(dictionary, codes, history[-1].objective, history)


def alternate(
    alternation: Any, max_iter: int, iterations: tuple[int, int], tol: float | None,
    callback: Callable[[OuterIteration], Any] | None, checkpoint: Checkpoint | None,
) -> list[OuterIteration]:  # fmt: skip
    """Do rounds until the objective settles, or `max_iter` of them without `tol`, from the checkpoint if there is one.

    `alternation` is an :class:`Alternation`, or has the same methods ``round``, ``saved_entries``, ``saved_state`` and
    ``restore``.
    """
    history: list[OuterIteration] = []
    try:
        if checkpoint is not None and (saved := checkpoint.load(alternation.saved_entries())) is not None:
            state, history = saved
            alternation.restore(state)
        while len(history) < max_iter and not _settled(history, tol):
            started = time.perf_counter()
            record = alternation.round(*iterations)
            seconds = time.perf_counter() - started + (history[-1].seconds if history else 0.0)
            history.append(record._replace(iteration=len(history) + 1, seconds=seconds))
            if not np.isfinite(record.objective):
                raise _diverged(len(history))
            if checkpoint is not None and len(history) % checkpoint.every == 0:
                checkpoint.save(alternation.saved_state(), history)
            if callback is not None and callback(history[-1]):
                break
    except np.linalg.LinAlgError:  # a matrix with NaN or infinity
        raise _diverged(len(history) + 1) from None
    return history


def _diverged(number: int) -> InputError:
    return InputError("", f"learning diverged in round {number}", "use {dtype} 'float64', or a larger {lmbda}")


def _settled(history: list[OuterIteration], tol: float | None) -> bool:
    """Return whether the objective fell by less than `tol` of itself in the last round."""
    if tol is None or len(history) < 2:
        return False
    return abs(history[-2].objective - history[-1].objective) <= tol * history[-2].objective


def filter_shapes(n_filters: Any, filter_shape: Any) -> np.ndarray:
    """Return height and width of every filter, (K, 2), from the two arguments of :func:`learn_dictionary`."""
    several = np.ndim(n_filters) == 1
    counts: list[Any] = list(n_filters) if several else [n_filters]
    shapes: list[Any] = [filter_shape]
    if several:
        shapes = list(filter_shape) if isinstance(filter_shape, Iterable) else []
    if len(counts) != len(shapes):
        wrong = f"must have one size for each of the {len(counts)} numbers of filters, got {filter_shape}"
        raise InputError("filter_shape", wrong)
    for count in counts:
        check_count("n_filters", count)
    try:
        pairs = np.array([np.broadcast_to(shape, 2) for shape in shapes])
    except ValueError:
        raise InputError("filter_shape", f"must be a size or (height, width), got {filter_shape}") from None
    if pairs.dtype.kind not in "iu" or (pairs < 1).any():
        raise InputError("filter_shape", f"must be integers >= 1, got {filter_shape}")
    return np.repeat(pairs, counts, axis=0)


def check_iterations(code_iterations: int, filter_iterations: int) -> tuple[int, int]:
    """Return the iterations of each phase of a round, checked."""
    return check_count("code_iterations", code_iterations), check_count("filter_iterations", filter_iterations)


def initial_filters(shapes: np.ndarray, channels: int, seed: int, start: Dictionary | None) -> np.ndarray:
    """Return the filters (K, C, h, w) of `start`, checked, or else random ones of unit norm."""
    if start is not None:
        check_dictionary(start, "start")
        if start.n_channels != channels or not np.array_equal(start.shapes, shapes):
            raise InputError("start", "must have filters of the number, shapes and channels that are to be learned")
        return start.with_channels()
    generator = np.random.default_rng(seed)
    filters = np.zeros((len(shapes), channels, *shapes.max(axis=0)))
    for d, (height, width) in zip(filters, shapes, strict=True):
        d[:, :height, :width] = generator.standard_normal((channels, height, width))
        d /= np.linalg.norm(d)
    return filters
