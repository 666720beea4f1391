"""One shard of consensus learning: pure functions from one state to the next, which can be called anywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import Backend, to_numpy
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.alternation import Alternation, Model
from csc_cogd.csc.problem import Domain, check_filters_fit, check_images, check_observed, check_weights
from csc_cogd.csc.prox import Anchor
from csc_cogd.csc.state import POSITIVE, Entry, check_state, solver_entries
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.storage import digest, read_arrays, write_arrays

MIN_RHO = 0.01  # of the mean: where a filter is hardly used, its dual must not throw it about


@dataclass(frozen=True, eq=False)
class ShardState:
    """Everything that a shard's next round depends on, as arrays in main memory.

    Attributes
    ----------
    number : int
    model : Model
    engine : Engine
    images : (N, C, H, W) array
    weights : array that broadcasts against `images`
    filters, dual : (K, C, h, w) arrays
        D_m and y_m; None before the first round.
    rho : (K,) array
        rho_m, ADMM's penalty for each filter.
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
    rho: Any = None
    solvers: Any = None


class ShardInfo(NamedTuple):
    """A shard's report after its images have been read: their shape (N, C, H, W), and a digest of them."""

    shape: tuple[int, int, int, int]
    gray: bool
    masked: bool
    digest: str


class ShardUpdate(NamedTuple):
    """A shard's report after a round: ``rho D + y`` and rho, its part of the objective, and ``||D - G||^2`` before it."""

    filters: np.ndarray
    rho: np.ndarray
    data_term: float
    penalty: float
    nonzeros: int
    distance: float


def open_shard(
    numbered: tuple[int, Any], model: Model, engine: Engine, load: Callable[[Any], Any] | None
) -> tuple[ShardState, ShardInfo]:
    """Read a shard's images; see :func:`csc_cogd.csc.consensus.learn_dictionary_consensus`."""
    _ = engine.backend  # refuse now, not later
    number, shard = numbered
    loaded = shard if load is None else load(shard)
    given, weights = loaded if isinstance(loaded, tuple) else (loaded, None)
    try:
        images = to_numpy(check_images(given))
        masked, weights = weights is not None, check_weights(weights, images)
        check_observed(images, weights)
        check_filters_fit(model.shapes, images)
    except InputError as error:
        raise error.about(f"shard {number}") from None
    state = ShardState(number, model, engine, images, weights)
    return state, ShardInfo(images.shape, np.ndim(given) == 3, masked, digest(images, weights))


def update_shard(
    state: ShardState, consensus: np.ndarray, code_iterations: int, filter_iterations: int
) -> tuple[ShardState, ShardUpdate]:
    """Do a round at the filters G that the shards have agreed on: `consensus`, (K, C, h, w).

    It begins with the dual update of the last round, which needs G.
    """
    backend = state.engine.backend
    agreed = consensus.astype(np.float64)
    difference = dual = np.zeros_like(agreed)
    if state.filters is not None:
        difference = state.filters - agreed
        dual = state.dual + _by_filter(state.rho) * difference
    alternation = _ShardAlternation(backend, state, consensus)

    alternation.code_phase(code_iterations)
    alternation.fit = alternation.code_solver.apply()
    data_term, penalty, nonzeros = alternation.measure()

    energies = alternation.code_energies()
    rho = np.maximum(energies, MIN_RHO * energies.mean() or 1.0)  # any, where all codes are zero
    alternation.anchor = Anchor(backend.asarray(agreed - dual / _by_filter(rho)), rho)
    alternation.filter_phase(filter_iterations)
    filters = backend.to_host(alternation.filters).astype(np.float64)

    new = replace(state, filters=filters, dual=dual, rho=rho, solvers=alternation.solver_states())
    weighted = _by_filter(rho) * filters + dual
    return new, ShardUpdate(weighted, rho, data_term, penalty, nonzeros, float((difference**2).sum()))


def save_shard(state: ShardState, name: str) -> tuple[ShardState, None]:
    """Save the state, except for the images, in a file whose name begins with `name`."""
    arrays = {"filters": state.filters, "dual": state.dual, "rho": state.rho, **state.solvers}
    write_arrays(Path(f"{name}{state.number}.npz"), arrays, {}, overwrite=True, compress=False)
    return state, None


def load_shard(state: ShardState, name: str) -> tuple[ShardState, None]:
    """Restore what :func:`save_shard` saved."""
    path = f"{name}{state.number}.npz"
    arrays, _ = read_arrays(path, "checkpoint")
    N, C, height, width = state.images.shape
    K, (h, w) = len(state.model.shapes), state.model.shapes.max(axis=0).tolist()
    H, W = Domain((height, width), (h, w), state.model.boundary).shape
    entries = {"filters": Entry((K, C, h, w)), "dual": Entry((K, C, h, w)), "rho": Entry((K,), *POSITIVE)}
    entries |= solver_entries("code", (N, K, H, W), (N, C, H, W)) | solver_entries("filter", (C, K, H, W), (C, N, H, W))
    check_state(path, arrays, entries)
    filters, dual, rho = (arrays.pop(key) for key in ("filters", "dual", "rho"))
    return replace(state, filters=filters, dual=dual, rho=rho, solvers=arrays), None


class _ShardAlternation(Alternation):
    """An alternation whose solvers continue from a shard's state, with filters that come from elsewhere."""

    def __init__(self, backend: Backend, state: ShardState, filters: np.ndarray):
        super().__init__(backend, state.model, filters, state.images, state.weights)
        self._saved = state.solvers
        if self._saved is not None:
            self.code_solver.load_state(self._saved, "code_")  # the code phase refreshes it

    def _start_filter_solver(self) -> ConvolutionalADMM:
        solver = super()._start_filter_solver()
        if self._saved is not None:
            solver.load_state(self._saved, "filter_")
            solver.refresh()
        return solver

    def solver_states(self) -> dict[str, np.ndarray]:
        """Return the solvers' states, without copies: the alternation can't be used afterwards."""
        states: dict[str, np.ndarray] = {}
        for name, solver in (("code", self.code_solver), ("filter", self.filter_solver)):
            assert solver is not None
            states |= {f"{name}_{key}": self.backend.to_host(array) for key, array in solver.state().items()}
        return states


def _by_filter(numbers: np.ndarray) -> np.ndarray:
    return numbers[:, None, None, None]
