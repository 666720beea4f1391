"""Reports and records of batches, what they count, and where they may be written."""

import json

import numpy as np
import pytest
from PIL import Image

from csc_cogd import InputError, restore_batch
from csc_cogd.imagefiles import read_image
from csc_cogd.restore.reduction import Reduction
from tests.batch.conftest import QUICK, run
from tests.cli.calling import contents


def test_a_report_has_a_page_for_each_and_an_index(folder):
    (folder / "in" / "p1.png").write_bytes(b"")
    run("in", "out", mask="masks", report="report", reference="in")
    about = json.loads((folder / "report" / "report.json").read_text())
    by_name = {file["input"]: file for file in about["files"]}
    assert by_name["in/p1.png"]["status"] == "failed"
    for name in ("in/p0.png", "in/p2.png"):
        page = folder / "report" / by_name[name]["report"]["page"]
        text = page.read_text()
        assert "PSNR" in text
        assert "http://" not in text.replace("http://www.w3.org", "")
    assert by_name["in/p0.png"]["report"]["psnr_missing"] is not None
    with pytest.raises(InputError, match=r"report/index\.html: exists already"):
        restore_batch("in", "again", mask="masks", report="report", **QUICK)


def test_a_single_picture_is_its_own_report(folder):
    run("in/p0.png", "out.png", mask="masks", report="report")
    assert sorted(path.name for path in (folder / "report").iterdir()) == ["index.html", "report.csv", "report.json"]
    assert "p0.png" in (folder / "report" / "index.html").read_text()


def test_a_reference_of_another_size_fails_its_file_only(folder):
    np.save("small.npy", np.zeros((3, 3), np.uint8))
    (result,) = run("in/p0.png", "out.png", mask="masks", report="report", reference="small.npy")
    assert "small.npy: the reference is of shape (3, 3), the restored image of (24, 20)" in result.error
    assert not (folder / "out.png").exists()


def test_reports_replace_reports_only(folder):
    (folder / "mine").mkdir()
    (folder / "mine" / "report.csv").write_text("mine")
    with pytest.raises(InputError, match=r"mine/report\.csv: exists already"):
        restore_batch("in", "out", mask="masks", report="mine", **QUICK)
    with pytest.raises(InputError, match=r"mine/report\.csv: exists already"):
        restore_batch("in", "out", mask="masks", report="mine", skip_existing=True, **QUICK)
    with pytest.raises(InputError, match="report isn't written by a dry run"):
        restore_batch("in", "out", mask="masks", report="other", dry_run=True, **QUICK)


def test_the_report_of_a_resumed_batch_shows_what_is_shown_where_it_belongs(folder):
    run("in/deep", "out", mask="masks", report="report")
    name = "report/pages/" + next(path.name for path in (folder / "report" / "pages").glob("p1-*"))
    before = (folder / name).read_bytes()
    (folder / "in" / "deep" / "p0a.png").write_bytes((folder / "in" / "p0.png").read_bytes())
    (folder / "masks" / "p0a.png").write_bytes((folder / "masks" / "p0.png").read_bytes())
    results = run("in/deep", "out", mask="masks", report="report", skip_existing=True)
    assert sorted(result.status for result in results) == ["done", "skipped", "skipped"]
    assert (folder / name).read_bytes() == before
    files = json.loads((folder / "report" / "report.json").read_text())["files"]
    assert [(folder / "report" / file["report"][kind]).exists() for file in files for kind in ("page", "thumbnail")] == [
        True
    ] * 6
    run("in/deep", "out", mask="masks", report="elsewhere", skip_existing=True)
    files = json.loads((folder / "elsewhere" / "report.json").read_text())["files"]
    assert [file["report"] for file in files] == [None] * 3


@pytest.fixture
def elsewhere(folder):
    """A folder of somebody's files, which aren't to be touched."""
    (folder / "elsewhere").mkdir()
    for name in ("p0.png.json", "other"):
        (folder / "elsewhere" / name).write_text("precious")
    return folder / "elsewhere"


def test_records_are_not_written_through_a_link(folder, elsewhere):
    (folder / "out").mkdir()
    (folder / "out" / ".csc-cogd").symlink_to("../elsewhere")
    before = contents(elsewhere)
    results = run("in", "out", mask="masks", overwrite=True)
    assert {result.status for result in results} == {"failed"}
    assert all("out/.csc-cogd: is a symbolic link" in result.error for result in results)
    assert contents(elsewhere) == before
    assert not list((folder / "out").glob("*.png"))


def test_a_record_that_is_a_link_is_replaced(folder, elsewhere):
    (folder / "out" / ".csc-cogd").mkdir(parents=True)
    (folder / "out" / ".csc-cogd" / "p0.png.json").symlink_to(elsewhere / "other")
    assert {result.status for result in run("in", "out", mask="masks")} == {"done"}
    assert (elsewhere / "other").read_text() == "precious"
    assert {result.status for result in run("in", "out", mask="masks", skip_existing=True)} == {"skipped"}


def test_pages_are_not_written_through_a_link(folder, elsewhere):
    (folder / "report").mkdir()
    (folder / "report" / "pages").symlink_to("../elsewhere")
    before = contents(elsewhere)
    results = run("in", "out", mask="masks", report="report")
    assert all("report/pages: is a symbolic link" in result.error for result in results)
    assert contents(elsewhere) == before


def test_changed_values_are_those_of_the_file_that_is_written(tmp_path, monkeypatch, rng):
    monkeypatch.chdir(tmp_path)
    photo = np.clip(rng.normal(120, 30, (48, 56, 3)), 0, 255).astype(np.uint8)
    Image.fromarray(photo).save("a.jpg", quality=80)
    mask = np.zeros((48, 56), np.uint8)
    mask[20:23, 5:50] = 255
    Image.fromarray(mask).save("m.png")
    before = read_image("a.jpg").colors
    for name, lossy in (("b.png", False), ("b.jpg", True)):
        (result,) = run("a.jpg", name, mask="m.png", mask_dilate=0, report=f"report-{name}")
        after = read_image(name).colors
        assert result.status == "done", result.error
        assert result.changed == np.count_nonzero((before != after)[mask == 0])
        assert (result.changed > 0) == lossy
        assert result.figures["report"]["changed"] == result.changed
        assert any("known values change" in note for note in result.notes) == lossy
        page = (tmp_path / f"report-{name}" / "index.html").read_text("utf-8")
        assert (f"<b>{result.changed:,}</b>known values changed" if lossy else "<b>none</b>known values changed") in page
        totals = json.loads((tmp_path / f"report-{name}" / "report.json").read_text())["totals"]
        assert totals["changed"] == result.changed


@pytest.mark.parametrize(
    ("task", "noise", "options"), [
        ("denoise", 0, {"effort": "fast"}), ("denoise", 20, {"effort": "fast"}),
        ("upscale", 20, {"operator": Reduction(2), "prior": "none", "max_iter": 1}),
    ],
)  # fmt: skip
def test_all_values_that_differ_are_counted(tmp_path, rng, task, noise, options):
    before = np.clip(rng.normal(120, noise, (40, 48)), 0, 255).astype(np.uint8)
    Image.fromarray(before).save(tmp_path / "a.png")
    (result,) = restore_batch(tmp_path / "a.png", tmp_path / "b.png", task=task, device="cpu", **options)
    assert result.status == "done", result.error
    assert result.changed is None
    if task == "upscale":
        assert result.altered is None
    else:
        assert result.altered == np.count_nonzero(read_image(tmp_path / "b.png").pixels != before)
        assert bool(result.altered) == bool(noise)
