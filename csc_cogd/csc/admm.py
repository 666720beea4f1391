"""Relaxed ADMM, the main algorithm of the engine, over a data block and a block of maps, tied by one linear solve.

Both phases of convolutional sparse coding are this problem with the roles of the factors exchanged:

    minimize over u    f(A u) + g(u) + mu/2 ||grad u||^2,      (A u)_mr = sum_k a_kr * u_mk

=============  ======================  =====================  ==================  =====================
phase          unknown maps u_mk       operator a_kr          f                   g
=============  ======================  =====================  ==================  =====================
codes          x_nk, M = N images      d_kc, R = C channels   data term           weighted l1 norm
filters        d_kc, M = C channels    x_nk, R = N images     data term           support and unit norm
=============  ======================  =====================  ==================  =====================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, Index, Workspace
from csc_cogd.csc.frequency_solve import FrequencySolve
from csc_cogd.csc.iteration import Iteration
from csc_cogd.csc.problem import laplacian
from csc_cogd.csc.prox import DataTerm, FilterProjection, SoftThreshold
from csc_cogd.csc.synthesis import Synthesis, atoms_are_cheaper


class ConvolutionalADMM:
    """Douglas-Rachford form of ADMM with two splits, v0 = A u and v1 = u [FFCSC, algorithm 1].

    The state is p = v + y for either split: the split variable v = prox(p) and its scaled dual y = p - v. A step is

        u    = argmin rho0/2 ||A u - (2 v0 - p0)||^2 + rho/2 ||u - (2 v1 - p1)||^2 + mu/2 ||grad u||^2
        p0  += relaxation * (A u - v0)
        p1  += relaxation * (u - v1)

    so one array of the maps' size is all that an iteration keeps (two with mu > 0). For the linear solve, with
    w = 2 v1 - p1 and T = 2 v0 - p0, see :class:`csc_cogd.csc.frequency_solve.FrequencySolve`; the same in plain NumPy is in
    :mod:`csc_cogd.csc.reference`.

    Every map is visited once an iteration, while it is in cache: inverse FFT of u - w, prox and dual update, its share of
    A v1 (see :class:`csc_cogd.csc.synthesis.Synthesis`). A w = 2 A v1 - A p1 follows, for A p1 obeys the same rule as p1.
    With mu > 0, the spectrum of w itself is needed. A GPU visits the maps of small filters without any FFT of them: see
    :meth:`csc_cogd.backend.Backend.correlation`.

    Parameters
    ----------
    backend : Backend
    operator : (K, R, H, W // 2 + 1) complex array
        Spectra of a_kr.
    data : DataTerm
        Its images are (M, R, H, W).
    prox : SoftThreshold or FilterProjection
    rho, rho_data : float
        Penalties of the two splits (dimensionless for filters of unit norm).
    relaxation : float in (0, 2)
    gradient_penalty : float
        mu.
    filters : (K, R, h, w) array, optional
        The maps a_kr where they are small, from the domain's origin on.
    start : (M, K, h, w) array, optional
        Where to begin, instead of at zero: maps from the domain's origin on, zero beyond.
    """

    def __init__(
        self,
        backend: Backend,
        operator: Any,
        data: DataTerm,
        prox: SoftThreshold | FilterProjection,
        *,
        rho: float,
        rho_data: float,
        relaxation: float = 1.8,
        gradient_penalty: float = 0.0,
        filters: Any = None,
        start: Any = None,
    ):
        self.backend, self.data, self.prox = backend, data, prox
        self.rho, self.rho_data, self.relaxation = float(rho), float(rho_data), float(relaxation)
        self.gradient_penalty = float(gradient_penalty)
        self.measure_every = backend.measure_every
        (M, R, H, W), K = data.images.shape, len(operator)
        self.shape = M, K, H, W
        self.synthesis = Synthesis(backend, self.shape, R, coupled=M if isinstance(prox, FilterProjection) else 1)
        self.linear = FrequencySolve(backend, (H, W), self.gradient_penalty)
        self._correlation: Any = None
        self._recordings: dict[bool, Callable[[Callable[[], Any]], None]] = {}
        self._nonzeros, self._sum_squares = M * K * H * W, data.sum_squares()  # of v1, as far as known; of the data

        self.p = backend.xp.zeros(self.shape, backend.dtype)
        self.p0 = backend.xp.zeros((M, R, H, W), backend.dtype)
        self.Ap, self.Av = backend.xp.zeros((2, M, R, H, W // 2 + 1), backend.complex_dtype)
        self.w: Any = backend.xp.zeros((M, K, H, W // 2 + 1), backend.complex_dtype) if gradient_penalty else None
        self._q = backend.xp.empty_like(self.Av)
        prox.set_rho(self.rho)
        self.set_operator(operator, filters)
        self.v0 = data.prox(self.p0, self.rho_data)
        if start is not None:
            self._start_from(start)

    # -- the step ----------------------------------------------------------------------------------------------------

    def step(self, measure: bool = True) -> Iteration | None:
        """Do one iteration; the record's iteration number and seconds are left to the caller. None unless to `measure`.

        If the backend records work, iterations that aren't measured are replayed. The arrays of the state stay in place,
        and iterations are recorded again when the penalties or the operator change.
        """
        few = self._has_few_atoms()
        if measure:
            return self._record(*self._iterate(few, measure=True))
        if few not in self._recordings:
            self._recordings[few] = self.backend.recording(self.p.nbytes)
        self._recordings[few](partial(self._iterate, few, measure=False))
        return None

    def _iterate(self, few: bool, measure: bool) -> tuple[Any, Any]:
        """Do an iteration, with `few` atoms added in place of transforms; return the sums over maps and of the data term."""
        images = self.synthesis.images
        np.add(self.v0, self.v0, out=images.real)
        images.real -= self.p0
        images.forward()
        self.linear.solve(images.spectrum, self.Av, self.Ap, self.relaxation, self._q)
        images.inverse()
        data_sums = self.data.step(
            self.backend.kernels, self.p0, self.v0, images.real, self.rho_data, self.relaxation, measure
        )
        return self._update_maps(few), data_sums

    def _update_maps(self, few: bool) -> Any:
        """Update every map, and A v1; return the sums over maps."""
        if self._correlation is not None:
            return self._correlate(few)
        total, sums = self.synthesis.sweep(self._visit, few, self.w)
        self.Av[...] = total if self.w is None else (total + self.Ap) / 2
        return _total(sums)

    def _visit(self, workspace: Workspace, index: Index) -> Any:
        self.synthesis.adjoint(self._q, workspace, index)
        if self.w is not None:
            self.backend.kernels.filter_spectrum(self.w[index], self.linear.scaled_response, workspace.spectrum)
        workspace.inverse()
        return self.prox.step(self.p[index], workspace.real, index, self.relaxation, self.w is None)

    def _correlate(self, few: bool) -> Any:
        """Visit all maps by correlating them with small filters; A v1 by its atoms, or by FFTs where they are many."""
        images, correlation = self.synthesis.images, self._correlation
        prox: Any = self.prox
        images.spectrum[...] = self._q
        images.inverse()
        q, run = images.real, (prox.nonnegative, self.relaxation)
        if few:
            sums = correlation.shrink(q, self.p, prox.threshold, *run)
            correlation.take_sum(q)
            images.forward()
            self.Av[...] = images.spectrum
            return sums

        def visit(workspace: Workspace, index: Index) -> Any:
            problems, maps = index
            threshold = prox.threshold_of((problems, slice(None)))
            return correlation.shrink(q[problems], self.p[problems], threshold, *run, first=maps.start, out=workspace.real)

        self.Av[...], sums = self.synthesis.sweep(visit)
        return _total(sums)

    # -- operator, penalties and start -------------------------------------------------------------------------------

    def set_operator(self, operator: Any, filters: Any = None) -> None:
        """Exchange the operator, keeping the state; (K, R, H, W // 2 + 1). Call :meth:`refresh` afterwards."""
        if self.gradient_penalty:
            filters = None
        self._set_correlation(filters)
        self.synthesis.set_operator(operator, filters if self._correlation is None else None)
        can_add_atoms = self._correlation is not None or self.synthesis.filters is not None
        self._taps = filters[0].size if can_add_atoms else 0
        self.linear.set_operator(operator)
        self._set_linear_penalties()

    def set_penalties(self, rho: float, rho_data: float) -> None:
        """Exchange the penalties, leaving the state to the caller."""
        self.rho, self.rho_data = float(rho), float(rho_data)
        self.prox.set_rho(self.rho)
        self._set_linear_penalties()

    def scale_penalties(self, factor: float) -> None:
        """Multiply both penalties; the split variables and the unscaled duals stay."""
        self.p0[...] = self.v0 + (self.p0 - self.v0) / factor

        def rescale(workspace: Workspace, index: Index) -> None:
            p, v = self.p[index], workspace.real
            v[...] = p
            self.prox.prox_inplace(v, index)
            p -= v
            p /= factor
            p += v

        self.synthesis.for_visits(rescale)
        self.set_penalties(self.rho * factor, self.rho_data * factor)
        if self.w is None:
            self.Ap[...] = self.Av + (self.Ap - self.Av) / factor
        else:
            self.refresh()

    def state(self) -> dict[str, np.ndarray]:
        """Return the arrays that the next steps depend on: the splits' states, and the penalties."""
        return {"p": self.p, "p0": self.p0, "penalties": np.array([self.rho, self.rho_data])}

    def load_state(self, state: Mapping[str, Any], prefix: str) -> None:
        """Take over the state of another solver, from arrays whose names begin with `prefix`; then call :meth:`refresh`."""
        self.p[...] = self.backend.asarray(state[f"{prefix}p"])
        self.p0[...] = self.backend.asarray(state[f"{prefix}p0"])
        self.set_penalties(*state[f"{prefix}penalties"])

    def refresh(self) -> None:
        """Recompute A p1 and A v1, after the state or the operator has been changed."""
        self.Ap[...], _ = self.synthesis.sweep(self._write_state, kept=self.w)
        few = self._correlation is None and self._has_few_atoms()
        total, _ = self.synthesis.sweep(self._write_point if self.w is None else self._write_reflection, few, self.w)
        self.Av[...] = total if self.w is None else (total + self.Ap) / 2
        self.v0[...] = self.data.prox(self.p0, self.rho_data)

    def _start_from(self, maps: Any) -> None:
        """Set the split variable of the maps to `maps`, and the duals to what follows from that."""
        self.p[..., : maps.shape[2], : maps.shape[3]] = self.backend.asarray(maps)
        self.Av[...], _ = self.synthesis.sweep(self._write_state, kept=self.w)
        self.v0[...] = self.apply()
        self.p0[...] = self.data.dual_state(self.v0, self.rho_data)
        images = self.synthesis.images
        np.multiply(self.v0 - self.p0, self.rho_data / (self.shape[-2] * self.shape[-1]), out=images.real)
        images.forward()  # the data term's negative gradient

        def make_state(workspace: Workspace, index: Index) -> None:
            self.synthesis.adjoint(images.spectrum, workspace, index)
            workspace.inverse()
            if self.gradient_penalty:
                workspace.real += self.gradient_penalty * laplacian(self.p[index], self.backend.xp)
            self.prox.state_from_point(self.p[index], workspace.real, index)

        self.synthesis.for_visits(make_state)
        self.refresh()

    def _write_state(self, workspace: Workspace, index: Index) -> None:
        """Write p1 of a visit."""
        workspace.real[...] = self.p[index]

    def _write_point(self, workspace: Workspace, index: Index) -> None:
        """Write v1 of a visit."""
        workspace.real[...] = self.p[index]
        self.prox.prox_inplace(workspace.real, index)

    def _write_reflection(self, workspace: Workspace, index: Index) -> None:
        """Write w = 2 v1 - p1 of a visit."""
        self._write_point(workspace, index)
        workspace.real *= 2
        workspace.real -= self.p[index]

    # -- what has been reached ---------------------------------------------------------------------------------------

    def apply(self) -> Any:
        """Return A v1: the sums of convolutions at the current split variable, (M, R, H, W)."""
        return self.synthesis.to_images(self.Av).copy()

    def take_maps(self) -> Any:
        """Return the split variable v1 (M, K, H, W), written over the state: the solver can't be used afterwards."""
        self.synthesis.for_visits(lambda workspace, index: self.prox.prox_inplace(self.p[index], index))
        return self.p

    def finish(self) -> tuple[Any, Any, float]:
        """Return the split variable v1, A v1, and the objective there; the solver can't be used afterwards."""
        fit = self.apply()
        maps = self.take_maps()
        visits = self.synthesis.for_visits(lambda workspace, index: self.map_penalty(maps[index], index))
        return maps, fit, self.data.value(fit) + float(sum(visits))

    def map_penalty(self, maps: Any, index: Index) -> Any:
        """Return ``g + mu/2 ||grad u||^2`` at the maps of a visit, (.., H, W); a number on the backend's device."""
        total = self.prox.value(maps, index)
        if self.gradient_penalty:
            total = total - self.gradient_penalty / 2 * (maps * laplacian(maps, self.backend.xp)).sum(dtype=np.float64)
        return total

    def _record(self, sums: Any, data_sums: Any) -> Iteration:
        sums, data_sums = self.backend.to_host(sums), self.backend.to_host(data_sums)
        primal, change, _, nonzeros, u, v, dual = (float(s) for s in sums)
        primal0, change0, u0, v0, dual0, data_term = (float(s) for s in data_sums)
        tiny = np.finfo(self.backend.dtype).tiny
        primal_residual = np.sqrt((primal + primal0) / max(u + u0, v + v0, 0.01 * self._sum_squares, tiny))
        a, a0 = self.rho**2, self.rho_data**2
        dual_residual = np.sqrt((a * change + a0 * change0) / max(a * dual + a0 * dual0, tiny))
        self._nonzeros = int(nonzeros)
        l1 = self.prox.penalty(sums)
        return Iteration(
            0, 0.0, data_term + l1, data_term, l1, float(primal_residual), float(dual_residual), self.rho, int(nonzeros)
        )

    # -- what the backend makes faster -------------------------------------------------------------------------------

    def _has_few_atoms(self) -> bool:
        """Return whether v1 has so few values that adding their atoms takes less time than transforming the maps."""
        return self._taps > 0 and atoms_are_cheaper(self._nonzeros, self._taps, self.p.size)

    def _set_correlation(self, filters: Any) -> None:
        """Set up the visits to maps of small filters without FFTs, if the backend supports them."""
        if filters is None:
            return
        if self._correlation is not None:
            self._correlation.set_filters(self.backend.asarray(filters))
        elif isinstance(self.prox, SoftThreshold):
            self._correlation = self.backend.correlation(filters, self.shape, self.data.max_abs())

    def _set_linear_penalties(self) -> None:
        self.linear.set_penalties(self.rho, self.rho_data)
        self._recordings.clear()  # they refer to the former matrices


def _total(sums_by_task: list[list[Any]]) -> Any:
    """Add the sums of visits task by task, in a fixed order, so that the last bits don't vary."""
    return sum(map(sum, sums_by_task))
