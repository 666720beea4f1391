"""Networks without channels: they compute the same where these were dead, and cost what arithmetic says."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import (
    Module,
    Sequential,
    Tensor,
    build_network,
    channel_groups,
    count_flops,
    count_parameters,
    masks_to_kept,
    no_grad,
    remove_channels,
)  # fmt: skip
from csc_cogd.nn.functions import cross_entropy, relu
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, SoftMask
from tests.nn.cases import filled

NETWORKS = ["resnet20", "resnet18", "mobilenetv2", "resnet50"]


def made(name, rng, *, masked=True, dtype="float64"):
    """A network whose every number is another, with half of its masks at 0 and the others of any sign."""
    network = build_network(name, masked=masked)
    network.load_state_dict(filled({key: array.shape for key, array in network.state_dict().items()}))
    for key, parameter in network.named_parameters():
        if key.endswith("mask.weight"):
            values = rng.uniform(-1.5, 1.5, parameter.shape) * (rng.uniform(size=parameter.shape) < 0.5)
            parameter.array = values.astype(np.float32)
        if key.endswith("bn3.weight") or key.endswith("bn2.weight"):
            parameter.array *= np.float32(0.3)  # or outputs of deep networks are huge
    return network.to("cpu", dtype=dtype).eval()


def outputs(network, rng_seed=5):
    weight = network.parameters()[0].array
    x = np.random.default_rng(rng_seed).standard_normal((2, 3, 32, 32)).astype(weight.dtype)
    with no_grad(), network.evaluating():
        return network(Tensor(x)).array


def assert_same(found, expected, tolerance):
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "dtype", "tolerance"),
    [*((name, "float32", 1e-5) for name in NETWORKS), ("resnet20", "float64", 1e-12), ("mobilenetv2", "float64", 1e-12)],
)
def test_without_masked_channels_outputs_are_the_same(name, dtype, tolerance, rng):
    network = made(name, rng, dtype=dtype)
    before, expected = network.state_dict(), outputs(network)
    kept = masks_to_kept(network)
    for fold_masks in (True, False):
        smaller = remove_channels(network, kept, fold_masks=fold_masks)
        assert_same(outputs(smaller), expected, tolerance)
        masks = [module for _, module in smaller.named_modules() if isinstance(module, SoftMask)]
        assert bool(masks) is not fold_masks
        assert count_parameters(smaller) < 0.8 * count_parameters(network)
    assert all((array == before[key]).all() for key, array in network.state_dict().items())


@pytest.mark.parametrize("name", ["resnet20", "mobilenetv2"])
def test_masks_fold_into_kernels_where_nothing_is_removed(name, rng):
    network = made(name, rng)
    smaller = remove_channels(network, {})
    assert_same(outputs(smaller), outputs(network), 1e-12)
    assert {key: array.shape for key, array in smaller.state_dict().items()} == {
        key: array.shape for key, array in build_network(name).state_dict().items()
    }


def silence(network, groups, dead):
    """Let channels be zero wherever they are made: by their batch norms."""
    parameters = dict(network.named_parameters())
    for name, channels in dead.items():
        for member in groups[name].members:
            if member.role == "own" and member.key in parameters and parameters[member.key].array.ndim == 1:
                array = parameters[member.key].array
                array[channels] = 0


@pytest.mark.parametrize("name", NETWORKS)
def test_without_dead_channels_of_residual_paths_outputs_are_the_same(name, rng):
    network = made(name, rng, masked=False)
    groups = channel_groups(network)
    dead = {name: rng.permutation(group.n_channels)[: group.n_channels // 3] for name, group in groups.items()}
    if name == "resnet20":  # what a shortcut of option A brings to a dead channel must be dead, too
        dead["conv1"] = np.array([0, 3, 15])
        dead["layer2.0.conv2"] = np.array([0, 8, 11, 31])
        dead["layer3.0.conv2"] = np.array([5, 16, 24, 27, 63])
    silence(network, groups, dead)
    kept = {name: np.setdiff1d(np.arange(groups[name].n_channels), dead[name]) for name in groups}
    smaller = remove_channels(network, kept)
    assert_same(outputs(smaller), outputs(network), 1e-12)
    assert count_parameters(smaller) < 0.7 * count_parameters(network)

    # and again: a pruned network is a network
    groups = channel_groups(smaller)
    dead = {name: [group.n_channels - 1] for name, group in groups.items() if group.inner}
    silence(smaller, groups, dead)
    again = remove_channels(smaller, {name: np.arange(groups[name].n_channels - 1) for name in dead})
    assert_same(outputs(again), outputs(smaller), 1e-12)


def test_shortcuts_of_option_a_bring_the_channels_that_are_left_to_their_places(rng):
    network = made("resnet20", rng, masked=False)
    for key, parameter in network.named_parameters():  # the blocks of stage 2 and 3 give nothing: shortcuts only
        if key.startswith(("layer2", "layer3")) and ".bn2." in key:
            parameter.array[:] = 0
    first, expected = np.arange(1, 16, 2), outputs(network)
    kept = {"layer2.0.conv2": 8 + np.arange(16), "layer3.0.conv2": np.append(24 + np.arange(16), 63)}
    assert_same(outputs(remove_channels(network, kept)), expected, 1e-12)
    smaller = remove_channels(network, {"conv1": first, **kept})
    sources = smaller.state_dict()["layer2.0.shortcut.sources"]
    np.testing.assert_array_equal(sources, [-1, 0, -1, 1, -1, 2, -1, 3, -1, 4, -1, 5, -1, 6, -1, 7])
    np.testing.assert_array_equal(smaller.state_dict()["layer3.0.shortcut.sources"], [*range(16), -1])


def test_costs_are_what_arithmetic_says(rng):
    network = build_network("resnet20", masked=True)
    kept = {f"layer{stage}.{block}.conv1": np.arange(5 * stage + block) for stage in (1, 2, 3) for block in range(3)}
    smaller = remove_channels(network, kept)
    flops = count_flops(network)
    parameters = count_parameters(network) - 3 * (16 + 32 + 64)
    for stage in (1, 2, 3):
        width, pixels = 8 << stage, (64 >> stage) ** 2
        for block in range(3):
            gone = width - (5 * stage + block)
            before = width // 2 if block == 0 and stage > 1 else width
            flops -= 9 * gone * (before + width) * pixels
            parameters -= 9 * gone * (before + width) + 2 * gone
    assert (count_flops(smaller), count_parameters(smaller)) == (flops, parameters)


def test_constants_behind_a_norm_are_moved_where_nothing_is_padded_and_dropped_where_it_is(rng):
    def built(padding, bias):
        network = Sequential(Conv2d(3, 4, 1, rng), BatchNorm2d(4), Conv2d(4, 5, 3, rng, padding=padding, bias=bias))
        norm = dict(network.named_modules())["1"]
        norm.weight.array[2], norm.bias.array[2] = 0, 3
        return network.to("cpu", dtype="float64").eval()

    for bias in (True, False):
        network = built(0, bias)
        smaller = remove_channels(network, {"0": [0, 1, 3]})
        assert_same(outputs(smaller), outputs(network), 1e-12)
        assert dict(smaller.named_modules())["2"].bias is not None

    network = built(1, False)
    smaller = remove_channels(network, {"0": [0, 1, 3]})
    weight = dict(network.named_modules())["2"].weight
    lost = outputs(network) - outputs(smaller)
    inside = np.broadcast_to(3 * weight.array[:, 2].sum(axis=(1, 2))[:, None, None], (2, 5, 30, 30))
    np.testing.assert_allclose(lost[..., 1:-1, 1:-1], inside)


def test_constants_of_channels_that_stay_are_not_moved(rng):
    network = made("mobilenetv2", rng)
    whole = {name: np.arange(group.n_channels) for name, group in channel_groups(network).items()}
    kept = {name: np.union1d(channels, whole[name][::3]) for name, channels in masks_to_kept(network).items()}
    assert_same(outputs(remove_channels(network, kept)), outputs(network), 1e-12)


def test_a_constant_is_none_behind_a_padded_depthwise_convolution(rng):
    network = Sequential(
        Conv2d(3, 4, 1, rng), BatchNorm2d(4), Conv2d(4, 4, 3, rng, padding=1, groups=4), Conv2d(4, 5, 1, rng)
    )
    norm = dict(network.named_modules())["1"]
    for value, same in ((3, False), (0, True)):
        norm.weight.array[2], norm.bias.array[2] = 0, value
        smaller = remove_channels(network.eval(), {"0": [0, 1, 3]})
        assert dict(smaller.named_modules())["3"].bias is None
        change = np.abs(outputs(smaller) - outputs(network)).max()
        assert bool(change < 1e-6) is same


def test_a_pruned_network_trains(rng):
    network = remove_channels(made("mobilenetv2", rng, dtype="float32"), {"layers.3.conv1": range(10), "conv1": [3, 1]})
    network.train()
    loss = cross_entropy(network(Tensor(rng.standard_normal((2, 3, 16, 16)).astype(np.float32))), np.array([1, 2]))
    loss.backward()
    assert all(parameter.grad.shape == parameter.shape for parameter in network.parameters())


def test_a_mask_that_is_not_finite_is_not_taken_for_one_that_is_off(rng):
    network = made("resnet20", rng)
    dict(network.named_parameters())["layer1.1.mask.weight"].array[3] = np.nan
    with pytest.raises(InputError, match=r"network must be finite, but a mask of group layer1.1.conv1 holds NaN"):
        masks_to_kept(network)


def test_a_pruned_network_works_on_a_gpu(cuda, rng):
    network = made("resnet20", rng, dtype="float32")
    kept = {"conv1": np.arange(1, 16), "layer2.0.conv2": np.arange(20), **masks_to_kept(network)}
    expected = outputs(remove_channels(network, kept))
    network.to("cuda")
    smaller = remove_channels(network, kept)
    x = np.random.default_rng(5).standard_normal((2, 3, 32, 32)).astype(np.float32)
    found = smaller(Tensor(cuda.asarray(x)))
    assert type(found.array) is cuda.ndarray
    assert_same(found.array.get(), expected, 1e-4)
    assert masks_to_kept(network).keys() == masks_to_kept(network.to("cpu")).keys()


def test_masks_say_which_channels_are_kept():
    network = build_network("resnet20", masked=True)
    parameters = dict(network.named_parameters())
    parameters["layer1.0.mask.weight"].array[:] = 0
    parameters["layer1.0.mask.weight"].array[[3, 7]] = -0.5, 0.1
    parameters["layer1.1.mask.weight"].array[:] = 0
    kept = masks_to_kept(network)
    assert list(kept["layer1.0.conv1"]) == [3, 7]
    assert list(kept["layer1.1.conv1"]) == [0]
    assert len(kept["layer1.2.conv1"]) == 16
    assert len(kept) == 9
    assert list(masks_to_kept(network, threshold=0.2)["layer1.0.conv1"]) == [3]
    assert list(masks_to_kept(network, threshold=0.9)["layer1.0.conv1"]) == [3]


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ({"layer9": [1]}, r"kept must name channel groups \(conv1, layer1.0.conv1, .*got 'layer9'"),
        ({"conv1": []}, "kept must hold a list of one or more indices for conv1"),
        ({"conv1": [0.5]}, "kept must hold a list of one or more indices for conv1"),
        ({"conv1": [[1]]}, "kept must hold a list of one or more indices for conv1"),
        ({"conv1": [16]}, "kept must hold different indices from 0 to 15 for conv1"),
        ({"conv1": [-1]}, "kept must hold different indices from 0 to 15 for conv1"),
        ({"conv1": [2, 2]}, "kept must hold different indices from 0 to 15 for conv1"),
    ],
)
def test_wrong_indices_are_refused(kept, message):
    with pytest.raises(InputError, match=message):
        remove_channels(build_network("resnet20"), kept)


class MaskThenNorm(Module):
    def __init__(self, rng):
        self.conv1, self.mask, self.bn, self.conv2 = Conv2d(3, 4, 1, rng), SoftMask(4), BatchNorm2d(4), Conv2d(4, 2, 1, rng)

    def forward(self, x):
        return self.conv2(relu(self.bn(self.mask(self.conv1(x)))))


def test_masks_that_do_not_stand_in_front_of_kernels_are_kept_or_refused(rng):
    network = MaskThenNorm(rng)
    with pytest.raises(InputError, match=r"mask is followed by batch_norm: set fold_masks to False"):
        remove_channels(network, {"conv1": [0, 1]})
    assert remove_channels(network, {"conv1": [0, 1]}, fold_masks=False).mask.weight.shape == (2,)
