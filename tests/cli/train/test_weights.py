"""Weights that are started from, or tested."""

import json
from dataclasses import replace

import numpy as np
import pytest

from csc_cogd.nn import (
    ImageSet,
    Normalization,
    build_network,
    channel_groups,
    evaluate,
    load_checkpoint,
    load_images,
    load_network,
    predict,
    remove_channels,
    save_checkpoint,
)
from csc_cogd.nn.saving import save_network
from tests.cli.calling import call, save
from tests.cli.train.sets import FEW, save_set, states
from tests.nn.cases import RECORD
from tests.nn.training.small import small_images


def test_weights_are_started_from_with_their_normalization(folder):
    assert call("train", "small.npz", "-o", "a.safetensors", *FEW, "--mean", 0.5, 0.4, 0.3, "--std", 1, 1, 1, "-q") == 0
    assert call("train", "small.npz", "-o", "b.safetensors", *FEW[2:], "--epochs", 1, "--learning-rate", 0,
                "--weights", "a.safetensors", "-q") == 0  # fmt: skip
    first, second = states("a.safetensors", "b.safetensors")
    assert (first["conv1.weight"] == second["conv1.weight"]).all()
    assert load_checkpoint("b.safetensors")[1]["norm_mean"] == [0.5, 0.4, 0.3]


def test_a_network_that_lost_channels_is_tested_and_trained_further(folder, capsys):
    network = build_network("resnet20", 2)
    name = next(iter(channel_groups(network)))
    network = remove_channels(network, {name: np.arange(5)})
    save_network(network, "few.safetensors", "resnet20", metadata={"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3})
    assert call("train", "small.npz", "-o", "w.safetensors", *FEW, "--weights", "few.safetensors", "-q") == 0
    before, after = states("few.safetensors", "w.safetensors")
    assert {key: array.shape for key, array in after.items()} == {key: array.shape for key, array in before.items()}
    assert before["layer1.0.conv1.weight"].shape != build_network("resnet20").state_dict()["layer1.0.conv1.weight"].shape
    assert call("train", "small.npz", "--weights", "w.safetensors", "--evaluate") == 0
    assert "resnet20: " in capsys.readouterr().out


def test_free_text_about_weights_does_no_harm(folder, capsys):
    about = {"class_names": "upright, lying", "norm_mean": "see the paper", "norm_std": {"r": 1}, "license": "BSD"}
    save_checkpoint(build_network("resnet20", 2).state_dict(), "text.safetensors", metadata=about)
    numbers = ("--mean", 0.5, 0.5, 0.5, "--std", 0.5, 0.5, 0.5)
    assert call("train", "small.npz", "--weights", "text.safetensors", "--evaluate", *numbers) == 0
    assert capsys.readouterr().out.startswith("resnet20: ")


def test_pretrained_weights_are_tested(research_data, tmp_path, capsys):
    images = load_images(research_data / "cifar10", "test").first(100)
    save_set(tmp_path / "test.npz", train=images.first(10), test=images)
    weights = research_data / "weights" / "resnet20_cifar10.safetensors"
    assert call("train", tmp_path / "test.npz", "--weights", weights, "--evaluate", "-q") == 0
    with np.load(RECORD) as file:
        right = np.mean(file["resnet20 predictions"][:100] == images.labels)
    assert capsys.readouterr().out.startswith(f"resnet20: {right:.2%} of 100 images".replace("%", " %"))


def test_other_classes_get_a_new_last_layer_and_what_is_frozen_stays(folder, capsys):
    save_network(
        build_network("resnet20", 7, seed=3), "seven.safetensors", "resnet20",
        metadata={"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3},
    )  # fmt: skip
    more = ("--freeze", "layer2", "--optimizer", "adamw", "--learning-rate", 0.001, "--label-smoothing", 0.1)
    stop = ("--patience", 1, "--validation", 0.3, "--average", 0.9)
    assert call("train", "small.npz", "-o", "a.safetensors", "--weights", "seven.safetensors", *FEW, *more, *stop) == 0
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "seven.safetensors: is for 7 other classes, so linear starts anew for these 2"
    assert "validation_loss" in said[1]
    before, after = states("seven.safetensors", "a.safetensors")
    assert after["linear.weight"].shape == (2, 64)
    same_parts = {name for name in before if name.startswith(("conv1", "bn1", "layer1", "layer2"))}
    assert all((before[name] == after[name]).all() for name in same_parts)
    assert (before["layer3.0.conv1.weight"] != after["layer3.0.conv1.weight"]).any()
    assert load_checkpoint("a.safetensors")[1]["image_size"] == [6, 6]


def test_the_first_five_are_told_of_where_there_are_more_classes(folder, capsys):
    images = small_images(20)
    many = ImageSet(images.images, np.arange(20) % 10, tuple("abcdefghij"))
    save_set(folder / "ten.npz", train=many, test=many)
    about = {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3}
    save_network(build_network("resnet20", 10, seed=3), "ten.safetensors", "resnet20", metadata=about)
    assert call("train", "ten.npz", "--weights", "ten.safetensors", "--evaluate", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    logits = predict(load_network("ten.safetensors"), many, normalization=Normalization((0.5,) * 3, (0.5,) * 3))
    places = (logits > logits[np.arange(20), many.labels][:, None]).sum(axis=1)
    assert found["top5_accuracy"] == np.mean(places < 5)
    assert call("train", "ten.npz", "--weights", "ten.safetensors", "--evaluate") == 0
    assert f"{100 * np.mean(places < 5):.2f} % among the first five" in capsys.readouterr().out


def test_a_name_tells_networks_of_the_same_weights_apart(folder, capsys):
    about = {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3, "class_names": ["upright", "lying"]}
    save_checkpoint(build_network("cifar-mobilenetv2", 2, seed=1).state_dict(), "m.safetensors", metadata=about)
    assert call("train", "small.npz", "--weights", "m.safetensors", "--evaluate") == 0
    assert capsys.readouterr().out.startswith("imagenet-mobilenetv2: ")
    assert call("train", "small.npz", "--weights", "m.safetensors", "--evaluate", "--network", "cifar-mobilenetv2") == 0
    assert capsys.readouterr().out.startswith("cifar-mobilenetv2: ")


def test_plain_sets_are_tested_as_a_whole_in_the_network_s_classes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    images, about = small_images(20), {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3}
    network = build_network("resnet20", 3, seed=2)
    names = ["askew", *images.class_names]  # the network numbers them otherwise
    save_network(network, "named.safetensors", "resnet20", metadata=about | {"class_names": names})
    save_network(network, "plain.safetensors", "resnet20", metadata=about)
    save_set("whole.npz", whole=images)
    np.savez("numbered.npz", images=images.images, labels=images.labels + 1)
    for number, (pixels, label) in enumerate(zip(images.images, images.labels, strict=True)):
        folder = tmp_path / "pictures" / images.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        save(folder / f"{number}.png", pixels)
    renumbered = replace(images, labels=images.labels + 1, class_names=tuple(names))
    expected = evaluate(network, renumbered, normalization=Normalization([0.5] * 3, [0.5] * 3))

    def tested(data, weights, *more):
        assert call("train", data, "--weights", weights, "--evaluate", "--json", *more) == 0
        return json.loads(capsys.readouterr().out)

    for data, weights in [
        ("whole.npz", "named.safetensors"), ("pictures", "named.safetensors"),
        ("numbered.npz", "named.safetensors"), ("numbered.npz", "plain.safetensors"),
    ]:  # fmt: skip
        found = tested(data, weights)
        assert (found["images"], found["accuracy"]) == (20, expected.accuracy)
        assert found["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert tested("whole.npz", "named.safetensors", "--holdout", 0.5)["images"] == 10
    assert call("train", "whole.npz", "--weights", "plain.safetensors", "--evaluate") == 2
    assert "plain.safetensors: this network is for other classes" in capsys.readouterr().err
    (tmp_path / "pictures").rename(tmp_path / "train")
    assert call("train", tmp_path, "--weights", "named.safetensors", "--evaluate") == 2
    assert "has no images to test with" in capsys.readouterr().err
