"""The history in files."""

import csv
import json

import pytest

from csc_cogd import InputError
from csc_cogd.nn import History
from csc_cogd.nn.training.history import Epoch

HISTORY = History(
    (
        Epoch(1, 0.1, 2.25, 0.25, None, None, 1.5, {"masked": 3.0}),
        Epoch(2, 0.05, 1.5, 0.5, 1.75, 0.375, 2.5, {}),
    )
)


def test_json_gives_it_back(tmp_path):
    HISTORY.save(tmp_path / "run.json")
    rows = json.loads((tmp_path / "run.json").read_text())
    assert rows[0] == {
        "epoch": 1, "learning_rate": 0.1, "loss": 2.25, "accuracy": 0.25, "test_loss": None, "test_accuracy": None,
        "seconds": 1.5, "masked": 3.0,
    }  # fmt: skip
    assert History.from_json(json.loads(json.dumps(HISTORY.as_json()))) == HISTORY


def test_csv_has_a_column_for_each_figure(tmp_path):
    HISTORY.save(tmp_path / "run.CSV")
    with open(tmp_path / "run.CSV", newline="") as file:
        first, second = csv.DictReader(file)
    assert (first["loss"], first["test_loss"], first["masked"]) == ("2.25", "", "3.0")
    assert (second["epoch"], second["test_accuracy"], second["masked"]) == ("2", "0.375", "")


def test_other_names_and_existing_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"run.txt: the name of a history must end in .csv or .json"):
        HISTORY.save(tmp_path / "run.txt")
    (tmp_path / "run.csv").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        HISTORY.save(tmp_path / "run.csv")
    assert (tmp_path / "run.csv").read_text() == "mine"
    HISTORY.save(tmp_path / "run.csv", overwrite=True)
    assert (tmp_path / "run.csv").read_text().startswith("epoch,")
