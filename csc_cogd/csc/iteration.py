"""The protocol of solvers, the record of an iteration, and the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np

GAP_EVERY = 10  # iterations, from one measurement of the duality gap to the next
FIRST_ADAPTATION = 10  # iterations before the penalties are adapted first


class Iteration(NamedTuple):
    """One line of a solver's history.

    Attributes
    ----------
    iteration : int
        From 1.
    seconds : float
        Since the start, without the callback's.
    objective, data_term, l1 : float
        `objective` is `data_term` + `l1`, the data term at the linear solution and the l1 term at the sparse split variable:
        the two agree at convergence. A gradient penalty isn't counted.
    primal_residual, dual_residual : float
        Relative: primal to the larger of the two sides of the split (but at least to a tenth of the observed data), dual to
        the dual variables [Wohlberg 2017, arXiv 1704.06209].
    rho : float
        ADMM's penalty of the l1 split.
    nonzeros : int
        Codes that aren't zero.
    gap : float
        The relative duality gap, where it is known, else NaN: the objective is at most that fraction of itself above the
        optimum; see :func:`duality_gap`. ADMM measures it now and then, as soon as the residuals are small.
    """

    iteration: int
    seconds: float
    objective: float
    data_term: float
    l1: float
    primal_residual: float
    dual_residual: float
    rho: float
    nonzeros: int
    gap: float = float("nan")

    def converged(self, tol: float) -> bool:
        """Return whether the duality gap is `tol` at most, or, where it isn't known, both residuals are below."""
        if np.isnan(self.gap):
            return max(self.primal_residual, self.dual_residual) < tol
        return self.gap <= tol


class Solver(Protocol):
    """A solver for :func:`iterate`: ADMM, FISTA or coordinate descent, from zero or from maps given as `start`.

    Attributes
    ----------
    rho : float
        Penalty of the l1 split; NaN for a solver that has none.
    measure_every : int
        Iterations from one record to the next, where records cost time (on a GPU).
    """

    rho: float
    measure_every: int

    def step(self, measure: bool = True) -> Iteration | None:
        """Do one iteration, and return its record, without number and seconds; None unless to `measure`."""

    def finish(self) -> tuple[Any, Any, float]:
        """Return the maps, their sums of convolutions on the domain, and the objective; the solver is then used up."""


def iterate(
    solver: Solver,
    max_iter: int,
    tol: float,
    callback: Callable[[Iteration], Any] | None = None,
    scale_penalties: Callable[[float], None] | None = None,
    measure_gap: Callable[[], float] | None = None,
) -> list[Iteration]:
    """Run a solver's steps until their record has converged to `tol`, or `max_iter`, or the callback returns true.

    Relative residuals say little of the objective where `lmbda` is small. So where a solver's steps don't tell the duality
    gap, but `measure_gap` does, for about half the time of an iteration, that is asked before stopping, and again every
    `GAP_EVERY` iterations.

    Figures are taken every `measure_every` iterations only, and before the penalties are adapted and at the end: only these
    iterations are in the history, and told to the callback.

    With `scale_penalties`, the penalties are scaled by the square root of the residuals' ratio every so many iterations
    where the residuals are out of balance [Boyd et al. 2011, section 3.4.1], less and less often, so that ADMM's convergence
    proof holds, and never by more than ten in all: a relative residual says nothing where the solution is zero.
    """
    history: list[Iteration] = []
    seconds = 0.0
    next_adaptation = pause = FIRST_ADAPTATION if scale_penalties else 0
    next_gap = 1
    initial_rho = solver.rho
    start = time.perf_counter()
    for number in range(1, max_iter + 1):
        measure = number % solver.measure_every == 0 or number in (1, next_adaptation, max_iter)
        record = solver.step(measure)
        if record is None:
            continue
        converged = record.converged(tol)
        if converged and measure_gap is not None:
            converged = number >= next_gap
            if converged:
                record, next_gap = record._replace(gap=measure_gap()), number + GAP_EVERY
                converged = record.converged(tol)
        if scale_penalties and number == next_adaptation and not converged and number < max_iter:
            balance = record.primal_residual / max(record.dual_residual, 1e-30)
            if not 0.5 < balance < 2:
                goal = np.clip(solver.rho * np.sqrt(balance), initial_rho / 10, initial_rho * 10)
                scale_penalties(float(goal / solver.rho))
            pause = int(pause * 1.5) + 1
            next_adaptation = number + pause
        seconds += time.perf_counter() - start
        history.append(record._replace(iteration=number, seconds=seconds))
        if (callback is not None and callback(history[-1])) or converged:
            break
        start = time.perf_counter()
    return history


def duality_gap(objective: float, aligned: float, residual_energy: float, max_ratio: float) -> float:
    """Return (P - D) / P, with D the dual objective ``s <W b, W r> - s^2/2 ||W r||^2`` at the scaled residual r = b - A x.

    The scale s is the largest for which s W r is feasible, as far as that raises D [Kim et al. 2007, An interior-point
    method for large-scale l1-regularized least squares].

    Parameters
    ----------
    objective : float
        P.
    aligned, residual_energy : float
        <W b, W r> and ||W r||^2.
    max_ratio : float
        The largest ratio of the data term's gradient to its threshold; above 1, r itself isn't feasible.
    """
    if not objective > 0:
        return 0.0
    scale = min(1 / max(max_ratio, 1e-300), max(aligned, 0.0) / max(residual_energy, 1e-300))
    return max(objective - (scale * aligned - scale**2 / 2 * residual_energy), 0.0) / objective


def run_phase(solver: Solver, iterations: int) -> None:
    """Run so many steps of a solver; their figures, which a solver chooses its way by, are taken as in :func:`iterate`."""
    for left in reversed(range(iterations)):
        solver.step(measure=left % solver.measure_every == 0)
