"""Names of files that would steer the terminal, wherever they are printed."""

import json
import os
import subprocess
import sys
import tomllib
import unicodedata

import numpy as np
import pytest

from csc_cogd import Dictionary
from csc_cogd.cli.console import printable
from tests.cli.calling import call, save

pytestmark = pytest.mark.skipif(os.name != "posix", reason="such names can't be had elsewhere")

EVIL = "e\x1b]0;title\x07\x1b[31mx\nb.png: written \x9b\x7f\u202e\u2028"
FEW = ("--fast", "--iterations", 1)
QUICK = ("--filters", 3, "--filter-size", 4, "--iterations", 1)


@pytest.fixture
def folder(tmp_path, photo, monkeypatch):
    """A working folder in which all names are such."""
    mask = np.zeros((20, 24), np.uint8)
    mask[5:9, 5:9] = 255
    masks = tmp_path / f"masks{EVIL}"
    masks.mkdir()
    (tmp_path / f"in{EVIL}").mkdir()
    save(masks / f"m{EVIL}.png", mask)
    for i in (0, 1):
        save(tmp_path / f"in{EVIL}" / f"{i}{EVIL}.png", photo[20 * i : 20 * i + 20, :24])
    (tmp_path / f"{EVIL}.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    Dictionary.default("gray").save(tmp_path / f"{EVIL}.npz")
    Dictionary(np.ones((2, 3, 3)), provenance={f"from{EVIL}": EVIL}).save(tmp_path / "d.npz")
    (tmp_path / f"{EVIL}.toml").write_text("[inpaint]\nnonsense = 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


IN, ONE, MASK, BAD = f"in{EVIL}", f"in{EVIL}/0{EVIL}.png", f"masks{EVIL}/m{EVIL}.png", f"{EVIL}.png"
COMMANDS = [
    (0, "inpaint", ONE, "-m", MASK, "-o", f"out{EVIL}.png", *FEW),
    (0, "inpaint", ONE, "-m", MASK, "-o", f"out{EVIL}.jpg", "--dictionary", f"{EVIL}.npz", "-v", *FEW),
    (0, "inpaint", IN, "-m", MASK, "-o", f"out{EVIL}", "-v", "--suffix", ".jpg", *FEW),
    (0, "inpaint", IN, "-m", MASK, "--dry-run", *FEW),
    (2, "inpaint", BAD, "-m", MASK, *FEW),
    (2, "inpaint", BAD, "-m", MASK, "-vv", *FEW),
    (1, "inpaint", IN, BAD, "-m", MASK, "-o", f"out{EVIL}", "-vv", *FEW),
    (2, "inpaint", ONE, "-m", f"none{EVIL}"),
    (2, "inpaint", f"none{EVIL}*"),
    (2, "inpaint", "--files-from", f"none{EVIL}"),
    (2, "inpaint", ONE, f"--none{EVIL}"),
    (2, "inpaint", ONE, "--mask-dilate", EVIL),
    (2, "inpaint", ONE, "-m", MASK, "--device", EVIL),
    (2, f"inpaint{EVIL}"),
    (2, "inpaint", "--config", f"{EVIL}.toml", ONE),
    (2, "inpaint", "--config", f"none{EVIL}.toml", ONE),
    (2, "inpaint", ONE, "-m", MASK, "-o", f"none{EVIL}/out.png"),
    (0, "mask", "from", ONE, "-m", MASK, "-o", f"out{EVIL}.png", "--preview", f"preview{EVIL}.png"),
    (0, "mask", "show", MASK, ONE),
    (0, "mask", "detect", ONE, "-o", f"out{EVIL}.png", "-v"),
    (0, "dictionary", "show", f"{EVIL}.npz", "-o", f"out{EVIL}.png"),
    (0, "dictionary", "info", "d.npz"),
    (0, "reconstruct", IN, "-o", f"out{EVIL}", *QUICK, "--save-codes", f"c{EVIL}.npz", "--save-dictionary", f"d{EVIL}.npz"),
    (0, "learn", IN, "-o", f"new{EVIL}.npz", *QUICK, "-v"),
    (2, "paint", BAD, "--no-browser"),
    (2, "paint", f"none{EVIL}", "--no-browser"),
    (2, "train", f"none{EVIL}", "-o", f"out{EVIL}.safetensors"),
    (2, "prune", "none.safetensors", f"none{EVIL}", "-o", f"out{EVIL}.safetensors"),
    (2, "beale", "--plot", f"none{EVIL}/a.png"),
]  # fmt: skip


def check_plain(text):
    """No line but those that the command ends itself, and nothing that steers a terminal."""
    assert not {letter for letter in text if unicodedata.category(letter) in ("Cc", "Zl", "Zp")} - {"\n"}
    assert "\u202e" not in text
    assert not [line for line in text.splitlines() if line.startswith("b.png: written")]


@pytest.mark.parametrize(("code", "command"), [(code, command) for code, *command in COMMANDS])
def test_no_command_prints_what_steers_a_terminal(folder, capsys, code, command):
    assert call(*command) == code
    captured = capsys.readouterr()
    check_plain(captured.out)
    check_plain(captured.err)
    assert "title" in captured.out + captured.err


def test_json_and_toml_keep_the_names(folder, capsys):
    assert call("inpaint", IN, "-m", MASK, "-o", f"out{EVIL}", "--json", *FEW) == 0
    out = capsys.readouterr().out
    check_plain(out)
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["input"] for row in rows if "input" in row} == {f"{IN}/{i}{EVIL}.png" for i in (0, 1)}
    assert call("inpaint", "--print-config", "-m", MASK) == 0
    out = capsys.readouterr().out
    check_plain(out)
    assert tomllib.loads(out)["inpaint"]["mask"] == str(folder / MASK)


def test_the_progress_of_a_batch_does_not_print_them(folder):
    import pty

    ours, its = pty.openpty()
    command = [sys.executable, "-m", "csc_cogd", "inpaint", IN, "-m", MASK, "-o", "out", *map(str, FEW)]
    done = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=its, stderr=its)
    os.close(its)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the end of a terminal
            break
    os.close(ours)
    assert done.wait() == 0
    assert rb"title\u0007\u001b[31mx\nb.png" in shown
    assert b"\x1b]0;title" not in shown
    assert b"\nb.png" not in shown


@pytest.mark.parametrize("name", ["bücher.png", "写真 1.png", "👩‍🔬.tif", "شُكْر.png", "a\\n.png", "a\u3000b.png"])
def test_names_in_any_script_are_printed_as_they_are(name):
    assert printable(name) == name


def test_bytes_that_are_no_text_can_be_printed():
    printable("\udce9.png").encode()
