"""Networks of other programs, as a list of steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from csc_cogd.nn import functions
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor

IMAGES = "images"
"""What the input of a network is called."""


class Step(NamedTuple):
    """One operation.

    Attributes
    ----------
    what : str
        Name of a function of :data:`OPERATIONS`, or ``"layer"``.
    inputs : tuple of str
    output : str
    layer : str
        Name of the module that computes it, where `what` is ``"layer"``.
    settings : mapping
        Other arguments of the function.
    """

    what: str
    inputs: tuple[str, ...]
    output: str
    layer: str = ""
    settings: Mapping[str, Any] = MappingProxyType({})


OPERATIONS: dict[str, Callable[..., Tensor]] = {
    "add": lambda x, other: x + other,
    "multiply": lambda x, factor: x * factor,
    **{
        name: getattr(functions, name)
        for name in (
            "avg_pool2d", "clip", "concatenate", "fake_quantize", "flatten", "global_avg_pool2d", "hard_sigmoid",
            "hard_swish", "max_pool2d", "pad2d", "product", "relu", "relu6", "select", "sigmoid", "upsample",
        )
    },
}  # fmt: skip


class GraphNetwork(Module):
    """A network whose steps are data, as :func:`csc_cogd.nn.import_onnx` reads them.

    Parameters
    ----------
    layers : mapping of str to Module
        Those with parameters, by name.
    steps : sequence of Step
        In the order of computation.
    """

    has_blocks = False

    def __init__(self, layers: Mapping[str, Module], steps: Sequence[Step]):
        self.steps = [step._replace(settings=dict(step.settings)) for step in steps]  # which can be copied
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        last = {name: place for place, step in enumerate(self.steps) for name in step.inputs}
        values = {IMAGES: x}
        for place, step in enumerate(self.steps):
            given = [values[name] for name in step.inputs]
            function = getattr(self, step.layer) if step.what == "layer" else OPERATIONS[step.what]
            values[step.output] = function(*given, **step.settings)
            for name in step.inputs:
                if last[name] == place:
                    values.pop(name, None)  # which frees memory in inference
        return values[self.steps[-1].output]
