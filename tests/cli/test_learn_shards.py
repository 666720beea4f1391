"""``csc-cogd learn --shards``: files read where their shard is worked on."""

import json
import logging
import os
import sys

import numpy as np
import pytest

from csc_cogd import Dictionary, InputError
from tests.cli.calling import call, check_refused, contents, interrupted, save

FEW = ("--filters", 4, "--filter-size", 4, "--iterations", 3, "--fft", "scipy", "--device", "cpu")


@pytest.fixture
def folder(tmp_path, photo, monkeypatch):
    for name, (top, left) in {"a": (0, 0), "b": (40, 50), "c": (50, 10)}.items():
        save(tmp_path / f"{name}.png", photo[top : top + 36, left : left + 32])
    save(tmp_path / "large.png", photo[:50, :48])
    save(tmp_path / "color.png", np.stack([photo[:36, :32]] * 3, axis=-1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_shards_of_files_give_one_dictionary_wherever_they_are_worked_on(folder, capsys):
    assert call("learn", "a.png", "b.png", "c.png", "-o", "here.npz", *FEW, "--shards", 2) == 0
    assert "here.npz: 4 filters from 3 file(s), 2 shard(s), 3 rounds, objective" in capsys.readouterr().err
    assert call("learn", "a.png", "b.png", "c.png", "-o", "there.npz", *FEW, "--shards", 2, "--jobs", 2, "-q") == 0
    assert capsys.readouterr() == ("", "")
    here, there = Dictionary.load("here.npz"), Dictionary.load("there.npz")
    np.testing.assert_array_equal(here.filters, there.filters)
    assert here.provenance["settings"]["shards"] == 2


def test_a_cluster_reads_relative_names_too(folder, capsys):
    distributed = pytest.importorskip("distributed")
    settings = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with distributed.LocalCluster(**settings) as cluster:
        os.makedirs("elsewhere")
        os.chdir("elsewhere")
        address = cluster.scheduler_address
        arguments = ("learn", "../a.png", "../b.png", *FEW, "--shards", 2, "-q")
        assert call(*arguments, "-o", "there.npz", "--scheduler", address) == 0
        check_refused(
            folder, capsys, ("learn", "../a.png", "../none.png", *FEW, "-o", "x.npz", "--shards", 2, "--scheduler", address),
            "none.png: no such file",
        )  # fmt: skip
    assert call(*arguments, "-o", "here.npz") == 0
    np.testing.assert_array_equal(Dictionary.load("here.npz").filters, Dictionary.load("there.npz").filters)


def test_pieces_of_one_size_of_images_of_any(folder, capsys):
    arguments = ("a.png", "large.png", "b.png", *FEW, "--crop", 30, "--shards", 1)
    for name, seed in (("x.npz", 0), ("y.npz", 0), ("z.npz", 1)):
        assert call("learn", *arguments, "-o", name, "--seed", seed) == 0
    x, y, z = (Dictionary.load(name).filters for name in ("x.npz", "y.npz", "z.npz"))
    np.testing.assert_array_equal(x, y)
    assert not np.array_equal(x, z)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png", "large.png", "--shards", 1), "large.png: can't share a shard with a.png, for it is of shape (50, 48)"),
        (
            ("a.png", "color.png", "--shards", 2),
            "shards must have the same number of channels, got 1 in",
        ),
        (("a.png", "--shards", 2), "--shards must be between 1 and 1, the number of files, got 2"),
        (("a.png", "--jobs", 2), "--jobs says where to work on shards, but there are none: add --shards"),
        (("a.png", "--scheduler", "tcp://host:1"), "--scheduler says where to work on shards, but there are none"),
        (("a.png", "--shards", 1, "--jobs", 1, "--scheduler", "tcp://host:1"), "--jobs can't be chosen, as the workers are"),
        (("a.png", "--shards", 1, "--cogd"), "--cogd can't be combined with shards: leave out --shards, or it"),
        (("a.png", "--shards", 1, "--online"), "--online can't be combined with shards: leave out --shards, or it"),
        (("a.png", "--shards", 1, "--whole"), "--whole can't be combined with shards: leave out --shards, or it"),
        (("a.png", "--shards", 1, "--crop", 3), "--crop must not be smaller than the filters, 4, got 3"),
        (("a.png", "none.png", "--shards", 2, "--jobs", 2), "none.png: no such file"),
        (
            ("a.png", "--shards", 1, "--filter-size", 40),
            "shard 0: --filter-size must not be larger than the images",
        ),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(folder, capsys, arguments, message):
    check_refused(folder, capsys, ("learn", *FEW, *arguments, "-o", "d.npz"), message)


def test_a_cluster_is_asked_whatever_device_is_here(folder, monkeypatch, capsys):
    def ask(jobs, scheduler):
        raise InputError("scheduler", f"{scheduler} was asked")

    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr("csc_cogd.batch.cluster_learning.shard_mapper", ask)
    arguments = ("learn", "a.png", "b.png", "-o", "d.npz", "--filters", "4", "--shards", 2, "--scheduler", "tcp://a:1", "-q")
    check_refused(folder, capsys, (*arguments, "--device", "cuda"), "--scheduler tcp://a:1 was asked")


def test_a_shard_too_large_for_the_memory_ends_in_exit_3(folder, monkeypatch, capsys):
    from csc_cogd.learning import learn

    monkeypatch.setattr(learn.os, "sysconf", lambda name: 100)
    arguments = ("learn", "a.png", "b.png", "-o", "d.npz", *FEW, "--shards", 2, "-q")
    check_refused(folder, capsys, arguments, "--filters need 0 GB of memory to learn from a shard", code=3)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_in_processes_it_goes_on_to_the_same_filters(folder, photo):
    for number in range(3):
        save(folder / f"{number}.png", np.roll(photo, 30 * number))
    few = ["learn", "0.png", "1.png", "2.png", "--filters", "12", "--filter-size", "7", "--fft", "scipy", "--device", "cpu"]
    few += ["--shards", "3", "--jobs", "2"]
    before = contents(folder)
    arguments = [*few, "-o", "d.npz", "--checkpoint", "run.npz", "--iterations", "100000"]
    code, out, err = interrupted(*arguments, begun=(folder / "run.npz").exists)
    assert (code, out) == (130, "")
    assert list(filter(None, err.splitlines())) == [
        "run.npz: a checkpoint: the same call goes on from it",
        "csc-cogd: error: interrupted: nothing half-written is left behind",
    ]
    left = contents(folder)
    assert all(path.name.startswith("run.npz") for path in left.keys() - before.keys())
    done = len(json.loads(bytes(np.load("run.npz")["about"]))["history"])
    few += ["--iterations", str(done + 2), "-q"]
    assert call(*few, "-o", "d.npz", "--checkpoint", "run.npz") == 0
    assert call(*few, "-o", "whole.npz") == 0
    np.testing.assert_array_equal(Dictionary.load("d.npz").filters, Dictionary.load("whole.npz").filters)
