"""Import of convolutional networks from ONNX, into the layers of this package."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.export.onnx_graph import Node, Reader
from csc_cogd.nn.export.onnx_operators import OPERATORS
from csc_cogd.nn.networks.graph import GraphNetwork, Step
from csc_cogd.nn.saving import parsed_metadata
from csc_cogd.nn.tracing import Shape


class ImportedNetwork(NamedTuple):
    """A network of another program.

    Attributes
    ----------
    network : GraphNetwork
    image_shape : (C, H, W) or None
        Shape of its images, None where the file leaves it open.
    metadata : mapping
        What the file says besides, parsed where it is JSON, else text.
    """

    network: GraphNetwork
    image_shape: Shape | None
    metadata: Mapping[str, Any]


def import_onnx(path: str | os.PathLike[str]) -> ImportedNetwork:
    """Read a convolutional network from an ONNX file: float32, on the CPU, in training mode.

    Known are Conv, BatchNormalization, Gemm, MatMul with Add, Relu, Clip, Sigmoid, HardSigmoid, HardSwish, Add, Mul, Concat,
    MaxPool, AveragePool, GlobalAveragePool and ReduceMean over pixels, Flatten and Reshape to vectors, Pad by a constant,
    Slice, Split and Gather of channels and pixels, Reshape and Transpose that shuffle channels, Resize to repeated pixels,
    Dropout and Identity. SiLU is Mul and Sigmoid. Networks in integers of 8 bits, by QuantizeLinear and DequantizeLinear,
    come in as floats with :func:`csc_cogd.nn.functions.fake_quantize` between.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ImportedNetwork

    Raises
    ------
    InputError
        If the package onnx is missing, the file can't be read, or the network has another operator, or one with settings
        that have no counterpart here.
    """
    try:
        import onnx
    except ImportError:
        raise InputError("", "the package onnx is missing", "pip install 'csc-cogd[onnx]'") from None
    if not Path(path).is_file():
        raise InputError("", "no such file of a network", "check its path, and that it ends in .onnx", str(path))
    try:
        model = onnx.shape_inference.infer_shapes(onnx.load(os.fspath(path)), data_prop=True)
        reader = Reader(model.graph, onnx)
        return ImportedNetwork(
            _network(reader), reader.image_shape, parsed_metadata({one.key: one.value for one in model.metadata_props})
        )
    except InputError as error:
        raise error.about(str(path)) from None
    except Exception as error:  # whatever protobuf makes of a file that isn't one
        fix = "export the network again, as onnx.checker.check_model accepts it"
        raise InputError("", f"can't be read as ONNX ({type(error).__name__}: {error})", fix, str(path)) from None


def _network(reader: Reader) -> GraphNetwork:
    """Return the network of all nodes."""
    for node in reader.graph.node:
        given = {one.name: reader.helper.get_attribute_value(one) for one in node.attribute}
        if node.op_type == "Constant":
            reader.constants[node.output[0]] = (
                reader.to_array(given["value"]) if "value" in given else np.array(next(iter(given.values())))
            )
        elif node.op_type == "Shape" or any(name in reader.sizes for name in node.input[:1]):
            reader.sizes.update(node.output)
        elif node.op_type in OPERATORS:
            made = Node(node.op_type, list(node.input), node.output[0], given, list(node.output))
            OPERATORS[node.op_type](reader, made)
        else:
            known = ", ".join(sorted(OPERATORS))
            raise InputError("", f"has the operator {node.op_type}, which isn't known", f"use others: {known}")
    output = reader.names.get(reader.graph.output[0].name)
    if output is None or not reader.steps:
        raise InputError("", "must compute its output from its input")
    if output != reader.steps[-1].output:
        reader.steps.append(Step("multiply", (output,), "output", settings={"factor": 1.0}))
    return GraphNetwork(reader.layers, reader.steps)
