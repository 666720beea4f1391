"""Runs that are interrupted, resumed, or over already."""

import os
import signal

import pytest

from csc_cogd.nn import (
    load_checkpoint,
)
from tests.cli.calling import call, check_refused, contents, interrupted
from tests.cli.train.sets import FEW, OUT, same, states


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


def test_a_run_that_is_over_is_only_told_of(folder, capsys):
    arguments = ("train", "small.npz", "-o", "w.safetensors", *FEW)
    assert call(*arguments, "--resume") == 0
    end = capsys.readouterr().err.splitlines()[-1]
    before = (folder / "w.safetensors").read_bytes()
    assert call(*arguments, "--resume", "--history", "run.csv") == 0
    assert capsys.readouterr().err.splitlines() == [end]
    assert (folder / "w.safetensors").read_bytes() == before
    assert (folder / "run.csv").read_text().count("\n") == 3
    assert call(*arguments, "--resume", "--history", "run.csv", "-q") == 0  # its own history may be there
    check_refused(
        folder, capsys, [*arguments, "--resume", "--learning-rate", 0.2],
        "w.safetensors: is a checkpoint of another run (its learning_rate is 0.1, not 0.2)",
    )  # fmt: skip
    check_refused(
        folder, capsys, [*arguments, "--resume", "--cogd"], "w.safetensors: is a checkpoint of another run (its hooks"
    )
    assert call(*arguments, "--overwrite", "--learning-rate", 0.2, "-q") == 0
    assert (folder / "w.safetensors").read_bytes() != before


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
