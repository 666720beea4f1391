"""Channel groups: what belongs together in each network, and what can't be followed."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import Module, Sequential, Tensor, build_network, channel_groups, no_grad
from csc_cogd.nn.functions import conv2d, cross_entropy
from csc_cogd.nn.layers import BatchNorm2d, Conv2d


def described(group):
    return {f"{member.key} {member.axis} {member.role}" for member in group.members}


def normed(layer):
    return {f"{layer}.{array} 0 own" for array in ("weight", "bias", "running_mean", "running_var")}


def test_a_block_s_first_convolution_goes_with_its_norm_its_mask_and_the_second():
    group = channel_groups(build_network("resnet20", masked=True))["layer2.1.conv1"]
    expected = {"layer2.1.conv1.weight 0 output", "layer2.1.mask.weight 0 own", "layer2.1.conv2.weight 1 input"}
    assert described(group) == expected | normed("layer2.1.bn1")
    assert (group.n_channels, group.inner) == (32, True)


def test_additions_join_a_stage_and_shortcuts_without_parameters_part_stages():
    groups = channel_groups(build_network("resnet20"))
    expected = {"layer2.0.shortcut.sources 0 output", "layer3.0.shortcut.sources 1 input", "layer3.0.conv1.weight 1 input"}
    for block in range(3):
        expected |= {f"layer2.{block}.conv2.weight 0 output"} | normed(f"layer2.{block}.bn2")
    expected |= {"layer2.1.conv1.weight 1 input", "layer2.2.conv1.weight 1 input"}
    assert described(groups["layer2.0.conv2"]) == expected
    assert not groups["layer2.0.conv2"].inner
    assert "linear.weight 1 input" in described(groups["layer3.0.conv2"])


def test_depthwise_kernels_are_done_to_each_channel_by_itself():
    group = channel_groups(build_network("mobilenetv2"))["layers.4.conv1"]
    expected = {"layers.4.conv1.weight 0 output", "layers.4.conv2.weight 0 own", "layers.4.conv3.weight 1 input"}
    assert described(group) == expected | normed("layers.4.bn1") | normed("layers.4.bn2")
    assert group.inner


@pytest.mark.parametrize(
    ("name", "inner", "others"),
    [
        ("resnet56", 27, ["conv1", "layer2.0.conv2", "layer3.0.conv2"]),
        ("resnet18", 8, ["conv1", "layer2.0.conv2", "layer3.0.conv2", "layer4.0.conv2"]),
        ("resnet50", 32, ["conv1", *(f"layer{stage}.0.conv3" for stage in (1, 2, 3, 4))]),
        ("mobilenetv2", 17, ["conv1", *(f"layers.{block}.conv3" for block in (0, 1, 3, 6, 10, 13, 16)), "conv2"]),
    ],
)
def test_inner_groups_are_those_within_a_block(name, inner, others):
    network = build_network(name)
    groups = channel_groups(network)
    assert [name for name, group in groups.items() if not group.inner] == others
    assert list(channel_groups(network, inner_only=True)) == [name for name, group in groups.items() if group.inner]
    assert len(channel_groups(network, inner_only=True)) == inner


@pytest.mark.parametrize("name", ["resnet20", "resnet18", "mobilenetv2", "resnet50"])
def test_all_channels_are_in_groups_but_those_of_images_and_classes(name):
    network = build_network(name, n_classes=7, masked=True)
    modules = dict(network.named_modules())
    axes = [(member.key, member.axis) for group in channel_groups(network).values() for member in group.members]
    assert len(set(axes)) == len(axes)
    whole = {(key, axis) for key, array in network.state_dict().items() for axis in range(min(array.ndim, 2))}
    depthwise = {(f"{key}.weight", 1) for key, module in modules.items() if getattr(module, "groups", 1) > 1}
    head = "fc" if name == "resnet50" else "linear"
    rest = {("conv1.weight", 1), (f"{head}.weight", 0), (f"{head}.bias", 0)}
    assert {axis for axis in axes if not axis[0].endswith("sources")} == whole - depthwise - rest


def test_the_network_is_left_as_it_was():
    network = build_network("resnet20")
    before = network.state_dict()
    channel_groups(network)
    assert network.training
    assert all("forward" not in vars(module) for _, module in network.named_modules())
    assert all((array == before[key]).all() for key, array in network.state_dict().items())


def test_a_plain_sequence_has_groups_too(rng):
    network = Sequential(Conv2d(3, 4, 3, rng), BatchNorm2d(4), Conv2d(4, 5, 3, rng, bias=True), Conv2d(5, 2, 1, rng))
    groups = channel_groups(network)
    assert {name: group.n_channels for name, group in groups.items()} == {"0": 4, "2": 5}
    assert described(groups["2"]) == {"2.weight 0 output", "2.bias 0 own", "3.weight 1 input"}


def test_what_is_added_within_a_block_is_not_inner(rng):
    class Block(Module):
        def __init__(self):
            self.conv1, self.conv2, self.conv3 = Conv2d(3, 4, 1, rng), Conv2d(4, 4, 1, rng), Conv2d(4, 5, 1, rng)

        def forward(self, x):
            y = self.conv1(x)
            return self.conv3(y + self.conv2(y))

    groups = channel_groups(Sequential(Block(), Conv2d(5, 2, 1, rng)))
    assert {name: group.inner for name, group in groups.items()} == {"0.conv1": False, "0.conv3": False}


class Function(Module):
    """A convolution, then anything."""

    def __init__(self, function, rng):
        self.conv, self.function = Conv2d(3, 4, 1, rng), function

    def forward(self, x):
        return self.function(self, self.conv(x))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda network, x: cross_entropy(Tensor(np.zeros((1, 2), np.float32), True), [1]), "cross_entropy has an input"),
        (lambda network, x: conv2d(x, Tensor(np.ones((4, 4, 1, 1), np.float32))), "conv2d has weights that aren't param"),
        (lambda network, x: x + Tensor(np.zeros_like(x.array)), "but add isn't supported"),
    ],
)
def test_what_can_not_be_followed_is_named(function, message, rng):
    with pytest.raises(InputError, match=message):
        channel_groups(Function(function, rng))


def test_grouped_convolutions_that_are_not_depthwise_are_named(rng):
    network = Sequential(Conv2d(3, 4, 1, rng), Conv2d(4, 8, 3, rng, groups=2))
    with pytest.raises(InputError, match="channels that can be followed, but conv2d in 1 isn't supported"):
        channel_groups(network)


def test_weights_that_are_used_twice_are_named(rng):
    conv = Conv2d(3, 3, 1, rng)
    with pytest.raises(InputError, match=r"weight, which is used elsewhere, too"):
        channel_groups(Sequential(conv, conv))


def test_nothing_can_be_read_without_a_tape_or_parameters():
    with no_grad(), pytest.raises(InputError, match="outside of no_grad"):
        channel_groups(build_network("resnet20"))
    with pytest.raises(InputError, match="network must have parameters"):
        channel_groups(Sequential())
