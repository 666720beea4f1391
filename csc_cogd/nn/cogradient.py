"""Cogradient descent in networks, between epochs: kernels against batch norm's scales, soft masks against kernels.

Both are bilinear: channel j is scaled by s_j, and meets kernels W_ij, so that ``C_ij = s_j W_ij`` is what works. Over an
epoch, ``g`` is the mean of the loss's gradients in W with the scale taken out, and the rule's derivative of one variable by
the other is the ratio of their changes (see :mod:`csc_cogd.cogd.rule`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from csc_cogd.backend import array_module
from csc_cogd.cogd.rule import Backtracking, CogradientRule, Quantile
from csc_cogd.errors import InputError
from csc_cogd.nn.couplings import Coupling, couplings
from csc_cogd.nn.module import Module
from csc_cogd.nn.tracing import Shape
from csc_cogd.nn.training.history import History
from csc_cogd.nn.training.hooks import EpochHook

_BACKTRACKED = "_backtracked"
"""End of the name of the figure that counts what was moved."""


def training_rule(degree: int = 1, eta: float = 0.1, sign: int | None = None) -> CogradientRule:
    """The rule for :class:`KernelBacktracking`: kernels below a layer's mean norm, scales from the median up.

    Parameters
    ----------
    degree, eta, sign
        As of :class:`csc_cogd.CogradientRule`.

    Returns
    -------
    CogradientRule

    Examples
    --------
    >>> training_rule(2).alpha_sparse
    'mean'
    """
    return CogradientRule(degree, eta, sign, alpha_sparse="mean", alpha_partner="median")


def pruning_rule(keep: float = 0.5, degree: int = 1, eta: float = 0.1, sign: int | None = None) -> CogradientRule:
    """The rule for :class:`MaskBacktracking`: masks below 0.5, and the fraction `keep` of a layer with the largest kernels.

    Parameters
    ----------
    keep : float in [0, 1]
        CoGD-0.5 and CoGD-0.8 of the paper's tables are keep = 0.5 and 0.8.
    degree, eta, sign
        As of :class:`csc_cogd.CogradientRule`.

    Returns
    -------
    CogradientRule

    Raises
    ------
    InputError
        If a setting is outside of its range.

    Examples
    --------
    >>> pruning_rule(keep=0.75).alpha_partner
    Quantile(q=0.25)
    """
    return CogradientRule(degree, eta, sign, alpha_sparse=0.5, alpha_partner=Quantile(1 - keep))


class KernelBacktracking(EpochHook):
    """Kernels pulled along their earlier values where they are small behind a large scale, once an epoch [CoGD, eq. 33].

        c_ij     = <g_ij, dgamma_j/dW_ij>,   g_ij = (dL/dW_ij) / gamma_j                                         eq. 34
        W_hat_ij = W_ij^{t+1} + beta_ij W_ij^t   where (not s(W_.j)) and s(gamma_j), else W_ij^{t+1}

    The sparse variable of the rule are the kernels W_.j that a channel meets, its partner is the scale gamma_j of the batch
    norm before them. Both equations were not readable to us, and are restated from the paper's text.

    It keeps nothing from one epoch to the next.

    Parameters
    ----------
    cogd : CogradientRule, optional
        By default :func:`training_rule`.
    image_shape : (C, H, W)
        Of the images, for a first look at the network.

    Examples
    --------
    >>> hooks = [KernelBacktracking(training_rule(degree=2))]  # of csc_cogd.nn.train
    """

    def __init__(self, cogd: CogradientRule | None = None, *, image_shape: Shape = (3, 32, 32)):
        self.rule = cogd or training_rule()
        self.image_shape = image_shape

    def __repr__(self) -> str:
        return f"KernelBacktracking({self.rule})"

    def begin_epoch(self, network: Module, epoch: int) -> None:
        self._epoch = _Epoch(couplings(network, "batch_norm", self.image_shape))

    def after_backward(self, network: Module) -> None:
        self._epoch.add_gradients()

    def end_epoch(self, network: Module, epoch: int) -> dict[str, float]:
        done = []
        for coupling, old_scale, old_kernels, gradient in self._epoch.changes():
            gamma, kernels = coupling.scale.array, coupling.by_channel(coupling.kernels.array)
            norms = self.rule.norms(kernels, axis=(1, 2))
            where = self.rule.asynchronous(norms, self.rule.norms(gamma[:, None], axis=1))
            ratio = self.rule.difference_ratio((gamma - old_scale)[:, None, None], kernels - old_kernels)
            inner = _without(gradient, old_scale[:, None, None]) * ratio
            moved, statistics = self.rule.backtrack(
                kernels, old_kernels, inner.sum(axis=2, keepdims=True), where[:, None, None]
            )
            coupling.kernels.array = coupling.as_kernels(moved)
            done.append(statistics)
        return _summary("kernels", done)


class MaskBacktracking(EpochHook):
    """Soft masks pulled along their earlier values where they are small before large kernels, once an epoch [CoGD, eq. 27].

        c_j     = sum_i <g_ij, dW_ij/dm_j>,   g_ij = (dL/dW_ij) / m_j                                            eq. 28
        m_hat_j = m_j^{t+1} + beta_j m_j^t   where (not s(m_j)) and s(sum_i ||W_ij||_1), else m_j^{t+1}

    In beta_j m_j of degree 1, m_j cancels, so that small masks need no care. Masks don't fall below 0. Eq. 28 was not
    readable to us, and is restated from the paper's text.

    It keeps nothing from one epoch to the next.

    Parameters
    ----------
    cogd : CogradientRule, optional
        By default :func:`pruning_rule`.
    reset : float, optional
        Instead of moving masks along their earlier values, set them to this one: 0.75 in code that the authors published,
        for comparison.
    image_shape : (C, H, W)
        Of the images, for a first look at the network.

    Raises
    ------
    InputError
        In training, if the network has no soft masks.

    Examples
    --------
    >>> MaskBacktracking(reset=0.75).reset
    0.75
    """

    def __init__(self, cogd: CogradientRule | None = None, *, image_shape: Shape = (3, 32, 32), reset: float | None = None):
        self.rule = cogd or pruning_rule()
        self.reset = reset
        self.image_shape = image_shape

    def __repr__(self) -> str:
        return f"MaskBacktracking({self.rule}, reset={self.reset})"

    def begin_epoch(self, network: Module, epoch: int) -> None:
        found = couplings(network, "soft_mask", self.image_shape)
        if not found:
            raise InputError("network: it has no soft masks: put them in by insert_masks")
        self._epoch = _Epoch(found)

    def after_backward(self, network: Module) -> None:
        self._epoch.add_gradients()

    def end_epoch(self, network: Module, epoch: int) -> dict[str, float]:
        done = []
        for coupling, old_mask, old_kernels, gradient in self._epoch.changes():
            mask, kernels = coupling.scale.array, coupling.by_channel(coupling.kernels.array)
            where = self.rule.asynchronous(abs(mask), self.rule.norms(kernels, axis=(1, 2)))
            xp = array_module(mask)
            if self.reset is not None:
                coupling.scale.array = xp.where(where, mask.dtype.type(self.reset), mask)
                done.append(Backtracking(mask.size, int(where.sum()), 0.0))
                continue
            ratio = self.rule.difference_ratio(kernels - old_kernels, (mask - old_mask)[:, None, None])
            inner = _without((gradient * ratio).sum(axis=(1, 2)), old_mask)
            moved, statistics = self.rule.backtrack(mask, old_mask, inner, where)
            coupling.scale.array = xp.maximum(moved, 0)
            done.append(statistics)
        return _summary("masks", done)


def never_acted(history: History) -> bool:
    """Whether a rule took part in a training, and moved nothing in any epoch: without it, the result would be the same."""
    moved = [figure for epoch in history for name, figure in epoch.figures.items() if name.endswith(_BACKTRACKED)]
    return bool(moved) and not any(moved)


class _Epoch:
    """Scales and kernels as an epoch found them, and the sum of the kernels' gradients since."""

    def __init__(self, found: Sequence[Coupling]):
        self.couplings = found
        self.before = [(coupling.scale.array.copy(), coupling.kernels.array.copy()) for coupling in found]
        self.sums: list[Any] = [0] * len(found)
        self.steps = 0

    def add_gradients(self) -> None:
        self.sums = [total + coupling.kernels.grad for total, coupling in zip(self.sums, self.couplings, strict=True)]
        self.steps += 1

    def changes(self) -> list[tuple[Coupling, Any, Any, Any]]:
        """Each coupling with its earlier scale, and its earlier kernels and their mean gradient by channel."""
        return (
            [
                (coupling, scale, coupling.by_channel(kernels), coupling.by_channel(total / max(self.steps, 1)))
                for coupling, (scale, kernels), total in zip(self.couplings, self.before, self.sums, strict=True)
            ]
            if self.steps
            else []
        )


def _without(gradient: Any, scale: Any) -> Any:
    """A gradient with the scale taken out; 0 where the scale is."""
    xp = array_module(gradient)
    return xp.where(scale != 0, gradient / xp.where(scale != 0, scale, 1), 0)


def _summary(what: str, done: list[Backtracking]) -> dict[str, float]:
    moved = sum(statistics.backtracked for statistics in done)
    total = sum(statistics.mean_beta * statistics.backtracked for statistics in done)
    return {f"{what}{_BACKTRACKED}": moved, "mean_beta": total / max(moved, 1)}
