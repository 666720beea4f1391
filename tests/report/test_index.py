import csv
import io
import json
import re
from html import unescape
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from csc_cogd import InputError
from csc_cogd.report.index import COLUMNS, write_index
from csc_cogd.report.page import write_page
from csc_cogd.report.thumbnails import write_thumbnail
from csc_cogd.report.totals import DAMAGED, Totals
from tests.report.entries import damaged


def result(name, status="done", **more):
    return {"input": name, "output": f"out/{name}", "status": status, "error": None, "seconds": 1.5, **more}


def read_csv(folder):
    return list(csv.DictReader(io.StringIO((folder / "report.csv").read_bytes().decode("utf-8-sig"), newline="")))


@pytest.fixture
def results(tmp_path):
    picture = damaged(np.arange(256, dtype=np.uint8).reshape(16, 16))
    page = write_page(tmp_path / "Straße #1?.html", picture)
    return [
        result("Straße #1?.png", report=page),
        result("bad.png", "failed", output=None, error="bad.png: not an image: give one"),
        result("old.png", "skipped", seconds=0.0, report=None),
        result("without.png", report={"title": "without.png", "page": "b.html", "missing": 0.5}),
    ]


def test_all_three_say_the_same(tmp_path, results):
    write_index(tmp_path, results)
    content = json.loads((tmp_path / "report.json").read_text())
    assert content["files"] == results
    totals, figures = content["totals"], results[0]["report"]
    assert [totals[state] for state in ("files", "done", "skipped", "failed")] == [4, 2, 1, 1]
    assert totals["seconds"] == 4.5
    assert totals["mean"]["psnr"] == figures["psnr"]
    assert totals["mean"]["missing"] == pytest.approx((figures["missing"] + 0.5) / 2)

    rows = read_csv(tmp_path)
    assert tuple(rows[0]) == COLUMNS
    assert [row["input"] for row in rows] == [file["input"] for file in results]
    assert float(rows[0]["psnr_missing"]) == figures["psnr_missing"]
    assert (rows[1]["error"], rows[1]["psnr"], rows[1]["output"]) == ("bad.png: not an image: give one", "", "")

    page = (tmp_path / "index.html").read_text("utf-8")
    assert (tmp_path / unquote(re.search(r'<a href="([^"]+)">', page)[1])).is_file()
    assert page.count("bad.png: not an image: give one") == 1
    assert f"PSNR {figures['psnr']:.2f}" in page
    assert re.findall(r'<li data-state="(\w+)"', page) == ["failed", "changed", "changed", "skipped"]


def test_the_worst_comes_first_and_unchanged_and_earlier_ones_last(tmp_path):
    files = [
        result("same.png", altered=0, changed=0, missing=0.0),
        result("before.png", "skipped", seconds=75.0, missing=0.9),
        result("little.png", altered=9, changed=4, missing=0.001),
        result("much.png", altered=99, changed=0, missing=0.2),
        result("warned.png", altered=9, missing=0.001, warnings=["mind this"]),
        result("bad.png", "failed", error="no"),
    ]
    write_index(tmp_path, files)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert re.findall(r"<h3[^>]*>(\w+)", page) == ["bad", "much", "warned", "little", "same", "before"]
    assert re.findall(r'value="(\w*)"[ a-z]*>(\w+) (\d)</label>', page) == [
        ("", "all", "6"), ("failed", "failed", "1"), ("changed", "changed", "3"), ("unchanged", "unchanged", "1"),
        ("skipped", "skipped", "1"),
    ]  # fmt: skip
    cards = dict(re.findall(r"<h3[^>]*>(\w+)(.*)</li>", page))
    assert "skipped, 1 min 15 s before" in cards["before"]
    assert "0.1 % missing; 4 known values changed" in cards["little"]
    assert "20.0 % missing; nothing else changed" in cards["much"]
    assert "mind this" in cards["warned"]
    assert "known values" not in cards["same"]


def test_what_is_cleaned_was_damaged_and_not_missing(tmp_path):
    totals = Totals(words=DAMAGED)
    totals.begin()
    totals.add("done", 1.0, 0.25, changed=7)
    totals.end()
    found = {"speck": 3, "hair": 1, "scratch": 0}
    write_index(tmp_path, [result("a.png", altered=50, changed=7, missing=0.25, figures=found)], totals=totals)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "25.0% of the pixels were damaged; 7 values beside the damage changed" in page
    assert "3 specks; 1 hair; 25.0 % damaged; 7 values beside the damage changed" in page
    assert "missing" not in re.sub(r"(?s)<style>.*?</style>|<script>.*?</script>|data-[-\w]+|-missing", "", page)


@pytest.mark.parametrize(
    ("inputs", "shown"), [
        (["/a/b/x.png", "/a/b/c/y.png"], ["x.png", "c/y.png"]), (["/a/bc/x.png", "/a/bd/y.png"], ["bc/x.png", "bd/y.png"]),
        (["a/x.png"], ["x.png"]), (["x.png", "a/y.png"], ["x.png", "a/y.png"]), (["/x.png", "/y.png"], ["x.png", "y.png"]),
    ],
)  # fmt: skip
def test_the_folder_of_all_is_not_said_of_each(tmp_path, inputs, shown):
    write_index(tmp_path, [result(name) for name in inputs])
    page = (tmp_path / "index.html").read_text("utf-8")
    assert sorted(re.findall(r"<h3[^>]*>([^<]*)", page)) == sorted(shown)
    assert re.findall(r'<h3 title="([^"]*)', page) == sorted(inputs)


def test_a_warning_of_most_files_is_shown_once(tmp_path):
    files = [result(f"{i}.png", warnings=["common", "rare"][: 1 + (i == 0)]) for i in range(5)]
    write_index(tmp_path, files)
    page = (tmp_path / "index.html").read_text("utf-8")
    assert (page.count("common"), page.count("rare")) == (1, 1)


def test_thumbnails_show_before_with_marks_and_after(tmp_path):
    before = np.full((1000, 600, 3), 90, np.uint8)
    gone = np.zeros((1000, 600), bool)
    gone[500, 300] = True  # a single pixel
    write_thumbnail(tmp_path / "a.jpg", before, gone, before + 60)
    write_thumbnail(tmp_path / "b.jpg", np.linspace(0, 1, 400 * 300).reshape(400, 300))
    picture, alone = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("a.jpg", "b.jpg"))
    assert picture.shape == (200, 242, 3)
    red, green, blue = picture[100, 60]  # of a JPEG: about the color of marks
    assert green < 50 < 100 < min(red, blue)
    assert abs(picture[20:80, :100] - 90).max() < 6
    assert abs(picture[:, 130:] - 150).max() < 6
    assert alone.shape == (200, 150, 3)
    assert alone[0].mean() < 5 < 250 < alone[-1].mean()


def test_columns_that_nothing_fills_are_left_out(tmp_path):
    write_index(tmp_path, [result("a.png", report={"missing": 0.1, "psnr": None, "page": "a.html"})])
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "10.0 % missing" in page
    assert "PSNR" not in page


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=cmd|"/C calc"!A0'])
def test_a_name_is_no_formula(tmp_path, name):
    write_index(tmp_path, [result(name, error=name, report={"psnr": -1.5, "page": name})])
    row = read_csv(tmp_path)[0]
    assert row["input"] == row["error"] == row["page"] == "'" + name
    assert row["psnr"] == "-1.5"


@pytest.mark.parametrize(
    "name", ['<script>alert("1")</script>', "a\nb,c;\"d'.png", "\udcff.png", "日本 ü.png", "javascript:alert(1)"]
)
def test_names_of_all_kinds(tmp_path, name):
    write_index(tmp_path, [result(name, report={"page": name}), result(name, "failed", error=name)])
    page = (tmp_path / "index.html").read_text("utf-8")
    assert page.count("<script") == 1
    assert 'href="javascript:' not in page
    shown = name.replace("\udcff", "\\udcff")
    assert unescape(page).count(shown) >= 3
    assert read_csv(tmp_path)[0]["input"] == shown
    assert json.loads((tmp_path / "report.json").read_text())["files"][0]["input"] == name


def test_numbers_of_numpy_and_paths_are_taken(tmp_path):
    write_index(
        tmp_path, [result(tmp_path / "a.png", seconds=np.float32(2), report={"psnr": np.float64("inf"), "page": "a"})]
    )
    file = json.loads((tmp_path / "report.json").read_text())["files"][0]
    assert file["input"] == str(tmp_path / "a.png")
    assert file["seconds"] == 2
    assert file["report"]["psnr"] is None


def test_of_nothing(tmp_path):
    write_index(tmp_path, [])
    assert read_csv(tmp_path) == []
    assert json.loads((tmp_path / "report.json").read_text())["totals"]["files"] == 0


def test_a_thousand_files_are_fine(tmp_path, results):
    write_index(tmp_path, results * 250)
    assert (tmp_path / "index.html").stat().st_size < 1e6


@pytest.mark.parametrize("name", ["index.html", "report.json", "report.csv"])
def test_nothing_is_overwritten_unasked(tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=f"{name}: exists already"):
        write_index(tmp_path, [])
    assert [path.name for path in tmp_path.iterdir()] == [name]
    write_index(tmp_path, [], overwrite=True)
    assert len(list(tmp_path.iterdir())) == 3
