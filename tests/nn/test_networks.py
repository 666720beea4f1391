"""Networks: PyTorch's names, outputs and gradients; what they cost; real weights on real pictures."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.backend import to_numpy
from csc_cogd.nn import Module, Sequential, Tensor, build_network, load_checkpoint, no_grad
from csc_cogd.nn.flops import count_flops, count_parameters, flops_by_layer
from csc_cogd.nn.functions import cross_entropy
from csc_cogd.nn.layers import Conv2d, Identity
from tests.nn.cases import NETWORKS, cifar_test_images, filled, images


def logits(network, x):
    with no_grad(), network.evaluating():
        return to_numpy(network(Tensor(x)).array)


@pytest.mark.parametrize("name", NETWORKS)
def test_names_outputs_and_a_step_of_training_are_pytorchs(name, pytorch):
    network = build_network(name)
    shapes = {key: array.shape for key, array in network.state_dict().items()}
    assert sorted(f"{key} {shape}" for key, shape in shapes.items()) == sorted(pytorch[f"{name}/state"])

    network.load_state_dict(filled({key.split(" ")[0]: shapes[key.split(" ")[0]] for key in pytorch[f"{name}/state"]}))
    network.to("cpu", dtype="float64")
    x = images(4, NETWORKS[name])
    np.testing.assert_allclose(logits(network, x), pytorch[f"{name}/logits"], rtol=1e-5, atol=1e-5)

    loss = cross_entropy(network(Tensor(x)), np.arange(4), label_smoothing=0.1)
    loss.backward()
    assert float(loss) == pytest.approx(pytorch[f"{name}/loss"], rel=1e-6)
    gradients = dict(network.named_parameters())
    recorded = [key.removeprefix(f"{name}/d") for key in pytorch if key.startswith(f"{name}/d")]
    assert len(recorded) == 3
    for key in recorded:
        scale = np.abs(pytorch[f"{name}/d{key}"]).max()
        np.testing.assert_allclose(gradients[key].grad, pytorch[f"{name}/d{key}"], rtol=1e-5, atol=1e-5 * scale)
    np.testing.assert_allclose(network.state_dict()["bn1.running_var"], pytorch[f"{name}/bn1.running_var"], rtol=1e-5)


def test_pretrained_resnet20_predicts_what_it_does_in_pytorch(research_data, pytorch):
    network = build_network("resnet20")
    network.load_state_dict(load_checkpoint(research_data / "weights" / "resnet20_cifar10.safetensors")[0])
    x, labels = cifar_test_images(research_data, 500)
    found = logits(network, x)
    right, expected = np.mean(found.argmax(1) == labels), pytorch["resnet20 predictions"]
    said = f"{right:.2%} of {len(labels)} images are classified right"
    np.testing.assert_array_equal(found.argmax(1), expected, err_msg=said)
    np.testing.assert_allclose(found[:64], pytorch["resnet20 logits"], rtol=0, atol=1e-4, err_msg=said)
    assert right == pytest.approx(0.91), said


def test_pretrained_resnet56_gives_the_logits_of_pytorch(research_data, pytorch):
    network = build_network("resnet56")
    network.load_state_dict(load_checkpoint(research_data / "weights" / "resnet56_cifar10.safetensors")[0])
    x, _ = cifar_test_images(research_data, 64)
    np.testing.assert_allclose(logits(network, x), pytorch["resnet56 logits"], rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "flops", "parameters"),
    [
        ("resnet18", "555.4227", 11_173_962),
        ("resnet56", "125.4857", 853_018),
        ("resnet110", "252.8877", 1_727_962),
        ("mobilenetv2", "91.1549", 2_296_922),
    ],
)
def test_costs_are_those_of_the_paper(name, flops, parameters):
    network = build_network(name)
    before = network.state_dict()
    assert f"{count_flops(network) / 1e6:.4f}" == flops
    assert count_parameters(network) == parameters
    assert network.training
    assert all((array == before[key]).all() for key, array in network.state_dict().items())


def test_costs_of_layers_are_in_their_order():
    costs = flops_by_layer(build_network("resnet50", 1000), image_shape=(3, 32, 32))
    assert next(iter(costs.items())) == ("conv1.weight", 16 * 16 * 64 * 3 * 7 * 7)
    assert list(costs.items())[-1] == ("fc.weight", 2048 * 1000)
    assert costs["layer2.0.downsample.0.weight"] == 4 * 4 * 512 * 256
    assert len(costs) == 54


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenetv2", "resnet50"])
def test_soft_masks_stand_behind_the_first_convolution_of_each_block(name, rng):
    plain, masked = build_network(name, seed=3), build_network(name, seed=3, masked=True)
    masks = {key: value for key, value in masked.named_parameters() if key.endswith("mask.weight")}
    firsts = [key for key, _ in plain.named_parameters() if key.startswith("layer") and key.endswith("conv1.weight")]
    assert [key.replace("mask", "conv1") for key in masks] == firsts
    x = rng.standard_normal((2, 3, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(logits(masked, x), logits(plain, x))

    # a mask of 0 takes its channel out, whatever batch norm adds
    key = list(masks)[-1]
    norm = dict(masked.named_modules())[key.replace("mask.weight", "bn1")]
    norm.bias.array = np.full_like(norm.bias.array, 3)
    masks[key].array = np.zeros_like(masks[key].array)
    silenced = logits(masked, x)
    norm.bias.array = np.full_like(norm.bias.array, 5)
    np.testing.assert_array_equal(logits(masked, x), silenced)


def test_weights_come_from_the_seed():
    first, again, other = (build_network("resnet20", seed=seed).state_dict() for seed in (1, 1, 2))
    assert all((first[key] == again[key]).all() for key in first)
    assert (first["conv1.weight"] != other["conv1.weight"]).all()


def test_weights_start_with_the_variance_of_the_paper():
    weight = build_network("resnet20").state_dict()["layer3.1.conv1.weight"]
    assert weight.mean() == pytest.approx(0, abs=0.002)
    assert weight.std() == pytest.approx(np.sqrt(2 / (64 * 9)), rel=0.03)


def test_a_network_runs_and_trains_on_a_gpu(cuda, pytorch):
    network = build_network("resnet20")
    network.load_state_dict(filled({key: array.shape for key, array in network.state_dict().items()}))
    x = np.float32(images(2, 16))
    expected = logits(network, x)
    network.to("cuda")
    np.testing.assert_allclose(logits(network, cuda.asarray(x)), expected, rtol=1e-4, atol=1e-4)
    cross_entropy(network(Tensor(cuda.asarray(x))), cuda.asarray(np.array([3, 1]))).backward()
    assert all(type(parameter.grad) is type(parameter.array) is cuda.ndarray for parameter in network.parameters())
    assert count_flops(network) == count_flops(build_network("resnet20"))
    network.to("cpu")
    assert all(type(parameter.array) is np.ndarray for parameter in network.parameters())


def test_a_layer_that_is_used_twice_costs_twice(rng):
    class Twice(Module):
        def __init__(self):
            self.conv = Conv2d(3, 3, 3, rng, padding=1)

        def forward(self, x):
            return self.conv(self.conv(x))

    assert flops_by_layer(Twice(), image_shape=(3, 4, 5)) == {"conv.weight": 2 * 4 * 5 * 3 * 3 * 9}


def test_what_has_no_weights_costs_nothing():
    assert count_flops(Sequential(Identity())) == count_parameters(Sequential(Identity())) == 0


def test_unknown_names_are_answered_with_the_list():
    with pytest.raises(InputError, match=r"name must be one of resnet20, .*mobilenetv2, .*resnet50, .*got 'resnet19'"):
        build_network("resnet19")
    with pytest.raises(InputError, match="n_classes must be 1 or more, got 0"):
        build_network("resnet20", 0)


def test_images_that_do_not_fit_are_refused(rng):
    with pytest.raises(InputError, match=r"x must be of shape \(N, 3, H, W\), got \(1, 1, 32, 32\)"):
        build_network("resnet20")(Tensor(np.zeros((1, 1, 32, 32), np.float32)))


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenetv2", "resnet50"])
def test_without_a_seed_there_are_zeros_for_weights_to_come(name):
    network = build_network(name, 3, seed=None, masked=True)
    drawn = build_network(name, 3, masked=True).state_dict()
    shapes = [(key, array.shape) for key, array in network.state_dict().items()]
    assert shapes == [(key, array.shape) for key, array in drawn.items()]
    assert not any(parameter.array.any() for parameter in network.parameters() if parameter.array.ndim > 1)
