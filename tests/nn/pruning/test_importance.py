"""Which channels matter, by their weights."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import build_network, channel_groups, channel_scores
from csc_cogd.nn.pruning.importance import weighed_anew


@pytest.fixture(scope="module")
def network():
    return build_network("mobilenetv2", masked=True)


def scored(network, kind, name="layers.3.conv1"):
    groups = channel_groups(network)
    return channel_scores(network, {name: groups[name]}, kind)[name]


def test_l1_is_that_of_the_kernels_that_make_a_channel(network):
    weight = network.state_dict()["layers.3.conv1.weight"]
    np.testing.assert_allclose(scored(network, "l1"), abs(weight).sum(axis=(1, 2, 3)), rtol=1e-5)


def test_l1_on_a_residual_path_sums_over_all_that_make_its_channels():
    network = build_network("resnet20")
    state = network.state_dict()
    kernels = [state[f"layer3.{block}.conv2.weight"] for block in range(3)]
    expected = sum(abs(weight).sum(axis=(1, 2, 3)) for weight in kernels)
    np.testing.assert_allclose(scored(network, "l1", "layer3.0.conv2"), expected, rtol=1e-5)


def test_group_norm_weighs_all_that_makes_scales_and_meets_a_channel(network):
    state = {key[9:]: array for key, array in network.state_dict().items() if key.startswith("layers.3.")}
    squares = (state["conv1.weight"] ** 2).sum(axis=(1, 2, 3)) + (state["conv2.weight"] ** 2).sum(axis=(1, 2, 3))
    squares += (state["conv3.weight"] ** 2).sum(axis=(0, 2, 3))
    squares += state["bn1.weight"] ** 2 + state["mask.weight"] ** 2 + state["bn2.weight"] ** 2
    np.testing.assert_allclose(scored(network, "group"), weighed_anew(np.sqrt(squares)), rtol=1e-4)


def test_channels_fall_as_if_the_smallest_ratio_to_those_left_were_removed_again_and_again(rng):
    norms = {name: rng.uniform(size=size) ** 4 for name, size in (("a", 17), ("b", 5), ("c", 30), ("d", 1))}
    left, expected = {name: list(range(len(values))) for name, values in norms.items()}, []
    while any(len(channels) > 1 for channels in left.values()):
        ratios = {
            (name, channel): norms[name][channel] / norms[name][left[name]].mean()
            for name in norms
            for channel in left[name]
            if len(left[name]) > 1
        }
        name, channel = min(ratios, key=ratios.get)
        left[name].remove(channel)
        expected.append((name, channel))
    scores = {name: weighed_anew(values) for name, values in norms.items()}
    falling = [(name, channel) for name in norms for channel in range(len(norms[name])) if channel not in left[name]]
    assert sorted(falling, key=lambda place: scores[place[0]][place[1]]) == expected


def test_scales_and_masks(network, rng):
    parameters = dict(network.named_parameters())
    values = rng.standard_normal((2, 144)).astype(np.float32)
    parameters["layers.3.bn1.weight"].array, parameters["layers.3.mask.weight"].array = values
    np.testing.assert_allclose(scored(network, "scale"), abs(values[0]) + 1, rtol=1e-6)
    np.testing.assert_allclose(scored(network, "mask"), abs(values[1]), rtol=1e-6)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
@pytest.mark.parametrize("kind", ["l1", "group"])
def test_weights_that_are_not_finite_have_no_scores(kind, value):
    network = build_network("resnet20")
    parameters = dict(network.named_parameters())
    parameters["layer1.0.conv1.weight"].array[2, 3, 0, 1] = value
    with pytest.raises(InputError, match=r"network must be finite, but group layer1.0.conv1 holds NaN or infinity"):
        scored(network, kind, "layer1.0.conv1")


def test_channels_of_zeros_score_zero():
    network = build_network("resnet20")
    for parameter in network.parameters():
        parameter.array[:] = 0
    assert not scored(network, "group", "layer1.0.conv1").any()


def test_scores_are_the_same_on_a_gpu(cuda, network):
    expected = channel_scores(network, channel_groups(network), "group")
    network.to("cuda")
    found = channel_scores(network, channel_groups(network), "group")
    network.to("cpu")
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6)


def test_what_there_is_nothing_of_is_refused():
    network = build_network("resnet20")
    with pytest.raises(InputError, match="criterion must be one of l1, group, scale, mask, got 'l3'"):
        scored(network, "l3", "conv1")
    with pytest.raises(InputError, match=r"criterion 'mask' has no weights in group layer1.0.conv1"):
        scored(network, "mask", "layer1.0.conv1")
