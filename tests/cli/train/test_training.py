"""What is learned, and what is said of it."""

import csv
import io
import json
import sys

import numpy as np
import pytest
from PIL import Image

from csc_cogd.backend import usable_processors
from csc_cogd.backend.parallel import thread_count
from csc_cogd.imagefiles import read_image
from csc_cogd.nn import (
    Module,
    build_network,
    load_checkpoint,
    save_checkpoint,
)
from tests.cli.calling import call, check_refused
from tests.cli.train.sets import FEW, OUT, same, states


def test_trains_a_network_whose_weights_load_and_can_be_tested(folder, capsys):
    assert call("train", "small.npz", "-o", "w.safetensors", *FEW, "--history", "run.csv", "--plot", "run.png") == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    first, second, end = captured.err.splitlines()
    assert first.startswith("epoch 1/2: loss ")
    assert second.startswith("epoch 2/2: loss ")
    assert end.startswith("w.safetensors: resnet20, 2 epochs in ")
    arrays, about = load_checkpoint("w.safetensors")
    build_network("resnet20", 2).load_state_dict(arrays)
    assert (about["network"], about["class_names"]) == ("resnet20", ["upright", "lying"])
    with open("run.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert read_image("run.png").pixels.std() > 10
    assert call("train", "small.npz", "--weights", "w.safetensors", "--evaluate") == 0
    right = f"{100 * float(rows[-1]['test_accuracy']):.2f}"
    assert capsys.readouterr().out.startswith(f"resnet20: {right} % of 20 images, loss {float(rows[-1]['test_loss']):.4f}")
    assert end.endswith(f"test accuracy {right} %")


def test_lines_of_json(folder, capsys):
    assert call("train", "small.npz", "-o", "w.safetensors", *FEW, "--json", "-q", "--history", "run.json") == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    *epochs, summary = map(json.loads, captured.out.splitlines())
    assert epochs == json.loads((folder / "run.json").read_text())
    assert (summary["output"], summary["network"], summary["epochs"]) == ("w.safetensors", "resnet20", 2)
    assert summary["test_accuracy"] == epochs[1]["test_accuracy"]
    assert call("train", "small.npz", "--weights", "w.safetensors", "--evaluate", "--json", "-q") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {
        "network": "resnet20", "images": 20, "loss": epochs[1]["test_loss"], "accuracy": epochs[1]["test_accuracy"],
        "top5_accuracy": 1.0,
    }  # fmt: skip


def test_every_option_at_once(folder, capsys):
    assert call("train", "whole.npz", "-o", "first.safetensors", "--holdout", 0.25, *FEW, "-q") == 0
    code = call(
        "train", "whole.npz", "-o", "w.safetensors", "--holdout", 0.25, "--weights", "first.safetensors",
        "--network", "resnet20", "--epochs", 4, "--batch-size", 8, "--learning-rate", 0.02, "--schedule", "step",
        "--steps", "0.25,0.5", "--step-factor", 0.5, "--warm-up", 1, "--momentum", 0.8, "--nesterov",
        "--weight-decay", 0.001, "--no-decay-vectors", "--label-smoothing", 0.1, "--crop", 1, "--flip", "--cutout", 2,
        "--area", 0.5, "--seed", 7, "--mean", 0.5, 0.4, 0.3, "--std", 0.2, 0.3, 0.4, "--checkpoint-every", 3,
        "--precision", "float32", "--device", "cpu", "-v",
    )  # fmt: skip
    assert code == 0
    assert "resnet20, 30 images in 2 classes, 10 to test with" in capsys.readouterr().err
    about = load_checkpoint("w.safetensors")[1]
    assert about["run"]["recipe"] == {
        "epochs": 4, "batch_size": 8, "learning_rate": 0.02, "schedule": "step", "steps": [0.25, 0.5], "step_factor": 0.5,
        "warm_up": 1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.001, "decay_vectors": False,
        "label_smoothing": 0.1, "augmentation": {"crop": 1, "flip": True, "cutout": 2, "area": 0.5},
        "optimizer": "sgd", "average": 0.0, "patience": 0, "validation": 0.1, "precision": "float32", "seed": 7,
    }  # fmt: skip
    assert (about["norm_mean"], about["norm_std"]) == ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4])


def test_cogradient_descent_takes_part(folder):
    for name, options in (("a", ()), ("b", ("--cogd",)), ("c", ("--cogd", "--kernel-degree", 2))):
        arguments = ("--epochs", 3, "--batch-size", 16, "--history", f"{name}.csv", "-q")
        assert call("train", "small.npz", "-o", f"{name}.safetensors", *arguments, *options) == 0
    plain, linear, quadratic = states("a.safetensors", "b.safetensors", "c.safetensors")
    assert not any(same(first, second) for first, second in ((plain, linear), (linear, quadratic), (quadratic, plain)))
    heads = [(folder / f"{name}.csv").read_text().splitlines()[0] for name in "abc"]
    assert ["kernels_backtracked" in head for head in heads] == [False, True, True]


@pytest.mark.parametrize("alike", [False, True])
def test_a_rule_that_never_acted_is_told_of(alike, folder, capsys):
    """It acts on kernels that are smaller than others."""
    state = build_network("resnet20", 2).state_dict()
    if alike:
        state = {key: np.full_like(array, 2**-5) if array.ndim == 4 else array for key, array in state.items()}
    save_checkpoint(state, "start.safetensors", metadata={"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3})
    still = ("--weights", "start.safetensors", "--cogd", "--learning-rate", 0)
    assert call("train", "small.npz", *OUT, *FEW, *still) == 0
    assert ("warning: the rule of cogradient descent never acted" in capsys.readouterr().err) == alike


def test_the_seed_decides(folder):
    for name, seed in (("a.safetensors", 0), ("b.safetensors", 0), ("c.safetensors", 1)):
        assert call("train", "small.npz", "-o", name, *FEW, "--seed", seed, "-q") == 0
    first, second, other = states("a.safetensors", "b.safetensors", "c.safetensors")
    assert same(first, second)
    assert not same(first, other)


def test_compilation_is_told_of(folder, monkeypatch, capsys):
    monkeypatch.setattr("csc_cogd.backend.diagnostics.announce_compiling", lambda say: say())
    assert call("train", "small.npz", *OUT, *FEW) == 0
    assert capsys.readouterr().err.startswith("compiling for this machine: up to a minute")


def test_so_many_threads_are_used(folder, monkeypatch, capsys):
    seen, forward = set(), Module.__call__
    monkeypatch.setattr(Module, "__call__", lambda network, x: seen.add(thread_count()) or forward(network, x))
    assert call("train", "small.npz", *OUT, "--epochs", 1, "--threads", 3, "-q") == 0
    assert call("train", "small.npz", "--weights", "w.safetensors", "--evaluate", "--threads", 3) == 0
    assert call("prune", "w.safetensors", "small.npz", "-o", "p.safetensors", "--epochs", 1, "--threads", 3, "-q") == 0
    Image.new("RGB", (6, 6)).save("a.png")
    assert call("classify", "p.safetensors", "a.png", "--threads", 3) == 0
    assert seen == {3}
    assert thread_count() == usable_processors()
    capsys.readouterr()
    on_a_gpu = ("train", "small.npz", "-o", "a.safetensors", "--threads", 3, "--device", "cuda")
    check_refused(folder, capsys, on_a_gpu, "--threads is a setting of the CPU")


def test_quiet_says_nothing(folder, capfd):
    assert call("train", "small.npz", "-o", "w.safetensors", *FEW, "-q") == 0
    assert capfd.readouterr() == ("", "")


def test_a_terminal_sees_progress(folder, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    assert call("train", "small.npz", "-o", "w.safetensors", *FEW) == 0
    text = sys.stderr.getvalue()
    assert "epoch 1/2" in text
    assert "100%" in text
    assert "images/s" in text
    assert "\nepoch 2/2: loss" in text


def test_it_says_when_nothing_was_learned(folder, capsys):
    for rate, learned in ((0, False), (0.05, True)):
        assert call("train", "small.npz", *OUT, *FEW, "--learning-rate", rate, "--overwrite") == 0
        assert ("nothing was learned: try a smaller --learning-rate" in capsys.readouterr().err) == (not learned)
