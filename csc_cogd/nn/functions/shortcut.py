"""The shortcut without parameters where a residual network changes its width."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape, pair
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def subsample_and_pad(x: Tensor, channels: int, stride: int = 2, sources: Any = None) -> Tensor:
    """Every `stride`-th pixel, and zeros for the new channels, the same number in front and behind: a shortcut of option A.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    channels : int
        Of the result; C plus an even number.
    stride : int
    sources : (channels,) NumPy array of integers, optional
        The channel of x that each one of the result is, none twice, or -1 for zeros: for networks without some channels.
    """
    (array,) = arrays_of(x)
    check_shape("x", array, "N C H W")
    if sources is None:
        places = _centred(x.shape[1], channels)
    else:
        check_shape("sources", sources, "channels", channels=channels)
        places = tuple(array_module(array).asarray(indices) for indices in _placed(sources, x.shape[1]))
    y, saved = subsample_and_pad_forward(array, channels, pair(stride, "stride")[0], *places)
    made_by = Operation("subsample_and_pad", {"channels": channels, "stride": stride, "sources": sources})
    return record(y, (x,), lambda dy: (subsample_and_pad_backward(dy, saved),), made_by)


def subsample_and_pad_forward(x: Any, channels: int, stride: int, places: Any, taken: Any) -> tuple[Any, Any]:
    """See :func:`subsample_and_pad`; channels `taken` of x go to `places`, each a slice or indices."""
    N, _, H, W = x.shape
    y = array_module(x).zeros((N, channels, -(-H // stride), -(-W // stride)), x.dtype)
    y[:, places] = x[:, taken, ::stride, ::stride]
    return y, (x.shape, stride, places, taken)


def subsample_and_pad_backward(dy: Any, saved: Any) -> Any:
    shape, stride, places, taken = saved
    dx = array_module(dy).zeros(shape, dy.dtype)
    dx[:, taken, ::stride, ::stride] = dy[:, places]
    return dx


def sources_of(sources: Any, C: int, channels: int) -> np.ndarray:
    """The channel of x, or -1, that each of the result's is, for `sources` as :func:`subsample_and_pad` takes them."""
    if sources is None:
        first = (channels - C) // 2
        sources = np.full(channels, -1)
        sources[first : first + C] = np.arange(C)
    return sources


def _centred(C: int, channels: int) -> tuple[slice, slice]:
    if channels < C or (channels - C) % 2:
        raise InputError(f"channels: {channels} isn't {C} plus an even number: zeros are padded on both sides")
    first = (channels - C) // 2
    return slice(first, first + C), slice(None)


def _placed(sources: np.ndarray, C: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.flatnonzero(sources >= 0)
    taken = sources[places]
    in_range = sources.dtype.kind == "i" and ((sources >= -1) & (sources < C)).all()
    if not in_range or len(sources) == 0 or len(np.unique(taken)) < len(taken):
        raise InputError(f"sources: {sources.tolist()}: integers from -1 to {C - 1} are needed, none but -1 twice")
    return places, taken
