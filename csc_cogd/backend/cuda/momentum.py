"""The optimizer's step on a GPU, for all parameters at once: see `momentum_step` in `channels.cu`."""

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
    from csc_cogd.backend.momentum import ParameterUpdate

_PIECE = 8 * THREADS  # values of a block
_int = np.int32


def momentum_step(parameters: Sequence[ParameterUpdate], learning_rate: float, momentum: float, nesterov: bool) -> None:
    """See :func:`csc_cogd.backend.momentum.momentum_step`; each parameter must be one that this :func:`supports`."""
    xp, dtype = array_module(parameters[0].array), parameters[0].array.dtype
    gradients = [flat(parameter.gradient, parameter.array) for parameter in parameters]  # kept until the kernel is queued
    velocities = [0 if parameter.velocity is None else parameter.velocity.data.ptr for parameter in parameters]
    places = [
        (parameter.array.data.ptr, gradient.data.ptr, velocity, gradient.size)
        for parameter, gradient, velocity in zip(parameters, gradients, velocities, strict=True)
    ]
    sizes = tuple(gradient.size for gradient in gradients)
    pieces, decays = _pieces(xp, sizes), _decays(xp, dtype, tuple(parameter.decay for parameter in parameters))
    numbers = (dtype.type(learning_rate), dtype.type(momentum), _int(nesterov), _int(_PIECE))
    kernel = load_function(xp, "channels", "momentum_step", dtype)
    kernel((len(pieces),), (THREADS,), (xp.asarray(np.array(places, np.uint64)), pieces, decays, *numbers))


def supports(parameter: ParameterUpdate, dtype: np.dtype) -> bool:
    """Return whether parameter and velocity have the same layout, contiguous or channels last."""
    arrays = [array for array in (parameter.array, parameter.velocity) if array is not None]
    if any(array.dtype != dtype for array in (*arrays, parameter.gradient)):
        return False
    if all(array.flags.c_contiguous for array in arrays):
        return True
    return parameter.array.ndim == 4 and all(is_channels_last(array) for array in arrays)


@lru_cache(maxsize=8)
def _pieces(xp: ModuleType, sizes: tuple[int, ...]) -> Any:
    """Return the parameter of every block, and the first of its values."""
    return xp.asarray(np.array([(n, k) for n, size in enumerate(sizes) for k in range(0, size, _PIECE)], np.int32))


@lru_cache(maxsize=8)
def _decays(xp: ModuleType, dtype: np.dtype, decays: tuple[float, ...]) -> Any:
    return xp.asarray(np.array(decays, dtype))
