"""Batch normalisation.

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


class Statistics(NamedTuple):
    """Of each channel, arrays (C,): its mean and its biased variance."""

    mean: Any
    variance: Any


def batch_statistics(x: Any) -> Statistics:
    """Those of an array (N, C, H, W), by which a batch is normalised in training.

    Raises
    ------
    InputError
        If a channel has a single value, which says nothing of its variance.
    """
    check_shape("x", x, "N C H W")
    if x.size <= x.shape[1]:
        raise InputError(f"x: its shape is {x.shape}, at most one value a channel: training needs a larger batch")
    if compiled := kernels_for("channels", x):
        return Statistics(*compiled.moments(x))
    return Statistics(x.mean(axis=(0, 2, 3)), x.var(axis=(0, 2, 3)))


def moved_statistics(running: Statistics, batch: Statistics, momentum: float, n: int) -> Statistics:
    """``(1 - momentum) running + momentum batch``, with the batch's unbiased variance, from n values a channel."""
    unbiased = n / (n - 1)
    if on_gpu(batch.mean):
        kernels = kernels_for("channels", batch.mean)
        return Statistics(*kernels.move_statistics(*running, *batch, momentum, unbiased))
    mean, variance = (1 - momentum) * running.mean, (1 - momentum) * running.variance
    return Statistics(mean + momentum * batch.mean, variance + momentum * (batch.variance * unbiased))


def batch_norm(
    x: Tensor, gamma: Tensor, beta: Tensor, statistics: Statistics, *, from_batch: bool, epsilon: float = 1e-5
) -> Tensor:
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, channel by channel.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    gamma, beta : (C,) tensors
    statistics : Statistics
        Of this batch in training, by :func:`batch_statistics`; running ones in inference.
    from_batch : bool
        Whether they are functions of x, so that the gradient has to pass through them.
    epsilon : float

    Raises
    ------
    InputError
        If shapes, dtypes or devices don't fit.
    """
    images, scale, shift = arrays_of(x, gamma, beta)
    check_shape("x", images, "N C H W")
    for name, array in zip(("gamma", "beta", "mean", "variance"), (scale, shift, *statistics), strict=True):
        check_shape(name, array, "C", C=x.shape[1])
    y, saved = batch_norm_forward(images, scale, shift, statistics, epsilon)
    made_by = Operation("batch_norm", {"statistics": statistics, "epsilon": epsilon})
    return record(y, (x, gamma, beta), lambda dy: batch_norm_backward(dy, saved, from_batch), made_by)


def batch_norm_forward(x: Any, gamma: Any, beta: Any, statistics: Statistics, epsilon: float) -> tuple[Any, Any]:
    """See :func:`batch_norm`; on arrays. What is saved is x itself, not another array as large."""
    saved = (x, gamma, statistics, epsilon)
    if compiled := kernels_for("channels", x):
        return compiled.normalize(x, gamma, beta, *statistics, epsilon), saved
    scale = gamma * (1 / np.sqrt(statistics.variance + epsilon))
    y = x * scale[:, None, None]
    y += (beta - statistics.mean * scale)[:, None, None]
    return y, saved


def batch_norm_backward(dy: Any, saved: Any, from_batch: bool) -> tuple[Any, Any, Any]:
    """Gradients of x, gamma and beta.

    With s = sqrt(variance + epsilon) and z = (x - mean) / s: dgamma = sum dy z, dbeta = sum dy, and dx = gamma / s dy; where
    the statistics are the batch's, of n values a channel, dx = gamma / s (dy - (dbeta + z dgamma) / n).
    """
    x, gamma, statistics, epsilon = saved
    if compiled := kernels_for("channels", x):
        return compiled.normalize_gradient(dy, x, gamma, *statistics, epsilon, from_batch)
    inverse, centred = 1 / np.sqrt(statistics.variance + epsilon), x - statistics.mean[:, None, None]
    dbeta, dgamma = dy.sum(axis=(0, 2, 3)), (dy * centred).sum(axis=(0, 2, 3)) * inverse
    scale = gamma * inverse
    dx = dy * scale[:, None, None]
    if from_batch:
        n = x.size // x.shape[1]
        dx += centred * (-scale * inverse * dgamma / n)[:, None, None]
        dx += (-scale * dbeta / n)[:, None, None]
    return dx, dgamma, dbeta
