"""What can't be done is said in one line, and nothing is written."""

import numpy as np
import pytest

from csc_cogd.nn import (
    build_network,
    save_checkpoint,
)
from tests.cli.calling import call, check_refused
from tests.cli.train.sets import FEW, OUT


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
    about = {"class_names": ["lying", "askew"], "network": "resnet20"}
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
