"""First-order optimizers for arrays of any shape, as functional updates.

An optimizer holds settings only. Its state between steps is a value that each step takes and returns, so one optimizer
serves any number of arrays at once:

    state = None
    for _ in range(iterations):
        x, state = optimizer.step(x, gradient(x), state)
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from csc_cogd.errors import InputError


@dataclass(frozen=True)
class Optimizer(ABC):
    """The base of optimizers: settings, which are checked, and a step.

    Parameters
    ----------
    learning_rate : float > 0

    Raises
    ------
    InputError
        If a setting is out of range, which is [0, 1) for all but the learning rate.
    """

    learning_rate: float

    def __post_init__(self) -> None:
        if not 0 < self.learning_rate < np.inf:
            raise InputError("learning_rate", f"must be a finite number above 0, got {self.learning_rate}")
        for name in (field.name for field in fields(self) if field.name != "learning_rate"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(name, f"must be in [0, 1), got {getattr(self, name)}")

    @abstractmethod
    def step(self, x: Any, gradient: Any, state: Any = None) -> tuple[Any, Any]:
        """Take a step from `x`, which isn't changed.

        Parameters
        ----------
        x : array
        gradient : array of the same shape
        state : object, optional
            As the previous step returned it; None in the first step.

        Returns
        -------
        x : array
        state : object
            For the next step.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Plain gradient descent, ``x <- x - learning_rate * gradient``.

    Examples
    --------
    >>> SGD(0.5).step(3.0, 2.0)
    (2.0, None)
    """

    def step(self, x: Any, gradient: Any, state: Any = None) -> tuple[Any, Any]:
        return x - self.learning_rate * gradient, None


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Gradient descent with a velocity v: ``v <- momentum * v + gradient``, ``x <- x - learning_rate * v``.

    This is the heavy-ball method of B. T. Polyak, "Some methods of speeding up the convergence of iteration methods" (1964),
    in today's usual form, where the velocity isn't scaled by the learning rate.
    """

    momentum: float = 0.9

    def step(self, x: Any, gradient: Any, state: Any = None) -> tuple[Any, Any]:
        velocity = gradient if state is None else self.momentum * state + gradient
        return x - self.learning_rate * velocity, velocity


@dataclass(frozen=True)
class Adam(Optimizer):
    """Steps scaled, entry by entry, by running moments of the gradient, corrected for their start at zero.

        m <- beta1 m + (1 - beta1) gradient        v <- beta2 v + (1 - beta2) gradient^2
        x <- x - learning_rate * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)

    D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1, with its defaults.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def step(self, x: Any, gradient: Any, state: Any = None) -> tuple[Any, Any]:
        t, m, v = (0, 0 * gradient, 0 * gradient) if state is None else state
        t += 1
        m = self.beta1 * m + (1 - self.beta1) * gradient
        v = self.beta2 * v + (1 - self.beta2) * gradient**2
        m_hat, v_hat = m / (1 - self.beta1**t), v / (1 - self.beta2**t)
        return x - self.learning_rate * m_hat / (v_hat**0.5 + self.epsilon), (t, m, v)
