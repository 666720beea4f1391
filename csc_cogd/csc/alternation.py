"""The alternation of learning: a code solver and a filter solver, each the other's operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import Backend, Index
from csc_cogd.cogd.rule import Backtracking
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.filters import current_filters, filter_solver
from csc_cogd.csc.iteration import run_phase
from csc_cogd.csc.problem import Domain, for_maps, map_spectra, observed_data
from csc_cogd.csc.prox import Anchor, SoftThreshold
from csc_cogd.csc.settings import check_l1_weights, penalties, place_l1_weights
from csc_cogd.csc.state import Entry, solver_entries
from csc_cogd.storage import Json, digest

RHO_DATA_RATIO = 1 / 3  # of the code phase: measured on the paper's protocol, in objective after a given time


class OuterIteration(NamedTuple):
    """One line of the learner's history: the state after a code phase and a filter phase.

    Attributes
    ----------
    iteration : int
        From 1.
    seconds : float
        Since the start, without the callback's.
    objective, data_term, penalty : float
        `objective` is `data_term` plus `penalty`: the l1 term and, where there is one, the gradient penalty.
    nonzeros : int
        Codes that aren't zero.
    backtracking : csc_cogd.cogd.rule.Backtracking, or None
        What the rule of cogradient descent did before the round.
    consensus_residual : float, or None
        How far the shards' filters were from those they agreed on, relative to these; None without shards.
    """

    iteration: int
    seconds: float
    objective: float
    data_term: float
    penalty: float
    nonzeros: int
    backtracking: Backtracking | None = None
    consensus_residual: float | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """What learning minimizes, and ADMM's settings for it; see :func:`csc_cogd.learn_dictionary`.

    Attributes
    ----------
    shapes : (K, 2) array
        Heights and widths of the filters.
    lmbda : float
    l1_weights : array, optional
    gradient_penalty : float
    zero_mean : bool
    rho, rho_data : float, optional
    relaxation : float
    boundary : {"free", "circular"}
    """

    shapes: np.ndarray
    lmbda: float
    l1_weights: Any
    gradient_penalty: float
    zero_mean: bool
    rho: float | None
    rho_data: float | None
    relaxation: float
    boundary: str = "free"

    def settings(self) -> dict[str, Json]:
        """Return the settings as JSON can hold them."""
        return {
            "lmbda": float(self.lmbda), "gradient_penalty": float(self.gradient_penalty), "zero_mean": bool(self.zero_mean),
            "l1_weights": None if self.l1_weights is None else digest(self.l1_weights),
            "relaxation": float(self.relaxation), "rho": [self.rho, self.rho_data],
            "boundary": self.boundary,
        }  # fmt: skip


class Alternation:
    """Phases of learning on one set of images.

    Parameters
    ----------
    backend : Backend
    model : Model
    filters : (K, C, h, w) array
        Initial filters.
    images : (N, C, H, W) array
    weights : array that broadcasts against `images`
    anchor : Anchor, optional
        Penalty of moving away from earlier filters.
    """

    def __init__(
        self, backend: Backend, model: Model, filters: Any, images: np.ndarray, weights: np.ndarray,
        anchor: Anchor | None = None,
    ):  # fmt: skip
        self.backend, self.model, self.anchor = backend, model, anchor
        self.filters = backend.asarray(filters)
        self.domain = Domain((images.shape[2], images.shape[3]), (filters.shape[2], filters.shape[3]), model.boundary)
        self.data = observed_data(backend, self.domain, images, weights)
        l1_weights = check_l1_weights(model.l1_weights, (len(images), len(filters), *self.domain.codes_shape))
        rho, rho_data = penalties(model.lmbda, self.data, model.rho, model.rho_data, RHO_DATA_RATIO)
        self.code_solver = ConvolutionalADMM(
            backend,
            map_spectra(backend, self.domain, self.filters),
            self.data,
            SoftThreshold(backend, place_l1_weights(l1_weights * model.lmbda, self.domain)),
            rho=rho,
            rho_data=rho_data,
            relaxation=model.relaxation,
            gradient_penalty=model.gradient_penalty,
            filters=self.filters,
        )
        self.filter_solver: ConvolutionalADMM | None = None
        self.fit: Any = None  # sum_k d_k * x_k at the present filters and sparse codes, (N, C, H, W)

    def round(self, code_iterations: int, filter_iterations: int) -> OuterIteration:
        """Do one outer iteration, a code phase and a filter phase; the caller sets its number and seconds."""
        self.code_phase(code_iterations)
        self.filter_phase(filter_iterations)
        data_term, penalty, nonzeros = self.measure()
        return OuterIteration(0, 0.0, data_term + penalty, data_term, penalty, nonzeros)

    # -- phases ------------------------------------------------------------------------------------------------------

    def code_phase(self, iterations: int) -> None:
        self.code_solver.refresh()
        run_phase(self.code_solver, iterations)

    def filter_phase(self, iterations: int) -> None:
        """Iterate on the filters for the current codes, then pass the new filters to the code solver."""
        if self.filter_solver is None:
            self.filter_solver = self._start_filter_solver()
        else:
            self.filter_solver.set_operator(self._code_spectra())
            self.filter_solver.refresh()
        run_phase(self.filter_solver, iterations)
        self.fit = self.filter_solver.apply().swapaxes(0, 1)
        self.filter_solver.synthesis.operator = None  # the codes' spectra aren't needed in between
        self._take_filters(current_filters(self.filter_solver, self.filters.shape[2:]))

    def _start_filter_solver(self) -> ConvolutionalADMM:
        return filter_solver(
            self.backend, self._code_spectra(), self.data, self.model.shapes, self.filters,
            float(self.code_energies().sum()), self.model.relaxation, self.model.zero_mean, self.anchor,
        )  # fmt: skip

    def _take_filters(self, filters: Any) -> None:
        self.filters = filters
        self.code_solver.set_operator(map_spectra(self.backend, self.domain, filters), filters)

    def _code_spectra(self) -> Any:
        """Return spectra of the sparse codes (K, N, H, W // 2 + 1)."""
        N, K, H, W = self.code_solver.shape
        spectra = self.backend.xp.empty((K, N, H, W // 2 + 1), self.backend.complex_dtype)

        def transform(workspace: Any, index: Index) -> None:
            self.codes_of_visit(index, workspace.real)
            workspace.forward()
            spectra[index[::-1]] = workspace.spectrum.swapaxes(0, 1)

        self.for_maps(transform)
        return spectra

    def for_maps(self, function: Callable[[Any, Index], Any]) -> list[Any]:
        """Return ``function(workspace, index)`` of every visit to the code maps, image by image, on all threads."""
        return for_maps(self.backend, self.code_solver.shape, function)

    def per_map(self, function: Callable[[Any, Index], Any]) -> np.ndarray:
        """Return the numbers (N, K) of all code maps, of a function that returns those of a visit, (n, k)."""
        numbers = self.backend.xp.empty(self.code_solver.shape[:2])

        def fill(workspace: Any, index: Index) -> None:
            numbers[index] = function(workspace, index)

        self.for_maps(fill)
        return self.backend.to_host(numbers)

    def codes_of_visit(self, index: Index, out: Any) -> Any:
        """Return the sparse code maps of a visit, (n, k, H, W), written to `out`."""
        out[...] = self.code_solver.p[index]
        self.code_solver.prox.prox_inplace(out, index)
        return out

    # -- what has been reached ---------------------------------------------------------------------------------------

    def measure(self) -> tuple[float, float, int]:
        """Return data term, penalty on the codes, and number of non-zero codes after a filter phase."""
        solver = self.code_solver

        def sums(workspace: Any, index: Index) -> Any:
            x = self.codes_of_visit(index, workspace.real)
            return np.stack([solver.map_penalty(x, index), (x != 0).sum()])

        penalty, nonzeros = self.backend.to_host(sum(self.for_maps(sums))).tolist()
        return self.data.value(self.fit), penalty, int(nonzeros)

    def codes(self) -> Any:
        """Return the sparse codes on the domain, (N, K, H, W), a copy."""
        codes = self.backend.xp.empty_like(self.code_solver.p)

        def copy(workspace: Any, index: Index) -> None:
            self.codes_of_visit(index, codes[index])

        self.for_maps(copy)
        return codes

    def code_energies(self) -> np.ndarray:
        """Return the sum of squares of every filter's codes, (K,)."""

        def energies(workspace: Any, index: Index) -> Any:
            return (self.codes_of_visit(index, workspace.real) ** 2).sum(axis=(2, 3), dtype=np.float64)

        return self.per_map(energies).sum(axis=0)

    # -- the state, to be taken up again --------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """Return copies of the arrays that the next round depends on, by name, on the backend's device."""
        solvers = {"code": self.code_solver, "filter": self.filter_solver}
        state = {"filters": self.filters.copy(), "fit": self.fit.copy()}
        for name, solver in solvers.items():
            if solver is not None:
                state |= {f"{name}_{key}": array.copy() for key, array in solver.state().items()}
        return state

    def saved_entries(self) -> dict[str, Entry]:
        """Return the shapes and ranges of the arrays of :meth:`saved_state`."""
        (N, K, H, W), C = self.code_solver.shape, self.data.images.shape[1]
        entries = {"filters": Entry(self.filters.shape), "fit": Entry((N, C, H, W))}
        return (
            entries
            | solver_entries("code", (N, K, H, W), (N, C, H, W))
            | solver_entries("filter", (C, K, H, W), (C, N, H, W))
        )

    def saved_state(self) -> dict[str, np.ndarray]:
        """Return the state in main memory, for a file."""
        return {name: self.backend.to_host(array) for name, array in self.state().items()}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Restore a state of this alternation, or of one with the same images and settings."""
        if "filter_p" in state and self.filter_solver is None:
            self.filter_solver = self._start_filter_solver()
        for name, solver in (("code", self.code_solver), ("filter", self.filter_solver)):
            if solver is not None:
                solver.load_state(state, f"{name}_")
        self.fit = self.backend.asarray(state["fit"])
        self._take_filters(self.backend.asarray(state["filters"]))
