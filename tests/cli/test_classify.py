import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from csc_cogd.nn import build_network, load_network, predict, save_network
from tests.cli.calling import call, check_refused
from tests.nn.training.small import HALF, small_images

NAMES = ["ant", "bee", "cat", "dog", "eel", "fly"]
ABOUT = {"class_names": NAMES, "norm_mean": HALF.mean, "norm_std": HALF.std, "image_size": [6, 6]}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    network = build_network("resnet20", 6, seed=4)
    save_network(network, tmp_path / "net.safetensors", "resnet20", metadata=ABOUT)
    save_network(network, tmp_path / "bare.safetensors", "resnet20")
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for number, pixels in enumerate(small_images(4).images):
        Image.fromarray(pixels).save(tmp_path / "in" / ("deep" if number == 3 else "") / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def expected(count):
    """Names and probabilities of each image, by NumPy from the logits."""
    logits = predict(load_network("net.safetensors"), small_images(4).images[:count], normalization=HALF).astype(float)
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [sorted(zip(NAMES, row, strict=True), key=lambda pair: -pair[1]) for row in shares]


def test_the_table_has_a_line_an_image(folder, capsys):
    assert call("classify", "net.safetensors", "in") == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["image"] for row in rows] == [f"in/{number}.png" for number in range(3)]
    for row, best in zip(rows, expected(3), strict=True):
        for place, (name, share) in enumerate(best[:5], start=1):
            assert row[f"class{place}"] == name
            assert float(row[f"probability{place}"]) == pytest.approx(share, abs=6e-5)
    assert "class6" not in rows[0]


def test_json_and_files_and_folders_below(folder, capsys):
    assert call("classify", "net.safetensors", "in", "-r", "--json", "--top", 2, "-o", "out.json", "-q") == 0
    *rows, summary = map(json.loads, capsys.readouterr().out.splitlines())
    assert summary == {"images": 4, "failed": 0}
    assert json.loads((folder / "out.json").read_text()) == rows
    best = {row["image"]: row["classes"] for row in rows}["in/deep/3.png"]
    assert [found["class"] for found in best] == [name for name, _ in expected(4)[3][:2]]


def test_a_file_that_can_not_be_read_costs_only_itself(folder, capsys):
    (folder / "in" / "bad.png").write_bytes(b"nothing")
    assert call("classify", "net.safetensors", "in/bad.png", "in/1.png", "none.jpg", "-o", "a.csv") == 1
    captured = capsys.readouterr()
    bad, none, written = captured.err.splitlines()
    assert bad.startswith("csc-cogd: error: in/bad.png: can't be read as an image")
    assert none == "csc-cogd: error: none.jpg: no such file: read its folder again"
    assert written == "a.csv: 1 images"
    assert len((folder / "a.csv").read_text().splitlines()) == 2


def test_sizes_and_normalization_may_be_given(folder, capsys):
    half = ("--mean", 0.5, 0.5, 0.5, "--std", 0.5, 0.5, 0.5)
    assert call("classify", "net.safetensors", "in") == 0
    with_names = capsys.readouterr().out
    assert call("classify", "bare.safetensors", "in", *half, "--image-size", 6) == 0
    numbered = capsys.readouterr().out
    for number, name in enumerate(NAMES):
        with_names = with_names.replace(name, str(number))
    assert numbered == with_names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("bare.safetensors", "in"),
            "bare.safetensors: doesn't say for what size of images the network is: add --image-size",
        ),
        (
            ("bare.safetensors", "in", "--image-size", 6),
            "holds no mean and standard deviation of pixels: add --mean and --std",
        ),
        (("net.safetensors", "in", "--mean", 0.5, 0.5, 0.5), "give both --mean and --std"),
        (("net.safetensors", "in", "-o", "a.txt"), "a.txt: the name of a table must end in .csv or .json"),
        (("net.safetensors", "in", "-o", "net.safetensors.csv/x.csv"), "x.csv"),
        (("none.safetensors", "in"), "none.safetensors: no such file of weights"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, message, folder, capsys):
    check_refused(folder, capsys, ("classify", *arguments), message)


def test_an_empty_folder_is_refused(folder, capsys):
    (folder / "empty" / "below").mkdir(parents=True)
    check_refused(folder, capsys, ("classify", "net.safetensors", "empty"), "or add --recursive to look below it")
