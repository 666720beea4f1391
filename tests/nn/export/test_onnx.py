"""ONNX: onnxruntime computes from the file what the network computes."""

import sys

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import (
    Module,
    Tensor,
    build_network,
    channel_groups,
    export_onnx,
    load_network,
    no_grad,
    remove_channels,
    save_checkpoint,
)  # fmt: skip
from csc_cogd.nn.functions import avg_pool2d, cross_entropy, global_avg_pool2d, max_pool2d, relu6
from csc_cogd.nn.layers import BatchNorm2d, Conv2d
from tests.nn.cases import cifar_test_images, filled


def logits(network, x):
    with no_grad(), network.evaluating():
        return network(Tensor(x)).array


def assert_onnxruntime_agrees(path, network, x):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime isn't installed: pip install '.[test]'")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for images in (x, x[:1]):  # any number of them
        (found,) = session.run(["logits"], {"images": images})
        expected = logits(network, images)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * abs(expected).max())
    return session


def made(name, masked=True):
    network = build_network(name, n_classes=7, masked=masked)
    network.load_state_dict(filled({key: array.shape for key, array in network.state_dict().items()}))
    return network


@pytest.fixture
def onnx():
    return pytest.importorskip("onnx", reason="onnx isn't installed: pip install '.[test]'")


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenetv2", "resnet50"])
def test_networks_with_all_channels_and_without_some(name, onnx, tmp_path, rng):
    network = made(name)
    groups = channel_groups(network)
    kept = {name: rng.permutation(group.n_channels)[: 1 + group.n_channels // 2] for name, group in groups.items()}
    x = rng.standard_normal((3, 3, 32, 32)).astype(np.float32)
    for whole in (True, False):
        if whole and name == "resnet50":  # which is large, and has nothing that a part of it hasn't
            continue
        given = network if whole else remove_channels(network, kept)
        export_onnx(given, tmp_path / f"{whole}.onnx")
        onnx.checker.check_model(onnx.load(tmp_path / f"{whole}.onnx"), full_check=True)
        assert_onnxruntime_agrees(tmp_path / f"{whole}.onnx", given, x)
    assert network.training


def test_onnxruntime_gives_the_logits_of_pytorch_for_pretrained_weights(onnx, research_data, tmp_path, pytorch):
    network = load_network(research_data / "weights" / "resnet20_cifar10.safetensors", "resnet20")
    x, _ = cifar_test_images(research_data, 64)
    export_onnx(network, tmp_path / "a.onnx")
    session = assert_onnxruntime_agrees(tmp_path / "a.onnx", network, x)
    np.testing.assert_allclose(session.run(None, {"images": x})[0], pytorch["resnet20 logits"], rtol=0, atol=1e-4)


def test_norms_are_folded_or_kept(onnx, tmp_path, rng):
    network = made("resnet20")
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    for fold_norms, count in ((True, 0), (False, 19)):
        path = tmp_path / f"{fold_norms}.onnx"
        export_onnx(network, path, fold_norms=fold_norms)
        kinds = [node.op_type for node in onnx.load(path).graph.node]
        assert (kinds.count("BatchNormalization"), kinds.count("Conv")) == (count, 19)
        assert_onnxruntime_agrees(path, network, x)


class EveryOperation(Module):
    def __init__(self, rng):
        self.conv1 = Conv2d(3, 4, (3, 5), rng, stride=(2, 1), padding=(1, 2), bias=True)
        self.bn1, self.bn2 = BatchNorm2d(4), BatchNorm2d(4)
        self.conv2 = Conv2d(4, 8, 3, rng, groups=2)

    def forward(self, x):
        y = self.conv1(max_pool2d(x, 3, stride=(2, 1), padding=1))
        y = relu6(self.bn1(y) * 5.0) + self.bn2(y)  # neither norm may be folded
        return avg_pool2d(self.conv2(y + Tensor(np.full_like(y.array, 0.5))), 2, stride=(1, 2))


def test_every_operation(onnx, tmp_path, rng):
    network = EveryOperation(rng)
    network.load_state_dict(filled({key: array.shape for key, array in network.state_dict().items()}))
    x = rng.standard_normal((2, 3, 17, 13)).astype(np.float32)
    export_onnx(network, tmp_path / "a.onnx", image_shape=(3, 17, 13))
    kinds = {node.op_type for node in onnx.load(tmp_path / "a.onnx").graph.node}
    assert kinds == {"MaxPool", "Conv", "BatchNormalization", "Mul", "Clip", "Add", "AveragePool"}
    assert_onnxruntime_agrees(tmp_path / "a.onnx", network, x)


def test_float64_and_a_gpu_are_exported_as_float32(cuda, onnx, tmp_path, rng):
    network = made("resnet20", masked=False)
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    expected = network.state_dict()
    export_onnx(network.to("cuda", dtype="float64"), tmp_path / "a.onnx")
    network.to("cpu", dtype="float32")
    network.load_state_dict(expected)
    assert_onnxruntime_agrees(tmp_path / "a.onnx", network, x)


@pytest.mark.parametrize("opset", [13, 21])
def test_versions_of_operators(opset, onnx, tmp_path, rng):
    network = made("resnet20")
    export_onnx(network, tmp_path / "a.onnx", opset=opset)
    assert onnx.load(tmp_path / "a.onnx").opset_import[0].version == opset
    assert_onnxruntime_agrees(tmp_path / "a.onnx", network, rng.standard_normal((2, 3, 32, 32)).astype(np.float32))
    with pytest.raises(InputError, match=r"opset must be from 13 to .*got 12"):
        export_onnx(network, tmp_path / "b.onnx", opset=12)


def test_metadata_goes_along(onnx, tmp_path):
    export_onnx(made("resnet20"), tmp_path / "a.onnx", metadata={"class_names": ["cat"], "network": "resnet20"})
    properties = {entry.key: entry.value for entry in onnx.load(tmp_path / "a.onnx").metadata_props}
    assert properties == {"class_names": '["cat"]', "network": '"resnet20"'}
    with pytest.raises(InputError, match="metadata must be texts, numbers, lists and mappings"):
        export_onnx(made("resnet20"), tmp_path / "b.onnx", metadata={"a": {1, 2}})


def test_nothing_is_overwritten_unless_asked(onnx, tmp_path):
    path = tmp_path / "a.onnx"
    save_checkpoint({"a": np.zeros(1)}, path)
    content = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        export_onnx(made("resnet20"), path)
    assert path.read_bytes() == content
    export_onnx(made("resnet20"), path, overwrite=True)
    assert list(tmp_path.iterdir()) == [path]
    onnx.load(path)


class WithLoss(Module):
    def __init__(self, rng):
        self.conv = Conv2d(3, 4, 1, rng)

    def forward(self, x):
        return cross_entropy(global_avg_pool2d(self.conv(x)), np.zeros(1, int))


def test_what_has_no_counterpart_is_named(onnx, tmp_path, rng):
    with pytest.raises(InputError, match="network must consist of operations that ONNX has, but computes cross_entropy"):
        export_onnx(WithLoss(rng), tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_never_written(onnx, tmp_path):
    network = build_network("resnet20")
    network.bn1.running_var[4] = np.nan
    with pytest.raises(InputError, match=r"network must be finite, but bn1.running_var holds NaN or infinity"):
        export_onnx(network, tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_without_onnx_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"the package onnx is missing: pip install 'csc-cogd\[onnx\]'"):
        export_onnx(made("resnet20"), tmp_path / "a.onnx")
