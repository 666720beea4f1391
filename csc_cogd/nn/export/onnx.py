"""Export of networks to ONNX, the Open Neural Network Exchange, from the tape of one image."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.joining import Range
from csc_cogd.nn.functions.shortcut import sources_of
from csc_cogd.nn.module import Module
from csc_cogd.nn.saving import metadata_texts
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.tracing import Shape, Trace, trace
from csc_cogd.storage import write_whole

OLDEST_OPSET = 13
_INTEGERS = {(-128, 127): np.int8, (0, 255): np.uint8, (-(2**15), 2**15 - 1): np.int16, (0, 2**16 - 1): np.uint16}


def export_onnx(
    network: Module, path: str | os.PathLike[str], *, image_shape: Shape = (3, 32, 32), opset: int = 17,
    fold_norms: bool = True, metadata: Mapping[str, Any] | None = None, overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a network, as it is in inference, to an ONNX file, which appears whole.

    Its input ``images`` is (N, C, H, W) float32 for any N, its output ``logits`` (N, K); weights are written as float32.

    Parameters
    ----------
    network : Module
    path : str or path
    image_shape : (C, H, W)
    opset : int
        Version of ONNX's operators, 13 or later.
    fold_norms : bool
        Whether batch norms are folded into the convolutions before them.
    metadata : mapping of str to anything that JSON can hold, optional
        Kept in the file, such as the names of classes, and how images have to be normalized.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the package onnx is missing, or doesn't know `opset`, or an operation has no counterpart, or a weight is NaN or
        infinite, or the file can't be written, or exists and may not be replaced.
    """
    content = onnx_bytes(network, image_shape=image_shape, opset=opset, fold_norms=fold_norms, metadata=metadata)
    write_whole(Path(path), content, overwrite=overwrite)


def onnx_bytes(
    network: Module, *, image_shape: Shape = (3, 32, 32), opset: int = 17, fold_norms: bool = True,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:  # fmt: skip
    """Return the content of an ONNX file; see :func:`export_onnx`."""
    try:
        import onnx
    except ImportError:
        raise InputError("", "the package onnx is missing", "pip install 'csc-cogd[onnx]'") from None
    newest = onnx.defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        raise InputError("opset", f"must be from {OLDEST_OPSET} to {newest} with this version of onnx, got {opset}")
    texts = metadata_texts(metadata)
    network.check_finite()
    traced = trace(network, image_shape)
    graph = _Graph(traced, fold_norms)
    helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
    versions = [helper.make_opsetid("", opset)]
    model = helper.make_model(
        helper.make_graph(
            [node.proto(helper) for node in graph.nodes],
            type(network).__name__,
            [helper.make_tensor_value_info("images", FLOAT, ["N", *image_shape])],
            [helper.make_tensor_value_info("logits", FLOAT, ["N", *traced.output.shape[1:]])],
            [onnx.numpy_helper.from_array(array, name) for name, array in graph.arrays.items()],
        ),
        opset_imports=versions, ir_version=helper.find_min_ir_version_for(versions), producer_name="csc-cogd",
    )  # fmt: skip
    helper.set_model_props(model, texts)
    onnx.checker.check_model(model, full_check=True)
    content: bytes = model.SerializeToString()
    return content


class _Node(NamedTuple):
    """An operator, the names of its inputs and of its output, and its attributes."""

    kind: str
    inputs: list[str]
    output: str
    attributes: Mapping[str, Any]

    def proto(self, helper: Any) -> Any:
        """Return the node as a NodeProto, made by onnx's `helper`."""
        node = helper.make_node(self.kind, self.inputs, [self.output], self.output)
        node.attribute.extend(helper.make_attribute(name, value) for name, value in sorted(self.attributes.items()))
        return node


class _Graph:
    """Nodes, and the arrays among their inputs, by their names."""

    def __init__(self, traced: Trace, fold_norms: bool):
        self.traced = traced
        self.nodes: list[_Node] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.names: dict[Tensor, str] = {traced.image: "images"}
        self.norms = self._foldable_norms() if fold_norms else {}
        for result in traced.results:
            name, settings = result.made_by
            if name not in _OPERATORS:
                maker = traced.makers.get(result)
                what = f"{name} in {maker}" if maker else name
                raise InputError("network", f"must consist of operations that ONNX has, but computes {what}")
            if result in self.norms.values():
                self.names[result] = self.names[result.parents[0]]
            else:
                _OPERATORS[name](self, result, settings)
        if traced.output == traced.image:  # which would have no node
            self.add("Identity", traced.output, source="images")
        self._rename(self.names[traced.output], "logits")

    def _foldable_norms(self) -> dict[Tensor, Tensor]:
        """Return the batch norms that are the only users of a convolution's result, by that result."""
        users: dict[Tensor, list[Tensor]] = {}
        for result in self.traced.results:
            for parent in result.parents:
                users.setdefault(parent, []).append(result)
        return {
            parent: norms[0]
            for parent, norms in users.items()
            if parent.made_by.name == "conv2d" and [norm.made_by.name for norm in norms] == ["batch_norm"]
        }

    def _rename(self, old: str, new: str) -> None:
        def renamed(name: str) -> str:
            return new if name == old else name

        self.nodes = [node._replace(inputs=[*map(renamed, node.inputs)], output=renamed(node.output)) for node in self.nodes]

    def add(
        self,
        kind: str,
        result: Tensor,
        *more: str,
        source: str | None = None,
        attributes: Mapping[str, Any] = MappingProxyType({}),
    ) -> str:
        """Add a node whose first input is the first parent of a result, or `source`, and return the name of its output."""
        output = f"{kind}_{len(self.nodes)}"
        self.nodes.append(_Node(kind, [source or self._name(result.parents[0]), *more], output, attributes))
        self.names[result] = output
        return output

    def inputs(self, result: Tensor) -> list[str]:
        """Return the names of all parents but the first."""
        return [self._name(parent) for parent in result.parents[1:]]

    def _name(self, tensor: Tensor) -> str:
        """Return the name of a tensor, which was computed before or is an array."""
        if tensor not in self.names:
            name = self.traced.parameters.get(tensor, f"constant_{len(self.arrays)}")
            self.names[tensor] = self.constant(to_numpy(tensor.array), name)
        return self.names[tensor]

    def constant(self, values: Any, name: str | None = None, dtype: Any = None) -> str:
        """Add an array, floats as float32 and integers as int64 unless a type is given, and return its name."""
        array = np.asarray(values)
        name = name or f"constant_{len(self.arrays)}"
        self.arrays[name] = array.astype(dtype or (np.float32 if array.dtype.kind == "f" else np.int64), order="C")
        return name


def _conv2d(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    weight = result.parents[1]
    attributes = {
        "kernel_shape": weight.shape[2:], "strides": settings["stride"], "pads": settings["padding"] * 2,
        "group": settings["groups"],
    }  # fmt: skip
    if (norm := graph.norms.get(result)) is None:
        inputs = graph.inputs(result)
    else:
        scale, shift = _scale_and_shift(norm)
        bias = np.float64(to_numpy(result.parents[2].array)) if len(result.parents) > 2 else 0
        name = graph.traced.parameters.get(weight, f"constant_{len(graph.arrays)}")
        inputs = [graph.constant(to_numpy(weight.array) * scale[:, None, None, None], f"{name}, normed")]
        inputs.append(graph.constant(bias * scale + shift, f"{name}, shift"))
    graph.add("Conv", result, *inputs, attributes=attributes)


def _scale_and_shift(norm: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the shift of a batch norm in inference, float64."""
    gamma, beta = (np.float64(to_numpy(parent.array)) for parent in norm.parents[1:])
    settings = norm.made_by.settings
    mean, variance = (np.float64(to_numpy(statistic)) for statistic in settings["statistics"])
    scale = gamma / np.sqrt(variance + settings["epsilon"])
    return scale, beta - mean * scale


def _batch_norm(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    statistics = [graph.constant(to_numpy(statistic)) for statistic in settings["statistics"]]
    graph.add("BatchNormalization", result, *graph.inputs(result), *statistics, attributes={"epsilon": settings["epsilon"]})


def _soft_mask(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    graph.add("Mul", result, graph.constant(to_numpy(result.parents[1].array)[:, None, None]))


def _subsample_and_pad(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    """Add nodes for every `stride`-th pixel and a channel of zeros, which is then gathered wherever there is no other."""
    C, stride = result.parents[0].shape[1], settings["stride"]
    subsampled = _slice(graph, result, (0, None, stride), (0, None, stride))
    padded = graph.add("Pad", result, graph.constant([0, 0, 0, 0, 0, 1, 0, 0]), source=subsampled)
    sources = sources_of(settings["sources"], C, result.shape[1])
    graph.add("Gather", result, graph.constant(np.where(sources < 0, C, sources)), source=padded, attributes={"axis": 1})


def _slice(graph: _Graph, result: Tensor, *ranges: Range) -> str:
    """Add a node for a part of the rows and columns, and return the name of its output."""
    starts, stops, steps = zip(*ranges, strict=True)
    ends = [np.iinfo(np.int64).max if stop is None else stop for stop in stops]
    return graph.add("Slice", result, *map(graph.constant, (starts, ends, [2, 3], steps)))


def _select(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    channels, C = settings["channels"], result.parents[0].shape[1]
    source = _slice(graph, result, settings["rows"], settings["columns"])
    if channels is None:
        return
    if (channels < 0).any():
        source = graph.add("Pad", result, graph.constant([0, 0, 0, 0, 0, 1, 0, 0]), source=source)
    indices = graph.constant(np.where(channels < 0, C, channels))
    graph.add("Gather", result, indices, source=source, attributes={"axis": 1})


def _fake_quantize(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    low, high = settings["low"], settings["high"]
    kind = _INTEGERS.get((low, high))
    if kind is None:
        raise InputError("network", f"must have integers of 8 or 16 bits, but has some from {low} to {high}")
    scale, zero = graph.constant(float(settings["scale"])), graph.constant(settings["zero_point"], dtype=kind)
    graph.add("DequantizeLinear", result, scale, zero, source=graph.add("QuantizeLinear", result, scale, zero))


def _global_avg_pool2d(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    pooled = graph.add("GlobalAveragePool", result)
    if not settings["keep"]:
        graph.add("Flatten", result, source=pooled, attributes={"axis": 1})


def _pad2d(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    top, left, bottom, right = settings["sides"]
    graph.add(
        "Pad", result, graph.constant([0, 0, top, left, 0, 0, bottom, right]), graph.constant(float(settings["value"]))
    )  # fmt: skip


def _upsample(graph: _Graph, result: Tensor, settings: Mapping[str, Any]) -> None:
    scales = graph.constant([1.0, 1.0, settings["factor"], settings["factor"]])
    attributes = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    graph.add("Resize", result, "", scales, attributes=attributes)


_OPERATORS: dict[str, Callable[[_Graph, Tensor, Mapping[str, Any]], Any]] = {
    "add": lambda graph, result, settings: graph.add("Add", result, *graph.inputs(result)),
    "avg_pool2d": lambda graph, result, settings: graph.add(
        "AveragePool", result, attributes={"kernel_shape": settings["kernel"], "strides": settings["stride"]}
    ),
    "batch_norm": _batch_norm,
    "conv2d": _conv2d,
    "clip": lambda graph, result, settings: graph.add(
        "Clip", result, graph.constant(float(settings["low"])), graph.constant(float(settings["high"]))
    ),
    "concatenate": lambda graph, result, settings: graph.add(
        "Concat", result, *graph.inputs(result), attributes={"axis": 1}
    ),
    "fake_quantize": _fake_quantize,
    "flatten": lambda graph, result, settings: graph.add("Flatten", result, attributes={"axis": 1}),
    "global_avg_pool2d": _global_avg_pool2d,
    "hard_sigmoid": lambda graph, result, settings: graph.add(
        "HardSigmoid", result, attributes={"alpha": settings["slope"], "beta": settings["middle"]}
    ),
    "hard_swish": lambda graph, result, settings: graph.add(
        "Mul", result, graph.add("HardSigmoid", result, attributes={"alpha": 1 / 6, "beta": 0.5})
    ),
    "linear": lambda graph, result, settings: graph.add("Gemm", result, *graph.inputs(result), attributes={"transB": 1}),
    "max_pool2d": lambda graph, result, settings: graph.add(
        "MaxPool",
        result,
        attributes={"kernel_shape": settings["kernel"], "strides": settings["stride"], "pads": settings["padding"] * 2},
    ),
    "multiply": lambda graph, result, settings: graph.add("Mul", result, graph.constant(settings["factor"])),
    "pad2d": _pad2d,
    "product": lambda graph, result, settings: graph.add("Mul", result, *graph.inputs(result)),
    "relu": lambda graph, result, settings: graph.add("Relu", result),
    "relu6": lambda graph, result, settings: graph.add("Clip", result, graph.constant(0.0), graph.constant(6.0)),
    "select": _select,
    "sigmoid": lambda graph, result, settings: graph.add("Sigmoid", result),
    "soft_mask": _soft_mask,
    "subsample_and_pad": _subsample_and_pad,
    "upsample": _upsample,
}
"""The functions that add the nodes of operations, by the names of these."""
