"""What the commands that restore files have in common: what is said of many files, and what is kept of one."""

import json
import re
from html import unescape

import numpy as np
import pytest

from csc_cogd.batch.jobs import attempt
from csc_cogd.cli.restoring import alike
from csc_cogd.restore.synthetic_masks import random_mask
from tests.cli.calling import call, save

QUICK = ("--fast", "--iterations", 1, "--device", "cpu")


@pytest.fixture
def folder(tmp_path, photo, monkeypatch):
    for place in ("in", "masks"):
        (tmp_path / place).mkdir()
    for i in range(3):
        mask = random_mask((24, 20), 0.2, seed=i)
        save(tmp_path / "in" / f"p{i}.png", np.where(mask, 0, photo[i : i + 24, :20]).astype(np.uint8))
        save(tmp_path / "masks" / f"p{i}.png", mask.astype(np.uint8) * 255)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def restore(*arguments):
    return call("inpaint", *arguments, "-m", "masks", *QUICK)


def test_a_resumed_batch_says_the_same_in_words_in_json_and_in_its_report(folder, capsys):
    (folder / "in" / "a.avif").write_bytes(b"")
    (folder / "in" / "p1.png").rename(folder / "p1.png")
    restore("in", "-o", "out", "--report", "report")
    (folder / "p1.png").rename(folder / "in" / "p1.png")
    (folder / "in" / "bad.png").write_bytes(b"")
    capsys.readouterr()
    assert restore("in", "-o", "out", "--report", "report", "--skip-existing", "--json") == 1
    captured = capsys.readouterr()
    said = captured.err.splitlines()[-1]
    page = unescape((folder / "report" / "index.html").read_text("utf-8"))
    pattern = (
        r"4 images in (\d+\.\d) s: 1 done, 2 skipped \(made in (\d+\.\d) s before\), 1 failed; "
        r"(\d+\.\d)% to (\d+\.\d)% of the pixels were missing; 1 not read: in/a\.avif"
    )
    assert (numbers := re.fullmatch(pattern, said))
    assert said in page
    *rows, summary = map(json.loads, captured.out.splitlines())
    assert [summary[status] for status in ("done", "skipped", "failed")] == [1, 2, 1]
    assert summary["unread"] == ["in/a.avif"]
    figures = [summary["seconds"], summary["seconds_before"], *(100 * share for share in summary["missing"])]
    assert [float(number) for number in numbers.groups()] == pytest.approx(figures, abs=0.051)
    skipped = [row["seconds"] for row in rows if row["status"] == "skipped"]
    assert sum(skipped) == pytest.approx(summary["seconds_before"], abs=1e-3)
    totals = json.loads((folder / "report" / "report.json").read_text())["totals"]
    assert {name: totals[name] for name in summary if name != "summary"} == {
        name: value for name, value in summary.items() if name != "summary"
    }


def test_a_single_run_is_known_to_the_batch_that_follows(folder, capsys):
    assert restore("in/p0.png") == 0
    assert "warning" not in capsys.readouterr().err
    assert restore("in", "--skip-existing") == 0
    assert "3 images in" in (said := capsys.readouterr().err)
    assert "2 done, 1 skipped" in said


def test_a_single_run_that_can_keep_no_record_warns_and_succeeds(folder, capsys):
    (folder / "in" / ".csc-cogd").write_text("mine")
    assert restore("in/p0.png") == 0
    assert "csc-cogd: warning: in/p0.png: no record is kept" in capsys.readouterr().err
    assert (folder / "in" / "p0_inpainted.png").exists()


@pytest.mark.parametrize(
    ("command", "more"),
    [("reconstruct", ("-o", "out", "--json")), ("learn", ("-o", "d.npz"))],
)
def test_learning_tells_of_files_that_are_not_read(folder, capsys, command, more):
    (folder / "in" / "a.avif").write_bytes(b"")
    assert call(command, "in", *more, "--filters", 2, "--filter-size", 3, "--iterations", 1) == 0
    captured = capsys.readouterr()
    assert "1 of other formats left out: in/a.avif: convert to TIFF or PNG" in captured.err
    if command == "reconstruct":
        assert json.loads(captured.out.splitlines()[-1])["unread"] == ["in/a.avif"]


def test_a_dry_run_of_many_files_sums_up_and_lists_them_if_asked(folder, capsys):
    assert restore("in", "-o", "out", "--dry-run") == 0
    said = capsys.readouterr().err
    assert re.search(
        r"^3 images in .+: 0 done, 3 planned; .+% to .+% of the pixels are missing; about .+ expected", said, re.M
    )
    assert "not written" not in said
    assert restore("in", "-o", "out", "--dry-run", "-v") == 0
    assert "out/p2.png: not written, as this is a dry run" in capsys.readouterr().err


def test_errors_that_are_alike_are_said_once_with_names(folder, capsys):
    for i in range(3, 5):
        (folder / "in" / f"p{i}.png").write_bytes((folder / "in" / "p0.png").read_bytes())
    save(folder / "one.png", np.eye(24, 20, dtype=np.uint8) * 255)
    save(folder / "other.png", np.eye(23, 19, dtype=np.uint8) * 255)
    batch = ("inpaint", "in", "-o", "out", *QUICK)
    assert call(*batch, "-m", "one.png") == 0
    capsys.readouterr()
    assert call(*batch, "-m", "one.png", "--json") == 1
    captured = capsys.readouterr()
    (line,) = [line for line in captured.err.splitlines() if "error" in line]
    names = "out/p0.png, out/p1.png, out/p2.png and 2 more"
    fix = "use --skip-existing to leave it, or --overwrite to replace it"
    assert line == f"csc-cogd: error: 5 files: {names}: exists already: {fix}"
    rows = [json.loads(row) for row in captured.out.splitlines()[:-1]]
    assert [row["error"] for row in rows] == [f"out/p{i}.png: exists already: {fix}" for i in range(5)]
    assert call(*batch, "-m", "one.png", "-v") == 1  # each
    assert capsys.readouterr().err.count("exists already") == 5
    assert call(*batch[:3], "new", *QUICK, "-m", "other.png", "--report", "report") == 1
    assert capsys.readouterr().err.count("csc-cogd: error: 5 files: in/p0.png, in/p1.png, in/p2.png and 2 more:") == 1
    assert len({row["error"] for row in json.loads((folder / "report" / "report.json").read_text())["files"]}) == 5


def test_errors_that_differ_in_numbers_only_are_alike_and_others_are_not():
    errors = {
        "a": "a: the mask is 3 high",
        "b": "b: the mask is 4 high",
        "c": "a picture can't be read",
        "d  d": "d d, page 2: has no pixels",
        "e": "out/e, page 2: has no pixels",
    }
    targets = {name: f"out/{name}" for name in errors}
    assert list(alike(errors, targets)) == [
        ("a", "2 files: a, b: such as a: the mask is 3 high"),
        ("c", "a picture can't be read"),
        ("d  d", "2 files: d d, out/e: page 2: has no pixels"),
    ]


@pytest.mark.parametrize(("n_missing", "share"), [(1, "0.0006%"), (4, "0.003%")])
def test_a_tiny_share_is_not_said_to_be_none(folder, capsys, n_missing, share):
    (folder / "large").mkdir()
    for name in ("a", "b"):
        values = np.linspace(0, 1, 400 * 400, dtype=np.float32).reshape(400, 400)
        values[10, :n_missing] = np.nan
        np.save(folder / "large" / f"{name}.npy", values)
    assert call("inpaint", "large", "-o", "out", "--dry-run", *QUICK) == 0
    assert f"{share} of the pixels are missing" in capsys.readouterr().err


def test_kernels_that_can_not_be_kept_are_warned_of(folder, capsys, monkeypatch):
    monkeypatch.setattr("csc_cogd.backend.diagnostics.kernel_cache", lambda: None)
    assert restore("in/p0.png", "-o", "p0.png") == 0
    assert "csc-cogd: warning: compiled kernels can't be kept" in capsys.readouterr().err


@pytest.mark.parametrize(("interrupted_at", "advised"), [("p1.png", True), ("p0.png", False)])
def test_a_batch_that_is_interrupted_says_how_to_go_on(folder, capsys, monkeypatch, interrupted_at, advised):
    def until(job, listener):
        if job.source.name == interrupted_at:
            raise KeyboardInterrupt
        return attempt(job, listener)

    monkeypatch.setattr("csc_cogd.batch.batch.attempt", until)
    assert restore("in", "-o", "out", "--report", "report") == 130
    assert (folder / "report" / "index.html").exists() == advised
    assert (
        "1 of 3 are done and stay: the same call with --skip-existing does the rest" in capsys.readouterr().err
    ) == advised
