"""Cogradient descent in networks, between epochs: kernels against batch norm's scales, soft masks against kernels.

Both problems are bilinear: channel j is scaled by s_j, and meets kernels W_ij, so that ``C_ij = s_j W_ij`` takes effect.
Over an epoch, ``g`` is the mean of the loss's gradients in W with the scale divided out, and the rule's derivative of one
variable by the other is the ratio of their changes (see :mod:`csc_cogd.cogd.rule`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from csc_cogd.backend import array_module
from csc_cogd.cogd.rule import Backtracking, CogradientRule, Quantile
from csc_cogd.errors import InputError
from csc_cogd.nn.module import Module
from csc_cogd.nn.scaled_convs import SIDES, ScaledConv, check_side, find_scaled_convs
from csc_cogd.nn.tracing import Shape
from csc_cogd.nn.training.history import History
from csc_cogd.nn.training.hooks import EpochHook

READINGS = ("kernels", "scales")
"""What may be the small one of :class:`KernelBacktracking`."""
_BACKTRACKED = "_backtracked"
"""Suffix of the figures that count backtracked values."""


def training_rule(degree: int = 1, eta: float = 0.1, sign: int | None = None, bound: float = 0.1) -> CogradientRule:
    """Return the rule for :class:`KernelBacktracking`: kernels below a layer's mean norm, scales from the median up.

    The paper names no thresholds for networks: mean and median are ours.

    Parameters
    ----------
    degree : int >= 1
        Degree of the kernel; see :class:`csc_cogd.CogradientRule`.
    eta : float >= 0
        Step size.
    sign : -1 or 1, optional
        Sign of beta; default: by the degree.
    bound : float >= 0
        Largest share of its earlier value by which the rule moves anything at once; the paper has none.

    Returns
    -------
    CogradientRule

    Examples
    --------
    >>> training_rule(2).alpha_sparse
    'mean'
    """
    return CogradientRule(degree, eta, sign, alpha_sparse="mean", alpha_partner="median", max_beta=bound)


def pruning_rule(
    keep: float = 0.5, degree: int = 1, eta: float = 0.1, sign: int | None = None, bound: float = 0.1
) -> CogradientRule:  # fmt: skip
    """Return the rule for :class:`MaskBacktracking`: masks below 0.5, and the share `keep` of the largest kernels.

    Parameters
    ----------
    keep : float in [0, 1]
        Share of a layer's kernels; 0.5 and 0.8 for CoGD-0.5 and CoGD-0.8 of the paper's tables.
    degree : int >= 1
        Degree of the kernel; see :class:`csc_cogd.CogradientRule`.
    eta : float >= 0
        Step size.
    sign : -1 or 1, optional
        Sign of beta; default: by the degree.
    bound : float >= 0
        Largest share of its earlier value by which the rule moves a mask at once; the paper has none.

    Returns
    -------
    CogradientRule

    Raises
    ------
    InputError
        If a setting is out of range.

    Examples
    --------
    >>> pruning_rule(keep=0.75).alpha_partner
    Quantile(q=0.25)
    """
    return CogradientRule(degree, eta, sign, alpha_sparse=0.5, alpha_partner=Quantile(1 - keep), max_beta=bound)


class _Backtracking(EpochHook):
    """The base of the hooks, which compare the scaled convolutions of a network before and after each epoch."""

    kind: str
    rule: CogradientRule
    image_shape: Shape
    kernels: str

    def begin_epoch(self, network: Module, epoch: int) -> None:
        found = find_scaled_convs(network, self.kind, self.image_shape, self.kernels)
        self._epoch = _Epoch([conv for conv in found if conv.kernels.requires_grad and conv.scale.requires_grad])

    def after_backward(self, network: Module) -> None:
        self._epoch.add_gradients()


class KernelBacktracking(_Backtracking):
    """Move kernels that are out of step with a scale along their earlier values, once an epoch [CoGD, eq. 33].

        c_ij     = <g_ij, dgamma_j/dW_ij>,   g_ij = (dL/dW_ij) / gamma_j                                         eq. 34
        W_hat_ij = W_ij^{t+1} + beta_ij W_ij^t   where (not s(W_.j)) and s(gamma_j), else W_ij^{t+1}

    The sparse variable of the rule are the kernels W_.j that a channel meets, its partner is the scale gamma_j of the batch
    norm before them, where only ReLU, masks and pooling are between.

    It departs from the paper, or may: both equations were not readable to us, and are restated from the text. That can also
    be read as backtracking the kernels where the scale is the small one, which is `small` ``"scales"``; and as being about
    the kernels that a channel is made by, whose batch norm it is, which are `kernels` ``"preceding"``. beta is cut off, and
    its sign is that of a descent step; the paper leaves it in eta.

    It keeps nothing from one epoch to the next.

    Parameters
    ----------
    cogd : CogradientRule, optional
        Default: :func:`training_rule`.
    image_shape : (C, H, W)
        Shape of the images, by which the network is traced.
    small : {"kernels", "scales"}
        Which of the two is small where the other one is large: the two readings of eq. 33.
    kernels : {"following", "preceding"}
        Which kernels a scale is paired with: those that its channel meets next, or those that its channel is made by.

    Raises
    ------
    InputError
        If `small` or `kernels` is neither.

    Examples
    --------
    >>> hooks = [KernelBacktracking(training_rule(degree=2))]  # of csc_cogd.nn.train
    """

    kind = "batch_norm"

    def __init__(
        self, cogd: CogradientRule | None = None, *, image_shape: Shape = (3, 32, 32), small: str = READINGS[0],
        kernels: str = SIDES[0],
    ):  # fmt: skip
        if small not in READINGS:
            raise InputError("small", f"must be one of {', '.join(READINGS)}, got {small!r}")
        check_side(kernels)
        self.rule, self.image_shape, self.small, self.kernels = cogd or training_rule(), image_shape, small, kernels

    def __repr__(self) -> str:
        return f"KernelBacktracking({self.rule}, small={self.small}, kernels={self.kernels})"

    def end_epoch(self, network: Module, epoch: int) -> dict[str, float]:
        done = []
        for conv, old_scale, old_kernels, gradient in self._epoch.changes():
            gamma, kernels = conv.scale.array, conv.by_channel(conv.kernels.array)
            norms = [self.rule.norms(kernels, axis=(1, 2)), self.rule.norms(gamma[:, None], axis=1)]
            where = self.rule.asynchronous(*(norms if self.small == "kernels" else reversed(norms)))
            ratio = self.rule.difference_ratio((gamma - old_scale)[:, None, None], kernels - old_kernels)
            inner = _without(gradient, old_scale[:, None, None]) * ratio
            backtracked, statistics = self.rule.backtrack(
                kernels, old_kernels, inner.sum(axis=2, keepdims=True), where[:, None, None]
            )
            conv.kernels.array = conv.as_kernels(backtracked)
            done.append(statistics)
        return _summary("kernels", done)


class MaskBacktracking(_Backtracking):
    """Move small soft masks before large kernels along their earlier values, once an epoch [CoGD, eq. 27].

        c_j     = sum_i <g_ij, dW_ij/dm_j>,   g_ij = (dL/dW_ij) / m_j                                            eq. 28
        m_hat_j = m_j^{t+1} + beta_j m_j^t   where (not s(m_j)) and s(sum_i ||W_ij||_1), else m_j^{t+1}

    In beta_j m_j of degree 1, m_j cancels, so that small masks need no care.

    It departs from the paper, or may: eq. 28 was not readable to us, and is restated from the text. W_ij are the kernels
    that meet channel j, as in code that the authors published; eq. 25 can also be read as those that make it, which are
    `kernels` ``"preceding"``. Masks don't fall below 0, beta is cut off, and its sign is that of a descent step. That code
    sets masks instead, see `reset_value`.

    It keeps nothing from one epoch to the next.

    Parameters
    ----------
    cogd : CogradientRule, optional
        Default: :func:`pruning_rule`.
    image_shape : (C, H, W)
        Shape of the images, by which the network is traced.
    reset_value : float, optional
        Instead of moving masks along their earlier values, set them to this one: 0.75 in code that the authors published,
        for comparison.
    kernels : {"following", "preceding"}
        Which kernels a mask is paired with: those that its channel meets next, or those that its channel is made by.

    Raises
    ------
    InputError
        If `kernels` is neither; in training, if the network has no soft masks.

    Examples
    --------
    >>> MaskBacktracking(reset_value=0.75).reset_value
    0.75
    """

    kind = "soft_mask"

    def __init__(
        self, cogd: CogradientRule | None = None, *, image_shape: Shape = (3, 32, 32), reset_value: float | None = None,
        kernels: str = SIDES[0],
    ):  # fmt: skip
        check_side(kernels)
        self.rule, self.image_shape, self.kernels = cogd or pruning_rule(), image_shape, kernels
        self.reset_value = reset_value

    def __repr__(self) -> str:
        return f"MaskBacktracking({self.rule}, reset_value={self.reset_value}, kernels={self.kernels})"

    def begin_epoch(self, network: Module, epoch: int) -> None:
        super().begin_epoch(network, epoch)
        if not self._epoch.convs:
            raise InputError("network", "must have soft masks", "add them by insert_masks")

    def end_epoch(self, network: Module, epoch: int) -> dict[str, float]:
        done = []
        for conv, old_mask, old_kernels, gradient in self._epoch.changes():
            mask, kernels = conv.scale.array, conv.by_channel(conv.kernels.array)
            where = self.rule.asynchronous(abs(mask), self.rule.norms(kernels, axis=(1, 2)))
            xp = array_module(mask)
            if self.reset_value is not None:
                conv.scale.array = xp.where(where, mask.dtype.type(self.reset_value), mask)
                done.append(Backtracking(mask.size, int(where.sum()), 0.0))
                continue
            ratio = self.rule.difference_ratio(kernels - old_kernels, (mask - old_mask)[:, None, None])
            inner = _without((gradient * ratio).sum(axis=(1, 2)), old_mask)
            backtracked, statistics = self.rule.backtrack(mask, old_mask, inner, where)
            conv.scale.array = xp.maximum(backtracked, 0)
            done.append(statistics)
        return _summary("masks", done)


def never_acted(history: History) -> bool:
    """Return whether training used a rule that changed nothing, so that the result would be the same without it."""
    counts = [figure for epoch in history for name, figure in epoch.figures.items() if name.endswith(_BACKTRACKED)]
    return bool(counts) and not any(counts)


class _Epoch:
    """Scales and kernels as they were before an epoch, and the sum of the kernels' gradients since."""

    def __init__(self, convs: Sequence[ScaledConv]):
        self.convs = convs
        self.before = [(conv.scale.array.copy(), conv.kernels.array.copy()) for conv in convs]
        self.sums: list[Any] = [0] * len(convs)
        self.steps = 0

    def add_gradients(self) -> None:
        self.sums = [total + conv.kernels.grad for total, conv in zip(self.sums, self.convs, strict=True)]
        self.steps += 1

    def changes(self) -> Iterator[tuple[ScaledConv, Any, Any, Any]]:
        """Yield each convolution, its earlier scale, and by channel its earlier kernels and their mean gradient."""
        if self.steps:
            for conv, (scale, kernels), total in zip(self.convs, self.before, self.sums, strict=True):
                yield conv, scale, conv.by_channel(kernels), conv.by_channel(total / self.steps)


def _without(gradient: Any, scale: Any) -> Any:
    """Return a gradient with the scale divided out; 0 where the scale is."""
    xp = array_module(gradient)
    return xp.where(scale != 0, gradient / xp.where(scale != 0, scale, 1), 0)


def _summary(what: str, done: list[Backtracking]) -> dict[str, float]:
    count = sum(statistics.backtracked for statistics in done)
    total = sum(statistics.mean_beta * statistics.backtracked for statistics in done)
    return {f"{what}{_BACKTRACKED}": count, "mean_beta": total / max(count, 1)}
