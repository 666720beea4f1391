import json
import os

import numpy as np
import pytest

import csc_cogd
from csc_cogd import Dictionary, InputError
from tests.cli.calling import call, contents, interrupted, save

FEW = ("--filters", 5, "--filter-size", 4, "--iterations", 2)


@pytest.fixture
def folder(tmp_path, photo, monkeypatch):
    save(tmp_path / "a.png", photo[:40, :36])
    save(tmp_path / "b.png", photo[40:80, 50:86])
    save(tmp_path / "small.png", photo[:30, :36])
    save(tmp_path / "color.png", np.stack([photo[:40, :36]] * 3, axis=-1))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_learns_a_dictionary_that_inpaint_takes(folder, capsys):
    assert call("learn", "a.png", "b.png", "-o", "d.npz", *FEW) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "d.npz: 5 filters from 2 file(s), 2 rounds, objective" in captured.err
    assert Dictionary.load("d.npz").filters.shape == (5, 4, 4)
    save(folder / "mask.png", np.eye(40, 36, dtype=np.uint8))
    assert call("inpaint", "a.png", "-m", "mask.png", "--dictionary", "d.npz", "--iterations", 5) == 0


def test_different_sizes_are_learned_online(folder, capsys):
    assert call("learn", "a.png", "small.png", "-o", "d.npz", *FEW, "--batch-size", 3, "--crop", 20) == 0
    assert "online, 2 batches of 3 crops" in capsys.readouterr().err
    assert call("learn", "a.png", "b.png", "-o", "e.npz", *FEW, "--max-memory", "100KB") == 0
    assert "online" in capsys.readouterr().err


def test_every_option_at_once(folder, capsys):
    common = (
        "--filters",
        "2,3",
        "--filter-size",
        "3,5",
        "--seed",
        4,
        "--dtype",
        "float64",
        "--threads",
        1,
        "--fft",
        "scipy",
    )
    assert call("learn", "a.png", "-o", "first.npz", *common, "--iterations", 1) == 0
    code = call(
        "learn", "a.png", "b.png", "-o", "d.npz", *common, "--lmbda", 0.05, "--iterations", 3, "--cogd",
        "--kernel-degree", 2,
        "--whole", "--max-memory", "1GB", "--start", "first.npz", "--checkpoint", "run.npz", "--device", "cpu", "-q",
    )  # fmt: skip
    assert code == 0
    dictionary = Dictionary.load("d.npz")
    assert dictionary.shapes.tolist() == [[3, 3]] * 2 + [[5, 5]] * 3
    assert dictionary.provenance["settings"]["lmbda"] == 0.05
    assert "degree=2" in dictionary.provenance["settings"]["cogd"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a.png",), "Missing option '-o'"),
        (("a.png", "-o", "d.png"), "d.png: dictionaries are written as .npz"),
        (("a.png", "-o", "x/d.npz"), "x/d.npz: there is no folder"),
        (("a.png", "color.png", "-o", "d.npz"), "color.png: doesn't have as many channels as a.png"),
        (("a.png", "small.png", "-o", "d.npz", "--whole"), "small.png: has 36 x 30 pixels"),
        (("a.png", "b.png", "-o", "d.npz", "--online", "--cogd"), "online learning doesn't keep"),
        (("a.png", "-o", "d.npz", "--max-memory", "much"), "'much' isn't an amount of memory"),
        (("a.png", "-o", "d.npz", "--start", "a.png"), "a.png: not a dictionary"),
        (("a.png", "-o", "d.npz", "--checkpoint", "d.npz"), "d.npz: two outputs"),
        (("a.png", "-o", "a.png", "--overwrite"), "a.png: dictionaries are written as .npz"),
        (("a.png", "small.png", "-o", "d.npz", "--cogd"), "leave out --cogd"),
        (("a.png", "b.png", "-o", "d.npz", "--cogd", "--max-memory", "1KB"), "raise --max-memory"),
        (
            ("a.png", "small.png", "-o", "d.npz", "--crop", "3"),
            "--crop must not be smaller than the filters",
        ),
        (("a.png", "-o", "d.npz", "--device", "cuda"), "cuda"),
    ],
)
def test_what_is_wrong_is_one_line_and_nothing_is_written(folder, capsys, arguments, message):
    before = contents(folder)
    assert call("learn", *arguments) == (3 if "cuda" in arguments else 2)
    err = capsys.readouterr().err
    assert err.startswith("csc-cogd: error: ")
    assert err.count("\n") == 1
    assert message in err
    assert contents(folder) == before


def test_goes_on_from_a_dictionary_of_any_sizes(folder, capsys):
    assert call("learn", "a.png", "-o", "d.npz", "--filters", "2,3", "--filter-size", "3,5", "--iterations", 1) == 0
    assert call("learn", "b.png", "-o", "e.npz", "--start", "d.npz", "--iterations", 1, "-v") == 0
    assert "settings: lmbda 0.02" in capsys.readouterr().err
    assert Dictionary.load("e.npz").shapes.tolist() == [[3, 3]] * 2 + [[5, 5]] * 3
    before = contents(folder)
    assert call("learn", "b.png", "-o", "d.npz", "--start", "d.npz", "--overwrite") == 2
    assert "d.npz: is an input" in capsys.readouterr().err
    for other in (("color.png",), ("b.png", "--filters", 7)):
        assert call("learn", *other, "-o", "f.npz", "--start", "d.npz") == 2
        assert "--start must have filters of the number, shapes and channels" in capsys.readouterr().err
    assert contents(folder) == before


def test_too_many_filters_for_the_memory_end_in_exit_3(folder, monkeypatch, capsys):
    from csc_cogd.learning import learn

    monkeypatch.setattr(learn.os, "sysconf", lambda name: 100)
    for command in (("learn", "a.png", "-o", "d.npz", "--whole"), ("reconstruct", "a.png")):
        assert call(*command, *FEW) == 3
        err = capsys.readouterr().err
        assert "error: --filters need " in err
        assert err.count("\n") == 1


def test_quiet_says_nothing(folder, capfd):
    assert call("learn", "a.png", "-o", "d.npz", *FEW, "-q") == 0
    assert capfd.readouterr() == ("", "")
    assert Dictionary.load("d.npz").n_filters == 5


def test_an_existing_dictionary_is_replaced_only_on_request(folder, capsys):
    (folder / "d.npz").write_bytes(b"mine")
    before = contents(folder)
    assert call("learn", "a.png", "-o", "d.npz", *FEW) == 2
    assert capsys.readouterr().err.startswith("csc-cogd: error: d.npz: exists already")
    assert contents(folder) == before
    assert call("learn", "a.png", "-o", "d.npz", *FEW, "--overwrite") == 0
    assert Dictionary.load("d.npz").n_filters == 5


@pytest.mark.parametrize(
    ("text", "size"), [("1.5KB", 1500), ("2mb", 2e6), ("3G", 3e9), ("1 TB", 1e12), ("700B", 700), ("5B", 5)]
)
def test_memory_is_given_in_any_unit(folder, monkeypatch, text, size):
    given = {}

    def learn(*arguments, **settings):
        given.update(settings)
        raise InputError("enough")

    monkeypatch.setattr(csc_cogd, "learn_from_images", learn)
    assert call("learn", "a.png", "-o", "d.npz", "--max-memory", text) == 2
    assert given["max_memory"] == size


def test_the_seed_decides(folder):
    found = []
    for name, seed in (("x.npz", 0), ("y.npz", 0), ("z.npz", 1)):
        assert call("learn", "a.png", "-o", name, *FEW, "--seed", seed, "-q") == 0
        found.append(Dictionary.load(name).filters)
    np.testing.assert_array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_mixed_depth_is_learned_from_as_if_it_were_one(folder, photo):
    save(folder / "deep.png", photo[40:80, 50:86].astype(np.uint16) * 257)
    for name, second in (("x.npz", "b.png"), ("y.npz", "deep.png")):
        assert call("learn", "a.png", second, "-o", name, *FEW, "--dtype", "float64", "-q") == 0
    np.testing.assert_allclose(Dictionary.load("x.npz").filters, Dictionary.load("y.npz").filters, atol=1e-6)


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_interrupted_it_goes_on_from_its_checkpoint_to_the_same_filters(folder):
    few = ["learn", "a.png", "--filters", "4", "--filter-size", "4", "--online", "--crop", "20"]  # which never settles
    few += ["--device", "cpu", "--threads", "1", "--fft", "scipy"]  # FFTW's plans, and last digits, differ by process
    before = contents(folder)
    arguments = [*few, "-o", "d.npz", "--checkpoint", "run.npz", "--iterations", "100000"]
    code, out, err = interrupted(*arguments, begun=(folder / "run.npz").exists)
    assert (code, out) == (130, "")
    assert list(filter(None, err.splitlines())) == [
        "run.npz: a checkpoint: the same call goes on from it",
        "csc-cogd: error: interrupted: nothing half-written is left behind",
    ]
    left = contents(folder)
    done = len(json.loads(bytes(np.load("run.npz")["about"]))["history"])
    assert left.keys() - before.keys() == {folder / "run.npz"}
    assert before.items() <= left.items()
    assert call(*few, "-o", "d.npz", "--checkpoint", "run.npz", "--iterations", done + 2, "-q") == 0
    assert call(*few, "-o", "whole.npz", "--iterations", done + 2, "-q") == 0
    np.testing.assert_array_equal(Dictionary.load("d.npz").filters, Dictionary.load("whole.npz").filters)


def test_a_checkpoint_over_an_input_or_of_other_settings_is_refused(folder, capsys):
    assert call("learn", "a.png", "-o", "d.npz", *FEW[:4], "--iterations", 6, "--checkpoint", "run.npz", "-q") == 0
    before = contents(folder)
    for arguments, message in (
        (("--checkpoint", "a.png"), "a.png: not a checkpoint"),
        (("--checkpoint", "d.npz", "--start", "d.npz"), "d.npz: not a checkpoint"),
        (("--checkpoint", "none/run.npz"), "none/run.npz: there is no folder none"),
        (("--checkpoint", "run.npz", "--lmbda", 0.5), "run.npz: a checkpoint of another run (lmbda"),
    ):
        assert call("learn", "a.png", "-o", "e.npz", *FEW, *arguments) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"csc-cogd: error: {message}")
        assert err.count("\n") == 1
    assert contents(folder) == before
