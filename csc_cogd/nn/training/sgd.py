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
    """Momentum as in PyTorch: of parameter p with gradient g and velocity v, which starts at 0,

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
        Needs a momentum.
    weight_decay : float >= 0
    decay_vectors : bool
        Whether weights of one dimension decay, too: biases, scales of batch norm, masks.

    Raises
    ------
    InputError
        If there is nothing to train, or a setting is outside of its range.

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
            raise InputError("parameters: there are none: give those of a network, by dict(network.named_parameters())")
        check_sgd(learning_rate, momentum, nesterov, weight_decay)
        self.learning_rate, self.momentum, self.nesterov = learning_rate, momentum, nesterov
        self.weight_decay, self.decay_vectors = weight_decay, decay_vectors
        self._velocities: dict[str, Any] = {}

    def step(self) -> None:
        """Change every parameter by its gradient; those without one stay as they are."""
        moving = [
            ParameterUpdate(
                parameter.array, parameter.grad, self._velocity(name, parameter.array), self._decay(parameter.array)
            )
            for name, parameter in self.parameters.items()
            if parameter.grad is not None
        ]
        momentum_step(moving, self.learning_rate, self.momentum, self.nesterov)

    def _decay(self, array: Any) -> float:
        return self.weight_decay if self.decay_vectors or array.ndim > 1 else 0.0

    def _velocity(self, name: str, array: Any) -> Any:
        if not self.momentum:
            return None
        velocity = self._velocities.get(name)
        if velocity is None:
            velocity = self._velocities[name] = array_module(array).zeros_like(array)
        if velocity.shape != array.shape:
            raise InputError(f"{name}: its shape was {velocity.shape} and is {array.shape}: make a new SGD for it")
        return velocity

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of the velocities in main memory, by the names of their parameters."""
        return {name: np.array(to_numpy(velocity)) for name, velocity in self._velocities.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with these velocities; those not given start at 0.

        Raises
        ------
        InputError
            If one is of an unknown parameter, or of another shape than it; then nothing is changed.
        """
        for name, velocity in state.items():
            shape = self.parameters[name].shape if name in self.parameters else None
            if velocity.shape != shape:
                found = "there is no such parameter" if shape is None else f"{velocity.shape} isn't its shape, {shape}"
                raise InputError(f"optimizer state: {name}: {found}: this state is of another network")
        arrays = {name: self.parameters[name].array for name in state}
        self._velocities = {name: filled_like(array, state[name]) for name, array in arrays.items()}


def check_sgd(learning_rate: float, momentum: float, nesterov: bool, weight_decay: float) -> None:
    """Raise InputError for settings of :class:`SGD` outside of their ranges."""
    for name, value in (("learning_rate", learning_rate), ("weight_decay", weight_decay)):
        if not 0 <= value < inf:
            raise InputError(f"{name}: {value} isn't a finite number of zero or more")
    if not 0 <= momentum < 1:
        raise InputError(f"momentum: {momentum} is outside of [0, 1): use 0.9, or 0 for none")
    if nesterov and not momentum:
        raise InputError("nesterov: it looks ahead along the momentum, which is 0: give one, or leave nesterov out")
