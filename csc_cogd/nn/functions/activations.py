"""Functions that act on each value, or on each channel, independently of the others."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module, kernels_for
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def relu(x: Tensor) -> Tensor:
    """Return ``max(x, 0)``; its derivative at 0 is taken to be 0."""
    return _clip(x, np.inf, "relu")


def relu6(x: Tensor) -> Tensor:
    """Return ``min(max(x, 0), 6)``; its derivative at 0 and 6 is taken to be 0.

    A. Krizhevsky, "Convolutional Deep Belief Networks on CIFAR-10" (2010).
    """
    return _clip(x, 6, "relu6")


def clip(x: Tensor, low: float, high: float) -> Tensor:
    """Return ``min(max(x, low), high)``; its derivative is 0 outside of the limits, and at them."""
    (array,) = arrays_of(x)
    if not low < high:
        raise InputError("high", f"must be above {low}, got {high}")
    y = np.minimum(np.maximum(array, low), high)
    return record(y, (x,), lambda dy: (dy * ((y > low) & (y < high)),), Operation("clip", {"low": low, "high": high}))


def fake_quantize(x: Tensor, scale: float, zero_point: int = 0, low: int = -128, high: int = 127) -> Tensor:
    """Return what is left of values in integers: ``q = round(x / scale) + zero_point``, clipped, and back.

    Halves are rounded to even numbers. The derivative is that of clipping, as if nothing were rounded: the straight-through
    estimator of B. Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", CVPR 2018.

    Parameters
    ----------
    x : tensor
    scale : float > 0
    zero_point : int
        The integer of zero.
    low, high : int
        Limits of the integers.

    Returns
    -------
    y : tensor of the shape of `x`
    """
    (array,) = arrays_of(x)
    if not scale > 0:
        raise InputError("scale", f"must be above 0, got {scale}")
    step, rounded = array.dtype.type(scale), array_module(array).rint(array / array.dtype.type(scale)) + zero_point
    y = (rounded.clip(low, high) - array.dtype.type(zero_point)) * step
    settings = {"scale": scale, "zero_point": zero_point, "low": low, "high": high}
    made_by = Operation("fake_quantize", settings)
    return record(y, (x,), lambda dy: (dy * ((rounded >= low) & (rounded <= high)),), made_by)


def sigmoid(x: Tensor) -> Tensor:
    """Return ``1 / (1 + exp(-x))``."""
    (array,) = arrays_of(x)
    small = np.exp(-abs(array))
    y = np.where(array >= 0, 1, small) / (1 + small)
    return record(y, (x,), lambda dy: (dy * y * (1 - y),), Operation("sigmoid"))


def hard_sigmoid(x: Tensor, slope: float = 1 / 6, middle: float = 0.5) -> Tensor:
    """Return ``min(max(slope x + middle, 0), 1)``; its derivative at the bends is taken to be 0."""
    (array,) = arrays_of(x)
    y = np.minimum(np.maximum(array * array.dtype.type(slope) + array.dtype.type(middle), 0), 1)
    made_by = Operation("hard_sigmoid", {"slope": slope, "middle": middle})
    return record(y, (x,), lambda dy: (dy * array.dtype.type(slope) * ((y > 0) & (y < 1)),), made_by)


def hard_swish(x: Tensor) -> Tensor:
    """Return ``x min(max(x / 6 + 1 / 2, 0), 1)``.

    A. Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.
    """
    (array,) = arrays_of(x)
    gate = np.minimum(np.maximum(array / 6 + array.dtype.type(0.5), 0), 1)

    def backward(dy: Any) -> tuple[Any]:
        return (dy * (gate + array * ((gate > 0) & (gate < 1)) / 6),)

    return record(array * gate, (x,), backward, Operation("hard_swish"))


def _clip(x: Tensor, top: float, name: str) -> Tensor:
    (array,) = arrays_of(x)
    compiled = kernels_for("channels", array)
    y = compiled.clip(array, top) if compiled else np.minimum(np.maximum(array, 0), top)

    def backward(dy: Any) -> tuple[Any]:
        compiled = kernels_for("channels", dy)
        return (compiled.clip_gradient(dy, y, top) if compiled else dy * ((y > 0) & (y < top)),)

    return record(y, (x,), backward, Operation(name))


def soft_mask(x: Tensor, mask: Tensor) -> Tensor:
    """Scale each channel, ``y[n, c] = mask[c] x[n, c]``, by a weight that pruning trains [CoGD, eq. 25].

    It belongs after batch norm and ReLU. In front of batch norm it would have no effect, as normalization removes any scale.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    mask : (C,) tensor

    Returns
    -------
    y : (N, C, H, W) tensor
    """
    images, weights = arrays_of(x, mask)
    check_shape("x", images, *"NCHW")
    check_shape("mask", weights, x.shape[1])

    def scaled(array: Any) -> Any:
        compiled = kernels_for("channels", images)
        return compiled.affine(array, weights, 0 * weights) if compiled else array * weights[:, None, None]

    def backward(dy: Any) -> tuple[Any, Any]:
        compiled = kernels_for("channels", images)
        dmask = compiled.products(dy, images, 0 * weights)[1] if compiled else (dy * images).sum(axis=(0, 2, 3))
        return scaled(dy), dmask

    return record(scaled(images), (x, mask), backward, Operation("soft_mask"))
