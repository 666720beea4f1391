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
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import STATISTICS, Backend, Workspace
from csc_cogd.csc.prox import DataTerm, FilterProjection, Index, SoftThreshold

_PARTIAL_SUMS = 16  # tasks an iteration is cut into at least: enough threads, and sums that don't depend on them


class Iteration(NamedTuple):
    """One line of a solver's history.

    `objective` is `data_term` + `l1`, the data term at the linear solution and the l1 term at the sparse split variable:
    the two agree at convergence. A gradient penalty isn't counted. The residuals are relative: primal to the larger of the
    two sides of the split (but at least to a tenth of the observed data), dual to the dual variables [Wohlberg 2017,
    arXiv 1704.06209].
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

    Every map is visited once an iteration, while it is in cache: inverse FFT of u, prox and dual update, forward FFT of
    the next w, its share of A w.

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
    ):
        self.backend, self.data, self.prox = backend, data, prox
        self.rho, self.rho_data, self.relaxation = float(rho), float(rho_data), float(relaxation)
        xp = backend.xp
        K = operator.shape[0]
        M, R, H, W = data.images.shape
        self.shape = (M, K, H, W)
        self.p = xp.zeros(self.shape, backend.dtype)
        self.p0 = xp.zeros((M, R, H, W), backend.dtype)
        self.Aw = xp.zeros((M, R, H, W // 2 + 1), backend.complex_dtype)
        self.gradient_penalty = float(gradient_penalty)
        self.w: Any = xp.zeros((M, K, H, W // 2 + 1), backend.complex_dtype) if gradient_penalty else None
        self._observations = backend.workspace((M, R, H, W))
        coupled = M if isinstance(prox, FilterProjection) else 1
        self._visits = backend.workspaces((coupled, backend.maps_per_visit, H, W))
        groups = min(K, -(-_PARTIAL_SUMS * coupled // M))
        cuts = np.linspace(0, K, groups + 1).astype(int)
        self._tasks = [
            (slice(m, m + coupled), slice(start, stop), group)
            for m in range(0, M, coupled)
            for group, (start, stop) in enumerate(itertools.pairwise(cuts))
        ]
        self._partial = xp.empty((groups, *self.Aw.shape), backend.complex_dtype)
        self._response: Any = None
        self._energy = data.energy()
        self.set_operator(operator)
        self.set_penalties(self.rho, self.rho_data)
        self.v0 = data.prox(self.p0, self.rho_data)

    # -- the step ----------------------------------------------------------------------------------------------------

    def step(self) -> Iteration:
        """Do one iteration; the record's iteration number and seconds are left to the caller."""
        block, pixels = self._observations, self.shape[-2] * self.shape[-1]

        np.subtract(2 * self.v0, self.p0, out=block.real)
        block.forward()
        T = block.spectrum
        rhs = T - (self.Aw if self._response is None else self._response * self.Aw)
        q = self.backend.xp.empty_like(rhs)
        self.backend.kernels.solve_small(self._inverse, rhs, q)
        T -= q / self.rho_data
        T /= pixels
        block.inverse()
        Au = block.real

        self.p0 += self.relaxation * (Au - self.v0)
        v0 = self.data.prox(self.p0, self.rho_data)
        data_statistics = _squares(Au - v0, v0 - self.v0, Au, v0, self.p0 - v0)
        data_term = self.data.value(Au)
        self.v0 = v0

        q /= self.rho if self._response is not None else self.rho * pixels
        statistics = self._sweep(lambda workspace, index: self._visit(workspace, index, q))
        return self._record(statistics, data_statistics, data_term)

    def _visit(self, workspace: Workspace, index: Index, q: Any) -> np.ndarray:
        problems, maps = index
        self.backend.kernels.spread(self.operator[maps], q[problems], workspace.spectrum)
        if self._response is not None:
            self.backend.kernels.filter_spectrum(self.w[index], self._response_scaled, workspace.spectrum)
        workspace.inverse()
        offset = self._response is None
        return self.prox.step(self.p[index], workspace.real, index, self.relaxation, offset)

    def _sweep(self, visit: Callable[[Workspace, Index], Any]) -> np.ndarray:
        """Let `visit` write w = 2 v1 - p1 of every map, and recompute A w from it; returns the visits' sums."""
        kernels, width = self.backend.kernels, self.backend.maps_per_visit

        def work(workspace: Workspace, task: tuple[slice, slice, int]) -> np.ndarray:
            problems, maps, group = task
            total = np.zeros(STATISTICS)
            for start in range(maps.start, maps.stop, width):
                index = (problems, slice(start, min(start + width, maps.stop)))
                total += visit(workspace, index)
                workspace.forward()
                if self.w is not None:
                    self.w[index] = workspace.spectrum
                part = self._partial[group, problems]
                kernels.gather(self.operator[index[1]], workspace.spectrum, part, start > maps.start)
            return total

        totals = self.backend.run(work, self._tasks, self._visits)
        self._partial.sum(axis=0, out=self.Aw)
        return np.sum(totals, axis=0)

    # -- the linear solve --------------------------------------------------------------------------------------------

    def set_operator(self, operator: Any) -> None:
        """Exchange the operator, keeping the state; (K, R, H, W // 2 + 1). Call :meth:`refresh` afterwards."""
        self.operator = operator
        self._gram = _gram(operator, self.backend.xp)
        self._invert()

    def refresh(self) -> None:
        """Recompute A w from the state, after the state or the operator has been changed."""
        self._sweep(self._reflect)
        self.v0 = self.data.prox(self.p0, self.rho_data)

    def set_penalties(self, rho: float, rho_data: float) -> None:
        """Exchange the penalties, leaving the state to the caller."""
        self.rho, self.rho_data = float(rho), float(rho_data)
        self.prox.set_rho(self.rho)
        self._response = None
        if self.gradient_penalty:
            response = self.rho / (self.rho + self.gradient_penalty * _laplacian_symbol(*self.shape[-2:]))
            self._response = self.backend.asarray(response)
            self._response_scaled = self.backend.asarray(response / (self.shape[-2] * self.shape[-1]))
        self._invert()

    def _invert(self) -> None:
        """The R x R matrices (I / rho0 + (h / rho) A A^H)^-1, as (R, R, H, W // 2 + 1)."""
        h = 1.0 if self._response is None else self._response
        R = len(self._gram)
        matrix = self._gram * self.backend.dtype.type(1 / self.rho) * h
        for r in range(R):
            matrix[r, r] += self.backend.dtype.type(1 / self.rho_data)
        if R == 1:
            self._inverse = 1 / matrix
        else:
            inverse = self.backend.xp.linalg.inv(matrix.transpose(2, 3, 0, 1))
            self._inverse = self.backend.xp.ascontiguousarray(inverse.transpose(2, 3, 0, 1))

    # -- penalties, start and end ------------------------------------------------------------------------------------

    def scale_penalties(self, factor: float) -> None:
        """Multiply both penalties; the split variables and the unscaled duals stay."""
        self.p0 = self.v0 + (self.p0 - self.v0) / factor

        def rescale(workspace: Workspace, task: tuple[slice, slice, int]) -> None:
            for k in range(task[1].start, task[1].stop, self.backend.maps_per_visit):
                index = (task[0], slice(k, min(k + self.backend.maps_per_visit, task[1].stop)))
                p, v = self.p[index], workspace.real
                v[...] = p
                self.prox.to_point(v, index)
                p -= v
                p /= factor
                p += v

        self.backend.run(rescale, self._tasks, self._visits)
        self.set_penalties(self.rho * factor, self.rho_data * factor)
        self.refresh()

    def start_from(self, maps: Any) -> None:
        """Set the state so that the maps' split variable is `maps` (M, K, H, W), with the duals this implies."""
        self.p[...] = maps
        self.v0 = self.apply(split=False)
        self.p0 = self.data.dual_state(self.v0, self.rho_data)
        block = self._observations
        np.multiply(self.v0 - self.p0, self.rho_data / (self.shape[-2] * self.shape[-1]), out=block.real)
        block.forward()
        downhill = block.spectrum  # of the data term, in the images' domain

        def visit(workspace: Workspace, index: Index) -> np.ndarray:
            self.backend.kernels.spread(self.operator[index[1]], downhill[index[0]], workspace.spectrum)
            workspace.inverse()
            if self.gradient_penalty:
                workspace.real += self.gradient_penalty * _laplacian(self.p[index], self.backend.xp)
            self.prox.to_state(self.p[index], workspace.real, index)
            return self._reflect(workspace, index)

        self._sweep(visit)

    def _reflect(self, workspace: Workspace, index: Index) -> np.ndarray:
        """Write w = 2 v1 - p1 of a visit."""
        p = self.p[index]
        workspace.real[...] = p
        self.prox.to_point(workspace.real, index)
        workspace.real *= 2
        workspace.real -= p
        return np.zeros(STATISTICS)

    def apply(self, split: bool = True) -> Any:
        """A v1: the sums of convolutions at the current split variable, (M, R, H, W); or A p1."""
        Aw = self.Aw.copy()
        w, self.w = self.w, None

        def visit(workspace: Workspace, index: Index) -> np.ndarray:
            workspace.real[...] = self.p[index]
            if split:
                self.prox.to_point(workspace.real, index)
            return np.zeros(STATISTICS)

        self._sweep(visit)
        block = self._observations
        block.spectrum[...] = self.Aw
        block.spectrum /= self.shape[-2] * self.shape[-1]
        block.inverse()
        self.Aw, self.w = Aw, w
        return block.real.copy()

    def take_maps(self) -> Any:
        """The split variable v1 (M, K, H, W), written over the state: the solver is spent afterwards."""

        def finish(workspace: Workspace, task: tuple[slice, slice, int]) -> None:
            index = task[:2]
            self.prox.to_point(self.p[index], index)

        self.backend.run(finish, self._tasks, self._visits)
        return self.p

    def map_penalty(self, maps: Any, index: Index) -> float:
        """``g + mu/2 ||grad u||^2`` at the maps of a visit, (.., H, W)."""
        total = self.prox.value(maps, index)
        if self.gradient_penalty:
            total -= self.gradient_penalty / 2 * float((maps * _laplacian(maps, self.backend.xp)).sum(dtype=np.float64))
        return total

    def _record(self, statistics: np.ndarray, data: list[float], data_term: float) -> Iteration:
        primal, change, _, nonzeros, u, v, dual = (float(s) for s in statistics)
        primal0, change0, u0, v0, dual0 = data
        tiny = np.finfo(self.backend.dtype).tiny
        primal_residual = np.sqrt((primal + primal0) / max(u + u0, v + v0, 0.01 * self._energy, tiny))
        a, a0 = self.rho**2, self.rho_data**2
        dual_residual = np.sqrt((a * change + a0 * change0) / max(a * dual + a0 * dual0, tiny))
        l1 = self.prox.penalty(statistics)
        return Iteration(
            0, 0.0, data_term + l1, data_term, l1,
            float(primal_residual), float(dual_residual), self.rho, int(nonzeros),
        )  # fmt: skip


def iterate(
    solver: ConvolutionalADMM,
    max_iter: int,
    tol: float,
    callback: Callable[[Iteration], Any] | None = None,
    adapt_every: int = 0,
) -> list[Iteration]:
    """Run the solver until both relative residuals are below `tol`, or `max_iter`, or the callback returns true.

    With `adapt_every`, the penalties are scaled by the square root of the residuals' ratio every so many iterations where
    the residuals are out of balance, less and less often, so that ADMM's convergence proof holds, and never by more than
    ten in all: a relative residual says nothing where the solution is zero.
    """
    history: list[Iteration] = []
    seconds = 0.0
    next_adaption, gap = adapt_every, adapt_every
    initial_rho = solver.rho
    for number in range(1, max_iter + 1):
        start = time.perf_counter()
        record = solver.step()
        balance = record.primal_residual / max(record.dual_residual, 1e-30)
        converged = max(record.primal_residual, record.dual_residual) < tol
        if adapt_every and number == next_adaption and not converged and number < max_iter:
            if not 0.5 < balance < 2:
                goal = np.clip(solver.rho * np.sqrt(balance), initial_rho / 10, initial_rho * 10)
                solver.scale_penalties(float(goal / solver.rho))
            gap = int(gap * 1.5) + 1
            next_adaption = number + gap
        seconds += time.perf_counter() - start
        history.append(record._replace(iteration=number, seconds=seconds))
        if (callback is not None and callback(history[-1])) or converged:
            break
    return history


def _gram(operator: Any, xp: Any) -> Any:
    """A A^H per frequency, (R, R, H, W // 2 + 1), row by row so that no second copy of the spectra is made."""
    K, R, H, W = operator.shape
    if R == 1:
        total = xp.zeros((1, 1, H, W), operator.real.dtype)
        for k in range(K):
            total += operator[k].real ** 2 + operator[k].imag ** 2
        return total
    gram = xp.empty((R, R, H, W), operator.dtype)
    for i in range(H):
        rows = operator[:, :, i].transpose(2, 1, 0)  # W, R, K
        gram[:, :, i] = xp.matmul(rows, rows.conj().transpose(0, 2, 1)).transpose(1, 2, 0)
    return gram


def _laplacian_symbol(height: int, width: int) -> np.ndarray:
    """Symbol of -Laplacian = sum of squared forward differences, circular, (H, W // 2 + 1)."""
    rows = 2 - 2 * np.cos(2 * np.pi * np.fft.fftfreq(height))
    columns = 2 - 2 * np.cos(2 * np.pi * np.fft.rfftfreq(width))
    return rows[:, None] + columns


def _laplacian(maps: Any, xp: Any) -> Any:
    """Sum of the four neighbours less four times the middle, circular."""
    return sum(xp.roll(maps, shift, axis) for axis in (-2, -1) for shift in (1, -1)) - 4 * maps


def _squares(*arrays: Any) -> list[float]:
    return [float(np.sum(a**2, dtype=np.float64)) for a in arrays]
