import csv
import io
import json
import re
from html import unescape
from urllib.parse import unquote

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.report.index import COLUMNS, write_index
from csc_cogd.report.page import write_page
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
    assert f">{figures['psnr']:.2f}<" in page
    assert len(re.findall(r"<tr>", page)) == 6


def test_columns_that_nothing_fills_are_left_out(tmp_path):
    write_index(tmp_path, [result("a.png", report={"missing": 0.1, "psnr": None, "page": "a.html"})])
    page = (tmp_path / "index.html").read_text("utf-8")
    assert "Missing" in page
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
