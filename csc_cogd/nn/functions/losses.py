"""Losses: means over a batch, scalars."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module, as_array, on_gpu
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def cross_entropy(logits: Tensor, labels: Any, *, label_smoothing: float = 0.0) -> Tensor:
    """``-1/N sum_nk t[n, k] log softmax(logits[n])[k]``, t = (1 - s) [k = labels[n]] + s / K with label smoothing s.

    C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.

    Parameters
    ----------
    logits : (N, K) tensor
    labels : (N,) array of integers from 0 to K - 1, on the same device
        On a GPU their range isn't checked, for that would wait for it; those outside count as no class.
    label_smoothing : float in [0, 1)
    """
    (array,), labels = arrays_of(logits), as_array(labels)
    check_shape("logits", array, "N K")
    check_shape("labels", labels, "N", N=len(array))
    if not 0 <= label_smoothing < 1:
        raise InputError(f"label_smoothing: {label_smoothing} is outside of [0, 1)")
    if labels.dtype.kind not in "iu" or len(array) == 0:
        raise InputError(f"labels: {len(labels)} of {labels.dtype}: at least one, and integers, are needed")
    if not on_gpu(labels) and not (labels.min() >= 0 and labels.max() < array.shape[1]):
        raise InputError(f"labels: from {labels.min()} to {labels.max()}: {array.shape[1]} classes count from 0")
    loss, saved = cross_entropy_forward(array, labels, label_smoothing)
    return record(loss, (logits,), lambda dy: (cross_entropy_backward(dy, saved),), Operation("cross_entropy"))


def cross_entropy_forward(logits: Any, labels: Any, smoothing: float) -> tuple[Any, Any]:
    xp, K = array_module(logits), logits.shape[1]
    targets = (labels[:, None] == xp.arange(K)).astype(logits.dtype) * (1 - smoothing) + smoothing / K
    logarithms = log_softmax(logits)
    return -(targets * logarithms).sum() / len(logits), (targets, logarithms)


def cross_entropy_backward(dy: Any, saved: Any) -> Any:
    targets, logarithms = saved
    return (array_module(targets).exp(logarithms) - targets) * (dy / len(targets))


def mse(x: Tensor, target: Tensor) -> Tensor:
    """The mean of ``(x - target)^2`` over all values of two tensors of the same shape, differentiable in both."""
    arrays = arrays_of(x, target)
    _check_equal_shapes("target", x, target)
    loss, saved = mse_forward(*arrays)
    return record(loss, (x, target), lambda dy: mse_backward(dy, saved), Operation("mse"))


def mse_forward(x: Any, target: Any) -> tuple[Any, Any]:
    difference = x - target
    return (difference**2).mean(), difference


def mse_backward(dy: Any, saved: Any) -> tuple[Any, Any]:
    dx = saved * (dy * (2 / saved.size))
    return dx, -dx


def binary_cross_entropy_with_logits(logits: Tensor, targets: Any) -> Tensor:
    """The mean of ``-t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))``, computed as ``max(z, 0) - z t + log(1 + exp(-|z|))``.

    Parameters
    ----------
    logits : tensor, z
        A discriminator's; a sigmoid in front of it would be one too many.
    targets : array of the same shape, or a number, in [0, 1], t
    """
    (array,) = arrays_of(logits)
    if not isinstance(targets, (int, float)):
        targets = as_array(targets)
        _check_equal_shapes("targets", array, targets)
    loss, saved = binary_cross_entropy_forward(array, targets)
    return record(
        loss,
        (logits,),
        lambda dy: (binary_cross_entropy_backward(dy, saved),),
        Operation("binary_cross_entropy_with_logits"),
    )


def binary_cross_entropy_forward(logits: Any, targets: Any) -> tuple[Any, Any]:
    xp = array_module(logits)
    small = xp.exp(-abs(logits))
    losses = xp.maximum(logits, 0) - logits * targets + xp.log1p(small)
    sigmoid = xp.where(logits >= 0, 1, small) / (1 + small)
    return losses.mean(), (sigmoid, targets)


def binary_cross_entropy_backward(dy: Any, saved: Any) -> Any:
    sigmoid, targets = saved
    return (sigmoid - targets) * (dy / sigmoid.size)


def distillation(logits: Tensor, teacher_logits: Any, temperature: float) -> Tensor:
    """``T^2 / N sum_n KL(softmax(teacher[n] / T) || softmax(logits[n] / T))``: gradients don't shrink as T grows.

    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.

    Parameters
    ----------
    logits : (N, K) tensor
    teacher_logits : (N, K) array, to which no gradient passes
    temperature : float > 0, T
    """
    (array, teacher) = arrays_of(logits, Tensor(teacher_logits))
    check_shape("logits", array, "N K")
    _check_equal_shapes("teacher_logits", array, teacher)
    if not 0 < temperature < np.inf:
        raise InputError(f"temperature: {temperature} isn't a finite number above zero")
    loss, saved = distillation_forward(array, teacher, temperature)
    return record(loss, (logits,), lambda dy: (distillation_backward(dy, saved),), Operation("distillation"))


def distillation_forward(logits: Any, teacher: Any, temperature: float) -> tuple[Any, Any]:
    xp = array_module(logits)
    ours, theirs = log_softmax(logits / temperature), log_softmax(teacher / temperature)
    targets = xp.exp(theirs)
    loss = (targets * (theirs - ours)).sum() * (temperature**2 / len(logits))
    return loss, (xp.exp(ours) - targets, temperature)


def distillation_backward(dy: Any, saved: Any) -> Any:
    difference, temperature = saved
    return difference * (dy * (temperature / len(difference)))


def log_softmax(logits: Any) -> Any:
    """``z - log sum_k exp(z_k)`` of each row of an array (N, K), without overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - array_module(logits).log(array_module(logits).exp(shifted).sum(axis=1, keepdims=True))


def _check_equal_shapes(name: str, x: Any, other: Any) -> None:
    if x.shape != other.shape or 0 in x.shape:
        raise InputError(f"{name}: its shape is {other.shape}: {x.shape}, and not empty, is needed")
