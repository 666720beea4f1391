"""The duality gap of ADMM: a bound on how far its objective is above the optimum."""

from __future__ import annotations

from functools import reduce
from typing import Any

import numpy as np

from csc_cogd.backend import Index
from csc_cogd.csc.admm import ConvolutionalADMM
from csc_cogd.csc.problem import for_maps, laplacian


def admm_duality_gap(solver: ConvolutionalADMM) -> float:
    """Return (P - D) / P, P the objective at the code solver's split variable v1; NaN where a code isn't penalized.

    With the subgradient ``y = rho0 (p0 - v0)`` of the data term f, and every s from 0 to 1 for which no value of
    ``s (A^H y - mu laplacian v1)`` is beyond its threshold, the optimum is at least

        D = -f*(s y) - s^2 mu/2 ||grad v1||^2                                        f* the conjugate of f

    Unlike the residual at v1, y is nearly feasible long before the end, as ADMM holds it close to the other dual variable,
    which is.
    """
    prox: Any = solver.prox
    if not (prox.weights > 0).all():
        return float("nan")
    backend, mu, slope = solver.backend, solver.gradient_penalty, solver.rho_data * (solver.p0 - solver.v0)
    block = backend.workspace(slope.shape)
    np.divide(slope, solver.shape[-2] * solver.shape[-1], out=block.real)
    block.forward()

    def visit(workspace: Any, index: Index) -> tuple[Any, Any]:
        solver.synthesis.adjoint(block.spectrum, workspace, index)
        workspace.inverse()
        v = solver.p[index].copy()
        prox.prox_inplace(v, index)
        downhill = mu * laplacian(v, backend.xp) - workspace.real if mu else -workspace.real
        values = np.stack([prox.value(v, index), solver.map_penalty(v, index)])
        return prox.max_gradient_ratio(downhill / prox.rho, index), values

    ratios, penalties = zip(*for_maps(backend, solver.shape, visit), strict=True)
    l1, penalty = backend.to_host(sum(penalties)).tolist()
    objective = solver.data.value(solver.apply()) + penalty
    if not objective > 0:
        return 0.0
    scale = min(1 / max(float(reduce(np.maximum, ratios)), 1e-300), 1.0)
    bound = -solver.data.conjugate(scale * slope) - scale**2 * (penalty - l1)
    return (objective - bound) / objective
