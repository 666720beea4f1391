"""FISTA: accelerated proximal gradient descent, for the code solve with a squared data term.

    minimize over x    1/2 ||W (A x - b)||^2 + sum_i t_i |x_i|,      A x = sum_k d_k * x_k

With the Lipschitz constant L of the data term's gradient, an iteration is

    x'  = S(y - A^H W^2 (A y - b) / L, t / L)          S the soft threshold
    y'  = x' + beta (x' - x),                          beta from Nesterov's sequence

[Beck, Teboulle 2009, eqs. 4.1 to 4.3]. Where ``<y - x', x' - x> > 0``, the momentum leads uphill, and the sequence begins
anew [O'Donoghue, Candes 2015, section 3.2].
"""

from __future__ import annotations

import itertools
from functools import reduce
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, Index, Workspace
from csc_cogd.csc.iteration import Iteration, duality_gap
from csc_cogd.csc.problem import Domain, gram
from csc_cogd.csc.prox import MaskedLeastSquares, SoftThreshold
from csc_cogd.csc.synthesis import Synthesis


class Fista:
    """A :class:`csc_cogd.csc.iteration.Solver`, with two arrays of the codes' size: x and the one before.

    y follows from these and beta, and A y from A x alike, so a map is visited once an iteration, while it is in cache:
    inverse FFT of its gradient, soft threshold, forward FFT, its share of A x'.

    The record's objective is that of x', its dual residual the norm of ``L (y - x')``, by which y violates the optimality
    conditions: relative to all gradients, as :class:`csc_cogd.csc.coordinate_descent.CoordinateDescent` has it. Its `gap`
    is the duality gap between x' and the residual at y, scaled until it is dual feasible; NaN where a code isn't penalized.

    Parameters
    ----------
    backend : Backend
    domain : Domain
    operator : (K, R, H, W // 2 + 1) complex array
        Spectra of the filters on the domain.
    data : MaskedLeastSquares
    prox : SoftThreshold
    start : (M, K, ...) array of the codes' shape, optional
        Where to begin, instead of at zero.
    """

    rho = float("nan")

    def __init__(
        self, backend: Backend, domain: Domain, operator: Any, data: MaskedLeastSquares, prox: SoftThreshold,
        *, start: Any = None,
    ):  # fmt: skip
        self.backend, self.domain, self.data, self.prox = backend, domain, data, prox
        self.measure_every = backend.measure_every
        xp, K = backend.xp, len(operator)
        M, R, H, W = data.images.shape
        self.lipschitz = max(float(data.squared_weights.max()) * _largest_eigenvalue(operator, xp), 1e-30)
        prox.set_rho(self.lipschitz)
        self._penalized = bool((prox.weights > 0).all())
        self.synthesis = Synthesis(backend, (M, K, H, W), R)
        self.synthesis.set_operator(operator)
        self.x = xp.zeros((M, K, *domain.codes_shape), backend.dtype)
        self.x_old = xp.zeros_like(self.x)
        self.Ax = xp.zeros((M, R, H, W), backend.dtype)
        if start is not None:
            self.x[...] = self.x_old[...] = backend.asarray(start)
            self.Ax[...], _ = self._sweep(self._write_codes)
        self.Ax_old = self.Ax.copy()
        self._t, self._beta = xp.ones(()), xp.zeros((), backend.dtype)  # on the device, as is what a restart depends on
        self._recording = backend.recording(2 * self.x.nbytes)

    def step(self, measure: bool = True) -> Iteration | None:
        """Do one iteration; the record's iteration number and seconds are left to the caller. None unless to `measure`."""
        if measure:
            return self._record(self._iterate(measure=True))
        self._recording(self._iterate)
        return None

    def _iterate(self, measure: bool = False) -> Any:
        """Do an iteration; return the sums that a record is made of, if it is to `measure`."""
        block, pixels, xp = self.synthesis.images, np.prod(self.domain.shape), self.backend.xp
        Ay = self.Ax + self._beta * (self.Ax - self.Ax_old)
        residual = self.data.images - Ay
        weighted = -self.data.gradient(Ay)
        block.real[...] = weighted * (1 / (self.lipschitz * float(pixels)))
        block.forward()
        downhill = block.spectrum.copy()  # A^H turns it into the step
        self.Ax_old[...] = self.Ax
        self.Ax[...], visits = self._sweep(lambda workspace, index: self._visit(workspace, index, downhill, measure))
        uphill = sum(turn for turn, *_ in visits)

        t = (1 + np.sqrt(1 + 4 * self._t**2)) / 2
        self._beta[...] = xp.where(uphill > 0, 0.0, (self._t - 1) / t)
        self._t[...] = xp.where(uphill > 0, 1.0, t)
        if not measure:
            return None
        energies = [(weighted * other).sum(dtype=np.float64) for other in (residual, self.data.images)]
        return np.stack([*energies, reduce(np.maximum, (s for _, s, _ in visits)), *sum(sums for *_, sums in visits)])

    def _record(self, numbers: Any) -> Iteration:
        residual_energy, aligned, max_ratio, l1, move, gradient, nonzeros = self.backend.to_host(numbers).tolist()
        data_term = self.data.value(self.Ax)
        self.objective = data_term + l1
        gap = duality_gap(self.objective, aligned, residual_energy, max_ratio) if self._penalized else float("nan")
        dual_residual = float(np.sqrt(move / max(gradient, 1e-300)))
        return Iteration(0, 0.0, self.objective, data_term, l1, 0.0, dual_residual, self.rho, int(nonzeros), gap)

    def finish(self) -> tuple[Any, Any, float]:
        """Return the codes (M, K, ...), their sum of convolutions A x on the domain (M, R, H, W), and the objective."""
        return self.x, self.Ax, self.objective

    def _visit(self, workspace: Workspace, index: Index, downhill: Any, measure: bool) -> tuple[Any, Any, Any]:
        """Write new codes of a few maps; return how far uphill the momentum leads, and the rest of the record if `measure`.

        That is the largest ratio of a gradient to its threshold, and sums: all on the device.
        """
        self.synthesis.adjoint(downhill, workspace, index)
        workspace.inverse()
        x, old = self.x[index], self.x_old[index]
        v = self._codes_in(workspace)
        max_ratio: Any = None
        gradient: Any = None
        if measure:
            gradient = (v * v).sum(dtype=np.float64)
            max_ratio = self.prox.max_gradient_ratio(workspace.real, index) if self._penalized else gradient
        y = x + self._beta * (x - old)
        v += y
        self.prox.prox_inplace(workspace.real, index)
        old[...] = x
        x[...] = v
        y -= v
        uphill = (y * (v - old)).sum(dtype=np.float64)
        if not measure:
            return uphill, max_ratio, None
        move, nonzeros = (y * y).sum(dtype=np.float64), self.backend.xp.count_nonzero(v)
        return uphill, max_ratio, np.stack([self.prox.value(workspace.real, index), move, gradient, nonzeros])

    def _write_codes(self, workspace: Workspace, index: Index) -> None:
        workspace.real[...] = 0
        self.domain.crop_codes(workspace.real)[...] = self.x[index]

    def _codes_in(self, workspace: Workspace) -> Any:
        """Return the codes' part of a workspace; set what lies around it, and reaches no image, to zero."""
        height, width = self.domain.codes_shape
        workspace.real[:, :, height:] = 0
        workspace.real[..., width:] = 0
        return self.domain.crop_codes(workspace.real)

    def _sweep(self, visit: Any) -> tuple[Any, list[Any]]:
        """Let `visit` write every map; return A of what it wrote, (M, R, H, W), to be copied, and the visits' results."""
        total, results = self.synthesis.sweep(visit)
        return self.synthesis.to_images(total), list(itertools.chain.from_iterable(results))


def _largest_eigenvalue(operator: Any, xp: Any) -> float:
    """Return the largest eigenvalue of A^H A, which is that of A A^H, over all frequencies."""
    product = gram(operator, xp)
    if len(product) == 1:
        return float(product.max())
    if xp is not np:  # one number is needed, and cuSOLVER's batches take a thousand values for each matrix
        product = product.get()
    return float(np.linalg.eigvalsh(product.transpose(2, 3, 0, 1)).max())
