"""Averages of weights over the steps of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from csc_cogd.backend import array_module, filled_like
from csc_cogd.nn.module import Module
from csc_cogd.nn.training.hooks import EpochHook


class WeightAveraging(EpochHook):
    """An exponential moving average of all parameters and buffers, which is what is tested, saved and left in the end.

        average <- d average + (1 - d) weights,   d = min(decay, (1 + t) / (10 + t))   after step t = 1, 2, ...

    so that the first, random weights are soon forgotten. B. T. Polyak, A. B. Juditsky, "Acceleration of Stochastic
    Approximation by Averaging", SIAM J. Control Optim. 30 (1992).

    Between epochs the network holds the averages; training goes on with the weights themselves.

    Parameters
    ----------
    decay : float in (0, 1)

    Examples
    --------
    >>> WeightAveraging(0.99)
    WeightAveraging(0.99)
    """

    def __init__(self, decay: float):
        self.decay, self.steps = decay, 0
        self._averages: list[Any] = []  # in the order of the network's places
        self._weights: dict[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"WeightAveraging({self.decay})"

    def begin_epoch(self, network: Module, epoch: int) -> None:
        """Take the averages out of the network, and put the weights back."""
        self._averages = [array_module(array).array(array) for array in _arrays(network)]
        if self._weights:
            _set_arrays(network, [self._weights[name] for *_, name in network.places()])
        self._weights = {}

    def after_step(self, network: Module) -> None:
        """Move the averages towards the weights."""
        self.steps += 1
        rate = 1 - min(self.decay, (1 + self.steps) / (10 + self.steps))
        for array, average in zip(_arrays(network), self._averages, strict=True):
            if average.dtype.kind == "f":
                average += average.dtype.type(rate) * (array - average)

    def end_epoch(self, network: Module, epoch: int) -> dict[str, float]:
        """Put the averages into the network."""
        self._weights = network.state_dict()
        _set_arrays(network, self._averages)
        return {}

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the weights that training goes on with, and the number of steps."""
        weights = {f"weights.{name}": array for name, array in self._weights.items()}
        return weights | {"steps": np.array(self.steps)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.steps = int(np.asarray(state["steps"]).item())
        self._weights = {name.removeprefix("weights."): array for name, array in state.items() if name != "steps"}


def _arrays(network: Module) -> list[Any]:
    """Return the arrays of all parameters and buffers, on their device."""
    return [owner.get_array(attribute) for owner, attribute, _ in network.places()]


def _set_arrays(network: Module, arrays: list[Any]) -> None:
    """Set all parameters and buffers to copies of arrays."""
    for (owner, attribute, _), array in zip(network.places(), arrays, strict=True):
        owner.set_array(attribute, filled_like(owner.get_array(attribute), array))
