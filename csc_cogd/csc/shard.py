"""One shard of consensus learning: pure functions from a state to the next, that can be called anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import Backend, get_backend, to_numpy
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.alternation import Alternation, Model
from csc_cogd.csc.problem import Domain, check_images, check_weights
from csc_cogd.csc.prox import Anchor
from csc_cogd.csc.state import POSITIVE, Entry, check_state, solver_entries
from csc_cogd.errors import InputError
from csc_cogd.storage import digest, read_arrays, write_arrays

LEAST_PULL = 0.01  # of the mean pull: where a filter is hardly used, its dual must not throw it about


@dataclass(frozen=True)
class Engine:
    """What the backend is made of where a shard is worked on; see :func:`csc_cogd.backend.get_backend`."""

    device: str
    dtype: str
    threads: int | None
    fft: str | None

    def backend(self) -> Backend:
        return get_backend(self.device, dtype=self.dtype, threads=self.threads, fft=self.fft)


@dataclass(frozen=True, eq=False)
class ShardState:
    """All that a shard's next round depends on; arrays in main memory.

    Attributes
    ----------
    number : int
    images : (N, C, H, W) array
    weights : array that broadcasts against `images`
    filters, dual : (K, C, h, w) arrays
        D_m and y_m; before the first round None.
    pull : (K,) array
        rho_m.
    solvers : dict of arrays
        States of the code solver and of the filter solver.
    """

    number: int
    model: Model
    engine: Engine
    images: np.ndarray
    weights: np.ndarray
    filters: Any = None
    dual: Any = None
    pull: Any = None
    solvers: Any = None


class Opened(NamedTuple):
    """What is said of a shard's images after they have been read: their shape (N, C, H, W), and a digest of them."""

    shape: tuple[int, int, int, int]
    gray: bool
    masked: bool
    digest: str


class Share(NamedTuple):
    """What a shard sends after a round: ``rho D + y`` and rho, its part of the objective, and ``||D - G||^2`` before it."""

    filters: np.ndarray
    pull: np.ndarray
    data_term: float
    penalty: float
    nonzeros: int
    distance: float


def open_shard(
    numbered: tuple[int, Any], model: Model, engine: Engine, load: Callable[[Any], Any] | None
) -> tuple[ShardState, Opened]:
    """Read a shard's images; see :func:`csc_cogd.csc.consensus.learn_dictionary_consensus`."""
    engine.backend()  # refuse now, not later
    number, shard = numbered
    loaded = shard if load is None else load(shard)
    given, weights = loaded if isinstance(loaded, tuple) else (loaded, None)
    try:
        images = to_numpy(check_images(given))
        masked, weights = weights is not None, check_weights(weights, images)
        if not np.isfinite(images[np.broadcast_to(weights > 0, images.shape)]).all():
            raise InputError("images: there are NaN or infinite values where the weight is positive: give them weight zero")
    except InputError as error:
        raise error.about(f"shard {number}") from None
    largest = tuple(model.shapes.max(axis=0).tolist())
    if any(np.greater(largest, images.shape[2:])):
        raise InputError(
            f"filter_shape: {largest} is larger than the images of shard {number}, {images.shape[2:]}: use smaller filters"
        )
    state = ShardState(number, model, engine, images, weights)
    return state, Opened(images.shape, np.ndim(given) == 3, masked, digest(images, weights))


def work_shard(
    state: ShardState, consensus: np.ndarray, code_iterations: int, filter_iterations: int
) -> tuple[ShardState, Share]:
    """A round at the filters G that the shards have agreed on: `consensus`, (K, C, h, w).

    The dual's update, which needs G, is the last round's.
    """
    backend = state.engine.backend()
    agreed = consensus.astype(np.float64)
    difference = dual = np.zeros_like(agreed)
    if state.filters is not None:
        difference = state.filters - agreed
        dual = state.dual + _by_filter(state.pull) * difference
    alternation = _ShardAlternation(backend, state, consensus)

    alternation.code_phase(code_iterations)
    alternation.fit = alternation.code_solver.apply()
    data_term, penalty, nonzeros = alternation.measure()

    energies = alternation.code_energies()
    pull = np.maximum(energies, LEAST_PULL * energies.mean() or 1.0)  # any, where all codes are zero
    alternation.anchor = Anchor(backend.asarray(agreed - dual / _by_filter(pull)), pull)
    alternation.filter_phase(filter_iterations)
    filters = backend.to_host(alternation.filters).astype(np.float64)

    new = replace(state, filters=filters, dual=dual, pull=pull, solvers=alternation.solver_states())
    share = _by_filter(pull) * filters + dual
    return new, Share(share, pull, data_term, penalty, nonzeros, float((difference**2).sum()))


def save_shard(state: ShardState, name: str) -> tuple[ShardState, None]:
    """Save what isn't read from the images, in a file whose name begins so."""
    arrays = {"filters": state.filters, "dual": state.dual, "pull": state.pull, **state.solvers}
    write_arrays(Path(f"{name}{state.number}.npz"), arrays, {}, overwrite=True, compress=False)
    return state, None


def load_shard(state: ShardState, name: str) -> tuple[ShardState, None]:
    """Go back to what :func:`save_shard` saved."""
    path = f"{name}{state.number}.npz"
    arrays, _ = read_arrays(path, "checkpoint")
    N, C, height, width = state.images.shape
    K, (h, w) = len(state.model.shapes), state.model.shapes.max(axis=0).tolist()
    H, W = Domain((height, width), (h, w), state.model.boundary).shape
    entries = {"filters": Entry((K, C, h, w)), "dual": Entry((K, C, h, w)), "pull": Entry((K,), *POSITIVE)}
    entries |= solver_entries("code", (N, K, H, W), (N, C, H, W)) | solver_entries("filter", (C, K, H, W), (C, N, H, W))
    check_state(path, arrays, entries)
    filters, dual, pull = (arrays.pop(key) for key in ("filters", "dual", "pull"))
    return replace(state, filters=filters, dual=dual, pull=pull, solvers=arrays), None


class _ShardAlternation(Alternation):
    """Takes a shard's solvers up from their states, at filters that have come from elsewhere."""

    def __init__(self, backend: Backend, state: ShardState, filters: np.ndarray):
        super().__init__(backend, state.model, filters, state.images, state.weights)
        self._saved = state.solvers
        if self._saved is not None:
            self._take_up(self.code_solver, "code")  # the code phase refreshes it

    def _start_filter_solver(self) -> ConvolutionalADMM:
        solver = super()._start_filter_solver()
        if self._saved is not None:
            self._take_up(solver, "filter")
            solver.refresh()
        return solver

    def _take_up(self, solver: ConvolutionalADMM, name: str) -> None:
        solver.p[...] = self.backend.asarray(self._saved[f"{name}_p"])
        solver.p0[...] = self.backend.asarray(self._saved[f"{name}_p0"])
        solver.set_penalties(*self._saved[f"{name}_penalties"])

    def solver_states(self) -> dict[str, np.ndarray]:
        """Without copies: this alternation is spent."""
        states = {}
        for name, solver in (("code", self.code_solver), ("filter", self.filter_solver)):
            assert solver is not None
            states[f"{name}_p"], states[f"{name}_p0"] = self.backend.to_host(solver.p), self.backend.to_host(solver.p0)
            states[f"{name}_penalties"] = np.array([solver.rho, solver.rho_data])
        return states


def _by_filter(numbers: np.ndarray) -> np.ndarray:
    return numbers[:, None, None, None]
