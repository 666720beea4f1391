"""Matrix products, and the shortcut that is one of zeros and ones."""

from __future__ import annotations

from typing import Any

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Tensor, arrays_of, record


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y = x w^T + bias``.

    Parameters
    ----------
    x : (N, C) tensor
    w : (O, C) tensor
    bias : (O,) tensor, optional

    Returns
    -------
    y : (N, O) tensor
    """
    arrays = arrays_of(x, w, bias)
    check_shape("w", arrays[1], "O C")
    check_shape("x", arrays[0], "N C", C=w.shape[1])
    if bias is not None:
        check_shape("bias", arrays[2], "O", O=w.shape[0])
    y, saved = linear_forward(*arrays)

    def backward(dy: Any) -> tuple[Any, ...]:
        gradients = linear_backward(dy, saved)
        return gradients if bias is None else (*gradients, dy.sum(axis=0))

    return record(y, (x, w) if bias is None else (x, w, bias), backward)


def linear_forward(x: Any, w: Any, bias: Any) -> tuple[Any, Any]:
    y = x @ w.T
    return (y if bias is None else y + bias), (x, w)


def linear_backward(dy: Any, saved: Any) -> tuple[Any, Any]:
    x, w = saved
    return dy @ w, dy.T @ x


def subsample_and_pad(x: Tensor, channels: int, stride: int = 2) -> Tensor:
    """Every `stride`-th pixel, and zeros for the new channels, the same number in front and behind: a shortcut of option A.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    channels : int
        Of the result; C plus an even number.
    """
    (array,) = arrays_of(x)
    check_shape("x", array, "N C H W")
    if channels < x.shape[1] or (channels - x.shape[1]) % 2:
        raise InputError(f"channels: {channels} isn't {x.shape[1]} plus an even number: zeros are padded on both sides")
    y, saved = subsample_and_pad_forward(array, channels, stride)
    return record(y, (x,), lambda dy: (subsample_and_pad_backward(dy, saved),))


def subsample_and_pad_forward(x: Any, channels: int, stride: int) -> tuple[Any, Any]:
    N, C, H, W = x.shape
    first = (channels - C) // 2
    y = array_module(x).zeros((N, channels, -(-H // stride), -(-W // stride)), x.dtype)
    y[:, first : first + C] = x[:, :, ::stride, ::stride]
    return y, (x.shape, first, stride)


def subsample_and_pad_backward(dy: Any, saved: Any) -> Any:
    shape, first, stride = saved
    dx = array_module(dy).zeros(shape, dy.dtype)
    dx[:, :, ::stride, ::stride] = dy[:, first : first + shape[1]]
    return dx
