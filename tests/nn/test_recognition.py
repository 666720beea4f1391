"""Networks are known by their weights."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import build_network
from csc_cogd.nn.networks import NETWORKS
from csc_cogd.nn.networks.recognition import recognize_network


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "resnet50"])
def test_shipped_networks(name):
    state = build_network(name, 7, seed=3).state_dict() | {"bn1.num_batches_tracked": np.array(3)}
    assert recognize_network(state) == name


def test_others_are_refused():
    state = build_network("resnet20").state_dict()
    for other in (state | {"conv1.weight": np.zeros((16, 1, 3, 3))}, state | {"linear.weight": np.zeros((0, 64))}, {}):
        with pytest.raises(InputError, match="weights: they fit none of the networks resnet20, "):
            recognize_network(other)
