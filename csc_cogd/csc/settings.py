"""What the solvers are told: the checks of it, ADMM's penalties, and l1 weights on the domain."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.csc.problem import BOUNDARIES, Domain
from csc_cogd.csc.prox import DataTerm
from csc_cogd.errors import InputError

RHO_PER_LMBDA = 60.0  # as in the published FFCSC code


def check_settings(
    lmbda: float,
    max_iter: int,
    tol: float,
    relaxation: float = 1.0,
    gradient_penalty: float = 0.0,
    boundary: str = "free",
) -> None:
    """Raise InputError for what no solver can use; the message names the argument."""
    if not (np.isfinite(lmbda) and lmbda >= 0):
        raise InputError(f"lmbda: {lmbda} isn't a weight: use a finite number of zero or more")
    if not isinstance(max_iter, (int, np.integer)) or max_iter < 1:
        raise InputError(f"max_iter: {max_iter} iterations aren't possible: use a whole number of 1 or more")
    if not tol >= 0:
        raise InputError(f"tol: {tol} isn't a tolerance: use zero or more")
    if not 0 < relaxation < 2:
        raise InputError(f"relaxation: {relaxation} is outside of (0, 2)")
    if not (np.isfinite(gradient_penalty) and gradient_penalty >= 0):
        raise InputError(f"gradient_penalty: {gradient_penalty} isn't a weight: use zero or more")
    check_boundary(boundary)


def check_boundary(boundary: str) -> None:
    if boundary not in BOUNDARIES:
        raise InputError(f"boundary: {boundary!r} is unknown: choose 'free' or 'circular'")


def check_l1_weights(w: Any, codes_shape: tuple[int, ...]) -> np.ndarray:
    """Return l1 weights as (N or 1, K or 1, 1, 1) or (N or 1, K or 1, *codes)."""
    w = to_numpy(1.0 if w is None else w, "l1_weights")
    if w.dtype.kind not in "fiu" or not np.isfinite(w).all() or (w < 0).any():
        raise InputError("l1_weights: finite values of zero or more are needed")
    if w.ndim == 1:
        w = w[:, None, None]
    full = (1,) * (4 - w.ndim) + w.shape
    if w.ndim > 4 or any(a not in (1, b) for a, b in zip(full, codes_shape, strict=True)):
        raise InputError(f"l1_weights: shape {w.shape} doesn't fit codes of shape {codes_shape}")
    w = w.reshape(full)
    return w if w.shape[2:] == (1, 1) else np.broadcast_to(w, (*w.shape[:2], *codes_shape[2:]))


def place_l1_weights(w: np.ndarray, domain: Domain) -> np.ndarray:
    """l1 weights of each position on the domain; positions that reach no image get the largest weight."""
    if w.shape[2:] == (1, 1):
        return w
    padded = np.full((*w.shape[:2], *domain.shape), w.max())
    domain.crop_codes(padded)[...] = w
    return padded


def penalties(
    lmbda: float, data: DataTerm, rho: float | None, rho_data: float | None, ratio: float = 1.0
) -> dict[str, float]:
    """ADMM's penalties where none are given: dimensionless, so that scaling images and `lmbda` together changes nothing.

    `ratio` is that of the data split's penalty to the l1 split's.
    """
    for name, value in (("rho", rho), ("rho_data", rho_data)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}: {value} isn't a penalty: use a finite number above zero")
    if rho is None:
        rho = min(max(RHO_PER_LMBDA * lmbda / max(data.largest(), 1e-30), 1e-4), 1e4) if lmbda > 0 else 0.1
    return {"rho": rho, "rho_data": ratio * rho if rho_data is None else rho_data}
