"""A network as a start for other images."""

import pytest

from csc_cogd import InputError
from csc_cogd.nn import Recipe, build_network, freeze, replace_head, train
from tests.nn.training.small import HALF, SmallNetwork, small_images


@pytest.mark.parametrize(("name", "head"), [("resnet20", "linear"), ("resnet50", "fc")])
def test_a_new_head_leaves_all_else(name, head):
    network = build_network(name, 10, seed=2 if name == "resnet20" else None)
    before = network.state_dict()
    assert replace_head(network, 3, seed=1) == head
    after = network.state_dict()
    assert after[f"{head}.weight"].shape == (3, before[f"{head}.weight"].shape[1])
    assert after[f"{head}.weight"].std() > 0
    assert not after[f"{head}.bias"].any()
    assert all((after[key] == array).all() for key, array in before.items() if not key.startswith(head))


def test_what_is_frozen_stays_to_the_last_bit_and_the_rest_learns():
    network = build_network("resnet20", 2, seed=1)
    trained = freeze(network, "layer2.0")
    before = network.state_dict()
    assert trained[0] == "layer2.1.conv1.weight"
    train(network, small_images(), Recipe(1, batch_size=8, learning_rate=0.1), normalization=HALF)
    changed = {key for key, array in network.state_dict().items() if (array != before[key]).any()}
    assert changed == {key for key in before if key.startswith(("layer2.1", "layer2.2", "layer3", "linear"))}
    assert network.parameters()[0].grad is None


def test_a_frozen_part_infers_while_the_rest_trains():
    network = build_network("resnet20", 2)
    freeze(network, "layer1")
    with network.train().evaluating():
        pass
    training = {name for name, module in network.named_modules() if module.training}
    assert {"layer2", "layer3.2.bn2", "linear"} <= training
    assert not {"conv1", "bn1", "layer1.2.bn2"} & training


def test_frozen_weights_are_of_another_run(tmp_path):
    def run(frozen):
        network = build_network("resnet20", 2)
        freeze(network, frozen)
        train(
            network, small_images(8), Recipe(1, batch_size=8, learning_rate=0.01), normalization=HALF,
            checkpoint=tmp_path / "a.safetensors", resume=True,
        )  # fmt: skip

    run("layer3")
    with pytest.raises(InputError, match="is a checkpoint of another run"):
        run("layer2")


def test_what_can_not_be_frozen_or_replaced_is_refused():
    network = build_network("resnet20", 2)
    with pytest.raises(InputError, match=r"freeze must name a part of the network \(conv1, .*linear\), got 'layer9'"):
        freeze(network, "layer9")
    with pytest.raises(InputError, match="freeze must leave something to train, got 'linear', the last part"):
        freeze(network, "linear")
    with pytest.raises(InputError, match="n_classes must be 1 or more"):
        replace_head(network, 0)
    network = SmallNetwork().conv
    with pytest.raises(InputError, match="network must end in a linear layer"):
        replace_head(network, 2)
    assert not any(module.frozen for _, module in build_network("resnet20", 2).named_modules())
