"""What is kept of results that are there, and what is said of a batch that was resumed."""

import csv
import json

import pytest

from csc_cogd import InputError, restore_batch
from csc_cogd.batch import plan_batch
from tests.batch.conftest import QUICK


@pytest.fixture
def folder(tmp_path, make_pictures, monkeypatch):
    make_pictures(tmp_path / "in", tmp_path / "masks", 3)
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments, **options):
    return list(restore_batch(*arguments, mask="masks", **QUICK | options))


def test_a_file_that_was_restored_by_itself_is_known_afterwards(folder):
    run("in/p0.png", "out/p0.png")
    run("in/p1.png", "out/p1.png", lmbda=0.5)
    assert [result.status for result in run("in/p0.png", "out/p0.png", skip_existing=True)] == ["skipped"]
    results = {result.input: result for result in run("in", "out", skip_existing=True)}
    assert {name: result.status for name, result in results.items()} == {
        "in/p0.png": "skipped", "in/p1.png": "failed", "in/p2.png": "done",
    }  # fmt: skip
    assert "out/p1.png: exists already, made from another input or with other settings" in results["in/p1.png"].error


@pytest.mark.parametrize("skip_existing", [False, True])
def test_a_single_file_is_restored_even_where_no_record_can_be_kept(folder, skip_existing):
    (folder / "out" / ".csc-cogd").write_text("mine")
    (result,) = run("in/p0.png", "out/p0.png", skip_existing=skip_existing)
    assert (result.status, result.error) == ("done", "")
    assert [text.partition(": ")[0] for text in result.warnings] == ["no record is kept (out/.csc-cogd"]
    assert "out/.csc-cogd" in result.warnings[0]
    run("in/p0.png", "elsewhere.png")
    assert (folder / "out" / "p0.png").read_bytes() == (folder / "elsewhere.png").read_bytes()
    assert (folder / "out" / ".csc-cogd").read_text() == "mine"


def test_a_batch_which_could_not_be_resumed_fails_instead(folder):
    (folder / "out" / ".csc-cogd").write_text("mine")
    results = run("in", "out")
    assert {result.status for result in results} == {"failed"}
    assert not (folder / "out" / "p0.png").exists()


def test_a_dry_run_of_a_single_file_keeps_no_record(folder):
    assert [(result.status, result.output) for result in run("in/p0.png", "out/p0.png", dry_run=True)] == [
        ("planned", "out/p0.png")
    ]
    assert list((folder / "out").iterdir()) == []


def test_what_was_done_before_keeps_its_seconds(folder):
    before = {result.input: result.seconds for result in run(["in/p0.png", "in/p1.png"], "out")}
    after = {result.input: result for result in run("in", "out", skip_existing=True)}
    assert all(0 < after[name].seconds <= seconds for name, seconds in before.items())
    again = {result.input: result.seconds for result in run("in", "out", skip_existing=True)}
    assert all(again[name] == after[name].seconds for name in before)


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_report_of_a_resumed_batch_says_what_its_totals_say(folder, jobs):
    run(["in/p0.png", "in/p1.png"], "out")
    (folder / "in" / "bad.png").write_bytes(b"")
    (folder / "in" / "other.avif").write_bytes(b"")
    batch = plan_batch("in", "out", task="inpaint", mask="masks", skip_existing=True, jobs=jobs, report="report", **QUICK)
    results = {result.input: result for result in batch.run()}
    totals = batch.totals
    assert totals.counts == {"done": 1, "skipped": 2, "planned": 0, "failed": 1}
    assert totals.seconds_before == pytest.approx(results["in/p0.png"].seconds + results["in/p1.png"].seconds)
    shares = [result.missing for result in results.values() if result.status != "failed"]
    assert totals.missing_range() == (min(shares), max(shares))

    about = json.loads((folder / "report" / "report.json").read_text())
    assert about["totals"] | totals.row() == about["totals"] | {"missing": (min(shares), max(shares))}
    assert about["totals"]["mean"]["missing"] == pytest.approx(sum(shares) / 3)
    assert totals.sentence() in (folder / "report" / "index.html").read_text("utf-8")
    with (folder / "report" / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = {row["input"]: row for row in csv.DictReader(file)}
    assert rows["in/bad.png"]["missing"] == ""
    for name in ("in/p0.png", "in/p1.png", "in/p2.png"):
        assert float(rows[name]["missing"]) == results[name].missing
        assert float(rows[name]["seconds"]) == results[name].seconds > 0


def test_a_report_is_silent_of_what_is_missing_where_nothing_is(folder):
    list(restore_batch("in", "out", task="denoise", report="report", **QUICK))
    totals = json.loads((folder / "report" / "report.json").read_text())["totals"]
    assert (totals["missing"], totals["mean"]["missing"]) == (None, None)
    assert "Missing" not in (folder / "report" / "index.html").read_text("utf-8")


def test_files_of_a_folder_that_are_not_read_are_counted_and_named(folder):
    for name in ("a.avif", "b.PSD", "c.heic", "d.NEF", ".hidden.avif", "notes.txt", "deep/e.gif"):
        (folder / "in" / name).parent.mkdir(exist_ok=True)
        (folder / "in" / name).write_bytes(b"")
    batch = plan_batch("in", "out", task="inpaint", mask="masks", **QUICK)
    assert batch.totals.unread == ["in/a.avif", "in/b.PSD", "in/c.heic", "in/d.NEF"]
    assert batch.notes == ["4 of other formats left out: in/a.avif, in/b.PSD, in/c.heic and 1 more: convert to TIFF or PNG"]
    assert {result.status for result in batch.run()} == {"done"}
    assert batch.totals.sentence().endswith("; 4 not read: in/a.avif, in/b.PSD, in/c.heic and 1 more")
    deep = plan_batch("in", "out", task="inpaint", mask="masks", recursive=True, **QUICK)
    assert "in/deep/e.gif" in deep.totals.unread


def test_a_file_that_is_named_is_not_left_out(folder):
    (folder / "in" / "a.avif").write_bytes(b"GIF89a......")
    for inputs in (["in", "in/a.avif"], ["in/*"]):
        batch = plan_batch(inputs, "out", task="inpaint", mask="masks", overwrite=True, **QUICK)
        assert batch.notes == batch.totals.unread == []
        failed = [result for result in batch.run() if result.status == "failed"]
        assert [result.input for result in failed] == ["in/a.avif"]


def test_a_folder_of_other_formats_only_is_refused_by_their_names(folder):
    (folder / "others").mkdir()
    (folder / "others" / "a.avif").write_bytes(b"")
    with pytest.raises(InputError, match=r"others: the folder has no image \(.+\), but others/a\.avif: name another"):
        restore_batch("others", "out", mask="masks", **QUICK)
