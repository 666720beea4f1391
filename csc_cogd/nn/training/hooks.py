"""Hooks that training calls before and after each epoch, and around each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from csc_cogd.nn.module import Module


class EpochHook(Protocol):
    """A hook of training; a class that inherits from it defines only the methods it needs.

    A run can be resumed only with hooks of the same ``repr``, or of the same class where that defines none.

    For a resumed run to end as an uninterrupted one, what a hook draws at random in an epoch must follow from that epoch's
    number, and what it keeps from one epoch to the next must be in its state (see :class:`StatefulHook`).

    Examples
    --------
    >>> class Largest(EpochHook):
    ...     def end_epoch(self, network, epoch):
    ...         return {"largest": max(float(abs(p.array).max()) for p in network.parameters())}
    >>> from csc_cogd.nn import build_network
    >>> list(Largest().end_epoch(build_network("resnet20"), 0))
    ['largest']
    """

    def begin_epoch(self, network: Module, epoch: int) -> None:
        """Act before the first batch; epochs count from 0."""
        return None

    def after_backward(self, network: Module) -> None:
        """Act in each batch, when parameters have their gradients, before the step."""
        return None

    def after_step(self, network: Module) -> None:
        """Act in each batch, after the step."""
        return None

    def end_epoch(self, network: Module, epoch: int) -> Mapping[str, float]:
        """Act after the last batch, before the test, and return figures for the history."""
        return {}

    def stops(self) -> bool:
        """Return whether training should end with this epoch, although more were planned; asked after :meth:`end_epoch`."""
        return False

    def end_training(self, network: Module) -> None:
        """Act after the last epoch, before the weights are saved."""
        return None


@runtime_checkable
class StatefulHook(Protocol):
    """A hook that keeps arrays from one epoch to the next, which checkpoints hold as well."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of the arrays, by names."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from these arrays."""
