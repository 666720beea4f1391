"""Other people's networks load by their own names, and compute what they did."""

from pathlib import Path

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Tensor, build_network, load_network, no_grad, save_checkpoint, save_network
from csc_cogd.nn.networks.recognition import recognize_weights
from tests.nn.cases import filled, images

RECORD = Path(__file__).with_name("torchvision.npz")
OURS = {
    "torchvision resnet18": "imagenet-resnet18", "torchvision resnet34": "resnet34",
    "torchvision mobilenet_v2": "imagenet-mobilenetv2", "timm resnet18": "imagenet-resnet18",
    "timm mobilenetv2_100": "imagenet-mobilenetv2", "chenyaofo cifar10_resnet20": "resnet20-b",
    "chenyaofo cifar10_vgg11_bn": "cifar-vgg11-bn",
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded():
    with np.load(RECORD) as file:
        return dict(file)


def state_of(recorded, name):
    lines = [line.split(" ") for line in recorded[f"{name}/state"].tolist()]
    return filled({key: tuple(map(int, shape)) for key, *shape in lines})


@pytest.mark.parametrize("name", OURS)
def test_logits_are_those_of_the_network_that_was_recorded(name, recorded, tmp_path):
    state = state_of(recorded, name)
    tracked = {key.replace("running_mean", "num_batches_tracked"): np.array(7) for key in state if "running_mean" in key}
    save_checkpoint(state | tracked, tmp_path / "theirs.safetensors")
    network = load_network(tmp_path / "theirs.safetensors")
    with no_grad(), network.evaluating():
        found = network.to("cpu", "float64")(Tensor(images(2, 32 if "vgg" in name else 64))).array
    expected = recorded[f"{name}/logits"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * abs(expected).max())
    save_network(network, tmp_path / "ours.safetensors", OURS[name])
    again = load_network(tmp_path / "ours.safetensors").state_dict()
    assert all((again[key] == np.float32(array)).all() for key, array in network.state_dict().items())


def test_kernels_tell_networks_of_the_same_names_apart():
    small = build_network("resnet18", seed=None).state_dict()
    theirs = {key.replace("shortcut", "downsample").replace("linear", "fc"): array for key, array in small.items()}
    large = build_network("imagenet-resnet18", seed=None).state_dict()
    assert theirs.keys() == large.keys()
    assert recognize_weights(theirs).network == "resnet18"
    assert recognize_weights(large).network == "imagenet-resnet18"
    with pytest.raises(InputError, match="the most similar one, imagenet-resnet18, has kernels of other sizes"):
        recognize_weights(large | {"conv1.weight": np.zeros((64, 3, 5, 5))})


def test_a_name_that_is_given_decides_between_networks_of_the_same_weights(recorded, tmp_path):
    save_checkpoint(state_of(recorded, "torchvision mobilenet_v2"), tmp_path / "a.safetensors")
    strides = []
    for name in ("imagenet-mobilenetv2", "cifar-mobilenetv2"):
        network = load_network(tmp_path / "a.safetensors", name)
        strides.append(network.conv1.stride)
    assert strides == [2, 1]
