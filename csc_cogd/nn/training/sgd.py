"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np

from csc_cogd.backend import ParameterUpdate, array_module, filled_like, momentum_step, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.module import Parameter


class SGD:
    """Gradient descent with momentum as in PyTorch, for parameter p with gradient g and velocity v, initially 0.

        g <- g + weight_decay p
        v <- momentum v + g
        p <- p - learning_rate v,     or with Nesterov     p - learning_rate (g + momentum v)

    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning", ICML
    2013.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        By name, as from :meth:`Module.named_parameters`. Their arrays change in place.
    learning_rate : float >= 0
        May be set between steps.
    momentum : float in [0, 1)
    nesterov : bool
        Whether to look ahead along the momentum; needs one.
    weight_decay : float >= 0
    decay_vectors : bool
        Whether parameters of one dimension decay, too: biases, scales of batch norm, masks.

    Raises
    ------
    InputError
        If there is nothing to train, or a setting is out of range.

    Examples
    --------
    >>> weight = Parameter(np.ones(2))
    >>> optimizer = SGD({"weight": weight}, 0.1)
    >>> weight.grad = np.array([1.0, -1.0])
    >>> optimizer.step()
    >>> weight.array
    array([0.9, 1.1])
    """  # fmt: skip

    def __init__(
        self, parameters: Mapping[str, Parameter], learning_rate: float, *,
        momentum: float = 0.9, nesterov: bool = False, weight_decay: float = 0.0, decay_vectors: bool = True,
    ):  # fmt: skip
        self.parameters = dict(parameters)
        if not self.parameters:
            raise InputError("parameters", "must not be empty", "use dict(network.named_parameters())")
        check_sgd(learning_rate, momentum, nesterov, weight_decay)
        self.learning_rate, self.momentum, self.nesterov = learning_rate, momentum, nesterov
        self.weight_decay, self.decay_vectors = weight_decay, decay_vectors
        self._velocities: dict[str, np.ndarray] = {}

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        updates = [
            ParameterUpdate(
                parameter.array, parameter.grad, self._velocity(name, parameter.array), self._decay(parameter.array)
            )
            for name, parameter in self.parameters.items()
            if parameter.grad is not None
        ]
        momentum_step(updates, self.learning_rate, self.momentum, self.nesterov)

    def _decay(self, array: Any) -> float:
        return self.weight_decay if self.decay_vectors or array.ndim > 1 else 0.0

    def _velocity(self, name: str, array: Any) -> Any:
        if not self.momentum:
            return None
        velocity = self._velocities.get(name)
        if velocity is None:
            velocity = self._velocities[name] = array_module(array).zeros_like(array)
        if velocity.shape != array.shape:
            problem = f"must keep their shapes, but {name} changed from {velocity.shape} to {array.shape}"
            raise InputError("parameters", problem, "create a new SGD")
        return velocity

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the velocities in main memory, by the names of their parameters."""
        return {name: np.array(to_numpy(velocity)) for name, velocity in self._velocities.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with these velocities; others start at 0.

        Raises
        ------
        InputError
            If one is of an unknown parameter, of another shape than its parameter, or not of real numbers; then nothing is
            changed.
        """
        for name, velocity in state.items():
            shape = self.parameters[name].shape if name in self.parameters else None
            if velocity.shape != shape:
                found = "which isn't a parameter" if shape is None else f"of shape {velocity.shape} instead of {shape}"
                raise InputError("state", f"of the optimizer holds {name}, {found}", "use a state of the same network")
            if velocity.dtype.kind not in "fiu":
                raise InputError("state", f"of the optimizer holds {name} of {velocity.dtype}, not of real numbers")
        arrays = {name: self.parameters[name].array for name in state}
        self._velocities = {name: filled_like(array, state[name]) for name, array in arrays.items()}


def check_sgd(learning_rate: float, momentum: float, nesterov: bool, weight_decay: float) -> None:
    """Raise InputError for settings of :class:`SGD` that are out of range."""
    for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if not 0 <= value < inf:
            raise InputError(name, f"must be a finite number >= 0, got {value}")
    if not 0 <= momentum < 1:
        raise InputError("momentum", f"must be in [0, 1), got {momentum}")
    if nesterov and not momentum:
        raise InputError("nesterov", "needs a momentum above 0, along which it looks ahead", "increase {momentum}")
