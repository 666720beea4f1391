"""The step of gradient descent with momentum, for all parameters of a network: see `csc_cogd.nn.SGD`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, NamedTuple

from csc_cogd.backend.arrays import on_gpu


class ParameterUpdate(NamedTuple):
    """A parameter, with what its update depends on."""

    array: Any
    gradient: Any
    velocity: Any
    """None without momentum."""
    decay: float
    """Weight decay: this times the parameter is added to its gradient."""


def momentum_step(parameters: Sequence[ParameterUpdate], learning_rate: float, momentum: float, nesterov: bool) -> None:
    """Change arrays and velocities in place; on a GPU, one kernel does it for all parameters."""
    if parameters and on_gpu(parameters[0].array):
        from csc_cogd.backend.cuda import momentum as on_device

        supports = [on_device.supports(parameter, parameters[0].array.dtype) for parameter in parameters]
        at_once = list(compress(parameters, supports))
        parameters = [parameter for parameter, supported in zip(parameters, supports, strict=True) if not supported]
        if at_once:
            on_device.momentum_step(at_once, learning_rate, momentum, nesterov)
    for array, gradient, velocity, decay in parameters:
        if decay:
            gradient = gradient + decay * array
        if velocity is not None:
            velocity *= momentum
            velocity += gradient
            gradient = gradient + momentum * velocity if nesterov else velocity
        array -= learning_rate * gradient
