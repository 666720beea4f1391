import subprocess
import sys

import pytest

from csc_cogd import __version__
from tests.cli.calling import check_refused


def run(*arguments):
    return subprocess.run([sys.executable, "-m", "csc_cogd", *arguments], capture_output=True, text=True)


def test_help_lists_every_command_and_each_has_examples():
    listed = run("--help")
    assert listed.returncode == 0
    for name in ("inpaint", "denoise", "deblur", "upscale", "reconstruct", "learn", "dictionary", "demo", "beale"):
        assert name in listed.stdout
        shown = run(name, "--help")
        assert shown.returncode == 0
        assert "Examples:" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("inpaint", "--help"), ("learn", "--help"), ("denoise", "--help"), ("deblur", "--help"), ("--version",)],
)
def test_help_imports_nothing_heavy(arguments):
    program = (
        "import sys\nfrom csc_cogd.cli import main\n"
        "try:\n    main(sys.argv[1:])\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'numpy', 'scipy', 'numba', 'skimage', 'pyfftw', 'PIL', 'tifffile'} & set(sys.modules)\n"
        "raise SystemExit(f'imported {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_and_unknown_commands():
    assert run("--version").stdout.strip().endswith(__version__)
    unknown = run("sharpen")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("csc-cogd: error: No such command 'sharpen'")
    assert unknown.stderr.count("\n") == 1
    assert run().returncode == 2


def test_an_option_that_is_missing_is_explained():
    done = run("deblur", "photo.png")
    assert done.returncode == 2
    assert "Missing option '-k' / '--kernel'. Picture of a point: " in done.stderr


@pytest.mark.parametrize(
    ("flags", "asked"), [("-vv", True), ("-rvv", True), ("--verbose -v", True), ("-v", False), ("-rv", False)]
)
def test_a_traceback_is_shown_to_those_who_ask_twice(flags, asked):
    done = run("inpaint", "none/*.png", *flags.split())
    assert done.returncode == 2
    assert ("Traceback" in done.stderr) == asked


def test_what_was_meant_is_guessed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dash.png").touch()
    check_refused(tmp_path, capsys, ["inpant", "a.png"], "No such command 'inpant'. Did you mean inpaint or paint?")
    check_refused(tmp_path, capsys, ["inpaint", "-dash.png"], "If the file -dash.png is meant, write ./-dash.png")
    check_refused(tmp_path, capsys, ["inpaint", "-zebra.png"], "No such option '-z'")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        ("ImportError('lib.so: failed to map segment')", "a library can't be loaded: lib.so: failed to map segment: give"),
        ("OSError('Could not load lib.so. Perhaps...')", "a library can't be loaded: Could not load lib.so: give"),
        ("SystemError()", "a library can't be loaded: SystemError: give"),
        ("MemoryError()", "out of memory: "),
    ],
)
def test_libraries_that_memory_does_not_hold_are_an_error_in_one_line(error, message):
    program = (
        "import sys\nfrom importlib import abc\n"
        "class Finder(abc.MetaPathFinder):\n"
        "    def find_spec(self, name, *rest):\n"
        f"        if name == 'numpy': raise {error}\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from csc_cogd.cli import main\n"
        "main(['inpaint', 'a.png'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.startswith(f"csc-cogd: error: {message}")
    assert done.stderr.count("\n") == 1
