import json
import os
import subprocess
import sys

import numpy as np
import pytest

from csc_cogd.nn import (
    ImageSet,
    Module,
    build_network,
    evaluate,
    export_onnx,
    load_checkpoint,
    load_images,
    load_network,
    predict,
    save_checkpoint,
    save_network,
)
from csc_cogd.nn.networks.resnet import CifarResNet
from tests.cli.calling import call, check_refused, contents, interrupted
from tests.cli.train.sets import save_set
from tests.nn.training.small import HALF, small_images

FEW = ("--mask-epochs", 1, "--epochs", 1, "--batch-size", 16, "--device", "cpu")
OUT = ("-o", "a.safetensors")
BOTH = ("net.safetensors", "small.npz")
ABOUT = {"class_names": ["upright", "lying"], "norm_mean": HALF.mean, "norm_std": HALF.std}


def spoil_weights(path, to):
    """Write weights of which one is NaN."""
    arrays, about = load_checkpoint(path)
    arrays["layer2.1.conv1.weight"][0, 0, 0, 0] = np.nan
    save_checkpoint(arrays, to, metadata=about)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    save_set(tmp_path / "small.npz", train=small_images(32), test=small_images(20, seed=1))
    save_network(build_network("resnet20", 2), tmp_path / "net.safetensors", "resnet20", metadata=ABOUT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", ["cogd", "gal", "l1", "group", "taylor"])
def test_prunes_a_network_that_loads_and_can_be_tested(method, folder, capsys):
    few = FEW if method in ("cogd", "gal") else FEW[2:]
    assert call("prune", "net.safetensors", "small.npz", "-o", "half.safetensors", "--method", method, *few) == 0
    said = capsys.readouterr().err.splitlines()
    epochs = [line.split(":")[0] for line in said if "epoch" in line and "loss" in line]
    assert epochs == [*["masks, epoch 1/1"] * (method in ("cogd", "gal")), "fine-tuning, epoch 1/1"]
    head, flops, *rest = said[len(epochs) :]
    right, end, *warnings = rest[rest.index("half.safetensors: written") - 1 :]
    assert head.split() == ["before", "after", "left"]
    assert flops.startswith("multiply-adds an image")
    assert 45 < float(flops.split()[-1].rstrip("%")) <= 50
    assert end == "half.safetensors: written"
    assert len(warnings) == (method == "cogd")  # in an epoch masks don't come from 1 to below 0.5
    arrays, about = load_checkpoint("half.safetensors")
    assert about["class_names"] == ABOUT["class_names"]
    assert sum(array.size for array in arrays.values()) < sum(
        array.size for array in load_checkpoint("net.safetensors")[0].values()
    )
    assert call("train", "small.npz", "--weights", "half.safetensors", "--evaluate") == 0
    assert capsys.readouterr().out.split()[1] == right.split()[-2]
    assert {path.name for path in contents(folder)} == {"small.npz", "net.safetensors", "half.safetensors"}


@pytest.mark.parametrize(("start", "acted"), [("ones", False), ("uniform", True)])
def test_a_rule_that_never_acted_is_told_of(start, acted, folder, capsys):
    method = ("--method", "cogd", "--no-fine-tuning", "--mask-start", start)
    assert call("prune", *BOTH, *OUT, *FEW, *method) == 0
    told = "warning: the rule of cogradient descent never acted, as no mask fell below 0.5"
    assert (told in capsys.readouterr().err) == (not acted)


def test_every_option_at_once(folder, capsys):
    pytest.importorskip("onnx")
    arguments = (
        "--method", "cogd", "--flops", 0.6, "--ranking", "uniform", "--at-least", 2, "--multiple-of", 4, "--mask-start",
        "uniform", "--sparsity", 0.2, "--mask-learning-rate", 0.05, "--mask-interval", 2, "--label-weight", 1,
        "--distillation-weight", 0.5, "--keep", 0.8, "--kernel-degree", 2, "--crop", 1, "--flip", "--seed", 3, "--onnx",
        "small.onnx", "--rule", "eta=0.2,sign=1,bound=0.3,kernels=preceding", "--teacher", 0.3, "--record", "run.json",
        "--json", "-q",
    )  # fmt: skip
    assert call("prune", "net.safetensors", "small.npz", "-o", "small.safetensors", *FEW, *arguments) == 0
    captured = capsys.readouterr()
    summary, report = json.loads(captured.out), json.loads((folder / "run.json").read_text())
    assert captured.err == ""
    assert summary["after"] == report["after"]
    assert summary["after"]["flops"] <= 0.6 * summary["before"]["flops"]
    assert {len(channels) % 4 for channels in report["kept"].values()} == {0}
    assert "masks_backtracked" in report["masks"][0]["figures"]
    ort = pytest.importorskip("onnxruntime")
    images = load_images("small.npz", "test")
    session = ort.InferenceSession("small.onnx")
    x = HALF(images.images)
    expected = predict(load_network("small.safetensors"), images, normalization=HALF)
    np.testing.assert_allclose(session.run(None, {"images": x})[0], expected, atol=1e-4)


def test_no_test_takes_more_images_at_a_time_than_training(folder, monkeypatch):
    sizes, forward = set(), Module.__call__

    def watched(network, x):
        if type(network) is CifarResNet:
            sizes.add(len(x.array))
        return forward(network, x)

    monkeypatch.setattr(Module, "__call__", watched)
    assert call("prune", *BOTH, *OUT, "--epochs", 1, "--batch-size", 12, "-q") == 0
    assert sizes == {12, 8, 1, 64}  # of 32 and 20 images; 1 is traced, and by 64 time is measured


@pytest.fixture
def imported(folder):
    """A network of another program, and what it is of."""
    pytest.importorskip("onnx")
    export_onnx(build_network("resnet20-b", 2, seed=5), "net.onnx", image_shape=(3, 6, 6), metadata=ABOUT)
    return folder


def test_onnx_is_pruned_to_onnx(imported, capsys):
    ort = pytest.importorskip("onnxruntime")
    assert call("prune", "net.onnx", "small.npz", "-o", "small.onnx", "--flops", 0.6, *FEW[2:], "--json", "-q") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["after"]["flops"] <= 0.6 * summary["before"]["flops"]
    images = load_images("small.npz", "test")
    (found,) = ort.InferenceSession("small.onnx").run(None, {"images": HALF(images.images)})
    np.testing.assert_allclose(found, predict(load_network("small.onnx"), images, normalization=HALF), atol=1e-4)
    assert np.mean(found.argmax(axis=1) == images.labels) == summary["after"]["test_accuracy"]
    assert call("train", "small.npz", "--weights", "small.onnx", "--evaluate", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == summary["after"]["test_accuracy"]
    assert {path.name for path in contents(imported)} == {"small.npz", "net.safetensors", "net.onnx", "small.onnx"}


def test_integers_of_8_bits_are_tested_and_told_of(folder, capsys):
    pytest.importorskip("onnxruntime")
    assert call("prune", *BOTH, *OUT, *FEW[2:], "--int8", "a8.onnx", "--record", "run.json") == 0
    said = capsys.readouterr().err
    found = json.loads((folder / "run.json").read_text())
    assert f"{100 * found['int8']['test_accuracy']:.2f} %" in next(line for line in said.splitlines() if "8-bit" in line)
    assert "one, by onnxruntime" in said
    assert 0 < found["after"]["onnxruntime_seconds"] < found["before"]["onnxruntime_seconds"] * 3
    images, ort = load_images("small.npz", "test"), pytest.importorskip("onnxruntime")
    (logits,) = ort.InferenceSession("a8.onnx").run(None, {"images": HALF(images.images)})
    assert np.mean(logits.argmax(axis=1) == images.labels) == found["int8"]["test_accuracy"]
    expected = predict(load_network("a.safetensors"), images, normalization=HALF)
    assert abs(logits - expected).max() < 0.2 * abs(expected).max()
    import onnx

    assert {one.data_type for one in onnx.load("a8.onnx").graph.initializer} >= {onnx.TensorProto.INT8}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("net.onnx", "small.npz", *OUT), "a.safetensors: the name of this output must end in .onnx"),
        (
            ("net.onnx", "small.npz", "-o", "a.onnx", "--onnx", "b.onnx"),
            "--onnx has no effect, as the output itself is ONNX",
        ),
        (("net.onnx", "large.npz", "-o", "a.onnx"), "net.onnx: takes images of 6 x 6 pixels, got 8 x 8: use --image-size"),
        (
            ("net.onnx", "small.npz", "-o", "a.onnx", "--method", "gal", "--mask-epochs", 1),
            "net.onnx must have blocks with a place for a mask",
        ),
    ],
)
def test_what_can_not_be_done_with_onnx_is_refused(arguments, message, imported, capsys):
    images = small_images(20)
    large = ImageSet(np.pad(images.images, ((0, 0), (1, 1), (1, 1), (0, 0))), images.labels, images.class_names)
    save_set("large.npz", train=large, test=large)
    check_refused(imported, capsys, ("prune", *arguments, *FEW[2:]), message)


def test_a_budget_that_is_no_share_is_told_as_it_was_given(folder, capsys):
    message = (
        "%), to which these groups can be pruned, got 1.5: increase it (up to 1, it is a fraction), or prune more groups"
    )
    check_refused(folder, capsys, ("prune", *BOTH, *OUT, "--flops", 1.5, *FEW[2:]), message)


def trained(*arguments):
    return call("train", "small.npz", "-o", "a.onnx", "--weights", "net.onnx", *FEW[2:], *arguments)


def test_onnx_is_trained_to_onnx(imported, capsys):
    ort = pytest.importorskip("onnxruntime")
    assert trained("--freeze", "conv1") == 0
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("a.onnx: onnx, 1 epochs in")]
    images = load_images("small.npz", "test")
    network = load_network("a.onnx")
    (found,) = ort.InferenceSession("a.onnx").run(None, {"images": HALF(images.images)})
    np.testing.assert_allclose(found, predict(network, images, normalization=HALF), atol=1e-4)
    assert (found != ort.InferenceSession("net.onnx").run(None, {"images": HALF(images.images)})[0]).any()
    right = f"{100 * evaluate(network, images, normalization=HALF).accuracy:.2f} %"
    assert said.endswith(f"test accuracy {right}")
    assert {path.name for path in contents(imported)} == {"small.npz", "net.safetensors", "net.onnx", "a.onnx"}
    again = ("train", "small.npz", "-o", "a.onnx", "--weights", "net.onnx", *FEW[2:])
    check_refused(imported, capsys, again, "a.onnx: exists already")
    assert trained("--overwrite", "-q") == 0


def test_training_of_onnx_is_continued_from_the_checkpoint_beside_it(imported, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("csc_cogd.nn.export_onnx", lambda *given, **how: interrupt())
        assert trained("-q") == 130
    assert (imported / "a.training.safetensors").exists()
    assert trained("-q") == 2
    monkeypatch.setattr("csc_cogd.nn.training.training._Run.epoch", lambda run, number: pytest.fail("trained again"))
    assert trained("-q", "--resume") == 0
    assert not (imported / "a.training.safetensors").exists()
    assert load_network("a.onnx")


def interrupt():
    raise KeyboardInterrupt


def test_what_onnx_is_written_as(imported, capsys):
    arguments = ("train", "small.npz", "-o", "a.safetensors", "--weights", "net.onnx", *FEW[2:])
    check_refused(imported, capsys, arguments, "a.safetensors: the name of a network from ONNX must end in .onnx")
    named = ("train", "small.npz", "--weights", "net.onnx", "--evaluate", "--network", "resnet20")
    check_refused(imported, capsys, named, "--network must be onnx, which net.onnx is of, got resnet20")


def test_masks_that_are_off_are_removed_by_a_threshold(folder, capsys):
    off = ("--threshold", 0, "--sparsity", 3, "--mask-learning-rate", 0.3, "--method", "gal", "--no-fine-tuning")
    assert call("prune", "net.safetensors", "small.npz", "-o", "a.safetensors", *FEW, *off, "--json", "-q") == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["after"]["flops"] < summary["before"]["flops"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.safetensors", "small.npz", *OUT), "none.safetensors: no such file"),
        (("net.safetensors", "none", *OUT), "none"),
        ((*BOTH, "-o", "a.bin"), "a.bin: the name of this output must end in .safetensors"),
        ((*BOTH, "-o", "net.safetensors"), "net.safetensors: is an input"),
        ((*BOTH, *OUT, "--record", "a.txt"), "a.txt: the name of this output must end in .json"),
        ((*BOTH, *OUT, "--flops", 0.5, "--threshold", 0), "threshold: give --flops or --threshold"),
        ((*BOTH, *OUT, "--flops", 1e-6), "--flops must be at least "),
        (("nan.safetensors", "small.npz", *OUT), "nan.safetensors: its state dict must be finite, but layer2.1.conv1"),
        ((*BOTH, *OUT, "--method", "l1", "--sparsity", 1), "--sparsity has no effect with method l1: "),
        ((*BOTH, *OUT, "--method", "cogd", "--rule", "small=scales"), "--rule has no setting small for masks"),
        ((*BOTH, *OUT, "--method", "gal", "--keep", 1), "--keep has no effect with method gal"),
        ((*BOTH, *OUT, "--no-fine-tuning", "--teacher", 0.5), "--teacher is for fine-tuning, which is off"),
        ((*BOTH, *OUT, "--method", "l1", "--threshold", 0), "--threshold is for masks, which method 'l1' has"),
        ((*BOTH, *OUT, "--everywhere", "--method", "cogd"), "--everywhere has no effect with method 'cogd', whose masks"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_and_nothing_is_written(arguments, message, folder, capsys):
    few = FEW if {"cogd", "gal"} & set(arguments) else FEW[2:]
    spoil_weights("net.safetensors", "nan.safetensors")
    check_refused(folder, capsys, ("prune", *arguments, *few), message)


def test_an_interrupted_run_goes_on_to_the_same_network(folder):
    """SIGINT while the smaller network is fine-tuned; what masks have learned isn't lost."""
    long = ("--method", "gal", "--mask-epochs", "1", "--epochs", "6", "--batch-size", "16", "--device", "cpu", "-q")
    arguments = [sys.executable, "-m", "csc_cogd", "prune", "net.safetensors", "small.npz", *long]
    begun = (folder / "cut.tuning.safetensors").exists
    assert interrupted(*arguments[3:], "-o", "cut.safetensors", begun=begun)[0] == 130
    assert not (folder / "cut.safetensors").exists()
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    subprocess.run([*arguments, "-o", "cut.safetensors", "--resume"], check=True, env=environment)
    subprocess.run([*arguments, "-o", "whole.safetensors"], check=True, env=environment)
    found, expected = (load_checkpoint(name)[0] for name in ("cut.safetensors", "whole.safetensors"))
    assert all((expected[name] == array).all() for name, array in found.items())
    assert not list(folder.glob("cut.*.safetensors"))
