"""Checks of the solvers' settings, ADMM's penalties, and l1 weights on the domain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from csc_cogd.backend import as_array, to_numpy
from csc_cogd.csc.problem import BOUNDARIES, Domain, full_shape
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
    """Raise InputError for a setting that no solver can use."""
    for name, value in (("lmbda", lmbda), ("gradient_penalty", gradient_penalty)):
        if not (np.isfinite(value) and value >= 0):
            raise InputError(name, f"must be a finite number >= 0, got {value}")
    check_count("max_iter", max_iter)
    if not tol >= 0:
        raise InputError("tol", f"must be a number >= 0, got {tol}")
    if not 0 < relaxation < 2:
        raise InputError("relaxation", f"must be between 0 and 2, got {relaxation}")
    check_boundary(boundary)


def check_boundary(boundary: str) -> None:
    """Raise InputError for an unknown boundary condition."""
    check_choice("boundary", boundary, BOUNDARIES)


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raise InputError about the argument `name` for a value that is none of the choices."""
    if value not in choices:
        raise InputError(name, f"must be one of {', '.join(map(repr, choices))}, got {value!r}")


def check_count(name: str, number: Any) -> int:
    """Return a number, or raise InputError about the argument `name` if it isn't an integer >= 1."""
    if not isinstance(number, (int, np.integer)) or number < 1:
        raise InputError(name, f"must be an integer >= 1, got {number}")
    return int(number)


def check_codes(codes: Any, shape: tuple[int, ...], name: str = "codes") -> Any:
    """Return codes as an array of NumPy or CuPy, after checking their shape and values."""
    codes = as_array(codes, name)
    if codes.shape != shape or codes.dtype.kind not in "fiub":
        raise InputError(name, f"must be real numbers of shape {shape}, got {codes.dtype} of shape {codes.shape}")
    if not np.isfinite(codes).all():
        raise InputError(name, "must be finite")
    return codes


def check_l1_weights(w: Any, codes_shape: tuple[int, ...]) -> np.ndarray:
    """Return l1 weights as (N or 1, K or 1, 1, 1) or (N or 1, K or 1, *codes)."""
    w = to_numpy(1.0 if w is None else w, "l1_weights")
    if w.dtype.kind not in "fiu" or not np.isfinite(w).all() or (w < 0).any():
        raise InputError("l1_weights", "must be finite numbers >= 0")
    if w.ndim == 1:
        w = w[:, None, None]
    w = w.reshape(full_shape("l1_weights", w, codes_shape, "the codes'"))
    return w if w.shape[2:] == (1, 1) else np.broadcast_to(w, (*w.shape[:2], *codes_shape[2:]))


def place_l1_weights(w: np.ndarray, domain: Domain) -> np.ndarray:
    """Return the l1 weight of each position on the domain; positions that reach no image get the largest one."""
    if w.shape[2:] == (1, 1):
        return w
    padded = np.full((*w.shape[:2], *domain.shape), w.max())
    domain.crop_codes(padded)[...] = w
    return padded


def penalties(
    lmbda: float, data: DataTerm, rho: float | None, rho_data: float | None, ratio: float = 1.0
) -> tuple[float, float]:
    """Return ADMM's penalties rho and rho_data; by default such that scaling images and `lmbda` together changes nothing.

    Parameters
    ----------
    lmbda : float
    data : DataTerm
    rho, rho_data : float, optional
        As they were given.
    ratio : float
        Default of rho_data / rho.
    """
    for name, value in (("rho", rho), ("rho_data", rho_data)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(name, f"must be a finite positive number, got {value}")
    if rho is None:
        rho = min(max(RHO_PER_LMBDA * lmbda / max(data.max_abs(), 1e-30), 1e-4), 1e4) if lmbda > 0 else 0.1
    return rho, ratio * rho if rho_data is None else rho_data
