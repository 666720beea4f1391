"""Batch normalization.

S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift", ICML
2015.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import kernels_for, on_gpu
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


class BatchStats(NamedTuple):
    """Mean and biased variance of each channel, two arrays (C,)."""

    mean: Any
    variance: Any


def batch_statistics(x: Any) -> BatchStats:
    """Return the statistics of an array (N, C, H, W), by which a batch is normalized in training.

    Raises
    ------
    InputError
        If a channel has a single value, from which no variance can be estimated.
    """
    check_shape("x", x, *"NCHW")
    if x.size <= x.shape[1]:
        raise InputError("x", f"must hold two or more values a channel, got shape {x.shape}", "train with a larger batch")
    if compiled := kernels_for("channels", x):
        return BatchStats(*compiled.moments(x))
    return BatchStats(x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3)))


def update_running_stats(running: BatchStats, batch: BatchStats, momentum: float, n: int) -> BatchStats:
    """Return ``(1 - momentum) running + momentum batch``, with the batch's unbiased variance over n values a channel."""
    unbiased = n / (n - 1)
    if on_gpu(batch.mean):
        kernels = kernels_for("channels", batch.mean)
        return BatchStats(*kernels.move_statistics(*running, *batch, momentum, unbiased))
    mean, variance = (1 - momentum) * running.mean, (1 - momentum) * running.variance
    return BatchStats(mean + momentum * batch.mean, variance + momentum * (batch.variance * unbiased))


def batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, statistics: BatchStats, *, from_batch: bool, epsilon: float = 1e-5
) -> Tensor:
    """Return ``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, channel by channel.

    With s = sqrt(variance + epsilon) and z = (x - mean) / s, the gradients are dgamma = sum dy z, dbeta = sum dy, and
    dx = gamma / s dy; where the statistics are the batch's, of n values a channel,
    dx = gamma / s (dy - (dbeta + z dgamma) / n).

    Parameters
    ----------
    x : (N, C, H, W) tensor
    gamma, beta : (C,) tensor
    statistics : BatchStats
        Those of this batch in training, as :func:`batch_statistics` returns them; running ones in inference.
    from_batch : bool
        Whether they are functions of x, so that the gradient passes through them.
    epsilon : float

    Returns
    -------
    y : (N, C, H, W) tensor

    Raises
    ------
    InputError
        If shapes, dtypes or devices don't fit.
    """
    images, scale, shift = arrays_of(x, gamma, beta)
    check_shape("x", images, *"NCHW")
    for name, array in zip(("gamma", "beta", "mean", "variance"), (scale, shift, *statistics), strict=True):
        check_shape(name, array, x.shape[1])

    def backward(dy: Any) -> tuple[Any, Any, Any]:  # x itself is kept for it, and not another array as large
        if compiled := kernels_for("channels", images):
            return compiled.normalize_gradient(dy, images, scale, *statistics, epsilon, from_batch)
        return _gradients(dy, images, scale, statistics, epsilon, from_batch)

    if compiled := kernels_for("channels", images):
        y = compiled.normalize(images, scale, shift, *statistics, epsilon)
    else:
        factor = scale * (1 / np.sqrt(statistics.variance + epsilon))
        y = images * factor[:, None, None]
        y += (shift - statistics.mean * factor)[:, None, None]
    made_by = Operation("batch_norm", {"statistics": statistics, "epsilon": epsilon})
    return record(y, (x, gamma, beta), backward, made_by)


def _gradients(
    dy: Any, x: Any, gamma: Any, statistics: BatchStats, epsilon: float, from_batch: bool
) -> tuple[Any, Any, Any]:  # fmt: skip
    inverse, centered = 1 / np.sqrt(statistics.variance + epsilon), x - statistics.mean[:, None, None]
    dbeta, dgamma = dy.sum(axis=(0, 2, 3)), (dy * centered).sum(axis=(0, 2, 3)) * inverse
    scale = gamma * inverse
    dx = dy * scale[:, None, None]
    if from_batch:
        n = x.size // x.shape[1]
        dx += centered * (-scale * inverse * dgamma / n)[:, None, None]
        dx += (-scale * dbeta / n)[:, None, None]
    return dx, dgamma, dbeta
