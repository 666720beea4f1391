"""The code solve as a problem of its own, and the choice of the solver for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, Index
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.coordinate_descent import CoordinateDescent
from csc_cogd.csc.fista import Fista
from csc_cogd.csc.iteration import Solver
from csc_cogd.csc.problem import Domain, for_maps
from csc_cogd.csc.prox import DataTerm, MaskedLeastSquares, SoftThreshold
from csc_cogd.csc.settings import penalties, place_l1_weights
from csc_cogd.errors import InputError

SOLVERS = ("auto", "admm", "coordinate descent", "fista")
SPARSE_ENOUGH = 1500  # lambda_max / lmbda up to which coordinate descent takes less time than ADMM, as measured


@dataclass(frozen=True, eq=False)
class CodingProblem:
    """The problem of the code solve, on the domain of the transforms; see :func:`csc_cogd.sparse_code`.

    Attributes
    ----------
    backend : Backend
    domain : Domain
    data : DataTerm
    filters : (K, C, h, w) array
    operator : (K, C, H, W // 2 + 1) complex array
        The filters' spectra.
    l1_weights : (N or 1, K or 1, ...) array
        w, as :func:`csc_cogd.csc.settings.check_l1_weights` returns them.
    lmbda : float
    nonnegative : bool
    gradient_penalty : float
    """

    backend: Backend
    domain: Domain
    data: DataTerm
    filters: np.ndarray
    operator: Any
    l1_weights: np.ndarray
    lmbda: float = 0.0
    nonnegative: bool = False
    gradient_penalty: float = 0.0

    @property
    def codes_shape(self) -> tuple[int, int, int, int]:
        """Shape of the codes, (N, K, H + h - 1, W + w - 1)."""
        return len(self.data.images), len(self.filters), *self.domain.codes_shape

    def prox(self) -> SoftThreshold:
        """Return the proximal map of the l1 term."""
        weights = place_l1_weights(self.l1_weights * self.lmbda, self.domain)
        return SoftThreshold(self.backend, weights, self.nonnegative)

    def lambda_max(self) -> float:
        """Return the smallest `lmbda` at which all codes of a least-squares problem are zero."""
        backend, domain, data, w = self.backend, self.domain, self.data, self.l1_weights
        assert isinstance(data, MaskedLeastSquares)
        H, W = domain.shape
        block = backend.workspace(data.images.shape)
        block.real[...] = data.squared_weights * data.images
        block.forward()
        b = block.spectrum / (H * W)
        penalized = backend.asarray(np.where(w > 0, w, np.inf))

        def max_ratio(workspace: Any, index: Index) -> Any:
            backend.kernels.apply_adjoint(self.operator[index[1]], b[index[0]], workspace.spectrum)
            workspace.inverse()
            response = abs(domain.crop_codes(workspace.real))
            part = tuple(one if size > 1 else slice(0, 1) for one, size in zip(index, w.shape[:2], strict=True))
            return (response / penalized[part]).max()

        return float(reduce(np.maximum, for_maps(backend, (len(b), len(self.filters), H, W), max_ratio)))


def make_solver(
    problem: CodingProblem, name: str, *, tol: float, start: Any, rho: float | None, rho_data: float | None,
    relaxation: float,
) -> Solver:  # fmt: skip
    """Return the solver of that name for a problem, or for ``"auto"`` the one that suits it.

    Parameters
    ----------
    problem : CodingProblem
    name : {"auto", "admm", "coordinate descent", "fista"}
    tol : float
        Relative duality gap from which coordinate descent leaves an image alone.
    start : array of the codes' shape, or None
        Where to begin.
    rho, rho_data, relaxation : float
        Of ADMM; see :func:`csc_cogd.sparse_code`.

    Raises
    ------
    InputError
        If the solver can't solve the problem.
    """
    obstacle = _obstacle(problem, name, rho, rho_data)
    if name in ("coordinate descent", "fista") and obstacle:
        raise InputError("solver", f"{name!r} {obstacle}", "use 'auto' or 'admm'")
    backend, domain, data, operator, prox = problem.backend, problem.domain, problem.data, problem.operator, problem.prox()
    if name == "fista" and isinstance(data, MaskedLeastSquares):
        return Fista(backend, domain, operator, data, prox, start=start)
    if name != "admm" and not obstacle and isinstance(data, MaskedLeastSquares):
        solver = CoordinateDescent(backend, domain, problem.filters, operator, data, prox, tol=tol, start=start)
        if name == "coordinate descent" or solver.max_ratio <= SPARSE_ENOUGH:
            return solver
        del solver  # with its memory
    assert name in ("auto", "admm"), name
    rho, rho_data = penalties(problem.lmbda, data, rho, rho_data)
    return ConvolutionalADMM(
        backend, operator, data, prox, rho=rho, rho_data=rho_data, relaxation=relaxation,
        gradient_penalty=problem.gradient_penalty, filters=problem.filters, start=start,
    )  # fmt: skip


def _obstacle(problem: CodingProblem, name: str, rho: float | None, rho_data: float | None) -> str:
    """Return why FISTA, or else coordinate descent, can't or shouldn't solve a problem; empty if it can."""
    if not isinstance(problem.data, MaskedLeastSquares):
        return "works with the fidelity 'least squares' only"
    if problem.gradient_penalty:
        return "doesn't support a gradient penalty"
    if rho is not None or rho_data is not None:
        return "takes no rho and no rho_data"
    if name == "fista":
        return ""
    if not (problem.l1_weights * problem.lmbda > 0).all():
        return "needs lmbda and l1_weights above zero"
    if not problem.backend.compiled:
        return "is too slow without compiled kernels" if problem.backend.xp is np else "runs on the CPU only"
    return ""
