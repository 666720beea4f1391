"""Consensus learning: one dictionary from shards of images, each processed where its images and codes are."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from csc_cogd import __version__
from csc_cogd.backend import get_backend
from csc_cogd.csc.alternation import Model, OuterIteration
from csc_cogd.csc.checkpoint import Checkpoint
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.learning import LearnedDictionary, alternate, check_iterations, filter_shapes, initial_filters
from csc_cogd.csc.settings import check_settings
from csc_cogd.csc.shard import ShardInfo, ShardUpdate, load_shard, open_shard, save_shard, update_shard
from csc_cogd.csc.state import COUNT, Entry
from csc_cogd.engine import Engine, record_of
from csc_cogd.errors import InputError
from csc_cogd.storage import digest


class Mapper(Protocol):
    """A place for shards, which keeps their states and applies pure functions ``state, report = function(state, ...)``.

    Only arguments and reports travel. Reports come in the order of the shards, wherever and whenever they were made.
    """

    def start(self, function: Callable[..., Any], shards: Sequence[Any], *arguments: Any) -> list[Any]:
        """Apply `function` to the shards, to make their states."""

    def step(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Apply `function` to the states."""


class SerialMapper:
    """A :class:`Mapper` that processes one shard after the other, in this process."""

    def start(self, function: Callable[..., Any], shards: Sequence[Any], *arguments: Any) -> list[Any]:
        self._states = list(shards)
        return self.step(function, *arguments)

    def step(self, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        reports = []
        for m, state in enumerate(self._states):
            self._states[m], report = function(state, *arguments)
            reports.append(report)
        return reports


def learn_dictionary_consensus(
    shards: Sequence[Any],
    n_filters: int | Sequence[int],
    filter_shape: int | Sequence[Any],
    *,
    lmbda: float,
    load: Callable[[Any], Any] | None = None,
    mapper: Mapper | None = None,
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
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 5,
    dtype: Any = "float32",
    device: str = "auto",
    threads: int | None = None,
    fft: str | None = None,
    engine: Engine | None = None,
    callback: Callable[[OuterIteration], Any] | None = None,
) -> LearnedDictionary:
    """Learn one dictionary from images that are too many for one machine, in shards.

    Shard m has images, codes x_m and filters D_m of its own; all shall agree on filters G of the feasible set C:

        minimize  sum_m 1/2 ||W_m (D_m x_m - b_m)||^2 + lmbda ||x_m||_1    s.t.  D_m = G,  G in C: support and norm <= 1

    This is ADMM for global consensus [Boyd et al. 2011, section 7.2] on the filters, as in consensus convolutional sparse
    coding [Choudhury et al. 2017; Garcia-Cardona, Wohlberg 2018], interleaved with code iterations. A round is, with duals
    y_m and penalties rho_mk = ||x_mk||^2, the curvature of a shard's data term in its filter k where codes don't overlap,

        x_m  by code iterations at G
        D_m  = argmin 1/2 ||W_m (D_m x_m - b_m)||^2 + 1/2 sum_k rho_mk ||d_mk - g_k + y_mk / rho_mk||^2,  D_m in C
        G    = proj_C(sum_m (rho_m D_m + y_m) / sum_m rho_m)
        y_m += rho_m (D_m - G)

    so a shard's weight grows with its images, filter by filter, and only filters and penalties travel. The result doesn't
    depend on where shards are processed, nor on the order in which they finish, if FFT library and dtype are the same. By
    default, FFTs are planned without measuring, for measured plans (``fft="pyfftw"``) may differ from process to process,
    in the last bits.

    Parameters
    ----------
    shards : sequence
        Each an (N, H, W) or (N, C, H, W) array, or a tuple of such an array and its weights: 1 where observed, 0 where
        missing. Sizes may differ from shard to shard.
    n_filters : int, or sequence of int
        See :func:`csc_cogd.learn_dictionary`, also for the parameters without a description here.
    filter_shape : int or (h, w), or sequence of these
    lmbda : float
        Weight of the l1 term, >= 0.
    load : callable, optional
        Loads a shard from a description, such as file names, where it is processed; images then stay there.
    mapper : Mapper, optional
        Where to process the shards, as from :func:`csc_cogd.shard_mapper`; default: here, one after the other.
    max_iter : int
        Rounds.
    code_iterations, filter_iterations : int
        In each round.
    tol : float
        Stop when the objective falls by less than this fraction in a round.
    zero_mean : bool
    l1_weights : (1, K, 1, 1) array, optional
        One weight for each filter.
    gradient_penalty : float
    boundary : {"free", "circular"}
    rho, rho_data : float, optional
    relaxation : float
    seed : int
    start : Dictionary, optional
    checkpoint : path, optional
        The shards save their states beside it, under names that begin with its name: other machines must find its folder,
        too.
    checkpoint_every : int
    dtype : {"float32", "float64"}
    device : str
    threads : int, optional
    fft : str, optional
    engine : Engine, optional
        In place of `dtype`, `device`, `threads` and `fft`.
    callback : callable, optional
        Called after every round with an :class:`OuterIteration`, whose `consensus_residual` tells how far the shards'
        filters were from those that they had agreed on; a true return value stops learning.

    Returns
    -------
    LearnedDictionary
        Each record of its history is of the filters that went into the round, and the codes that the shards found for them.

    Raises
    ------
    InputError
        If an argument's shape, type or value doesn't fit.

    Examples
    --------
    >>> import numpy as np
    >>> images = np.random.default_rng(0).standard_normal((5, 16, 16))
    >>> learned = learn_dictionary_consensus([images[:3], images[3:]], 3, 4, lmbda=0.5, max_iter=2)
    >>> learned.dictionary.filters.shape
    (3, 4, 4)
    """
    check_settings(lmbda, max_iter, tol, relaxation, gradient_penalty, boundary)
    if len(shards) == 0:
        raise InputError("shards", "must be one or more, got none")
    shapes = filter_shapes(n_filters, filter_shape)
    model = Model(shapes, lmbda, l1_weights, gradient_penalty, zero_mean, rho, rho_data, relaxation, boundary)
    iterations = check_iterations(code_iterations, filter_iterations)
    engine = record_of(Engine(dtype, device, threads, fft), engine).without_measuring()
    engine = replace(engine, dtype=str(get_backend("cpu", dtype=engine.dtype).dtype))
    mapper = SerialMapper() if mapper is None else mapper
    opened: list[ShardInfo] = mapper.start(open_shard, list(enumerate(shards)), model, engine, load)
    channels, gray = opened[0].shape[1], opened[0].gray
    for m, other in enumerate(opened):
        if other.shape[1] != channels:
            wrong = f"must have the same number of channels, got {channels} in shard 0, {other.shape[1]} in shard {m}"
            raise InputError("shards", wrong, "learn from gray and color images separately")
    filters = initial_filters(shapes, channels, seed, start)
    settings = model.settings() | {
        "code_iterations": iterations[0], "filter_iterations": iterations[1], "seed": seed, "shards": len(shards),
    }  # fmt: skip
    saved = None
    if checkpoint is not None:
        data = [each.digest for each in opened]
        identity = settings | {"images": data, "start": digest(filters, shapes), "dtype": engine.dtype}
        saved = Checkpoint(Path(checkpoint), checkpoint_every, identity)
    consensus = _Consensus(mapper, filters.astype(engine.dtype), None if saved is None else saved.path)
    history = alternate(consensus, max_iter, iterations, tol, callback, saved)
    found = consensus.reached
    provenance = {
        "version": __version__, "images": sum(each.shape[0] for each in opened),
        "masked": any(each.masked for each in opened), "settings": settings | {"rounds": len(history)},
    }  # fmt: skip
    dictionary = Dictionary(found[:, 0] if gray else found, shapes, provenance)
    return LearnedDictionary(dictionary, None, history[-1].objective, history)


class _Consensus:
    """The filters that the shards agree on, and the rounds that lead there.

    Attributes
    ----------
    filters : (K, C, h, w) array
        Filters that the next round starts from.
    reached : (K, C, h, w) array
        Filters that the last round started from, which its objective belongs to.
    """

    def __init__(self, mapper: Mapper, filters: np.ndarray, checkpoint: Path | None):
        self.mapper, self.filters, self.reached = mapper, filters, filters
        self.checkpoint = None if checkpoint is None else checkpoint.absolute()  # workers may be in another folder
        self.rounds = self._saved = self._resumed = 0

    def round(self, code_iterations: int, filter_iterations: int) -> OuterIteration:
        updates: list[ShardUpdate] = self.mapper.step(update_shard, self.filters, code_iterations, filter_iterations)
        self.rounds += 1
        self.reached, self.filters = self.filters, average_filters(updates).astype(self.filters.dtype)
        data_term, penalty = (sum(getattr(update, name) for update in updates) for name in ("data_term", "penalty"))
        distance = sum(update.distance for update in updates) / (
            len(updates) * float((self.reached**2).sum(dtype=np.float64))
        )
        return OuterIteration(
            0, 0.0, data_term + penalty, data_term, penalty, sum(update.nonzeros for update in updates),
            consensus_residual=float(np.sqrt(distance)),
        )  # fmt: skip

    def saved_entries(self) -> dict[str, Entry]:
        return {"filters": Entry(self.filters.shape), "reached": Entry(self.filters.shape), "rounds": COUNT}

    def saved_state(self) -> dict[str, np.ndarray]:
        """Return the state for the checkpoint's file; the workers save the states of shards in files beside it."""
        assert self.checkpoint is not None
        self.mapper.step(save_shard, self._files(self.rounds))
        self._remove_files_but({self._resumed, self._saved, self.rounds})
        self._saved = self.rounds
        return {"filters": self.filters, "reached": self.reached, "rounds": np.array(self.rounds)}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        self.filters, self.reached = state["filters"], state["reached"]
        self.rounds = self._saved = self._resumed = int(state["rounds"])
        self.mapper.step(load_shard, self._files(self.rounds))

    def _files(self, rounds: int | str) -> str:
        return f"{self.checkpoint}.round-{rounds}.shard-"

    def _remove_files_but(self, wanted: set[int]) -> None:
        """Remove the shards' files, except for those of these rounds.

        The checkpoint's file refers to the last saved round until it is replaced, and a mapper may have to make a state
        again from where the run was resumed.
        """
        keep = tuple(self._files(rounds) for rounds in wanted)
        for name in glob.glob(f"{glob.escape(str(self.checkpoint))}.round-*.shard-*.npz"):
            if not name.startswith(keep):
                Path(name).unlink(missing_ok=True)


def average_filters(updates: Sequence[ShardUpdate]) -> np.ndarray:
    """Return G, the mean of the shards' filters weighted by their penalties, projected to norm at most one."""
    rho = np.sum([update.rho for update in updates], axis=0)
    total = np.sum([update.filters for update in updates], axis=0) / rho[:, None, None, None]
    norms = np.sqrt((total**2).sum(axis=(1, 2, 3), keepdims=True))
    return total / np.maximum(norms, 1)
