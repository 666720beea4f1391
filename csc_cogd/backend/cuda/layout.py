"""The channels-last memory layout of images, which the kernels of networks read and write.

Arrays keep their shape (N, C, H, W): what the kernels write is a view of memory (N, H, W, C) without gaps. Others, such as a
first layer's images, are brought into that order when a kernel is to read them.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from csc_cogd.backend.arrays import array_module
from csc_cogd.backend.cuda.modules import load_function
from csc_cogd.errors import InputError

MOST_VALUES = 2**31 - 2**16
"""Most values of an array: kernels count in 32 bits."""
_SIDE = 32  # as in channels.cu
_int = np.int32


def channels_last(x: Any) -> Any:
    """Return (N, C, H, W) images as a contiguous array (N, H, W, C): a view if they lie so already.

    Raises
    ------
    InputError
        If there are more values than kernels can count.
    """
    check_size(x.shape)
    view = x.transpose(0, 2, 3, 1)
    if view.flags.c_contiguous:
        return view
    xp = array_module(x)
    if not x.flags.c_contiguous or not x.size:
        return xp.ascontiguousarray(view)
    (N, C, H, W), turned = x.shape, xp.empty(view.shape, x.dtype)
    squares = N * -(-C // _SIDE) * -(-H * W // _SIDE)
    kernel = load_function(xp, "channels", "transpose", x.dtype)
    kernel((squares,), (256,), (x, turned, _int(C), _int(H * W)))
    return turned


def check_size(shape: tuple[int, ...]) -> None:
    """Raise InputError if an array has more values than kernels can count."""
    if prod(shape) > MOST_VALUES:
        wrong = f"of shape {tuple(shape)} have {prod(shape)} values, more than kernels can count"
        raise InputError("images", wrong, "use smaller batches")


def is_channels_last(x: Any) -> bool:
    """Return whether (N, C, H, W) images lie so that :func:`channels_last` is a view."""
    return x.transpose(0, 2, 3, 1).flags.c_contiguous


def channels_first(pixels: Any) -> Any:
    """Return an array (N, H, W, C) as what it stands for: (N, C, H, W) images, a view."""
    return pixels.transpose(0, 3, 1, 2)


def flat(x: Any, like: Any = None) -> Any:
    """Return the values as a flat array: channels last if there are four axes, unless they lie otherwise in `like`."""
    if x.ndim == 4 and (like is None or not like.flags.c_contiguous):
        return channels_last(x)
    return array_module(x).ascontiguousarray(x)


def vector(x: Any, like: Any) -> Any:
    """Return the values without gaps, in the data type of the array `like`, as kernels read them."""
    return array_module(x).ascontiguousarray(x, like.dtype)


def is_whole(channels: int, *arrays: Any) -> np.int32:
    """Return whether four channels at a time can be fetched in one go, for a kernel."""
    return _int(channels % 4 == 0 and all(array.data.ptr % 16 == 0 for array in arrays))
