"""Beale's function with sparsity: the small bilinear problem that demonstrates the rule [CoGD, section 5.1].

    F(x1, x2) = (1.5 - x1 + x1 x2)^2 + (2.25 - x1 + x1 x2^2)^2 + (2.625 - x1 + x1 x2^3)^2 + l1 |x2| + l2 x1^2

x2 is the sparse variable and x1 its partner, the A of the rule. On the floor of the valley, where x1 (1 - x2) is about 1.5,
x2 is small and x1 is large all the way to the minimum: there their convergence is asynchronous.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.cogd.optimizers import SGD, Adam, Momentum, Optimizer
from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.errors import InputError
from csc_cogd.locks import importing

OPTIMIZERS: dict[str, Optimizer] = {"SGD": SGD(0.001), "Momentum": Momentum(0.005), "Adam": Adam(0.1)}
"""The optimizers of the paper, with its learning rates."""

STARTS = ((1.0, 1.5), (1.0, -1.0), (2.0, -1.0), (1.0, 0.25), (2.0, 0.0), (3.0, -0.5), (4.0, -0.25), (0.5, 1.0))
"""Points from which all of them descend to one minimum; from the left of x1 = 0, they descend into a higher valley."""

_SMALL = 1e-12


@dataclass(frozen=True)
class SparseBeale:
    """The objective F on points (..., 2), its gradient, and its minimum.

    The gradient uses sign(x2), 0 at 0, as the derivative of abs(x2): a subgradient rather than a proximal step, so that all
    optimizers see the same gradient. Away from the kink, where the minimum is, that is exact.

    Parameters
    ----------
    l1 : float >= 0
        Weight of abs(x2). The paper's weights weren't readable to us; these move the minimum visibly, but not far.
    l2 : float >= 0
        Weight of x1^2.

    Examples
    --------
    >>> float(SparseBeale(l1=0, l2=0)(np.array([3.0, 0.5])))
    0.0
    """

    l1: float = 0.1
    l2: float = 0.01

    def __call__(self, x: Any) -> Any:
        x1, x2 = x[..., 0], x[..., 1]
        return sum(r**2 for r in self._residuals(x1, x2)) + self.l1 * abs(x2) + self.l2 * x1**2

    def gradient(self, x: Any) -> Any:
        """Return dF/dx, (..., 2)."""
        x1, x2 = x[..., 0], x[..., 1]
        in_x1, in_x2 = 2 * self.l2 * x1, self.l1 * np.sign(x2)
        for k, r in enumerate(self._residuals(x1, x2), start=1):
            in_x1 = in_x1 + 2 * r * (x2**k - 1)
            in_x2 = in_x2 + 2 * r * k * x1 * x2 ** (k - 1)
        return np.stack([in_x1, in_x2], axis=-1)

    def minimum(self) -> np.ndarray:
        """Return the minimum that is downhill from (3, 0.5); without the penalties, it is that point.

        Found by a search without derivatives, which a minimum on the kink doesn't disturb.
        """
        with importing:
            from scipy.optimize import minimize

        precise = {"xatol": 1e-10, "fatol": 1e-15, "maxiter": 2000}
        return np.asarray(minimize(self, (3.0, 0.5), method="Nelder-Mead", options=precise).x)

    def _residuals(self, x1: Any, x2: Any) -> list[Any]:
        return [c - x1 + x1 * x2**k for k, c in enumerate((1.5, 2.25, 2.625), start=1)]


@dataclass(frozen=True, eq=False)
class Descent:
    """A path down the objective.

    Attributes
    ----------
    path : (iterations + 1, 2) array
        The points, from the start. Where the path diverges, it is NaN from there on.
    objectives : (iterations + 1,) array
    backtracked : int
        How often the rule backtracked a point.
    accepted : int
        How often the safeguard accepted that.
    """

    path: np.ndarray
    objectives: np.ndarray
    backtracked: int = 0
    accepted: int = 0

    @property
    def length(self) -> float:
        """The length of the path."""
        return float(np.hypot(*np.diff(self.path, axis=0).T).sum())

    def distances(self, point: np.ndarray) -> np.ndarray:
        """Return the distance of each point of the path to `point`."""
        return np.hypot(*(self.path - point).T)

    def iterations_to(self, point: np.ndarray, tolerance: float) -> int | None:
        """Return the first iteration within a distance of `tolerance` to `point`; None if there is none."""
        near = self.distances(point) <= tolerance
        return int(near.argmax()) if near.any() else None


def beale_rule(optimizer: Optimizer, degree: int = 1, eta: float = 1.0, sign: int | None = None) -> CogradientRule:
    """Return the rule with the paper's thresholds: 0.5 for the sparse variable, 1 for its partner.

    Parameters
    ----------
    optimizer : Optimizer
    degree : int >= 1
        Degree of the kernel; see :class:`~csc_cogd.cogd.rule.CogradientRule`.
    eta : float >= 0
        Step size as a multiple of the optimizer's learning rate. At 1, both parts of the coupled gradient have the same
        weight, as in eq. 14.
    sign : -1 or 1, optional
        Sign of beta; default: by the degree.

    Returns
    -------
    CogradientRule
    """
    return CogradientRule(degree, eta * optimizer.learning_rate, sign, alpha_sparse=0.5, alpha_partner=1.0)


def descend(
    objective: SparseBeale,
    start: Iterable[float],
    optimizer: Optimizer,
    rule: CogradientRule | None = None,
    iterations: int = 200,
) -> Descent:
    """Descend from `start`; with a `rule`, backtrack x2 after each of the optimizer's steps.

    The rule's inner product is ``g * dx1/dx2``: g is dF/dx1 with x2 divided out, ``(dF/dx1) / x2``, or 0 where x2 is nearly
    0; dx1/dx2 is the ratio of the changes that the optimizer made.

    Safeguard: the backtracked point is accepted only if its objective isn't above that of the plain step. It isn't compared
    with the previous point, because Momentum and Adam climb at times whether or not the rule is used. So a single use of the
    rule never does worse than the optimizer alone from the same point; whole paths may end higher, though, because the lower
    of two points can be on the longer way.

    Parameters
    ----------
    objective : SparseBeale
    start : (2,) array
    optimizer : Optimizer
    rule : CogradientRule, optional
    iterations : int

    Returns
    -------
    Descent

    Raises
    ------
    InputError
        If `start` isn't a pair of finite numbers.
    """
    x, state = np.array(start, dtype=float), None
    if x.shape != (2,) or not np.isfinite(x).all():
        raise InputError("start", f"must be a pair of finite numbers, got {start}")
    path, objectives = np.full((iterations + 1, 2), np.nan), np.full(iterations + 1, np.nan)
    backtracked = accepted = 0
    with np.errstate(over="ignore", invalid="ignore"):
        path[0], objectives[0] = x, objective(x)
        for t in range(iterations):
            gradient = objective.gradient(x)
            new, state = optimizer.step(x, gradient, state)
            value = objective(new)
            corrected = None if rule is None else _backtrack(rule, new, x, gradient)
            if corrected is not None:
                backtracked += 1
                if objective(corrected) <= value:
                    accepted += 1
                    new, value = corrected, objective(corrected)
            if not np.isfinite(value):
                break
            x = path[t + 1] = new
            objectives[t + 1] = value
    return Descent(path, objectives, backtracked, accepted)


def compare(
    objective: SparseBeale,
    starts: Iterable[Iterable[float]] = STARTS,
    *,
    degree: int = 1,
    eta: float = 1.0,
    sign: int | None = None,
    iterations: int = 200,
) -> dict[str, list[Descent]]:
    """Descend by the paper's six methods, each optimizer without and with the rule, from every start.

    Parameters
    ----------
    objective : SparseBeale
    starts : iterable of (2,) array
    degree : int >= 1
        See :func:`beale_rule`.
    eta : float >= 0
        See :func:`beale_rule`.
    sign : -1 or 1, optional
        See :func:`beale_rule`.
    iterations : int

    Returns
    -------
    dict of str to list of Descent
        By the names of methods, a descent from each start.
    """
    starts = list(starts)
    descents = {}
    for name, optimizer in OPTIMIZERS.items():
        rule = beale_rule(optimizer, degree, eta, sign)
        descents[name] = [descend(objective, start, optimizer, None, iterations) for start in starts]
        descents[f"{name} + CoGD"] = [descend(objective, start, optimizer, rule, iterations) for start in starts]
    return descents


def _backtrack(rule: CogradientRule, new: np.ndarray, old: np.ndarray, gradient: np.ndarray) -> np.ndarray | None:
    """Return `new` with x2 backtracked, or None where the rule doesn't. Both variables are arrays of one entry here."""
    partner, sparse, old_partner, old_sparse = new[:1], new[1:], old[:1], old[1:]
    where = rule.asynchronous(rule.norms(sparse, axis=0), rule.norms(partner, axis=0))
    g = gradient[:1] / old_sparse if abs(old_sparse) > _SMALL else np.zeros(1)
    inner = g * rule.difference_ratio(partner - old_partner, sparse - old_sparse)
    x_hat, statistics = rule.backtrack(sparse, old_sparse, inner, where)
    return np.concatenate([partner, x_hat]) if statistics.backtracked else None
