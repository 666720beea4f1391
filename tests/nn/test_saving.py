"""Networks in files."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.nn import (
    Tensor,
    build_network,
    channel_groups,
    load_checkpoint,
    load_network,
    no_grad,
    remove_channels,
    save_checkpoint,
    save_network,
)  # fmt: skip

NETWORKS = ["resnet20", "resnet18", "mobilenetv2", "resnet50"]


def logits(network):
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32)).astype(np.float32)
    with no_grad(), network.evaluating():
        return network(Tensor(x)).array


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_come_back_with_the_channels_that_they_have(name, tmp_path, rng):
    network = build_network(name, n_classes=7, masked=True)
    groups = channel_groups(network)
    kept = {name: rng.permutation(group.n_channels)[: 1 + group.n_channels // 3] for name, group in groups.items()}
    smaller = remove_channels(network, kept, fold_masks=name == "resnet18")
    path = tmp_path / "smaller.safetensors"
    save_network(smaller, path, name, metadata={"class_names": list("abcdefg")})
    loaded = load_network(path)
    np.testing.assert_array_equal(logits(loaded), logits(smaller))
    assert loaded.training
    assert load_checkpoint(path)[1] == {"network": name, "n_classes": 7, "class_names": list("abcdefg")}

    # and what was loaded can be pruned on
    assert channel_groups(loaded) == channel_groups(smaller)


def test_checkpoints_of_training_are_networks(tmp_path):
    network = build_network("resnet20")
    others = {"optimizer.conv1.weight": np.zeros(3), "hook.0.masks": np.zeros(2)}
    arrays, about = {**network.state_dict(), **others}, {"network": "resnet20", "epoch": 3}
    save_checkpoint(arrays, tmp_path / "run.safetensors", metadata=about)
    np.testing.assert_array_equal(logits(load_network(tmp_path / "run.safetensors")), logits(network))


PREFIXES = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_state_dicts_of_pytorch_are_known_by_their_names(prefix, tmp_path):
    network = build_network("resnet20", seed=4)
    state = {prefix + key: array.astype(np.float64) for key, array in network.state_dict().items()}
    state[f"{prefix}bn1.num_batches_tracked"] = np.array(7)
    path = tmp_path / "state.safetensors"
    save_checkpoint(state, path)
    for name in ("resnet20", None):
        np.testing.assert_array_equal(logits(load_network(path, name)), logits(network))
    save_checkpoint(state | {"more": np.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"other.safetensors: names must be those of the weights of one of"):
        load_network(tmp_path / "other.safetensors")


def test_weights_of_a_network_of_which_a_part_was_compiled(tmp_path):
    """By torch.compile, whose name stands within those of the arrays then."""
    network = build_network("resnet20", seed=4)
    state = {key.replace("layer2.", "layer2._orig_mod."): array for key, array in network.state_dict().items()}
    save_checkpoint(state, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(logits(load_network(tmp_path / "a.safetensors")), logits(network))


def test_pretrained_weights_load_by_their_name(research_data):
    path = research_data / "weights" / "resnet20_cifar10.safetensors"
    state = load_network(path, "resnet20").state_dict()
    assert all((state[key] == array).all() for key, array in load_checkpoint(path)[0].items())


def without(key):
    return lambda state: state.pop(key)


def resized(key, *shape):
    return lambda state: state.update({key: np.zeros(shape, np.float32)})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("layer1.0.conv1.weight"), "state lacks layer1.0.conv1.weight"),
        (without("linear.weight"), "state must hold a matrix linear.weight or fc.weight or classifier.6.weight"),
        (resized("layer4.0.conv1.weight", 3, 3), "state holds layer4.0.conv1.weight, which this network hasn't"),
        (resized("layer1.0.conv1.weight", 16, 16, 5, 5), r"layer1.0.conv1.weight of shape .* got \(16, 16, 5, 5\)"),
        (resized("layer1.0.conv1.weight", 12, 16, 3, 3), r"layers whose shapes fit each other \(.*12"),
        (resized("bn1.running_mean", 12), r"layers whose shapes fit each other \(mean must .*got \(12,\)"),
        (resized("layer1.0.conv1.weight", 0, 16, 3, 3), "layers whose shapes fit each other"),
        (resized("linear.bias", 9), "layers whose shapes fit each other"),
        (lambda state: state.update({"layer2.0.shortcut.sources": np.full(32, 16)}), "fit each other .sources"),
        (lambda state: state.update({"bn1.bias": np.zeros(16, bool)}), "bn1.bias is bool"),
        (lambda state: state["bn1.running_var"].fill(np.inf), "bn1.running_var holds NaN or infinity"),
        (lambda state: state.update({"linear.bias": np.full(10, np.nan, np.float16)}), "linear.bias holds NaN or infinity"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, message, tmp_path):
    state = build_network("resnet20").state_dict()
    change(state)
    save_checkpoint(state, tmp_path / "a.safetensors", metadata={"network": "resnet20"})
    with pytest.raises(InputError, match=f"a.safetensors: state .*{message.removeprefix('state ')}") as caught:
        load_network(tmp_path / "a.safetensors")
    assert "\n" not in str(caught.value)


def test_weights_that_are_not_finite_are_never_written(tmp_path):
    network = build_network("resnet20")
    network.linear.weight.array[3, 5] = np.nan
    with pytest.raises(InputError, match=r"state must be finite, but linear.weight holds NaN .* their training diverged"):
        save_network(network, tmp_path / "a.safetensors", "resnet20")
    assert not list(tmp_path.iterdir())


def test_unknown_networks_are_refused(tmp_path):
    network = build_network("resnet20")
    with pytest.raises(InputError, match=r"name must be one of .*, got 'vgg'"):
        save_network(network, tmp_path / "a.safetensors", "vgg")
    with pytest.raises(InputError, match=r"state lacks layer1.3.conv1.weight"):
        save_network(network, tmp_path / "a.safetensors", "resnet32")
    assert not list(tmp_path.iterdir())
    for name, path in (("vgg", tmp_path / "a.safetensors"), (["resnet20"], tmp_path / "b.safetensors")):
        save_checkpoint(network.state_dict(), path, metadata={"network": name})
        with pytest.raises(InputError, match=r"[ab].safetensors: name must be one of"):
            load_network(path)


def test_nothing_is_overwritten_unless_asked(tmp_path):
    path = tmp_path / "a.safetensors"
    save_network(build_network("resnet20", seed=1), path, "resnet20")
    with pytest.raises(InputError, match="exists already"):
        save_network(build_network("resnet20", seed=2), path, "resnet20")
    save_network(build_network("resnet20", seed=2), path, "resnet20", overwrite=True)
    np.testing.assert_array_equal(logits(load_network(path)), logits(build_network("resnet20", seed=2)))
