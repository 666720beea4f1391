"""What is done to each value, or to each channel, by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import kernels_for
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def relu(x: Tensor) -> Tensor:
    """``max(x, 0)``; its derivative at 0 is taken for 0."""
    (array,) = arrays_of(x)
    y, saved = relu_forward(array)
    return record(y, (x,), lambda dy: (relu_backward(dy, saved),), Operation("relu"))


def relu_forward(x: Any) -> tuple[Any, Any]:
    compiled = kernels_for("channels", x)
    y = compiled.clip(x, np.inf) if compiled else np.maximum(x, 0)
    return y, y


def relu_backward(dy: Any, saved: Any) -> Any:
    compiled = kernels_for("channels", dy)
    return compiled.clip_gradient(dy, saved, np.inf) if compiled else dy * (saved > 0)


def relu6(x: Tensor) -> Tensor:
    """``min(max(x, 0), 6)``; its derivative at 0 and 6 is taken for 0.

    A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10" (2010).
    """
    (array,) = arrays_of(x)
    y, saved = relu6_forward(array)
    return record(y, (x,), lambda dy: (relu6_backward(dy, saved),), Operation("relu6"))


def relu6_forward(x: Any) -> tuple[Any, Any]:
    compiled = kernels_for("channels", x)
    y = compiled.clip(x, 6) if compiled else np.clip(x, 0, 6)
    return y, y


def relu6_backward(dy: Any, saved: Any) -> Any:
    compiled = kernels_for("channels", dy)
    return compiled.clip_gradient(dy, saved, 6) if compiled else dy * ((saved > 0) & (saved < 6))


def soft_mask(x: Tensor, mask: Tensor) -> Tensor:
    """``y[n, c] = mask[c] x[n, c]``: channels that pruning weighs, behind batch norm and ReLU [CoGD, eq. 25].

    In front of batch norm it would have no effect: normalisation takes any scale out again.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    mask : (C,) tensor
    """
    arrays = arrays_of(x, mask)
    check_shape("x", arrays[0], "N C H W")
    check_shape("mask", arrays[1], "C", C=x.shape[1])
    y, saved = soft_mask_forward(*arrays)
    return record(y, (x, mask), lambda dy: soft_mask_backward(dy, saved), Operation("soft_mask"))


def soft_mask_forward(x: Any, mask: Any) -> tuple[Any, Any]:
    compiled = kernels_for("channels", x)
    y = compiled.affine(x, mask, 0 * mask) if compiled else x * mask[:, None, None]
    return y, (x, mask)


def soft_mask_backward(dy: Any, saved: Any) -> tuple[Any, Any]:
    x, mask = saved
    if compiled := kernels_for("channels", x):
        return compiled.affine(dy, mask, 0 * mask), compiled.products(dy, x, 0 * mask)[1]
    return dy * mask[:, None, None], (dy * x).sum(axis=(0, 2, 3))
