"""Where networks are bilinear."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import build_network
from csc_cogd.nn.scaled_convs import find_scaled_convs


def named(network, kind, size=32, **how):
    names = {parameter: name for name, parameter in network.named_parameters()}
    return [(found.name, names[found.kernels]) for found in find_scaled_convs(network, kind, (3, size, size), **how)]


def test_masks_meet_the_second_convolution_of_their_block():
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    expected = [(f"{block}.mask.weight", f"{block}.conv2.weight") for block in blocks]
    assert named(build_network("resnet20", masked=True), "soft_mask") == expected


def test_scales_meet_kernels_through_masks_and_not_through_additions():
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    inside = [(f"{block}.bn1.weight", f"{block}.conv2.weight") for block in blocks]
    network = build_network("resnet20", masked=True)
    assert named(network, "batch_norm") == [("bn1.weight", "layer1.0.conv1.weight"), *inside]


def test_scales_meet_kernels_through_pooling():
    found = named(build_network("resnet50"), "batch_norm", size=64)
    assert ("bn1.weight", "layer1.0.conv1.weight") in found
    assert ("layer4.2.bn2.weight", "layer4.2.conv3.weight") in found


def test_scales_and_masks_follow_the_kernels_that_make_their_channels():
    network = build_network("resnet20", masked=True)
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3) for block in range(3)]
    masks = [(f"{block}.mask.weight", f"{block}.conv1.weight") for block in blocks]
    assert named(network, "soft_mask", side="preceding") == masks
    norms = [(f"{block}.bn{place}.weight", f"{block}.conv{place}.weight") for block in blocks for place in (1, 2)]
    assert named(network, "batch_norm", side="preceding") == [("bn1.weight", "conv1.weight"), *norms]
    with pytest.raises(InputError, match="kernels must be one of following, preceding, got 'both'"):
        named(network, "batch_norm", side="both")


@pytest.mark.parametrize("side", ["following", "preceding"])
@pytest.mark.parametrize(("network", "kernels"), [("resnet20", "layer2.0.conv2"), ("mobilenetv2", "layers.1.conv2")])
def test_kernels_by_channel_and_back(network, kernels, side, rng):
    network = build_network(network, masked=True)
    parameters = dict(network.named_parameters())
    kernels = kernels.replace("conv2", "conv1") if side == "preceding" else kernels
    convs = find_scaled_convs(network, "soft_mask", side=side)
    (found,) = [one for one in convs if one.kernels is parameters[f"{kernels}.weight"]]
    values = rng.standard_normal(found.kernels.shape)
    channels = found.by_channel(values)
    assert len(channels) == len(found.scale.array)
    first = values.shape[1] == 1 or side == "preceding"
    for j in (0, 3):
        meeting = values[j] if first else values[:, j]
        np.testing.assert_array_equal(channels[j].ravel(), meeting.ravel())
    back = found.as_kernels(channels)
    np.testing.assert_array_equal(back, values)
    assert back.flags.c_contiguous
