"""A graph of ONNX on its way to the layers of this package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.module import Module
from csc_cogd.nn.networks.graph import IMAGES, Step
from csc_cogd.nn.tracing import Shape

Settings = Mapping[str, Any]
"""Arguments of a function, or attributes of a node."""
NONE: Settings = {}


class Reader:
    """What has been read of a graph: its values, and the steps and layers that the nodes have become."""

    def __init__(self, graph: Any, onnx: Any):
        self.graph, self.helper, self.to_array = graph, onnx.helper, onnx.numpy_helper.to_array
        self.constants = {one.name: self.to_array(one) for one in graph.initializer}
        inputs = [one for one in graph.input if one.name not in self.constants]
        if len(inputs) != 1 or len(graph.output) != 1:
            raise InputError("", f"must have one input and one output, got {len(inputs)} and {len(graph.output)}")
        self.shapes = {one.name: _shape(one) for one in (*graph.value_info, *graph.output, *inputs)}
        self.names = {inputs[0].name: IMAGES}
        self.sizes: set[str] = set()  # values that say how large others are
        self.quantized: dict[str, tuple[str, Settings]] = {}  # values in integers: what they were, and how they were made
        self.folded: dict[str, tuple[str, np.ndarray]] = {}  # images whose channels are on two axes, and their numbers there
        self.layers: dict[str, Module] = {}
        self.steps: list[Step] = []
        shape = self.shapes[inputs[0].name]
        if len(shape) != 4:
            raise InputError("", f"must take images of shape (N, C, H, W), got {len(shape)} dimensions")
        known = all(isinstance(size, int) and size > 0 for size in shape[1:])
        self.image_shape: Shape | None = (shape[1], shape[2], shape[3]) if known else None

    def step(self, node: Node, what: str, *inputs: str, layer: str = "", settings: Settings = NONE) -> None:
        """Add a step whose inputs are values of the graph; by default the node's first one."""
        found = tuple(self.value(node, name) for name in inputs or node.inputs[:1])
        self.steps.append(Step(what, found, node.output, layer, settings))
        self.names[node.output] = node.output

    def before(self, node: Node, what: str, settings: Settings) -> str:
        """Add a step in front of a node's own, and return the name of its output."""
        name = f"{node.output}, {what}"
        self.steps.append(Step(what, (self.value(node, node.inputs[0]),), name, "", settings))
        self.names[name] = name
        return name

    def value(self, node: Node, name: str) -> str:
        """Return the name of a value that was computed."""
        if name not in self.names:
            raise node.refused(f"needs {name!r}, which isn't computed from the images")
        return self.names[name]

    def constant(self, node: Node, place: int) -> np.ndarray:
        """Return a node's input that is a constant."""
        name = node.inputs[place]
        if name not in self.constants:
            raise node.refused(f"needs {name!r} as a constant")
        return self.constants[name]

    def number(self, node: Node, place: int) -> float:
        """Return a node's input that is a constant of one number."""
        array = self.constant(node, place)
        if array.size != 1:
            raise node.refused(f"needs one number, got {array.size}")
        return float(array.item())

    def has(self, node: Node, place: int) -> bool:
        """Return whether a node has an input."""
        return len(node.inputs) > place and node.inputs[place] != ""

    def size(self, node: Node) -> tuple[int, int]:
        """Return height and width of a node's first input."""
        shape = self.shapes.get(node.inputs[0], ())
        if len(shape) != 4 or not all(isinstance(side, int) and side > 0 for side in shape[2:]):
            raise node.refused("needs images of a known size: export the network with fixed height and width")
        return shape[2], shape[3]

    def channels(self, node: Node) -> int:
        """Return the number of channels of a node's first input."""
        shape = self.shapes.get(node.inputs[0], ())
        if len(shape) != 4 or not isinstance(shape[1], int) or shape[1] < 1:
            raise node.refused("needs images of a known number of channels")
        return shape[1]

    def add_layer(self, node: Node, layer: Module, arrays: Mapping[str, np.ndarray], source: str = "") -> None:
        """Add a step of a layer with these arrays, which is named by its weights where they have a name of its own."""
        for name, array in arrays.items():
            layer.set_array(name, np.array(array, np.float32, order="C"))  # a copy, as training writes into it
        weights = node.inputs[1] if len(node.inputs) > 1 else ""
        name, dot, last = weights.rpartition(".")
        plain = bool(dot) and last == "weight" and "::" not in name and name not in self.layers
        name = name if plain else f"{node.kind.lower()}{len(self.layers)}"
        self.layers[name] = layer
        self.step(node, "layer", *([source] if source else ()), layer=name)


class Node(NamedTuple):
    """A node: its operator, the names of its values, and its attributes."""

    kind: str
    inputs: list[str]
    output: str
    given: Mapping[str, Any]
    outputs: list[str]

    def get(self, name: str, default: Any) -> Any:
        """Return an attribute."""
        value = self.given.get(name, default)
        return value.decode() if isinstance(value, bytes) else value

    def refused(self, why: str) -> InputError:
        """Return an error about the node."""
        return InputError("", f"has a node {self.kind} ({self.output}) that can't be used: it {why}")


def _shape(value: Any) -> tuple[Any, ...]:
    """Return the shape of a value, with names where sizes are open."""
    dims = value.type.tensor_type.shape.dim
    return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None for dim in dims)
