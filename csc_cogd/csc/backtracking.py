"""Cogradient descent in learning: codes backtracked against filters [CoGD, algorithm 1]."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from csc_cogd.backend import Index
from csc_cogd.cogd.rule import Backtracking, CogradientRule
from csc_cogd.csc.alternation import Alternation, OuterIteration
from csc_cogd.csc.problem import map_spectra
from csc_cogd.csc.state import Entry


class CogradientAlternation(Alternation):
    """Alternation with the rule of cogradient descent applied to the codes before every round but the first.

    The safeguard: a backtracked round that ends above the objective it started from is taken back, and done once more
    without the rule. So an outer iteration either descends, or is the one that plain alternation would have done from the
    same state: the rule can't make learning diverge where plain alternation doesn't.

    Parameters
    ----------
    rule : CogradientRule
    *arguments
        Those of :class:`Alternation`.
    """

    def __init__(self, rule: CogradientRule, *arguments: Any):
        super().__init__(*arguments)
        self.rule = rule
        self.objective = np.inf
        self.earlier: tuple[Any, Any] | None = None  # codes and filters that entered the last round

    def round(self, code_iterations: int, filter_iterations: int) -> OuterIteration:
        backtracking, before = None, None
        if self.earlier is not None:
            before = self.state()
            backtracking = self.backtrack(*self.earlier)
        self.earlier = self.codes(), self.filters
        record = super().round(code_iterations, filter_iterations)
        if backtracking and before and not record.objective <= self.objective:
            backtracking = backtracking._replace(accepted=False)
            self.restore(before)
            self.earlier = self.codes(), self.filters
            record = super().round(code_iterations, filter_iterations)
        self.objective = record.objective
        return record._replace(backtracking=backtracking)

    def state(self) -> dict[str, np.ndarray]:
        state = super().state() | {"objective": np.array(self.objective)}
        if self.earlier is not None:
            state |= {"earlier_codes": self.earlier[0], "earlier_filters": self.earlier[1]}
        return state

    def saved_entries(self) -> dict[str, Entry]:
        earlier = {"earlier_codes": Entry(self.code_solver.shape), "earlier_filters": Entry(self.filters.shape)}
        return super().saved_entries() | earlier | {"objective": Entry(())}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        super().restore(state)
        self.objective = float(state["objective"])
        if "earlier_codes" in state:
            codes, filters = (self.backend.asarray(state[f"earlier_{name}"]) for name in ("codes", "filters"))
            self.earlier = codes, filters
        else:
            self.earlier = None

    def backtrack(self, earlier_codes: Any, earlier_filters: Any) -> Backtracking:
        """Apply the rule to every code map against its filter, in place [CoGD, eqs. 15-20 and 24].

        Column (k, i) of the dictionary matrix is filter k moved to position i, so eq. 15's sum is a correlation of the data
        term's gradient g with the filters' change over the round,

            inner_nk(i) = sum_ca g_nc(i + a) r_kc(a, i),    r_kc(a, i) = Delta d_kc(a) / Delta x_nk(i), or 1 in the limit

        The asynchrony test compares norms of whole code maps x_nk and whole filters d_k.
        """
        backend, solver, rule = self.backend, self.code_solver, self.rule
        prox: Any = solver.prox
        H, W = solver.shape[-2:]
        g = self.data.gradient(self.fit)
        block = backend.workspace(g.shape)
        np.divide(g, H * W, out=block.real)
        block.forward()

        change = self.filters - earlier_filters
        moving = rule.changed(change)
        inside = backend.xp.asarray(_supports(self.model.shapes, self.filters.shape))
        moving_part, still_part, whole = (
            map_spectra(backend, self.domain, backend.asarray(part))
            for part in (np.where(moving, change, 0), inside & ~moving, inside)
        )

        norms = self.per_map(lambda workspace, index: rule.norms(self.codes_of_visit(index, workspace.real), axis=(2, 3)))

        def largest_change(workspace: Any, index: Index) -> Any:
            return abs(self.codes_of_visit(index, workspace.real) - earlier_codes[index]).max()

        filter_norms = backend.to_host(rule.norms(self.filters, axis=(1, 2, 3)))
        asynchronous = rule.asynchronous(norms, filter_norms)
        smallest_change = rule.zero_tol * float(reduce(np.maximum, self.for_maps(largest_change)))

        def move(workspace: Any, index: Index) -> Backtracking:
            problems, maps = index
            here = asynchronous[index]
            if not here.any():
                return Backtracking(here.size * H * W, 0, 0.0)

            def correlate(spectra: Any) -> Any:
                backend.kernels.apply_adjoint(spectra[maps], block.spectrum[problems], workspace.spectrum)
                workspace.inverse()
                return workspace.real.copy()

            x = self.codes_of_visit(index, workspace.real).copy()
            old = earlier_codes[index]
            delta = x - old
            moved = abs(delta) > smallest_change
            ratio_part = correlate(moving_part) / np.where(moved, delta, 1)
            inner = np.where(moved, ratio_part + correlate(still_part), correlate(whole))
            x_hat, statistics = rule.backtrack(x, old, inner, backend.xp.asarray(here)[:, :, None, None])
            prox.set_point(solver.p[index], x_hat, index)
            return statistics

        results = self.for_maps(move)
        count = sum(result.backtracked for result in results)
        total = sum(result.mean_beta * result.backtracked for result in results)
        return Backtracking(solver.p.size, count, total / max(count, 1))


def _supports(shapes: np.ndarray, filters_shape: tuple[int, ...]) -> np.ndarray:
    """Return where filters (K, C, h, w) may be non-zero."""
    rows, columns = np.ogrid[: filters_shape[2], : filters_shape[3]]
    inside = (rows < shapes[:, :1, None]) & (columns < shapes[:, 1:, None])
    return np.broadcast_to(inside[:, None], filters_shape)
