"""The one algorithm of the engine: relaxed ADMM over a data block and a block of maps, tied by one linear solve.

Both phases of convolutional sparse coding are this problem with the roles of the factors exchanged:

    minimise over u    f(A u) + g(u) + mu/2 ||grad u||^2,      (A u)_mr = sum_k a_kr * u_mk

=============  ======================  =====================  ==================  =====================
phase          unknown maps u_mk       operator a_kr          f                   g
=============  ======================  =====================  ==================  =====================
codes          x_nk, M = N images      d_kc, R = C channels   data term           weighted l1 norm
filters        d_kc, M = C channels    x_nk, R = N images     data term           support and unit norm
=============  ======================  =====================  ==================  =====================
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, Index, Task, Workspace
from csc_cogd.csc.iteration import Iteration
from csc_cogd.csc.problem import gram, laplacian, laplacian_symbol
from csc_cogd.csc.prox import DataTerm, FilterProjection, SoftThreshold

_INVERTED = 2**24  # entries of the matrices that are inverted at a time: bounded memory beside them
COST_OF_ATOM, COST_OF_TRANSFORM = 80, 12  # of an atom besides its values, of a map's pixel; unit: a value added


class ConvolutionalADMM:
    """Douglas-Rachford form of ADMM with two splits, v0 = A u and v1 = u [FFCSC, algorithm 1].

    The state is p = v + y for either split: the split variable v = prox(p) and its scaled dual y = p - v. A step is

        u    = argmin rho0/2 ||A u - (2 v0 - p0)||^2 + rho/2 ||u - (2 v1 - p1)||^2 + mu/2 ||grad u||^2
        p0  += relaxation * (A u - v0)
        p1  += relaxation * (u - v1)

    so one array of the maps' size is all that an iteration keeps (two with mu > 0). With w = 2 v1 - p1, T = 2 v0 - p0,
    the gradient's symbol g and h = rho / (rho + mu g), the linear solve is, per frequency,

        q = (I / rho0 + (h / rho) A A^H)^-1 (T - h A w)          R x R: Sherman-Morrison, or Woodbury for R > 1
        u = h (w + A^H q / rho),    A u = T - q / rho0

    Every map is visited once an iteration, while it is in cache: inverse FFT of u - w, prox and dual update, its share of
    A v1. That share is a forward FFT, or, where `filters` are given and v1 is sparse enough, the sum of v1's few atoms.
    A w = 2 A v1 - A p1 follows, for A p1 obeys the same rule as p1. With mu > 0, the spectrum of w itself is needed. A GPU
    visits the maps of small filters without any FFT of them: see :meth:`csc_cogd.backend.Backend.correlation`.

    Parameters
    ----------
    operator : (K, R, H, W // 2 + 1) complex array
        Spectra of a_kr.
    data, prox : the two functions, see `csc_cogd.csc.prox`
        The data's images are (M, R, H, W).
    rho, rho_data : float
        Penalties of the two splits (dimensionless for filters of unit norm).
    relaxation : float in (0, 2)
    gradient_penalty : float
        mu.
    filters : (K, R, h, w) array, optional
        The maps a_kr where they are small, from the domain's origin on.
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
    ):
        self.backend, self.data, self.prox = backend, data, prox
        self.rho, self.rho_data, self.relaxation = float(rho), float(rho_data), float(relaxation)
        xp = backend.xp
        K = operator.shape[0]
        M, R, H, W = data.images.shape
        self.shape = (M, K, H, W)
        self.p = xp.zeros(self.shape, backend.dtype)
        self.p0 = xp.zeros((M, R, H, W), backend.dtype)
        self.Ap, self.Av = xp.zeros((2, M, R, H, W // 2 + 1), backend.complex_dtype)
        self.gradient_penalty = float(gradient_penalty)
        self.w: Any = xp.zeros((M, K, H, W // 2 + 1), backend.complex_dtype) if gradient_penalty else None
        self._observations = backend.workspace((M, R, H, W))
        self.measure_every = backend.measure_every
        coupled = M if isinstance(prox, FilterProjection) else 1
        self._tasks, self._width = backend.tasks(self.shape, coupled)
        self._visits = backend.workspaces((*backend.visit_shape(self.shape, coupled), H, W))
        groups = 1 + max(task.group for task in self._tasks)
        self._partial = xp.empty((groups, *self.Av.shape), backend.complex_dtype)
        self._q = xp.empty_like(self.Av)
        self._response: Any = None
        self._energy = data.energy()
        self._nonzeros = self.p.size  # of v1, as far as known
        self._correlation: Any = None
        self._recordings: dict[bool, Callable[[Callable[[], Any]], None]] = {}
        self.set_operator(operator, filters)
        self.set_penalties(self.rho, self.rho_data)
        self.v0 = data.prox(self.p0, self.rho_data)

    # -- the step ----------------------------------------------------------------------------------------------------

    def step(self, measure: bool = True) -> Iteration | None:
        """Do one iteration; the record's iteration number and seconds are left to the caller. None unless to `measure`.

        Where a backend records work, iterations that aren't measured are replayed: the state's arrays stay where they are,
        and :meth:`_invert` makes them be recorded anew.
        """
        few = self._few_atoms()
        if measure:
            return self._record(*self._iterate(few, measure=True))
        if few not in self._recordings:
            self._recordings[few] = self.backend.recording(self.p.nbytes)
        self._recordings[few](partial(self._iterate, few, measure=False))
        return None

    def _iterate(self, few: bool, measure: bool) -> tuple[Any, Any]:
        """An iteration, with `few` atoms added in place of transforms; returns the sums over maps and of the data term."""
        block, pixels = self._observations, self.shape[-2] * self.shape[-1]
        np.add(self.v0, self.v0, out=block.real)
        block.real -= self.p0
        block.forward()
        offset = self._response is None  # u - w is then computed, else u
        q_scale = 1 / (self.rho * pixels if offset else self.rho)
        self.backend.kernels.couple(
            block.spectrum, self.Av, self.Ap, self._inverse, self._response,
            1 / self.rho_data, self.relaxation, 1 / pixels, q_scale, self._q,
        )  # fmt: skip
        block.inverse()
        data_statistics = self.data.step(
            self.backend.kernels, self.p0, self.v0, block.real, self.rho_data, self.relaxation, measure
        )
        if self._correlation is not None:
            return self._correlate(few), data_statistics
        shares, statistics = self._sweep(self._visit, few)
        self.Av[...] = shares if self.w is None else (shares + self.Ap) / 2
        return statistics, data_statistics

    def _visit(self, workspace: Workspace, index: Index) -> Any:
        problems, maps = index
        self.backend.kernels.spread(self.operator[maps], self._q[problems], workspace.spectrum)
        if self._response is not None:
            self.backend.kernels.filter_spectrum(self.w[index], self._response_scaled, workspace.spectrum)
        workspace.inverse()
        offset = self._response is None
        return self.prox.step(self.p[index], workspace.real, index, self.relaxation, offset)

    def _correlate(self, few: bool) -> Any:
        """Visit all maps by correlating them with small filters; A v1 by its atoms, or by FFTs where they are many."""
        block, correlation = self._observations, self._correlation
        prox: Any = self.prox
        block.spectrum[...] = self._q
        block.inverse()
        q, run = block.real, (prox.nonnegative, self.relaxation)
        if few:
            statistics = correlation.shrink(q, self.p, prox.threshold, *run)
            correlation.take_sum(q)
            block.forward()
            self.Av[...] = block.spectrum
            return statistics

        def visit(workspace: Workspace, index: Index) -> Any:
            problems, maps = index
            threshold = prox.threshold_of((problems, slice(None)))
            return correlation.shrink(q[problems], self.p[problems], threshold, *run, first=maps.start, out=workspace.real)

        self.Av[...], statistics = self._sweep(visit)
        return statistics

    def _sweep(self, visit: Callable[[Workspace, Index], Any], sparse: bool = False) -> tuple[Any, Any]:
        """Let `visit` write every map; returns A of what it wrote, as spectra, and the visits' sums.

        What is written is v1, or, to be kept too, w with mu > 0. If it is `sparse`, atoms are added instead of transformed.
        """
        kernels = self.backend.kernels

        def work(workspace: Workspace, task: Task) -> Any:
            problems, maps, group = task
            total = 0
            if sparse:
                self._canvas[group, problems] = 0
            for index in task.visits(self._width):
                part = workspace.part(*index)
                total = total + visit(part, index)
                if sparse:
                    self.backend.atoms.add_map(
                        part.real[0, 0], self.filters[index[1].start], self._canvas[group, problems.start]
                    )
                    continue
                part.forward()
                if self.w is not None:
                    self.w[index] = part.spectrum
                share = self._partial[group, problems]
                kernels.gather(self.operator[index[1]], part.spectrum, share, index[1].start > maps.start)
            return total

        statistics = sum(self.backend.run(work, self._tasks, self._visits))
        return self._transformed(self._canvas.sum(axis=0)) if sparse else self._partial.sum(axis=0), statistics

    def _for_visits(self, function: Callable[[Workspace, Index], Any]) -> list[Any]:
        """``function(workspace, index)`` of every visit."""

        def work(workspace: Workspace, task: Task) -> list[Any]:
            return [function(workspace.part(*index), index) for index in task.visits(self._width)]

        return list(itertools.chain.from_iterable(self.backend.run(work, self._tasks, self._visits)))

    def _few_atoms(self) -> bool:
        """Whether v1 has so few values that adding their atoms takes less time than transforming the maps."""
        if self.filters is None or self.w is not None:
            return False
        values = self._nonzeros * self._taps + COST_OF_ATOM * self._nonzeros
        return bool(values < COST_OF_TRANSFORM * self.p.size)

    def _transformed(self, canvas: Any) -> Any:
        """Spectra of images on canvases (M, R, H + h - 1, ..), what stands over at the end being the period's beginning."""
        H, W = self.shape[-2:]
        h, w = self._overhang
        canvas[..., :h, :] += canvas[..., H : H + h, :]
        canvas[..., :w] += canvas[..., W : W + w]
        block = self._observations
        block.real[...] = canvas[..., :H, :W]
        block.forward()
        return block.spectrum

    # -- the linear solve --------------------------------------------------------------------------------------------

    def set_operator(self, operator: Any, filters: Any = None) -> None:
        """Exchange the operator, keeping the state; (K, R, H, W // 2 + 1). Call :meth:`refresh` afterwards."""
        self.operator: Any = operator
        self.filters: Any = None
        if filters is not None and self._take_correlation(filters):
            self.filters, self._taps = filters, filters[0].size
        elif filters is not None and self.backend.atoms is not None:
            self._overhang, self._taps = (filters.shape[2] - 1, filters.shape[3] - 1), filters[0].size
            self.filters = self.backend.atoms.padded(self.backend.asarray(filters))
            M, H, W = len(self.p0), *self.shape[-2:]
            lanes = self.filters.shape[3]
            canvas = (len(self._partial), M, self.filters.shape[1], H + self._overhang[0], W + lanes - 1)
            self._canvas = self.backend.xp.empty(canvas, self.backend.dtype)
        self._gram = gram(operator, self.backend.xp)
        self._invert()

    def _take_correlation(self, filters: Any) -> bool:
        """Set up or renew what visits maps of small filters without FFTs, where the backend has it."""
        if self._correlation is not None:
            self._correlation.set_filters(self.backend.asarray(filters))
        elif not self.gradient_penalty and isinstance(self.prox, SoftThreshold):
            self._correlation = self.backend.correlation(filters, self.shape, self.data.largest())
        return self._correlation is not None

    def refresh(self) -> None:
        """Recompute A p1 and A v1, after the state or the operator has been changed."""
        self.Ap[...], _ = self._sweep(self._state)
        few = self._correlation is None and self._few_atoms()
        shares, _ = self._sweep(self._point if self.w is None else self._reflect, few)
        self.Av[...] = shares if self.w is None else (shares + self.Ap) / 2
        self.v0[...] = self.data.prox(self.p0, self.rho_data)

    def set_penalties(self, rho: float, rho_data: float) -> None:
        """Exchange the penalties, leaving the state to the caller."""
        self.rho, self.rho_data = float(rho), float(rho_data)
        self.prox.set_rho(self.rho)
        self._response = None
        if self.gradient_penalty:
            response = self.rho / (self.rho + self.gradient_penalty * laplacian_symbol(*self.shape[-2:]))
            self._response = self.backend.asarray(response)
            self._response_scaled = self.backend.asarray(response / (self.shape[-2] * self.shape[-1]))
        self._invert()

    def _invert(self) -> None:
        """The R x R matrices (I / rho0 + (h / rho) A A^H)^-1, as (R, R, H, W // 2 + 1); what is recorded has others."""
        self._recordings.clear()
        xp, real = self.backend.xp, self.backend.dtype.type
        R, _, H, W = self._gram.shape
        h = real(1 / self.rho) if self._response is None else real(1 / self.rho) * self._response
        if R == 1:
            self._inverse = 1 / (self._gram * h + real(1 / self.rho_data))
            return
        self._inverse = xp.empty_like(self._gram)
        identity = xp.eye(R, dtype=self.backend.dtype) * real(1 / self.rho_data)
        rows = max(_INVERTED // (W * R * R), 1)
        for first in range(0, H, rows):
            part = slice(first, first + rows)
            scaled = self._gram[:, :, part] * (h if self._response is None else h[part])
            inverse = xp.linalg.inv(scaled.transpose(2, 3, 0, 1) + identity)
            self._inverse[:, :, part] = inverse.transpose(2, 3, 0, 1)

    # -- penalties, start and end ------------------------------------------------------------------------------------

    def scale_penalties(self, factor: float) -> None:
        """Multiply both penalties; the split variables and the unscaled duals stay."""
        self.p0[...] = self.v0 + (self.p0 - self.v0) / factor

        def rescale(workspace: Workspace, index: Index) -> None:
            p, v = self.p[index], workspace.real
            v[...] = p
            self.prox.to_point(v, index)
            p -= v
            p /= factor
            p += v

        self._for_visits(rescale)
        self.set_penalties(self.rho * factor, self.rho_data * factor)
        if self.w is None:
            self.Ap[...] = self.Av + (self.Ap - self.Av) / factor
        else:
            self.refresh()

    def start_from(self, maps: Any) -> None:
        """Set the state so that the maps' split variable is `maps` (M, K, H, W), with the duals this implies."""
        self.p[...] = maps
        self.Av[...], _ = self._sweep(self._state)
        self.v0[...] = self.apply()
        self.p0[...] = self.data.dual_state(self.v0, self.rho_data)
        block = self._observations
        np.multiply(self.v0 - self.p0, self.rho_data / (self.shape[-2] * self.shape[-1]), out=block.real)
        block.forward()
        downhill = block.spectrum  # of the data term, in the images' domain

        def make_state(workspace: Workspace, index: Index) -> None:
            self.backend.kernels.spread(self.operator[index[1]], downhill[index[0]], workspace.spectrum)
            workspace.inverse()
            if self.gradient_penalty:
                workspace.real += self.gradient_penalty * laplacian(self.p[index], self.backend.xp)
            self.prox.to_state(self.p[index], workspace.real, index)

        self._for_visits(make_state)
        self.refresh()

    def _state(self, workspace: Workspace, index: Index) -> int:
        """Write p1 of a visit; there are no sums to report."""
        workspace.real[...] = self.p[index]
        return 0

    def _point(self, workspace: Workspace, index: Index) -> int:
        """Write v1 of a visit."""
        workspace.real[...] = self.p[index]
        self.prox.to_point(workspace.real, index)
        return 0

    def _reflect(self, workspace: Workspace, index: Index) -> int:
        """Write w = 2 v1 - p1 of a visit."""
        self._point(workspace, index)
        workspace.real *= 2
        workspace.real -= self.p[index]
        return 0

    def apply(self) -> Any:
        """A v1: the sums of convolutions at the current split variable, (M, R, H, W)."""
        block = self._observations
        np.multiply(self.Av, 1 / (self.shape[-2] * self.shape[-1]), out=block.spectrum)
        block.inverse()
        return block.real.copy()

    def take_maps(self) -> Any:
        """The split variable v1 (M, K, H, W), written over the state: the solver is spent afterwards."""

        self._for_visits(lambda workspace, index: self.prox.to_point(self.p[index], index))
        return self.p

    def finish(self) -> tuple[Any, Any, float]:
        """The split variable v1, A v1, and the objective there; the solver is spent afterwards."""
        fit = self.apply()
        maps = self.take_maps()
        visits = self._for_visits(lambda workspace, index: self.map_penalty(maps[index], index))
        return maps, fit, self.data.value(fit) + float(sum(visits))

    def map_penalty(self, maps: Any, index: Index) -> Any:
        """``g + mu/2 ||grad u||^2`` at the maps of a visit, (.., H, W); a number on the backend's device."""
        total = self.prox.value(maps, index)
        if self.gradient_penalty:
            total = total - self.gradient_penalty / 2 * (maps * laplacian(maps, self.backend.xp)).sum(dtype=np.float64)
        return total

    def _record(self, statistics: Any, data_statistics: Any) -> Iteration:
        statistics = self.backend.to_host(statistics)
        primal, change, _, nonzeros, u, v, dual = (float(s) for s in statistics)
        primal0, change0, u0, v0, dual0, data_term = (float(s) for s in self.backend.to_host(data_statistics))
        tiny = np.finfo(self.backend.dtype).tiny
        primal_residual = np.sqrt((primal + primal0) / max(u + u0, v + v0, 0.01 * self._energy, tiny))
        a, a0 = self.rho**2, self.rho_data**2
        dual_residual = np.sqrt((a * change + a0 * change0) / max(a * dual + a0 * dual0, tiny))
        self._nonzeros = int(nonzeros)
        l1 = self.prox.penalty(statistics)
        return Iteration(
            0, 0.0, data_term + l1, data_term, l1,
            float(primal_residual), float(dual_residual), self.rho, int(nonzeros),
        )  # fmt: skip
