"""The rule of cogradient descent, written once for every application [CoGD, eqs. 14-20].

A bilinear problem ``min ||b - A x||^2 + lmbda ||x||_1 + R(A)`` has the gradient ``dG/dA_ij = g_i x_j`` with g = A x - b:
what of A is trained through a small x_j stands still, so a sparse x that settles early leaves its partner A untrained. The
rule finds where that happens and moves x_j along its earlier value:

    c_j     = K(g_j, dA_j/dx_j) = (sum_i g_ij dA_ij/dx_j)^k            kernel of degree k                     eq. 15
    beta_j  = sign eta c_j,  cut off at +- max_beta                      sign -1: the coupled gradient step     eq. 14
    x_hat_j = x_j^{t+1} + beta_j x_j^t                                 the projection P                       eq. 17
              where (not s(x_j)) and s(A_j), else x_j^{t+1}            the asynchrony test                    eqs. 18-20
    s(v)    = 1 if R(v) >= alpha else 0

`x` and `A` are the values after an epoch, ``x^t`` those before it, and dA/dx is the ratio of their changes. The paper's
formulas of eqs. 15, 17 and 28 were not readable to us: kernel, sign and cut-off are restated from its text.

The sum over i is the application's business, because it knows how A_j and g_j are laid out: `inner` below is that sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.errors import InputError

Norm = str | Callable[..., Any]
Threshold = float | str | Callable[[Any], Any]

_NORMS: dict[str, Callable[..., Any]] = {
    "l1": lambda a, axis: abs(a).sum(axis=axis),
    "l2": lambda a, axis: np.sqrt((a**2).sum(axis=axis)),
    "max": lambda a, axis: abs(a).max(axis=axis),
}
_THRESHOLDS: dict[str, Callable[[Any], Any]] = {"mean": np.mean, "median": np.median}


class Backtracking(NamedTuple):
    """The effect of one use of the rule.

    Attributes
    ----------
    entries : int
        Entries of the sparse variable.
    backtracked : int
        How many of them were backtracked.
    mean_beta : float
        Mean of |beta| over those.
    accepted : bool
        Whether the application's safeguard accepted the result; True until it has decided.
    """

    entries: int
    backtracked: int
    mean_beta: float
    accepted: bool = True


@dataclass(frozen=True)
class CogradientRule:
    """Settings of the rule, and its steps as methods. Works on NumPy and CuPy arrays.

    Parameters
    ----------
    degree : int >= 1
        k, the degree of the kernel: 1 linear, 2 and 3 polynomial.
    eta : float >= 0
        Step size. 0 switches the rule off, to the last bit.
    sign : -1 or 1, optional
        Of beta. -1 descends along the coupled gradient, which is exact for degree 1 (eq. 14); +1 pulls x back towards its
        earlier value where c is positive. Default: -1 for an odd degree, +1 for an even one, whose kernel has lost
        the direction.
    norm : {"l1", "l2", "max"} or callable(array, axis)
        R of the asynchrony test.
    alpha_sparse, alpha_partner : float, "mean", "median" or callable
        Thresholds of the asynchrony test on R(x) and R(A): a number, or a function of all the norms; see :class:`Quantile`.
    max_beta : float >= 0
        Cut-off of |beta|: one use of the rule moves no entry by more than this fraction of its earlier value, so that a
        small denominator in the difference ratio can't throw the iterates off.
    zero_tol : float >= 0
        Differences up to this fraction of the largest count as none in the difference ratio.

    Raises
    ------
    InputError
        If a setting is outside of its range.

    Examples
    --------
    >>> import numpy as np
    >>> rule = CogradientRule(degree=1, eta=0.1, alpha_sparse=1.0, alpha_partner=1.0)
    >>> new, old, inner = np.array([0.5, 0.5]), np.array([2.0, 2.0]), np.array([-1.0, -1.0])
    >>> where = rule.asynchronous(sparse_norms=abs(new), partner_norms=np.array([3.0, 0.2]))
    >>> x_hat, statistics = rule.backtrack(new, old, inner, where)
    >>> x_hat, statistics.backtracked
    (array([0.7, 0.5]), 1)
    """

    degree: int = 1
    eta: float = 0.1
    sign: int | None = None
    norm: Norm = "l1"
    alpha_sparse: Threshold = "mean"
    alpha_partner: Threshold = "median"
    max_beta: float = 0.1
    zero_tol: float = 1e-6

    def __post_init__(self) -> None:
        if not isinstance(self.degree, (int, np.integer)) or self.degree < 1:
            raise InputError("degree", f"must be an integer >= 1, got {self.degree}")
        if self.sign not in (None, -1, 1):
            raise InputError("sign", f"must be -1 (descend) or 1 (pull back), got {self.sign}")
        for name in ("eta", "max_beta", "zero_tol"):
            value = getattr(self, name)
            if not (isinstance(value, Real) and 0 <= float(value) < np.inf):
                raise InputError(name, f"must be a finite number of zero or more, got {value}")
        if not callable(self.norm) and self.norm not in _NORMS:
            raise InputError("norm", f"must be one of {', '.join(map(repr, _NORMS))} or a function, got {self.norm!r}")
        for name in ("alpha_sparse", "alpha_partner"):
            value = getattr(self, name)
            known = value in _THRESHOLDS if isinstance(value, str) else callable(value) or not np.isnan(value)
            if not known:
                raise InputError(name, f"must be 'mean', 'median', a number or a function, got {value!r}")

    def norms(self, array: Any, axis: Any = None) -> Any:
        """Return R over the axes that make up one entry of the test."""
        norm = self.norm if callable(self.norm) else _NORMS[self.norm]
        return norm(array, axis=axis)

    def difference_ratio(self, delta_partner: Any, delta_sparse: Any) -> Any:
        """Return ``dA_ij/dx_j ~ Delta A_ij / Delta x_j``, and 1 where either difference is (nearly) zero.

        The arrays broadcast against each other, and belong to one problem: sizes are compared over all of them.
        """
        changed = self.changed(delta_partner) & self.changed(delta_sparse)
        return np.where(changed, delta_partner / np.where(changed, delta_sparse, 1), 1.0)

    def changed(self, delta: Any) -> Any:
        """Return where a difference isn't (nearly) zero: above `zero_tol` times the largest."""
        size = abs(delta)
        return size > self.zero_tol * size.max()

    def beta(self, inner: Any) -> Any:
        """Return ``sign eta inner^degree``, cut off at `max_beta` (eqs. 14, 15, 17)."""
        sign = self.sign or (-1 if self.degree % 2 else 1)
        return np.clip(sign * self.eta * inner**self.degree, -self.max_beta, self.max_beta)

    def asynchronous(self, sparse_norms: Any, partner_norms: Any) -> Any:
        """Return where convergence is asynchronous: the sparse variable small while its partner is large (eqs. 18-19).

        A partner is large from its threshold upwards, within rounding; where all norms are equal, as those of normalized
        filters, all of them count as large.
        """
        large_sparse = sparse_norms >= _threshold(self.alpha_sparse, sparse_norms)
        large_partner = partner_norms >= (1 - 1e-5) * _threshold(self.alpha_partner, partner_norms)
        return ~large_sparse & large_partner

    def backtrack(self, new: Any, old: Any, inner: Any, asynchronous: Any) -> tuple[Any, Backtracking]:
        """Return ``x_hat = new + beta old`` where asynchronous, else `new` (eqs. 17, 20); arrays broadcast against `new`.

        Entries where beta = 0, old = 0 or the inner product isn't finite come back bit for bit, and aren't counted as
        backtracked.
        """
        beta = np.where(asynchronous & (old != 0) & np.isfinite(inner), self.beta(inner), 0)
        changed = beta != 0
        count = int(changed.sum())
        mean_beta = float(abs(beta).sum(dtype=np.float64)) / max(count, 1)
        x_hat = np.where(changed, new + beta * old, new).astype(new.dtype, copy=False)
        return x_hat, Backtracking(int(np.size(new)), count, mean_beta)


@dataclass(frozen=True)
class Quantile:
    """A threshold for :class:`CogradientRule`: the q-quantile of the norms."""

    q: float

    def __post_init__(self) -> None:
        if not 0 <= self.q <= 1:
            raise InputError("q", f"must be in [0, 1], got {self.q}")

    def __call__(self, norms: Any) -> Any:
        return np.quantile(norms, self.q)


def _threshold(alpha: Threshold, norms: Any) -> Any:
    if isinstance(alpha, str):
        alpha = _THRESHOLDS[alpha]
    return alpha(norms) if callable(alpha) else alpha
