"""Elementwise kernels of the engine, in plain NumPy: the reference that every faster variant must agree with.

Maps come as (M, B, H, W): M problems that share an operator, B maps of each. Spectra are those of the real FFT,
(..., H, W // 2 + 1). All kernels write into an argument and allocate nothing that they return, but for statistics.
"""

from __future__ import annotations

import numpy as np

STATISTICS = 7
"""Number of the sums that `shrink` returns: (x - v)^2, (v - v_old)^2, threshold * |v|, v != 0, x^2, v^2, u^2."""


def apply_adjoint(operator: np.ndarray, q: np.ndarray, out: np.ndarray) -> None:
    """Apply the adjoint of a sum of convolutions: ``out[m, b] = sum_r conj(operator[b, r]) * q[m, r]``."""
    np.einsum("brhw,mrhw->mbhw", operator.conj(), q, out=out)


def accumulate_forward(operator: np.ndarray, spectrum: np.ndarray, out: np.ndarray, add: bool) -> None:
    """Sum convolutions: ``out[m, r] (+)= sum_b operator[b, r] * spectrum[m, b]``."""
    total = np.einsum("brhw,mbhw->mrhw", operator, spectrum)
    if add:
        out += total
    else:
        out[...] = total


def filter_spectrum(kept: np.ndarray, response: np.ndarray, spectrum: np.ndarray) -> None:
    """Set ``spectrum = response * (spectrum + kept)`` with a real response (H, W // 2 + 1)."""
    spectrum += kept
    spectrum *= response


def solve_frequencies(
    T: np.ndarray, Av: np.ndarray, Ap: np.ndarray, inverse: np.ndarray, response: np.ndarray | None,
    data_factor: float, relaxation: float, scale: float, q_scale: float, q: np.ndarray,
) -> None:  # fmt: skip
    """Do the linear solve of ADMM on sums of convolutions (M, R, H, W // 2 + 1), in place; see `csc_cogd.csc.admm`.

    With matrices `inverse` (R, R, H, W // 2 + 1) and a real response h (H, W // 2 + 1), or 1 for None:

        q    = inverse (T - h (2 A v - A p)),    A u = T - data_factor q,    A p += relaxation (A u - A v)

    Afterwards `T` holds A u times `scale`, and `q` is scaled by `q_scale`.
    """
    Aw = 2 * Av - Ap
    np.einsum("rshw,mshw->mrhw", inverse, T - (Aw if response is None else response * Aw), out=q)
    T -= q * data_factor  # NumPy divides complex numbers ten times as slowly
    Ap += relaxation * (T - Av)
    T *= scale
    q *= q_scale


def least_squares_step(
    p: np.ndarray, v: np.ndarray, x: np.ndarray, images: np.ndarray, squared_weights: np.ndarray, rho: float,
    relaxation: float,
) -> np.ndarray:  # fmt: skip
    """Prox of ``1/2 ||W (v - images)||^2`` and dual update, in place: ``p += relaxation * (x - v)``, ``v = prox(p)``.

    Arrays are (M, R, H, W), or broadcast to that. Returns sums of (x - v)^2, (v - v_old)^2, x^2, v^2, (p - v)^2, and the
    data term at x.
    """
    v_old = v.copy()
    p += relaxation * (x - v)
    v[...] = (squared_weights * images + rho * p) / (squared_weights + rho)
    terms = ((x - v) ** 2, (v - v_old) ** 2, x**2, v**2, (p - v) ** 2, squared_weights * (x - images) ** 2 / 2)
    return np.array([np.sum(term, dtype=np.float64) for term in terms])


def shrink(
    p: np.ndarray, x: np.ndarray, threshold: np.ndarray, nonnegative: bool, relaxation: float, offset: bool
) -> np.ndarray:
    """Soft threshold and dual update of one visit, in place: ``p += relaxation * (x - S(p))``.

    `p` holds v + u, the split variable and its scaled dual in one: v = S(p), u = p - v. On entry `x` holds the new
    linear solution; on return ``2 S(p) - p`` of the new `p`, the point that the next linear solve starts from. With
    `offset`, it holds the solution's distance from that point, and on return the sparse v. `threshold` broadcasts against
    `p`. Returns the statistics.
    """
    low = -np.inf if nonnegative else -threshold
    u = np.clip(p, low, threshold)
    v_old = p - u
    if offset:
        x += v_old - u
    p += relaxation * (x - v_old)
    u = np.clip(p, low, threshold)
    v = p - u
    moments = (
        (x - v) ** 2, (v - v_old) ** 2, threshold * np.abs(v), v != 0, x**2, v**2, u**2
    )  # fmt: skip
    statistics = np.array([np.sum(term, dtype=np.float64) for term in moments])
    x[...] = v if offset else v - u
    return statistics


def threshold_maps(p: np.ndarray, threshold: np.ndarray, nonnegative: bool) -> None:
    """Set ``p = S(p)`` in place."""
    p -= np.clip(p, -np.inf if nonnegative else -threshold, threshold)
