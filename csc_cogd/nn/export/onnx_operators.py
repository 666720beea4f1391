"""The operators of ONNX, each read by a function into steps and layers of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil
from typing import Any

import numpy as np

from csc_cogd.nn.export.onnx_graph import Node, Reader, Settings
from csc_cogd.nn.functions.joining import ALL
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Linear
from csc_cogd.nn.module import Parameter


def _sides(reader: Reader, node: Node, kernel: list[int], strides: list[int]) -> tuple[int, int, int, int]:
    """Return the widths of the frame around a node's images: top, left, bottom, right."""
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID"):
        top, left, bottom, right = (*node.get("pads", (0, 0, 0, 0)),) if auto == "NOTSET" else (0, 0, 0, 0)
        return top, left, bottom, right
    sides = []
    for side, k, s in zip(reader.size(node), kernel, strides, strict=True):
        total = max((ceil(side / s) - 1) * s + k - side, 0)
        sides.append((total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2))
    return sides[0][0], sides[1][0], sides[0][1], sides[1][1]


def _only(node: Node, wanted: Settings) -> None:
    """Refuse attributes of other values than these."""
    for name, value in wanted.items():
        found = node.get(name, value)
        if list(np.ravel(found)) != list(np.ravel(value)):
            raise node.refused(f"has {name} {found}, where only {value} is known")


def _conv(reader: Reader, node: Node) -> None:
    kernels = reader.constant(node, 1)
    if kernels.ndim != 4:
        raise node.refused("isn't over two dimensions")
    _only(node, {"dilations": [1, 1]})
    strides, groups = list(node.get("strides", [1, 1])), node.get("group", 1)
    sides = _sides(reader, node, list(kernels.shape[2:]), strides)
    symmetric = sides[:2] == sides[2:]
    source = "" if symmetric else reader.before(node, "pad2d", {"sides": sides})
    biased = reader.has(node, 2)
    O, C = len(kernels), kernels.shape[1] * groups  # noqa: E741
    layer = Conv2d(
        C, O, (kernels.shape[2], kernels.shape[3]), None, stride=(strides[0], strides[1]),
        padding=sides[:2] if symmetric else 0, groups=groups, bias=biased,
    )  # fmt: skip
    arrays = {"weight": kernels} | ({"bias": reader.constant(node, 2)} if biased else {})
    reader.add_layer(node, layer, arrays, source)


def _batch_norm(reader: Reader, node: Node) -> None:
    scale, shift, mean, variance = (reader.constant(node, place) for place in (1, 2, 3, 4))
    layer = BatchNorm2d(len(scale), epsilon=node.get("epsilon", 1e-5))
    reader.add_layer(node, layer, {"weight": scale, "bias": shift, "running_mean": mean, "running_var": variance})


def _gemm(reader: Reader, node: Node) -> None:
    _only(node, {"alpha": 1.0, "beta": 1.0, "transA": 0})
    weights = reader.constant(node, 1)
    weights = weights if node.get("transB", 0) else weights.T
    biases = reader.constant(node, 2).ravel() if reader.has(node, 2) else np.zeros(len(weights))
    _linear(reader, node, weights, biases)


def _linear(reader: Reader, node: Node, weights: np.ndarray, biases: np.ndarray) -> None:
    layer = Linear(weights.shape[1], len(weights), None)
    reader.add_layer(node, layer, {"weight": weights, "bias": np.broadcast_to(biases, len(weights))})


def _matmul(reader: Reader, node: Node) -> None:
    weights = reader.constant(node, 1).T
    if weights.ndim != 2:
        raise node.refused("isn't by a matrix")
    _linear(reader, node, weights, np.zeros(len(weights)))


def _add(reader: Reader, node: Node) -> None:
    values, constants = _parted(reader, node)
    if not constants:
        return reader.step(node, "add", *values)
    last = reader.steps[-1] if reader.steps else None
    array = np.ravel(reader.constants[constants[0]])
    layer = reader.layers.get(last.layer) if last is not None else None
    if last is None or last.output != reader.names.get(values[0]) or not isinstance(layer, (Linear, Conv2d)):
        raise node.refused("adds a constant to what isn't the result of a convolution or a matrix")
    bias = np.broadcast_to(array.astype(np.float32), len(layer.weight.array))
    layer.bias = Parameter(bias.copy() if layer.bias is None else layer.bias.array + bias)
    reader.names[node.output] = last.output
    return None


def _mul(reader: Reader, node: Node) -> None:
    values, constants = _parted(reader, node)
    if not constants:
        shapes = [reader.shapes.get(name, ()) for name in values]
        one_pixel = [len(shape) == 4 and tuple(shape[2:]) == (1, 1) for shape in shapes]
        return reader.step(node, "product", *(reversed(values) if one_pixel == [True, False] else values))
    factor = reader.constants[constants[0]]
    if factor.size != 1:
        raise node.refused("multiplies by a constant that isn't one number")
    return reader.step(node, "multiply", *values, settings={"factor": float(factor.item())})


def _parted(reader: Reader, node: Node) -> tuple[list[str], list[str]]:
    """Return the names of a node's inputs that are computed, and of those that are constants."""
    constants = [name for name in node.inputs if name in reader.constants]
    return [name for name in node.inputs if name not in reader.constants], constants


def _clip(reader: Reader, node: Node) -> None:
    limits = []
    for place, name, default in ((1, "min", -np.inf), (2, "max", np.inf)):
        limits.append(reader.number(node, place) if reader.has(node, place) else float(node.get(name, default)))
    if limits == [0, 6]:
        reader.step(node, "relu6")
    elif limits == [0, np.inf]:
        reader.step(node, "relu")
    else:
        reader.step(node, "clip", settings={"low": limits[0], "high": limits[1]})


def _pool(reader: Reader, node: Node) -> None:
    _only(node, {"dilations": [1, 1]})
    kernel = list(node.get("kernel_shape", []))
    if len(kernel) != 2:
        raise node.refused("isn't over two dimensions")
    strides = list(node.get("strides", [1, 1]))
    sides = list(_sides(reader, node, kernel, strides))
    rounded_up = bool(node.get("ceil_mode", 0))
    if rounded_up:
        for axis, side in enumerate(reader.size(node)):
            padded = side + sides[axis] + sides[axis + 2]
            count = ceil((padded - kernel[axis]) / strides[axis]) + 1
            count -= (count - 1) * strides[axis] >= side + sides[axis]  # a window that would begin behind the image
            sides[axis + 2] += max((count - 1) * strides[axis] + kernel[axis] - padded, 0)
    settings: Settings = {"kernel": tuple(kernel), "stride": tuple(strides)}
    if node.kind == "AveragePool" and any(sides):
        if rounded_up or not node.get("count_include_pad", 0):
            raise node.refused("takes means over windows that are partly outside of the image")
        return reader.step(node, "avg_pool2d", reader.before(node, "pad2d", {"sides": tuple(sides)}), settings=settings)
    if node.kind == "AveragePool":
        return reader.step(node, "avg_pool2d", settings=settings)
    if sides[:2] == sides[2:] and all(2 * side <= k for side, k in zip(sides, kernel * 2, strict=True)):
        return reader.step(
            node, "max_pool2d", settings={"padding": (sides[0], sides[1]), "kernel": tuple(kernel), "stride": tuple(strides)}
        )
    source = reader.before(node, "pad2d", {"sides": tuple(sides), "value": -np.inf})
    return reader.step(node, "max_pool2d", source, settings=settings)


def _reduce_mean(reader: Reader, node: Node) -> None:
    axes = reader.constant(node, 1) if reader.has(node, 1) else np.array(node.get("axes", []))
    if sorted(axis % 4 for axis in axes.ravel().tolist()) != [2, 3]:
        raise node.refused("isn't over the pixels of images")
    reader.step(node, "global_avg_pool2d", settings={"keep": bool(node.get("keepdims", 1))})


def _flatten(reader: Reader, node: Node) -> None:
    """Make vectors of images; what is a vector already stays."""
    if node.kind == "Reshape" and _reshape_channels(reader, node):
        return None
    if node.kind == "Reshape" and node.inputs[1] in reader.constants:
        wanted = reader.constant(node, 1).tolist()
        if len(wanted) != 2:
            raise node.refused(f"reshapes to {wanted}, where only vectors are known")
    elif node.kind != "Squeeze":
        _only(node, {"axis": 1})
    if len(reader.shapes.get(node.inputs[0], (0,) * 4)) == 2:
        return _same(reader, node)
    return reader.step(node, "flatten")


def _reshape_channels(reader: Reader, node: Node) -> bool:
    """Read a Reshape that parts the channels of images, or joins parted ones again; return whether it is one."""
    source, shape = node.inputs[0], tuple(reader.shapes.get(node.output, ()))
    if source in reader.folded:
        name, numbers = reader.folded[source]
        same_pixels = len(shape) == 4 and shape[2:] == tuple(reader.shapes[name][2:])
        if not same_pixels or (isinstance(shape[1], int) and shape[1] != numbers.size):
            raise node.refused("joins channels with other axes")
        reader.step(node, "select", name, settings={"channels": numbers.ravel()})
        return True
    before = tuple(reader.shapes.get(source, ()))
    if len(shape) != 5 or len(before) != 4 or shape[3:] != before[2:]:
        return False
    C = reader.channels(node)
    if not all(isinstance(size, int) for size in shape[1:3]) or shape[1] * shape[2] != C:
        return False
    reader.folded[node.output] = source, np.arange(C).reshape(shape[1:3])
    return True


def _transpose(reader: Reader, node: Node) -> None:
    if node.inputs[0] not in reader.folded or list(node.get("perm", [])) != [0, 2, 1, 3, 4]:
        raise node.refused("isn't part of a shuffle of channels")
    name, numbers = reader.folded[node.inputs[0]]
    reader.folded[node.output] = name, numbers.T


def _select(reader: Reader, node: Node, ranges: Mapping[int, tuple[int, int | None, int]]) -> None:
    """Add a step for ranges, as of slices, along axes of images."""
    shape = reader.shapes.get(node.inputs[0], (0,) * 4)
    if len(shape) != 4:
        raise node.refused("isn't of images")
    by_axis = {axis % 4: one for axis, one in ranges.items()}
    if by_axis.get(0, ALL) != ALL:
        raise node.refused("parts images from each other")
    if any(step < 1 for _, _, step in by_axis.values()):
        raise node.refused("goes backwards")
    settings: dict[str, Any] = {"rows": by_axis.get(2, ALL), "columns": by_axis.get(3, ALL)}
    if by_axis.get(1, ALL) != ALL:
        settings["channels"] = np.arange(reader.channels(node))[slice(*by_axis[1])]
    reader.step(node, "select", settings=settings)


def _slice(reader: Reader, node: Node) -> None:
    if len(node.inputs) > 1:
        starts, ends = (reader.constant(node, place).ravel().tolist() for place in (1, 2))
    else:
        starts, ends = list(node.get("starts", [])), list(node.get("ends", []))
    axes = reader.constant(node, 3).ravel().tolist() if reader.has(node, 3) else list(node.get("axes", range(len(starts))))
    steps = reader.constant(node, 4).ravel().tolist() if reader.has(node, 4) else [1] * len(starts)
    stops = [None if end >= np.iinfo(np.int32).max else end for end in ends]
    _select(reader, node, dict(zip(axes, zip(starts, stops, steps, strict=True), strict=True)))


def _split(reader: Reader, node: Node) -> None:
    axis, shape = node.get("axis", 0), reader.shapes.get(node.inputs[0], ())
    if reader.has(node, 1):
        sizes = reader.constant(node, 1).tolist()
    elif "split" in node.given:
        sizes = list(node.get("split", []))
    else:
        size = shape[axis] if len(shape) == 4 else None
        if not isinstance(size, int):
            raise node.refused("needs images of a known size")
        each = ceil(size / len(node.outputs))
        sizes = [each] * (len(node.outputs) - 1)
        sizes.append(size - sum(sizes))
    ends = np.cumsum([0, *sizes]).tolist()
    for name, start, end in zip(node.outputs, ends[:-1], ends[1:], strict=True):
        _select(reader, node._replace(output=name), {axis: (start, end, 1)})


def _gather(reader: Reader, node: Node) -> None:
    indices, axis = reader.constant(node, 1), node.get("axis", 0)
    if node.inputs[0] in reader.constants:
        reader.constants[node.output] = np.take(reader.constants[node.inputs[0]], indices, axis)
        return
    if axis != 1 or indices.ndim != 1:
        raise node.refused("gathers other things than channels")
    reader.step(node, "select", settings={"channels": indices % reader.channels(node)})


def _quantization(reader: Reader, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the zero point of a node, whose type is that of its integers."""
    scale = reader.constant(node, 1)
    return scale, reader.constant(node, 2) if reader.has(node, 2) else np.zeros(scale.shape, np.uint8)


def _quantize(reader: Reader, node: Node) -> None:
    scale, zero = _quantization(reader, node)
    if scale.size != 1:
        raise node.refused("has a scale for each channel, which is known for weights only")
    limits = np.iinfo(zero.dtype)
    settings = {
        "scale": float(scale.item()),
        "zero_point": int(zero.item()),
        "low": int(limits.min),
        "high": int(limits.max),
    }
    reader.quantized[node.output] = node.inputs[0], settings


def _dequantize(reader: Reader, node: Node) -> None:
    scale, zero = _quantization(reader, node)
    if node.inputs[0] in reader.constants:
        values = reader.constants[node.inputs[0]].astype(np.float64)
        if scale.size > 1:
            along = [-1 if axis == node.get("axis", 1) % values.ndim else 1 for axis in range(values.ndim)]
            scale, zero = scale.reshape(along), zero.reshape(along)
        reader.constants[node.output] = ((values - zero.astype(np.float64)) * scale).astype(np.float32)
        return
    if node.inputs[0] not in reader.quantized:
        raise node.refused("needs a QuantizeLinear before it")
    name, settings = reader.quantized[node.inputs[0]]
    if (scale.size, zero.size) != (1, 1) or (scale.item(), zero.item()) != (settings["scale"], settings["zero_point"]):
        raise node.refused("has another scale or zero point than the QuantizeLinear before it")
    reader.step(node, "fake_quantize", name, settings=settings)


def _same(reader: Reader, node: Node) -> None:
    if node.inputs[0] in reader.constants:
        reader.constants[node.output] = reader.constants[node.inputs[0]]
        return
    reader.names[node.output] = reader.value(node, node.inputs[0])


def _concat(reader: Reader, node: Node) -> None:
    _only(node, {"axis": 1})
    if all(name in reader.sizes or name in reader.constants for name in node.inputs):
        reader.sizes.add(node.output)
    else:
        reader.step(node, "concatenate", *node.inputs)


def _pad(reader: Reader, node: Node) -> None:
    _only(node, {"mode": "constant"})
    pads = (reader.constant(node, 1) if reader.has(node, 1) else np.array(node.get("pads", []))).ravel().tolist()
    value = reader.number(node, 2) if reader.has(node, 2) else float(node.get("value", 0.0))
    if len(pads) != 8 or pads[0] or pads[4] or (value and (pads[1] or pads[5])):
        raise node.refused("pads other sides than those of images, or channels of other values than zero")
    sides, source = (pads[2], pads[3], pads[6], pads[7]), ""
    if pads[1] or pads[5]:
        channels = np.concatenate([np.full(pads[1], -1), np.arange(reader.channels(node)), np.full(pads[5], -1)])
        if not any(sides):
            return reader.step(node, "select", settings={"channels": channels})
        source = reader.before(node, "select", {"channels": channels})
    return reader.step(node, "pad2d", *([source] if source else ()), settings={"sides": sides, "value": value})


def _resize(reader: Reader, node: Node) -> None:
    _only(node, {"mode": "nearest"})
    if reader.has(node, 3):
        before, after = np.array(reader.size(node)), reader.constant(node, 3)[2:]
        scales = after / before
    else:
        scales = reader.constant(node, 1 if node.kind == "Upsample" else 2)[2:]
    factor = round(float(scales[0]))
    if list(scales) != [factor, factor] or factor < 1:
        raise node.refused(f"resizes by {list(scales)}, where only whole numbers, equal in both directions, are known")
    if node.get("coordinate_transformation_mode", "half_pixel") in ("align_corners", "tf_crop_and_resize"):
        raise node.refused("aligns corners")
    reader.step(node, "upsample", settings={"factor": factor})


def _named(what: str) -> Callable[[Reader, Node], None]:
    return lambda reader, node: reader.step(node, what)


OPERATORS: dict[str, Callable[[Reader, Node], None]] = {
    "Add": _add,
    "AveragePool": _pool,
    "BatchNormalization": _batch_norm,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "DequantizeLinear": _dequantize,
    "Dropout": _same,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda reader, node: reader.step(node, "global_avg_pool2d", settings={"keep": True}),
    "HardSigmoid": lambda reader, node: reader.step(
        node, "hard_sigmoid", settings={"slope": float(node.get("alpha", 0.2)), "middle": float(node.get("beta", 0.5))}
    ),
    "HardSwish": _named("hard_swish"),
    "Identity": _same,
    "MatMul": _matmul,
    "MaxPool": _pool,
    "Mul": _mul,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "ReduceMean": _reduce_mean,
    "Relu": _named("relu"),
    "Reshape": _flatten,
    "Resize": _resize,
    "Sigmoid": _named("sigmoid"),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _flatten,
    "Transpose": _transpose,
    "Upsample": _resize,
}
"""The functions that read nodes, by the names of their operators."""
