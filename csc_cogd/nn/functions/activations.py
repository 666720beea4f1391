"""What is done to each value, or to each channel, by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import compiled_kernels
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def relu(x: Tensor) -> Tensor:
    """``max(x, 0)``; its derivative at 0 is taken for 0."""
    return _clipped(x, np.inf, "relu")


def relu6(x: Tensor) -> Tensor:
    """``min(max(x, 0), 6)``; its derivative at 0 and 6 is taken for 0.

    A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10" (2010).
    """
    return _clipped(x, 6, "relu6")


def _clipped(x: Tensor, top: float, name: str) -> Tensor:
    (array,) = arrays_of(x)
    y, saved = clip_forward(array, top)
    return record(y, (x,), lambda dy: (clip_backward(dy, saved),), Operation(name))


def clip_forward(x: Any, top: float) -> tuple[Any, Any]:
    compiled = compiled_kernels("channels", x)
    y = compiled.clip(x, top) if compiled else np.clip(x, 0, top)
    return y, (y, top)


def clip_backward(dy: Any, saved: Any) -> Any:
    y, top = saved
    compiled = compiled_kernels("channels", dy)
    return compiled.clip_gradient(dy, y, top) if compiled else dy * ((y > 0) & (y < top))


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
    compiled = compiled_kernels("channels", x)
    y = compiled.affine(x, mask, 0 * mask) if compiled else x * mask[:, None, None]
    return y, (x, mask)


def soft_mask_backward(dy: Any, saved: Any) -> tuple[Any, Any]:
    x, mask = saved
    if compiled := compiled_kernels("channels", x):
        return compiled.affine(dy, mask, 0 * mask), compiled.products(dy, x, 0 * mask)[1]
    return dy * mask[:, None, None], (dy * x).sum(axis=(0, 2, 3))
