"""Adam with weight decay of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import array_module, filled_like, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.module import Parameter
from csc_cogd.nn.training.sgd import check_sgd

FIRST, SECOND = "first.", "second."
"""Prefixes of the names of moments in a state."""


class _Moments(NamedTuple):
    """Of a parameter's gradient; arrays of its shape, which change in place."""

    first: Any
    second: Any


class AdamW:
    """Gradient descent by moments of the gradient, as in PyTorch, for parameter p with gradient g, after step t = 1, 2, ...

        p <- p - learning_rate weight_decay p
        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2
        p <- p - learning_rate m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + epsilon)

    D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; I. Loshchilov, F. Hutter, "Decoupled Weight
    Decay Regularization", ICLR 2019.

    Parameters
    ----------
    parameters : mapping of str to Parameter
        By name, as from :meth:`Module.named_parameters`.
    learning_rate : float >= 0
        May be set between steps.
    momentum : float in [0, 1), b1
    weight_decay : float >= 0
    decay_vectors : bool
        Whether parameters of one dimension decay, too.
    b2, epsilon : float

    Raises
    ------
    InputError
        If there is nothing to train, or a setting is out of range.

    Examples
    --------
    >>> weight = Parameter(np.ones(2))
    >>> optimizer = AdamW({"weight": weight}, 0.1)
    >>> weight.grad = np.array([1.0, -3.0])
    >>> optimizer.step()
    >>> weight.array.round(3)
    array([0.9, 1.1])
    """

    def __init__(
        self, parameters: Mapping[str, Parameter], learning_rate: float, *, momentum: float = 0.9,
        weight_decay: float = 0.0, decay_vectors: bool = True, b2: float = 0.999, epsilon: float = 1e-8,
    ):  # fmt: skip
        self.parameters = dict(parameters)
        if not self.parameters:
            raise InputError("parameters", "must not be empty", "use dict(network.named_parameters())")
        check_sgd(learning_rate, momentum, False, weight_decay)
        self.learning_rate, self.momentum, self.b2, self.epsilon = learning_rate, momentum, b2, epsilon
        self.weight_decay, self.decay_vectors = weight_decay, decay_vectors
        self.steps = 0
        self._moments: dict[str, _Moments] = {}

    def step(self) -> None:
        """Update every parameter that has a gradient."""
        self.steps += 1
        for name, parameter in self.parameters.items():
            if parameter.grad is not None:
                parameter.array = self._moved(name, parameter.array, parameter.grad)

    def _moved(self, name: str, array: Any, gradient: Any) -> Any:
        """Return a parameter's array after the step."""
        xp, number = array_module(array), array.dtype.type
        if name not in self._moments:
            self._moments[name] = _Moments(xp.zeros_like(array), xp.zeros_like(array))
        first, second = self._moments[name]
        first += number(1 - self.momentum) * (gradient - first)
        second += number(1 - self.b2) * (gradient * gradient - second)
        rate = self.learning_rate / (1 - self.momentum**self.steps)
        root = xp.sqrt(second) * number((1 - self.b2**self.steps) ** -0.5)
        decay = self.weight_decay if self.decay_vectors or array.ndim > 1 else 0.0
        return array * number(1 - self.learning_rate * decay) - number(rate) * first / (root + number(self.epsilon))

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the moments in main memory, and the number of steps."""
        state = {FIRST + name: np.array(to_numpy(moments.first)) for name, moments in self._moments.items()}
        state |= {SECOND + name: np.array(to_numpy(moments.second)) for name, moments in self._moments.items()}
        return state | {"steps": np.array(self.steps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue with these moments.

        Raises
        ------
        InputError
            If one is of an unknown parameter or of another shape than its parameter, or the steps are missing.
        """
        if "steps" not in state:
            raise InputError("state", "of the optimizer lacks the number of steps", "use a state of AdamW")
        own = {name: parameter.array for name, parameter in self.parameters.items() if FIRST + name in state}
        fitting = {prefix + name: array for name, array in own.items() for prefix in (FIRST, SECOND)}
        for key in [*fitting, *state]:
            if key != "steps" and (key not in state or key not in fitting or state[key].shape != fitting[key].shape):
                problem = f"of the optimizer holds {key}, which fits no parameter" if key in state else f"lacks {key}"
                raise InputError("state", problem, "use one of this network")
        moments = {key: filled_like(array, state[key]) for key, array in fitting.items()}
        self._moments = {name: _Moments(moments[FIRST + name], moments[SECOND + name]) for name in own}
        self.steps = int(np.asarray(state["steps"]).item())
