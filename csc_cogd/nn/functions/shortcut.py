"""The shortcut without parameters where a residual network changes its width."""

from __future__ import annotations

from typing import Any

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape, pair
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def subsample_and_pad(x: Tensor, channels: int, stride: int = 2) -> Tensor:
    """Every `stride`-th pixel, and zeros for the new channels, the same number in front and behind: a shortcut of option A.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    channels : int
        Of the result; C plus an even number.
    stride : int
    """
    (array,) = arrays_of(x)
    check_shape("x", array, "N C H W")
    if channels < x.shape[1] or (channels - x.shape[1]) % 2:
        raise InputError(f"channels: {channels} isn't {x.shape[1]} plus an even number: zeros are padded on both sides")
    y, saved = subsample_and_pad_forward(array, channels, pair(stride, "stride")[0])
    made_by = Operation("subsample_and_pad", {"channels": channels, "stride": stride})
    return record(y, (x,), lambda dy: (subsample_and_pad_backward(dy, saved),), made_by)


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
