"""Losses: scalars, means over a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module, as_array, on_gpu
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def cross_entropy(logits: Tensor, labels: Any, *, label_smoothing: float = 0.0) -> Tensor:
    """Return the cross entropy of labels, optionally with label smoothing.

    It is ``-1/N sum_nk t[n, k] log softmax(logits[n])[k]`` with ``t = (1 - s) [k = labels[n]] + s / K`` for label
    smoothing s: C. Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016, section 7.

    Parameters
    ----------
    logits : (N, K) tensor
    labels : (N,) array of integers from 0 to K - 1
        On the device of `logits`. On a GPU their range isn't checked, as the check would have to wait for it; labels out of
        range count as no class.
    label_smoothing : float in [0, 1)

    Returns
    -------
    loss : () tensor
    """
    (array,), labels = arrays_of(logits), as_array(labels)
    check_shape("logits", array, "N", "K")
    check_shape("labels", labels, len(array))
    if not 0 <= label_smoothing < 1:
        raise InputError("label_smoothing", f"must be in [0, 1), got {label_smoothing}")
    if labels.dtype.kind not in "iu" or len(array) == 0:
        raise InputError("labels", f"must be one or more integers, got {len(labels)} of {labels.dtype}")
    xp, (N, K) = array_module(array), array.shape
    if not on_gpu(labels) and not (labels.min() >= 0 and labels.max() < K):
        raise InputError("labels", f"must be from 0 to {K - 1}, got {labels.min()} to {labels.max()}")
    targets = (labels[:, None] == xp.arange(K)).astype(array.dtype) * (1 - label_smoothing) + label_smoothing / K
    logarithms = log_softmax(array)
    loss = -(targets * logarithms).sum() / N

    def backward(dy: Any) -> tuple[Any]:
        return ((xp.exp(logarithms) - targets) * (dy / N),)

    return record(loss, (logits,), backward, Operation("cross_entropy"))


def mse(x: Tensor, target: Tensor) -> Tensor:
    """Return the mean of ``(x - target)^2`` over all values of two tensors of the same shape, differentiable in both."""
    array, wanted = arrays_of(x, target)
    _check_equal_shapes("target", x, target)
    difference = array - wanted

    def backward(dy: Any) -> tuple[Any, Any]:
        dx = difference * (dy * (2 / difference.size))
        return dx, -dx

    return record((difference**2).mean(), (x, target), backward, Operation("mse"))


def binary_cross_entropy_with_logits(logits: Tensor, targets: Any) -> Tensor:
    """Return the mean of ``-t log sigmoid(z) - (1 - t) log(1 - sigmoid(z))``.

    It is computed as ``max(z, 0) - z t + log(1 + exp(-|z|))``, which doesn't overflow.

    Parameters
    ----------
    logits : tensor, z
        As a discriminator returns them, without a sigmoid.
    targets : array of the same shape, or float, in [0, 1], t

    Returns
    -------
    loss : () tensor
    """
    (array,) = arrays_of(logits)
    if not isinstance(targets, (int, float)):
        targets = as_array(targets)
        _check_equal_shapes("targets", array, targets)
    xp = array_module(array)
    small = xp.exp(-abs(array))
    losses = xp.maximum(array, 0) - array * targets + xp.log1p(small)
    sigmoid = xp.where(array >= 0, 1, small) / (1 + small)

    def backward(dy: Any) -> tuple[Any]:
        return ((sigmoid - targets) * (dy / sigmoid.size),)

    return record(losses.mean(), (logits,), backward, Operation("binary_cross_entropy_with_logits"))


def distillation(logits: Tensor, teacher_logits: Any, temperature: float) -> Tensor:
    """Return ``T^2 / N sum_n KL(softmax(teacher[n] / T) || softmax(logits[n] / T))``, whose gradients don't shrink with T.

    G. Hinton, O. Vinyals, J. Dean, "Distilling the Knowledge in a Neural Network" (2015), section 2.

    Parameters
    ----------
    logits : (N, K) tensor
    teacher_logits : (N, K) array
        It receives no gradient.
    temperature : float > 0, T

    Returns
    -------
    loss : () tensor
    """
    (array, teacher) = arrays_of(logits, Tensor(teacher_logits))
    check_shape("logits", array, "N", "K")
    _check_equal_shapes("teacher_logits", array, teacher)
    if not 0 < temperature < np.inf:
        raise InputError("temperature", f"must be a finite number above 0, got {temperature}")
    xp, N = array_module(array), len(array)
    ours, theirs = log_softmax(array / temperature), log_softmax(teacher / temperature)
    targets = xp.exp(theirs)
    loss = (targets * (theirs - ours)).sum() * (temperature**2 / N)
    difference = xp.exp(ours) - targets

    def backward(dy: Any) -> tuple[Any]:
        return (difference * (dy * (temperature / N)),)

    return record(loss, (logits,), backward, Operation("distillation"))


def log_softmax(logits: Any) -> Any:
    """Return ``z - log sum_k exp(z_k)`` of each row of an array (N, K), without overflow."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - array_module(logits).log(array_module(logits).exp(shifted).sum(axis=1, keepdims=True))


def _check_equal_shapes(name: str, x: Any, other: Any) -> None:
    if x.shape != other.shape or 0 in x.shape:
        raise InputError(name, f"must be of shape {x.shape} and not empty, got {other.shape}")
