"""The shortcut without parameters where a residual network changes its width."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.checks import check_shape, pair
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def subsample_and_pad(x: Tensor, channels: int, stride: int = 2, sources: Any = None) -> Tensor:
    """Return every `stride`-th pixel, with as many channels of zeros in front as behind: a shortcut of option A.

    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, section 3.3.

    Parameters
    ----------
    x : (N, C, H, W) tensor
    channels : int
        Channels of the result: C plus an even number.
    stride : int
    sources : (channels,) NumPy array of integers, optional
        The channel of x that each channel of the result is, none twice, or -1 for zeros. For networks without some channels.

    Returns
    -------
    y : (N, channels, P, Q) tensor
    """
    (array,) = arrays_of(x)
    check_shape("x", array, *"NCHW")
    xp, (N, C, H, W), step = array_module(array), array.shape, pair(stride, "stride")[0]
    places: Any
    if sources is None:
        places, taken = _centered(C, channels)
    else:
        check_shape("sources", sources, channels)
        places, taken = map(xp.asarray, _placed(sources, C))
    y = xp.zeros((N, channels, -(-H // step), -(-W // step)), array.dtype)
    y[:, places] = array[:, taken, ::step, ::step]

    def backward(dy: Any) -> tuple[Any]:
        dx = xp.zeros((N, C, H, W), dy.dtype)
        dx[:, taken, ::step, ::step] = dy[:, places]
        return (dx,)

    made_by = Operation("subsample_and_pad", {"channels": channels, "stride": stride, "sources": sources})
    return record(y, (x,), backward, made_by)


def sources_of(sources: Any, C: int, channels: int) -> np.ndarray:
    """Return the source of each channel of the result, a channel of x or -1, for `sources` that may be None."""
    if sources is None:
        first = (channels - C) // 2
        sources = np.full(channels, -1)
        sources[first : first + C] = np.arange(C)
    return sources


def _centered(C: int, channels: int) -> tuple[slice, slice]:
    if channels < C or (channels - C) % 2:
        raise InputError("channels", f"must be {C} plus an even number, as zeros are padded on both sides, got {channels}")
    first = (channels - C) // 2
    return slice(first, first + C), slice(None)


def _placed(sources: np.ndarray, C: int) -> tuple[np.ndarray, np.ndarray]:
    places = np.flatnonzero(sources >= 0)
    taken = sources[places]
    in_range = sources.dtype.kind == "i" and ((sources >= -1) & (sources < C)).all()
    if not in_range or len(sources) == 0 or len(np.unique(taken)) < len(taken):
        raise InputError("sources", f"must be integers from -1 to {C - 1}, none but -1 twice, got {sources.tolist()}")
    return places, taken
