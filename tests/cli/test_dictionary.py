import json

import numpy as np
import pytest

from csc_cogd import Dictionary
from csc_cogd.imagefiles import read_image
from tests.cli.calling import call, contents


@pytest.fixture
def folder(tmp_path, rng, monkeypatch):
    filters = rng.standard_normal((5, 3, 4, 6))
    filters[0, :, 2:] = 0
    shapes = [[2, 6]] + [[4, 6]] * 4
    Dictionary(filters, np.array(shapes), {"sources": ["x"], "script": "learn.py"}).save(tmp_path / "d.npz")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_show_draws_every_filter(folder, capsys):
    assert call("dictionary", "show", "d.npz", "--scale", 2) == 0
    assert capsys.readouterr().out == "d.png: 5 filters\n"
    picture = read_image("d.png").pixels
    np.testing.assert_array_equal(picture[::2, ::2], Dictionary.load("d.npz").mosaic())
    assert call("dictionary", "show", "default", "-o", "gray.tif") == 0
    assert read_image("gray.tif").pixels.ndim == 2


def test_info_says_what_it_is(folder, capsys):
    assert call("dictionary", "info", "d.npz") == 0
    lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert lines["filters"] == "5"
    assert lines["sizes"] == "1 of 2 x 6, 4 of 4 x 6"
    assert lines["channels"] == "3"
    assert json.loads(lines["sources"]) == ["x"]
    assert lines["script"] == "learn.py"
    assert call("dictionary", "info", "color") == 0
    assert "channels: 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "none.npz"), "none.npz: no such dictionary"),
        (("info", "mine.png"), "mine.png: not a dictionary"),
        (("show", "d.npz", "-o", "mine.png"), "mine.png: exists already"),
        (("info", "odd.npz"), "odd.npz: not a dictionary file: its provenance"),
        (("show", "d.npz", "-o", "none/d.png"), "there is no folder none"),
        (("show", "d.npz", "-o", "d.xyz"), "d.xyz: the output's format"),
    ],
)
def test_what_is_wrong_is_one_line(folder, capsys, arguments, message):
    (folder / "mine.png").write_bytes(b"mine")
    np.savez("odd.npz", filters=np.ones((1, 2, 2)), about=np.frombuffer(b'{"provenance": [1]}', np.uint8))
    assert call("dictionary", *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith("csc-cogd: error: ")
    assert message in err
    assert err.count("\n") == 1
    assert (folder / "mine.png").read_bytes() == b"mine"


def test_a_picture_is_replaced_only_on_request(folder):
    (folder / "d.png").write_bytes(b"mine")
    assert call("dictionary", "show", "d.npz") == 2
    assert (folder / "d.png").read_bytes() == b"mine"
    assert call("dictionary", "show", "d.npz", "--overwrite") == 0
    np.testing.assert_array_equal(read_image("d.png").pixels[::4, ::4], Dictionary.load("d.npz").mosaic())


def test_the_dictionary_itself_is_never_overwritten(folder, rng, capsys):
    np.save("f.npy", rng.standard_normal((4, 5, 5)))
    before = contents(folder)
    assert call("dictionary", "show", "f.npy", "-o", "f.npy", "--overwrite") == 2
    assert capsys.readouterr().err.startswith("csc-cogd: error: f.npy: is an input, which is never overwritten")
    assert contents(folder) == before


def test_a_damaged_file_is_named(folder, capsys):
    np.save("f.npy", np.ones((4, 5, 5)))
    (folder / "f.npy").write_bytes((folder / "f.npy").read_bytes().replace(b"}", b" ", 1))
    assert call("dictionary", "info", "f.npy") == 2
    err = capsys.readouterr().err
    assert err.startswith("csc-cogd: error: f.npy: not a dictionary file")
    assert err.count("\n") == 1
