"""What the tests of several commands share."""

import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from csc_cogd.cli import main
from csc_cogd.imagefiles import ImageFile, write_image


def save(path, pixels, **attributes):
    write_image(ImageFile(pixels, path, "png", **attributes), path)
    return path


def call(*arguments):
    """Exit code of the command line, in this process."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in arguments])
    return caught.value.code


@contextmanager
def running(*arguments, **options):
    """``csc-cogd`` as a program of its own, which ends with the block."""
    command = [sys.executable, "-m", "csc_cogd", *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options) as program:
        try:
            yield program
        finally:
            program.kill()


def interrupted(*arguments, begun, number=signal.SIGINT, **options):
    """Send a signal to ``csc-cogd`` once `begun` says so, and return its exit code, output and errors.

    That kernels are being compiled is left out of the errors: the first test to need them hears it.
    """
    with running(*arguments, **options) as program:
        deadline = time.monotonic() + 120
        while not begun() and program.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        program.send_signal(number)
        out, err = program.communicate(timeout=60)
    lines = err.splitlines(keepends=True)
    return program.returncode, out, "".join(line for line in lines if not line.startswith("compiling for this machine"))


def contents(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def check_refused(folder, capsys, arguments, message, code=2):
    """The call fails with this exit code and one line of an error that says so, and changes no file."""
    before = contents(folder)
    assert call(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("csc-cogd: error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert contents(folder) == before
