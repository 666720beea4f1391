"""Networks are known by the names of their weights."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import build_network, channel_groups, remove_channels
from csc_cogd.nn.networks import NETWORKS
from csc_cogd.nn.networks.recognition import recognize_weights

LARGE = ("resnet34", "resnet50", "resnet101", "resnet152", "vgg")


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith(LARGE)])
def test_shipped_networks(name):
    for masked in (False, True) if "vgg" not in name else (False,):
        state = build_network(name, 7, seed=3, masked=masked).state_dict() | {"bn1.num_batches_tracked": np.array(3)}
        expected = name.replace("cifar-mobile", "imagenet-mobile")  # of the same names and kernels
        assert recognize_weights(state).network == expected


def test_no_other_network_is_built_than_those_tried_first(monkeypatch):
    def never(*arguments):
        raise AssertionError("built")

    for name in ("resnet18", "resnet50"):
        monkeypatch.setitem(NETWORKS, name, never)
    assert recognize_weights(build_network("resnet32", seed=1).state_dict()).network == "resnet32"


def test_pruned_networks():
    network = build_network("resnet32")
    kept = {name: np.arange(group.n_channels // 2) for name, group in channel_groups(network).items()}
    assert recognize_weights(remove_channels(network, kept).state_dict()).network == "resnet32"


def test_others_are_refused():
    state = build_network("resnet20").state_dict()
    first = next(iter(state))
    for other, differs in (
        (state | {"more": np.zeros(1)}, "resnet20, has no 'more'"),
        ({}, "also has '"),
        ({key: state[key] for key in list(state)[1:]}, f"resnet20, also has '{first}'"),
        ({f"backbone.{key}": value for key, value in state.items()}, r"has no 'backbone\."),
    ):
        with pytest.raises(InputError, match=f"names must be those of the weights of one of resnet20, .*{differs}"):
            recognize_weights(other)
