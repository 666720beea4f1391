import csv
import io
import json
import os
import signal
import sys

import numpy as np
import pytest
from PIL import Image

from csc_cogd.backend import usable_processors
from csc_cogd.backend.parallel import thread_count
from csc_cogd.imagefiles import read_image
from csc_cogd.nn import (
    ImageSet,
    Module,
    Normalization,
    build_network,
    channel_groups,
    load_checkpoint,
    load_images,
    load_network,
    predict,
    remove_channels,
    save_checkpoint,
)
from csc_cogd.nn.saving import save_network
from tests.cli.calling import call, check_refused, contents, interrupted
from tests.nn.cases import RECORD
from tests.nn.training.small import small_images

FEW = ("--epochs", 2, "--batch-size", 16, "--device", "cpu")


def save_set(path, **parts):
    """An npz file of sets by the names of their parts, or of one without."""
    arrays = {"class_names": np.array(next(iter(parts.values())).class_names)}
    for part, images in parts.items():
        prefix = "" if part == "whole" else f"{part}_"
        arrays |= {f"{prefix}images": images.images, f"{prefix}labels": images.labels}
    np.savez(path, **arrays)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save_set(tmp_path / "small.npz", train=small_images(32), test=small_images(20, seed=1))
    save_set(tmp_path / "whole.npz", whole=small_images(40))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def states(*paths):
    return [load_checkpoint(path)[0] for path in paths]


def same(first, second):
    return first.keys() == second.keys() and all((array == second[name]).all() for name, array in first.items())


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


def interrupt(*_, **__):
    raise KeyboardInterrupt


def test_a_resumed_run_does_not_measure_the_images_again(folder, monkeypatch):
    """In a folder they would all have to be read for it."""
    assert call("train", "small.npz", "-o", "whole.safetensors", *FEW, "-q") == 0

    from csc_cogd.nn.training import training

    results = iter([training.unchecked_evaluate])
    with monkeypatch.context() as patched:
        patched.setattr(training, "unchecked_evaluate", lambda *images, **how: next(results, interrupt)(*images, **how))
        assert call("train", "small.npz", *OUT, *FEW, "-q") == 130
    monkeypatch.setattr("csc_cogd.nn.measure_normalization", lambda images: pytest.fail("measured"))
    assert call("train", "small.npz", *OUT, *FEW, "-q", "--resume") == 0
    assert same(*states("whole.safetensors", "w.safetensors"))


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


def test_weights_are_started_from_with_their_normalization(folder):
    assert call("train", "small.npz", "-o", "a.safetensors", *FEW, "--mean", 0.5, 0.4, 0.3, "--std", 1, 1, 1, "-q") == 0
    assert call("train", "small.npz", "-o", "b.safetensors", *FEW[2:], "--epochs", 1, "--learning-rate", 0,
                "--weights", "a.safetensors", "-q") == 0  # fmt: skip
    first, second = states("a.safetensors", "b.safetensors")
    assert (first["conv1.weight"] == second["conv1.weight"]).all()
    assert load_checkpoint("b.safetensors")[1]["norm_mean"] == [0.5, 0.4, 0.3]


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


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_terminated_it_says_how_to_go_on_and_does_so_to_the_same_weights(folder):
    settings = ["small.npz", "--epochs", "16", "--batch-size", "16", "--device", "cpu"]
    arguments, begun = ["train", *settings, "-o", "w.safetensors"], (folder / "w.safetensors").exists
    code, out, err = interrupted(*arguments, begun=begun, number=signal.SIGTERM)
    assert (code, out) == (130, "")
    *_, advice, end = filter(None, err.splitlines())
    assert advice == "w.safetensors: checkpoint saved; the same call with --resume continues from it"
    assert end == "csc-cogd: error: interrupted: nothing half-written is left behind"
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []
    assert load_checkpoint("w.safetensors")[1]["epoch"] < 16
    assert call("train", *settings, "-o", "w.safetensors", "--resume", "-q") == 0
    assert call("train", *settings, "-o", "whole.safetensors", "-q") == 0
    assert same(*states("w.safetensors", "whole.safetensors"))


def test_it_says_when_nothing_was_learned(folder, capsys):
    for rate, learned in ((0, False), (0.05, True)):
        assert call("train", "small.npz", *OUT, *FEW, "--learning-rate", rate, "--overwrite") == 0
        assert ("nothing was learned: try a smaller --learning-rate" in capsys.readouterr().err) == (not learned)


def test_a_run_that_is_over_is_only_told_of(folder, capsys):
    arguments = ("train", "small.npz", "-o", "w.safetensors", *FEW)
    assert call(*arguments, "--resume") == 0
    end = capsys.readouterr().err.splitlines()[-1]
    before = (folder / "w.safetensors").read_bytes()
    assert call(*arguments, "--resume", "--history", "run.csv") == 0
    assert capsys.readouterr().err.splitlines() == [end]
    assert (folder / "w.safetensors").read_bytes() == before
    assert (folder / "run.csv").read_text().count("\n") == 3
    check_refused(
        folder, capsys, [*arguments, "--resume", "--learning-rate", 0.2],
        "w.safetensors: is a checkpoint of another run (its learning_rate is 0.1, not 0.2)",
    )  # fmt: skip
    check_refused(
        folder, capsys, [*arguments, "--resume", "--cogd"], "w.safetensors: is a checkpoint of another run (its hooks"
    )
    assert call(*arguments, "--overwrite", "--learning-rate", 0.2, "-q") == 0
    assert (folder / "w.safetensors").read_bytes() != before


OUT = ("-o", "w.safetensors")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument 'DATA'"),
        (("small.npz",), "--output is needed: add --output FILE.safetensors"),
        (("small.npz", "-o", "w.pt"), "w.pt: the name of a file of weights must end in .safetensors"),
        (("small.npz", "-o", "x/w.safetensors"), "x/w.safetensors: there is no folder x"),
        (("none.npz", *OUT), "none.npz: no such file or folder of images"),
        (("whole.npz", *OUT), "whole.npz: has no images to test with: add --holdout, such as 0.1"),
        (("small.npz", *OUT, "--holdout", 0.1), "--holdout can't be used with small.npz, which has images to test with"),
        (("small.npz", *OUT, "--image-size", 8), "--image-size is for folders of classes"),
        (("small.npz", *OUT, "--network", "alexnet"), "'alexnet' is not one of"),
        (("small.npz", *OUT, "--epochs", 0), "not in the range"),
        (
            ("small.npz", *OUT, "--precision", "mixed", "--device", "cpu"),
            "--precision 'mixed' needs a GPU",
        ),
        (("small.npz", *OUT, "--kernel-degree", 2), "--kernel-degree belongs to cogradient descent: add --cogd"),
        (("small.npz", *OUT, "--warm-up", 300), "--warm-up must be from 0 to 200 epochs, got 300.0"),
        (("small.npz", *OUT, "--steps", 0.5), "--steps has no effect with schedule cosine: add --schedule step"),
        (("small.npz", *OUT, "--step-factor", 0.5), "--step-factor has no effect with schedule cosine: add --schedule step"),
        (("small.npz", *OUT, "--schedule", "step", "--steps", "a"), "--steps must be numbers separated by commas, got 'a'"),
        (("small.npz", *OUT, "--schedule", "step", "--steps", "2"), "--steps must be fractions of the epochs"),
        (("small.npz", *OUT, "--mean", 0, 0, 0), "give both --mean and --std, or neither"),
        (("small.npz", *OUT, "--momentum", 0, "--nesterov"), "--nesterov needs a momentum above 0"),
        (("small.npz", *OUT, "--history", "run.txt"), "run.txt: the name of a history must end in .csv or .json"),
        (("small.npz", *OUT, "--history", "x/run.csv"), "x/run.csv: there is no folder x"),
        (("small.npz", *OUT, "--plot", "run.gif"), "run.gif: the name of a plot must end in .png, .pdf, .svg"),
        (("small.npz", *OUT, "--history", "whole.npz/a.csv"), "there is no folder whole.npz"),
        (("small.npz", *OUT, "--weights", "none.safetensors"), "none.safetensors: no such file of weights"),
        (("small.npz", *OUT, "--weights", "other.safetensors"), "other.safetensors: the names of its weights must be those"),
        (("small.npz", "--weights", "ten.safetensors", "--evaluate"), "ten.safetensors: this network is for other classes"),
        (
            ("small.npz", "--weights", "named.safetensors", "--evaluate"),
            "named.safetensors: this network is for other classes",
        ),
        (("small.npz", *OUT, "--weights", "plain.safetensors"), "plain.safetensors: holds no mean and standard deviation"),
        (
            ("small.npz", "--weights", "text.safetensors", "--evaluate"),
            "text.safetensors: holds no mean and standard deviation of pixels: add --mean",
        ),
        (("small.npz", *OUT, "--weights", "plain.safetensors", "--network", "resnet32"), "--network must be resnet20, "),
        (("small.npz", *OUT, "--weights", "named.safetensors", "--network", "resnet32"), "--network must be resnet20, "),
        (("small.npz", "-o", "plain.safetensors"), "plain.safetensors: exists already: add --resume to continue, or"),
        (("small.npz", "-o", "plain.safetensors", "--resume"), "plain.safetensors: isn't a checkpoint of training"),
        (("small.npz", "-o", "plain.safetensors", "--weights", "plain.safetensors", "--overwrite"), "is an input"),
        (("small.npz", "--evaluate"), "--evaluate needs weights to test: add --weights FILE"),
        (("small.npz", "--evaluate", "--weights", "plain.safetensors", "--flip"), "--flip has no effect on a test"),
        (("small.npz", "--evaluate", "--weights", "plain.safetensors", *OUT), "--output has no effect on a test of weights"),
        (("small.npz", *OUT, "--learning-rate", 1000, "--batch-size", 8, "-q"), "--learning-rate may be too high, as the "),
        (("small.npz", "--evaluate", "--weights", "nan.safetensors"), "nan.safetensors: its state dict must be finite"),
        (("small.npz", "--evaluate", "--weights", "huge.safetensors"), "huge.safetensors must have a finite loss"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_what_is_wrong_is_one_line_and_nothing_is_written(folder, capsys, arguments, message):
    state = build_network("resnet20", 2).state_dict()
    save_checkpoint(state, "plain.safetensors")
    about = {"class_names": ["lying", "upright"], "network": "resnet20"}
    save_checkpoint(state, "named.safetensors", metadata=about)
    save_checkpoint(build_network("resnet20").state_dict(), "ten.safetensors")
    save_checkpoint({"linear.weight": np.zeros((2, 3))}, "other.safetensors")
    about = {"norm_mean": "0.485, 0.456, 0.406", "norm_std": [0.5] * 3}
    save_checkpoint(state, "text.safetensors", metadata=about)
    about = {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3}
    save_checkpoint(state | {"bn1.bias": np.full(16, np.nan)}, "nan.safetensors", metadata=about)
    save_checkpoint(state | {"bn1.bias": np.full(16, 3e38)}, "huge.safetensors", metadata=about)
    check_refused(folder, capsys, ["train", *arguments], message)


def test_an_unusable_device_ends_in_exit_3(folder, capsys):
    check_refused(folder, capsys, ["train", "small.npz", *OUT, "--device", "cuda"], "cuda", code=3)


def test_existing_outputs_are_replaced_only_on_request(folder, capsys):
    for name in ("run.csv", "run.svg"):
        (folder / name).write_text("mine")
    arguments = ["train", "small.npz", *OUT, *FEW]
    check_refused(folder, capsys, [*arguments, "--history", "run.csv"], "run.csv: exists already")
    check_refused(folder, capsys, [*arguments, "--plot", "run.svg"], "run.svg: exists already")
    assert call(*arguments, "--history", "run.csv", "--plot", "run.svg", "--overwrite", "-q") == 0
    assert "mine" not in {path.read_text() for path in (folder / "run.csv", folder / "run.svg")}


def test_interrupted_it_speaks_of_a_checkpoint_where_there_is_one(folder, capsys, monkeypatch):
    from csc_cogd.nn.training import training

    def interrupted_after(epochs):
        left = iter(range(epochs))

        def evaluate(*arguments, **settings):
            if next(left, None) is None:
                raise KeyboardInterrupt
            return training_evaluate(*arguments, **settings)

        monkeypatch.setattr(training, "unchecked_evaluate", evaluate)

    def said(*arguments):
        assert call("train", "small.npz", *OUT, *FEW, *arguments) == 130
        return "--resume continues from it" in capsys.readouterr().err

    training_evaluate = training.unchecked_evaluate
    before = contents(folder)
    interrupted_after(0)
    assert not said()
    assert contents(folder) == before
    interrupted_after(1)
    assert said()
    interrupted_after(0)
    assert said("--resume")
    assert not said("--overwrite")


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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--freeze", "layer1"), "--freeze would keep random weights: add --weights FILE"),
        (("--cogd", "--average", 0.9), "--average can't be combined with cogradient descent"),
        (("--rule", "eta=0.2"), "--rule belongs to cogradient descent: add --cogd"),
        (
            ("--cogd", "--rule", "mu=0.2"),
            "--rule must be NAME=VALUE, separated by commas, with names eta, bound, ",
        ),
        (("--cogd", "--rule", "small=x"), "small must be one of kernels, scales, got 'x'"),
        (("--cogd", "--rule", "kernels=x"), "kernels must be one of following, preceding, got 'x'"),
        (("--validation", 0.2), "--validation has no effect without an early stop: add --patience N"),
        (("--network", "resnet19"), "'resnet19' is not one of resnet20"),
    ],
)
def test_options_without_an_effect_are_refused(arguments, message, folder, capsys):
    check_refused(folder, capsys, ("train", "small.npz", "-o", "a.safetensors", *FEW, *arguments), message)


def test_a_name_tells_networks_of_the_same_weights_apart(folder, capsys):
    about = {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3, "class_names": ["upright", "lying"]}
    save_checkpoint(build_network("cifar-mobilenetv2", 2, seed=1).state_dict(), "m.safetensors", metadata=about)
    assert call("train", "small.npz", "--weights", "m.safetensors", "--evaluate") == 0
    assert capsys.readouterr().out.startswith("imagenet-mobilenetv2: ")
    assert call("train", "small.npz", "--weights", "m.safetensors", "--evaluate", "--network", "cifar-mobilenetv2") == 0
    assert capsys.readouterr().out.startswith("cifar-mobilenetv2: ")
