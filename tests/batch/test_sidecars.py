"""Records beside results by somebody else: what can't be true in them counts as no record."""

import json
import os

import numpy as np
import pytest

from csc_cogd import restore_batch

RAMP = np.add.outer(np.arange(24.0), np.arange(24))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An image, its result, and the record of that."""
    folder = tmp_path_factory.mktemp("records")
    (folder / "out").mkdir()
    np.save(folder / "a.npy", np.where(np.eye(24) > 0, np.nan, RAMP))
    assert again(folder).status == "done"
    return folder, json.loads(record_of(folder).read_bytes())


def record_of(folder):
    return folder / "out" / ".csc-cogd" / "a.npy.json"


def again(folder, **options):
    settings = {"effort": "fast", "max_iter": 1, "device": "cpu", "skip_existing": True, **options}
    (result,) = restore_batch(folder / "a.npy", folder / "out", **settings)
    return result


def changed(record, place, value):
    """A record with another value at a place in it."""
    first, *rest = place
    return record | {first: changed(record[first], rest, value) if rest else value}


VALUES = [None, 1, "text", [], [1], {}, True, 10**400]
COULD_BE_TRUE = {
    "result": "{}", "result.notes": "[]", "result.warnings": "[]", "result.details": "[]", "result.pages": "1",
    "result.seconds": "1", "result.missing": "1", "result.figures": "{}", "output": "", "output.sha256": "",
}  # fmt: skip


@pytest.mark.parametrize("place", COULD_BE_TRUE)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: str(value)[:9])
def test_a_record_of_nonsense_is_none(folder, place, value):
    folder, record = folder
    record_of(folder).write_text(json.dumps(changed(record, place.split("."), value)))
    result = again(folder)
    if json.dumps(value) == COULD_BE_TRUE[place]:
        assert (result.status, result.error) == ("skipped", "")
    else:
        assert result.error.endswith("made from another input or with other settings: use overwrite to replace it")
    assert json.loads(json.dumps(result.row())) == result.row()


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"1", b'"a"', b"[" * 10**5, b"\xff\xfe", b'{"a":' * 10**5, b"NaN"])
def test_a_record_that_is_no_table_is_none(folder, text):
    folder, _ = folder
    record_of(folder).write_bytes(text)
    assert again(folder).error.endswith("use overwrite to replace it")


@pytest.mark.parametrize(
    "value", [{"psnr": "high"}, {"report": 1}, {"report": {"page": 1}}, {"report": {"psnr": "high"}}, {"a": []}]
)
def test_figures_that_are_none_do_not_reach_the_report(folder, tmp_path, value):
    folder, record = folder
    record_of(folder).write_text(json.dumps(changed(record, ["result", "figures"], value)))
    assert again(folder, report=tmp_path / "report").status == "failed"
    assert json.loads((tmp_path / "report" / "report.json").read_bytes())["totals"]["failed"] == 1


def test_what_is_told_of_errors_and_names_is_not_taken_from_a_record(folder):
    folder, record = folder
    lies = {"error": 5, "code": "x", "trace": [], "input": 7, "output": None, "status": {}}
    record_of(folder).write_text(json.dumps(changed(record, ["result"], record["result"] | lies)))
    result = again(folder)
    assert (result.status, result.error, result.code, result.trace) == ("skipped", "", 0, "")
    assert (result.input, result.output) == (str(folder / "a.npy"), str(folder / "out" / "a.npy"))


@pytest.mark.skipif(os.name != "posix", reason="pipes")
def test_a_pipe_is_no_record(folder):
    folder, _ = folder
    record_of(folder).unlink()
    os.mkfifo(record_of(folder))
    assert again(folder).status == "failed"
    record_of(folder).unlink()
