"""Networks of other programs compute here what onnxruntime computes, and can be pruned and written again."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import (
    FlopsModel,
    ImageSet,
    Normalization,
    Tensor,
    build_network,
    channel_groups,
    channel_scores,
    count_flops,
    export_onnx,
    import_onnx,
    keep_within,
    no_grad,
    quantize_onnx,
    remove_channels,
)

onnx = pytest.importorskip("onnx", reason="onnx isn't installed: pip install '.[test]'")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime isn't installed: pip install '.[test]'")


class Graph:
    """Nodes, as they are added, and constants."""

    def __init__(self, shape=(3, 12, 10), seed=0):
        self.nodes, self.constants, self.shape = [], {}, shape
        self.rng = np.random.default_rng(seed)

    def constant(self, values, name=None):
        name = name or f"c{len(self.constants)}"
        self.constants[name] = np.asarray(values, np.float32 if np.asarray(values).dtype.kind == "f" else np.int64)
        return name

    def random(self, *shape, name=None):
        scale = np.sqrt(2 / max(np.prod(shape[1:]), 1))
        return self.constant(self.rng.standard_normal(shape) * scale, name)

    def add(self, kind, *inputs, **attributes):
        output = f"v{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [output], **attributes))
        return output

    def conv(self, x, inputs, outputs, kernel=3, bias=False, name=None, **attributes):
        group = attributes.get("group", 1)
        weights = [self.random(outputs, inputs // group, kernel, kernel, name=name), *[self.random(outputs)] * bias]
        return self.add("Conv", x, *weights, **attributes)

    def norm(self, x, channels):
        positive = [self.constant(self.rng.uniform(0.5, 1.5, channels)) for _ in range(2)]
        other = [self.constant(self.rng.standard_normal(channels) * 0.2) for _ in range(2)]
        return self.add("BatchNormalization", x, positive[0], *other, positive[1])

    def excited(self, x, channels):
        """Squeeze and excitation."""
        y = self.add("GlobalAveragePool", x)
        y = self.add("Relu", self.conv(y, channels, 4, 1, bias=True))
        return self.add("Mul", x, self.add("Sigmoid", self.conv(y, 4, channels, 1, bias=True)))

    def save(self, path, output, opset=17, open_size=False):
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        shape = ["N", self.shape[0], "H", "W"] if open_size else ["N", *self.shape]
        graph = helper.make_graph(
            self.nodes, "g", [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info(output, kind, None)],
            [onnx.numpy_helper.from_array(array, name) for name, array in self.constants.items()],
        )  # fmt: skip
        versions = [helper.make_opsetid("", opset)]
        ir_version = helper.find_min_ir_version_for(versions)
        onnx.save(helper.make_model(graph, opset_imports=versions, ir_version=ir_version), path)
        return path


def by_onnxruntime(path, x, as_written=False):
    """What onnxruntime computes; `as_written`, not by fused kernels of integers, which round sums another time."""
    options = runtime.SessionOptions()
    if as_written:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def computed(network, x):
    with no_grad(), network.evaluating():
        return network(Tensor(x)).array


def assert_equal(found, expected):
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())


def residual(graph):
    x = graph.add("Relu", graph.norm(graph.conv("x", 3, 8, pads=[1, 1, 1, 1]), 8))
    y = graph.add("Relu", graph.norm(graph.conv(x, 8, 12, pads=[1, 1, 1, 1]), 12))
    x = graph.add("Add", graph.norm(graph.conv(y, 12, 8, pads=[1, 1, 1, 1]), 8), x)
    pooled = graph.add("Flatten", graph.add("GlobalAveragePool", graph.add("Relu", x)))
    return graph.add("Gemm", pooled, graph.random(5, 8), graph.random(5), transB=1)


def concatenated(graph):
    """As in DenseNet, whose norms see what several convolutions have made."""
    x = graph.conv("x", 3, 6, pads=[1, 1, 1, 1])
    for channels in (6, 10, 14):
        y = graph.add("Relu", graph.norm(x, channels))
        x = graph.add("Concat", x, graph.conv(y, channels, 4, pads=[1, 1, 1, 1]), axis=1)
    x = graph.conv(graph.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), 18, 7, 1)
    x = graph.add("AveragePool", x, kernel_shape=[2, 2])
    return graph.add("Flatten", graph.add("GlobalAveragePool", x))


def excited(graph):
    """As in EfficientNet: SiLU, depthwise convolution with an uneven frame, squeeze and excitation."""
    x = graph.conv("x", 3, 8, strides=[2, 2], pads=[0, 0, 1, 1])
    x = graph.add("Mul", x, graph.add("Sigmoid", x))
    y = graph.add("HardSwish", graph.conv(x, 8, 16, 1, bias=True))
    y = graph.norm(graph.conv(y, 16, 16, group=16, auto_pad="SAME_UPPER"), 16)
    y = graph.excited(graph.add("Clip", y, graph.constant(0.0), graph.constant(6.0)), 16)
    x = graph.add("Add", graph.conv(y, 16, 8, 1), x)
    x = graph.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    return graph.add("Add", graph.add("MatMul", x, graph.random(8, 4)), graph.random(4))


def vectors(graph):
    """As in VGG: a matrix meets each pixel of each channel."""
    x = graph.add("Relu", graph.conv("x", 3, 6, bias=True, pads=[1, 1, 1, 1], name="features.0.weight"))
    x = graph.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = graph.add("Relu", graph.conv(x, 6, 5, bias=True, pads=[1, 1, 1, 1], name="features.3.weight"))
    x = graph.add("Dropout", graph.add("Reshape", x, graph.constant(np.array([-1, 5 * 6 * 5]))))
    x = graph.add("Relu", graph.add("Gemm", x, graph.random(150, 9), graph.random(9)))
    return graph.add("Gemm", x, graph.random(9, 4), graph.random(4))


def resized(graph):
    x = graph.add("Pad", "x", graph.constant(np.array([0, 0, 1, 2, 0, 0, 0, 1])), graph.constant(0.5))
    x = graph.conv(graph.conv(x, 3, 30, 1), 30, 6, strides=[2, 2])
    scales = graph.constant([1.0, 1.0, 2.0, 2.0])
    x = graph.add("Resize", x, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    x = graph.add("Mul", graph.add("Clip", graph.conv(x, 6, 6, group=2), graph.constant(-0.5)), graph.constant(2.0))
    x = graph.add("HardSigmoid", graph.conv(graph.conv(x, 6, 9, 1), 9, 5, 1), alpha=0.3)
    shape = graph.add("Gather", graph.add("Shape", x), graph.constant(np.array(0)))
    sizes = graph.add("Concat", graph.add("Unsqueeze", shape, graph.constant(np.array([0]))), graph.constant([-1]), axis=0)
    return graph.add("Reshape", graph.add("GlobalAveragePool", x), sizes)


FORMS = [residual, concatenated, excited, vectors, resized]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_outputs_are_equal_before_and_after_pruning_and_out_again(form, tmp_path, rng):
    graph = Graph()
    path = graph.save(tmp_path / "a.onnx", form(graph))
    x = rng.standard_normal((3, *graph.shape)).astype(np.float32)
    network, shape, _ = import_onnx(path)
    assert shape == graph.shape
    assert_equal(computed(network, x), by_onnxruntime(path, x))

    model = FlopsModel(network, image_shape=shape)
    assert model.flops() == count_flops(network, image_shape=shape)
    groups = channel_groups(network, image_shape=shape)
    scores = channel_scores(network, groups, "group")
    kept = keep_within(model, scores, 0.6, ranking="global")
    smaller = remove_channels(network, kept, image_shape=shape)
    flops = count_flops(smaller, image_shape=shape)
    assert 0.3 * model.flops() < flops <= 0.6 * model.flops()
    assert flops == model.flops({name: len(channels) for name, channels in kept.items()})
    export_onnx(smaller, tmp_path / "b.onnx", image_shape=shape)
    assert_equal(by_onnxruntime(tmp_path / "b.onnx", x), computed(smaller, x))
    assert_equal(computed(import_onnx(tmp_path / "b.onnx").network, x), computed(smaller, x))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_what_is_removed_is_what_its_weights_were(form, tmp_path, rng):
    """Channels whose weights, on all sides, are zero can be removed without any change, wherever they are met."""
    graph = Graph(seed=3)
    network, shape, _ = import_onnx(graph.save(tmp_path / "a.onnx", form(graph)))
    groups = channel_groups(network, image_shape=shape)
    assert groups
    modules = dict(network.named_modules())
    kept = {}
    for name, group in groups.items():
        kept[name] = np.sort(rng.permutation(group.n_channels)[: -(-group.n_channels // 2)])
        removed = np.setdiff1d(np.arange(group.n_channels), kept[name])
        for member in group.of_role("input"):
            array = np.moveaxis(modules[member.layer].get_array(member.array), member.axis, 0)
            array[member.entries(removed)] = 0
    x = rng.standard_normal((2, *shape)).astype(np.float32)
    assert_equal(computed(remove_channels(network, kept, image_shape=shape), x), computed(network, x))


def strided(graph):
    """Every second pixel, as of torch's x[:, :, ::2, ::2], and all but a frame."""
    y = graph.add("Relu", graph.conv("x", 3, 8, bias=True, pads=[1, 1, 1, 1]))
    largest = np.iinfo(np.int64).max
    for axis in (2, 3):
        y = graph.add("Slice", y, *map(graph.constant, ([0], [largest], [axis], [2])))
    y = graph.add("Slice", y, *map(graph.constant, ([1, -4], [-1, largest], [-2, -1])))
    return graph.add("Gemm", graph.add("Flatten", y), graph.random(5, 8 * 4 * 4), graph.random(5), transB=1)


def shuffled(graph):
    """ShuffleNet's unit: half of the channels stay, the other half is convolved, and all are shuffled."""
    y = graph.add("Relu", graph.conv("x", 3, 8, bias=True))
    parts = [f"{y}, {half}" for half in "ab"]
    graph.nodes.append(onnx.helper.make_node("Split", [y], parts, axis=1, num_outputs=2))
    z = graph.add("Relu", graph.norm(graph.conv(parts[1], 4, 4, pads=[1, 1, 1, 1]), 4))
    y = graph.add("Concat", parts[0], z, axis=1)
    y = graph.add("Reshape", y, graph.constant(np.array([-1, 2, 4, 10, 8])))
    y = graph.add("Reshape", graph.add("Transpose", y, perm=[0, 2, 1, 3, 4]), graph.constant(np.array([-1, 8, 10, 8])))
    y = graph.add("Slice", y, *map(graph.constant, ([2], [8], [1])))
    y = graph.add("Gather", y, graph.constant(np.array([5, -1, 0])), axis=1)
    y = graph.add("Pad", y, graph.constant(np.array([0, 1, 0, 0, 0, 2, 1, 0])))
    y = graph.add("Flatten", graph.add("GlobalAveragePool", graph.conv(y, 6, 6, kernel=1)))
    return graph.add("Gemm", y, graph.random(5, 6), graph.random(5), transB=1)


def test_channels_are_shuffled_also_where_the_number_of_images_is_computed(tmp_path, rng):
    graph = Graph()
    y = graph.conv("x", 3, 8, bias=True)
    first = graph.add("Gather", graph.add("Shape", y), graph.constant(np.array([0])), axis=0)
    parted = graph.add("Concat", first, graph.constant(np.array([2, 4, 10, 8])), axis=0)
    joined = graph.add("Concat", first, graph.constant(np.array([-1, 10, 8])), axis=0)
    z = graph.add("Transpose", graph.add("Reshape", y, parted), perm=[0, 2, 1, 3, 4])
    z = graph.conv(graph.add("Reshape", z, joined), 8, 2, kernel=1)
    path = graph.save(tmp_path / "a.onnx", graph.add("Flatten", z))
    x = rng.standard_normal((2, *graph.shape)).astype(np.float32)
    assert_equal(computed(import_onnx(path).network, x), by_onnxruntime(path, x))


@pytest.mark.parametrize(
    ("form", "kinds", "prunable"),
    [(strided, {"Slice"}, "conv0"), (shuffled, {"Split", "Slice", "Gather", "Transpose"}, "conv3")],
)
def test_parts_of_images_are_selected_as_elsewhere(form, kinds, prunable, tmp_path, rng):
    graph = Graph()
    path = graph.save(tmp_path / "a.onnx", form(graph), opset=18)
    assert kinds <= {node.op_type for node in graph.nodes}
    network, shape, _ = import_onnx(path)
    x = rng.standard_normal((2, *graph.shape)).astype(np.float32)
    expected = by_onnxruntime(path, x)
    assert_equal(computed(network, x), expected)
    export_onnx(network, tmp_path / "again.onnx", image_shape=shape)
    assert_equal(by_onnxruntime(tmp_path / "again.onnx", x), expected)
    assert_equal(computed(import_onnx(tmp_path / "again.onnx").network, x), expected)
    groups = channel_groups(network, image_shape=graph.shape)
    assert list(groups) == [prunable]  # elsewhere, channels change their places
    for name, group in groups.items():  # channels that are silent don't count
        silent = network.state_dict()
        for member in group.of_role("output", "own"):
            if member.array != "running_var":
                np.moveaxis(silent[member.key], member.axis, 0)[member.entries(np.array([0]))] = 0
        network.load_state_dict(silent)
        smaller = remove_channels(network, {name: np.arange(1, group.n_channels)}, image_shape=graph.shape)
        assert_equal(computed(smaller, x), computed(network, x))


@pytest.mark.parametrize(("name", "share"), [("resnet20", 0.85), ("mobilenetv2", 0.75)])
def test_what_was_exported_in_integers_comes_back(name, share, tmp_path, rng):
    network = build_network(name, 4, seed=1)
    about = {"class_names": ["a", "b", "c", "d"]}
    export_onnx(network, tmp_path / "a.onnx", image_shape=(3, 16, 16), metadata=about)
    images = ImageSet(rng.integers(0, 256, (64, 16, 16, 3), np.uint8), np.arange(64) % 4, tuple("abcd"))
    normalization = Normalization([0.5] * 3, [0.25] * 3)
    quantize_onnx(tmp_path / "a.onnx", tmp_path / "int8.onnx", images, normalization=normalization)
    again = import_onnx(tmp_path / "int8.onnx")
    x = ((images.images[:16] / 255 - 0.5) / 0.25).transpose(0, 3, 1, 2).astype(np.float32)
    expected = by_onnxruntime(tmp_path / "int8.onnx", x, as_written=True)
    found = computed(again.network, x)

    def share_equal(ours, theirs):  # but for sums so near halves that their order tells how they are rounded
        return np.isclose(ours, theirs, rtol=1e-4, atol=1e-4).mean()

    assert share_equal(found, expected) > share
    assert share_equal(computed(network, x), expected) < 0.1
    export_onnx(again.network, tmp_path / "out.onnx", image_shape=(3, 16, 16))
    assert share_equal(by_onnxruntime(tmp_path / "out.onnx", x, as_written=True), expected) > share
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(tmp_path / "out.onnx").graph.node}


def test_layers_are_named_by_their_weights_and_sizes_may_be_open(tmp_path, rng):
    graph = Graph()
    network, _, _ = import_onnx(graph.save(tmp_path / "a.onnx", vectors(graph)))
    assert [name for name, _ in network.named_modules()][1:] == ["features.0", "features.3", "gemm2", "gemm3"]
    graph = Graph()
    path = graph.save(tmp_path / "open.onnx", residual(graph), open_size=True)
    network, shape, _ = import_onnx(path)
    assert shape is None
    x = rng.standard_normal((2, 3, 9, 14)).astype(np.float32)
    assert_equal(computed(network, x), by_onnxruntime(path, x))


def test_what_was_exported_comes_back_with_what_is_said_of_it(tmp_path, rng):
    network = build_network("mobilenetv2", 4, seed=1)
    about = {"class_names": ["a", "b", "c", "d"], "norm_mean": [0.5, 0.5, 0.5]}
    export_onnx(network, tmp_path / "a.onnx", image_shape=(3, 16, 16), metadata=about)
    again, shape, metadata = import_onnx(tmp_path / "a.onnx")
    assert (shape, metadata) == ((3, 16, 16), about)
    x = rng.standard_normal((2, 3, 16, 16)).astype(np.float32)
    assert_equal(computed(again, x), computed(network, x))


def test_an_imported_network_has_gradients(tmp_path, rng):
    graph = Graph()
    network, _, _ = import_onnx(graph.save(tmp_path / "a.onnx", excited(graph)))
    network.to("cpu", "float64")
    x = rng.standard_normal((2, *graph.shape))
    with network.evaluating():
        network(Tensor(x)).backward(np.ones((2, 4)))
        for parameter in network.parameters():
            direction = rng.standard_normal(parameter.shape)
            before, sums = parameter.array, []
            for step in (1e-6, -1e-6):
                parameter.array = before + step * direction
                sums.append(computed(network, x).sum())
            parameter.array = before
            assert (parameter.grad * direction).sum() == pytest.approx((sums[0] - sums[1]) / 2e-6, rel=1e-4, abs=1e-6)


def test_what_is_unknown_is_refused(tmp_path):
    def refused(message, build):
        graph = Graph()
        path = graph.save(tmp_path / "a.onnx", build(graph))
        with pytest.raises(InputError, match=rf"a\.onnx: {message}"):
            import_onnx(path)

    refused("has the operator Erf, which isn't known: use others: Add, ", lambda g: g.add("Erf", "x"))
    refused("has a node Conv .* dilations", lambda g: g.conv("x", 3, 4, dilations=[2, 2]))
    refused("has a node Mul .* constant that isn't one number", lambda g: g.add("Mul", "x", g.random(3, 1, 1)))
    refused("has a node Reshape .* only vectors", lambda g: g.add("Reshape", "x", g.constant(np.array([0, 3, -1]))))
    refused(
        "has a node Slice .* isn't of images", lambda g: g.add("Slice", g.add("Flatten", "x"), *map(g.constant, ([0], [2])))
    )
    refused("has a node Slice .* backwards", lambda g: g.add("Slice", "x", *map(g.constant, ([-1], [-9], [2], [-1]))))
    refused("has a node Slice .* parts images from each", lambda g: g.add("Slice", "x", *map(g.constant, ([0], [1], [0]))))
    refused("has a node Transpose .* shuffle", lambda g: g.add("Transpose", "x", perm=[0, 2, 1, 3]))
    refused("has a node Gather .* channels", lambda g: g.add("Gather", "x", g.constant(np.array([0])), axis=2))
    refused("has a node Pad .* other values", lambda g: g.add("Pad", "x", g.constant([0, 1] + [0] * 6), g.constant(2.0)))
    refused("has a node Concat .* axis", lambda g: g.add("Concat", "x", "x", axis=2))
    (tmp_path / "bad.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=r"bad\.onnx: can't be read as ONNX"):
        import_onnx(tmp_path / "bad.onnx")
    with pytest.raises(InputError, match=r"none\.onnx: no such file of a network"):
        import_onnx(tmp_path / "none.onnx")
