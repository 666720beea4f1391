"""The optimiser's step on a GPU, for all parameters at once: see `momentum_step` in `channels.cu`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from csc_cogd.backend.arrays import array_module
from csc_cogd.backend.cuda.layout import flat, is_channels_last
from csc_cogd.backend.cuda.modules import THREADS, load_function

if TYPE_CHECKING:
    from csc_cogd.backend.momentum import Moving

_PIECE = 8 * THREADS  # values of a block
_int = np.int32


def momentum_step(parameters: Sequence[Moving], learning_rate: float, momentum: float, nesterov: bool) -> None:
    """See :func:`csc_cogd.backend.momentum.momentum_step`; each parameter must be one that this :func:`supports`."""
    xp, dtype = array_module(parameters[0].array), parameters[0].array.dtype
    gradients = [flat(moving.gradient, moving.array) for moving in parameters]  # kept until the kernel is queued
    places = [
        (moving.array.data.ptr, gradient.data.ptr, 0 if moving.velocity is None else moving.velocity.data.ptr, gradient.size)
        for moving, gradient in zip(parameters, gradients, strict=True)
    ]
    sizes = tuple(gradient.size for gradient in gradients)
    pieces, decays = _pieces(xp, sizes), _decays(xp, dtype, tuple(moving.decay for moving in parameters))
    numbers = (dtype.type(learning_rate), dtype.type(momentum), _int(nesterov), _int(_PIECE))
    kernel = load_function(xp, "channels", "momentum_step", dtype)
    kernel((len(pieces),), (THREADS,), (xp.asarray(np.array(places, np.uint64)), pieces, decays, *numbers))


def supports(moving: Moving, dtype: np.dtype) -> bool:
    """Whether parameter and velocity lie alike, without gaps or channels last, so that places in both are the same."""
    arrays = [array for array in (moving.array, moving.velocity) if array is not None]
    if any(array.dtype != dtype for array in (*arrays, moving.gradient)):
        return False
    if all(array.flags.c_contiguous for array in arrays):
        return True
    return moving.array.ndim == 4 and all(is_channels_last(array) for array in arrays)


@lru_cache(maxsize=8)
def _pieces(xp: ModuleType, sizes: tuple[int, ...]) -> Any:
    """The parameter of every block, and the first of its values."""
    return xp.asarray(np.array([(n, k) for n, size in enumerate(sizes) for k in range(0, size, _PIECE)], np.int32))


@lru_cache(maxsize=8)
def _decays(xp: ModuleType, dtype: np.dtype, decays: tuple[float, ...]) -> Any:
    return xp.asarray(np.array(decays, dtype))
