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
from typing import Any

import numpy as np

from csc_cogd.backend import STATISTICS, Backend, Workspace
from csc_cogd.csc.iteration import Iteration
from csc_cogd.csc.prox import DataTerm, FilterProjection, Index, SoftThreshold

_PARTIAL_SUMS = 8  # tasks an iteration is cut into at least: enough threads, and sums that don't depend on them


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
    A w = 2 A v1 - A p1 follows, for A p1 obeys the same rule as p1. With mu > 0, the spectrum of w itself is needed.

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
        coupled = M if isinstance(prox, FilterProjection) else 1
        self._visits = backend.workspaces((coupled, backend.maps_per_visit, H, W))
        groups = min(K, -(-_PARTIAL_SUMS * coupled // M))
        cuts = np.linspace(0, K, groups + 1).astype(int)
        self._tasks = [
            (slice(m, m + coupled), slice(start, stop), group)
            for m in range(0, M, coupled)
            for group, (start, stop) in enumerate(itertools.pairwise(cuts))
        ]
        self._partial = xp.empty((groups, *self.Av.shape), backend.complex_dtype)
        self._response: Any = None
        self._energy = data.energy()
        self._nonzeros = self.p.size  # of v1, as far as known
        self.set_operator(operator, filters)
        self.set_penalties(self.rho, self.rho_data)
        self.v0 = data.prox(self.p0, self.rho_data)

    # -- the step ----------------------------------------------------------------------------------------------------

    def step(self) -> Iteration:
        """Do one iteration; the record's iteration number and seconds are left to the caller."""
        block, pixels = self._observations, self.shape[-2] * self.shape[-1]

        np.subtract(2 * self.v0, self.p0, out=block.real)
        block.forward()
        T = block.spectrum
        Aw = 2 * self.Av - self.Ap
        rhs = T - (Aw if self._response is None else self._response * Aw)
        q = self.backend.xp.empty_like(rhs)
        self.backend.kernels.solve_small(self._inverse, rhs, q)
        T -= q * (1 / self.rho_data)  # NumPy divides complex numbers ten times as slowly
        self.Ap += self.relaxation * (T - self.Av)
        T *= 1 / pixels
        block.inverse()
        Au = block.real

        self.p0 += self.relaxation * (Au - self.v0)
        v0 = self.data.prox(self.p0, self.rho_data)
        data_statistics = _squares(Au - v0, v0 - self.v0, Au, v0, self.p0 - v0)
        data_term = self.data.value(Au)
        self.v0 = v0

        q *= 1 / (self.rho if self._response is not None else self.rho * pixels)
        shares, statistics = self._sweep(lambda workspace, index: self._visit(workspace, index, q), self._few_atoms())
        self.Av = shares if self.w is None else (shares + self.Ap) / 2
        return self._record(statistics, data_statistics, data_term)

    def _visit(self, workspace: Workspace, index: Index, q: Any) -> np.ndarray:
        problems, maps = index
        self.backend.kernels.spread(self.operator[maps], q[problems], workspace.spectrum)
        if self._response is not None:
            self.backend.kernels.filter_spectrum(self.w[index], self._response_scaled, workspace.spectrum)
        workspace.inverse()
        offset = self._response is None
        return self.prox.step(self.p[index], workspace.real, index, self.relaxation, offset)

    def _sweep(self, visit: Callable[[Workspace, Index], Any], sparse: bool = False) -> tuple[Any, np.ndarray]:
        """Let `visit` write every map; returns A of what it wrote, as spectra, and the visits' sums.

        What is written is v1, or, to be kept too, w with mu > 0. If it is `sparse`, atoms are added instead of transformed.
        """
        kernels, width = self.backend.kernels, self.backend.maps_per_visit

        def work(workspace: Workspace, task: tuple[slice, slice, int]) -> np.ndarray:
            problems, maps, group = task
            total = np.zeros(STATISTICS)
            if sparse:
                self._canvas[group, problems] = 0
            for start in range(maps.start, maps.stop, width):
                index = (problems, slice(start, min(start + width, maps.stop)))
                total += visit(workspace, index)
                if sparse:
                    self.backend.atoms.add_map(
                        workspace.real[0, 0], self.filters[start], self._canvas[group, problems.start]
                    )
                    continue
                workspace.forward()
                if self.w is not None:
                    self.w[index] = workspace.spectrum
                part = self._partial[group, problems]
                kernels.gather(self.operator[index[1]], workspace.spectrum, part, start > maps.start)
            return total

        statistics = np.sum(self.backend.run(work, self._tasks, self._visits), axis=0)
        return self._transformed(self._canvas.sum(axis=0)) if sparse else self._partial.sum(axis=0), statistics

    def _few_atoms(self) -> bool:
        """Whether v1 has so few values that adding their atoms takes less time than transforming the maps."""
        if self.filters is None or self.w is not None:
            return False
        values = self._nonzeros * self.filters[0].size + COST_OF_ATOM * self._nonzeros
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
        return block.spectrum.copy()

    # -- the linear solve --------------------------------------------------------------------------------------------

    def set_operator(self, operator: Any, filters: Any = None) -> None:
        """Exchange the operator, keeping the state; (K, R, H, W // 2 + 1). Call :meth:`refresh` afterwards."""
        self.operator: Any = operator
        self.filters: Any = None
        if filters is not None:
            self._overhang = filters.shape[2] - 1, filters.shape[3] - 1
            self.filters = self.backend.atoms.padded(self.backend.asarray(filters))
            M, H, W = len(self.p0), *self.shape[-2:]
            lanes = self.filters.shape[3]
            canvas = (len(self._partial), M, self.filters.shape[1], H + self._overhang[0], W + lanes - 1)
            self._canvas = self.backend.xp.empty(canvas, self.backend.dtype)
        self._gram = _gram(operator, self.backend.xp)
        self._invert()

    def refresh(self) -> None:
        """Recompute A p1 and A v1, after the state or the operator has been changed."""
        self.Ap, _ = self._sweep(self._state)
        shares, _ = self._sweep(self._point if self.w is None else self._reflect, self._few_atoms())
        self.Av = shares if self.w is None else (shares + self.Ap) / 2
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
        if self.w is None:
            self.Ap = self.Av + (self.Ap - self.Av) / factor
        else:
            self.refresh()

    def start_from(self, maps: Any) -> None:
        """Set the state so that the maps' split variable is `maps` (M, K, H, W), with the duals this implies."""
        self.p[...] = maps
        self.Av, _ = self._sweep(self._state)
        self.v0 = self.apply()
        self.p0 = self.data.dual_state(self.v0, self.rho_data)
        block = self._observations
        np.multiply(self.v0 - self.p0, self.rho_data / (self.shape[-2] * self.shape[-1]), out=block.real)
        block.forward()
        downhill = block.spectrum  # of the data term, in the images' domain

        def make_state(workspace: Workspace, task: tuple[slice, slice, int]) -> None:
            for k in range(task[1].start, task[1].stop, self.backend.maps_per_visit):
                index = (task[0], slice(k, min(k + self.backend.maps_per_visit, task[1].stop)))
                self.backend.kernels.spread(self.operator[index[1]], downhill[index[0]], workspace.spectrum)
                workspace.inverse()
                if self.gradient_penalty:
                    workspace.real += self.gradient_penalty * _laplacian(self.p[index], self.backend.xp)
                self.prox.to_state(self.p[index], workspace.real, index)

        self.backend.run(make_state, self._tasks, self._visits)
        self.refresh()

    def _state(self, workspace: Workspace, index: Index) -> np.ndarray:
        """Write p1 of a visit."""
        workspace.real[...] = self.p[index]
        return np.zeros(STATISTICS)

    def _point(self, workspace: Workspace, index: Index) -> np.ndarray:
        """Write v1 of a visit."""
        workspace.real[...] = self.p[index]
        self.prox.to_point(workspace.real, index)
        return np.zeros(STATISTICS)

    def _reflect(self, workspace: Workspace, index: Index) -> np.ndarray:
        """Write w = 2 v1 - p1 of a visit."""
        self._point(workspace, index)
        workspace.real *= 2
        workspace.real -= self.p[index]
        return np.zeros(STATISTICS)

    def apply(self) -> Any:
        """A v1: the sums of convolutions at the current split variable, (M, R, H, W)."""
        block = self._observations
        np.multiply(self.Av, 1 / (self.shape[-2] * self.shape[-1]), out=block.spectrum)
        block.inverse()
        return block.real.copy()

    def take_maps(self) -> Any:
        """The split variable v1 (M, K, H, W), written over the state: the solver is spent afterwards."""

        def finish(workspace: Workspace, task: tuple[slice, slice, int]) -> None:
            index = task[:2]
            self.prox.to_point(self.p[index], index)

        self.backend.run(finish, self._tasks, self._visits)
        return self.p

    def finish(self) -> tuple[Any, Any, float]:
        """The split variable v1, A v1, and the objective there; the solver is spent afterwards."""
        fit = self.apply()
        maps = self.take_maps()
        visits = ((slice(m, m + 1), slice(k, k + 1)) for m, k in np.ndindex(maps.shape[:2]))
        return maps, fit, self.data.value(fit) + sum(self.map_penalty(maps[index], index) for index in visits)

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
        self._nonzeros = int(nonzeros)
        l1 = self.prox.penalty(statistics)
        return Iteration(
            0, 0.0, data_term + l1, data_term, l1,
            float(primal_residual), float(dual_residual), self.rho, int(nonzeros),
        )  # fmt: skip


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
    return [float(np.vdot(a, a)) for a in arrays]
