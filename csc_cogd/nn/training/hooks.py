"""Where others take part in training: before and after each epoch, and around each step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from csc_cogd.nn.module import Module


class EpochHook(Protocol):
    """Something that is called while a network is trained; who inherits from it needs only the methods it wants.

    A run can be resumed with hooks of the same ``repr`` only; where it has none of its own, only the class counts.

    Whatever a hook draws at random in an epoch has to come from that epoch's number, and what it keeps from one epoch to the
    next has to be in its state (see :class:`StatefulHook`), or a resumed run wouldn't end as an undisturbed one.

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
        """Before the first batch; epochs count from 0."""
        return None

    def after_backward(self, network: Module) -> None:
        """Each batch, when parameters have their gradients, before the step."""
        return None

    def after_step(self, network: Module) -> None:
        """Each batch, after the step."""
        return None

    def end_epoch(self, network: Module, epoch: int) -> Mapping[str, float]:
        """After the last batch, before the test; what it returns goes to the history."""
        return {}


@runtime_checkable
class StatefulHook(Protocol):
    """A hook that keeps arrays from one epoch to the next, which checkpoints then hold as well."""

    def state_dict(self) -> dict[str, Any]:
        """Copies of the arrays, by names."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with these."""
