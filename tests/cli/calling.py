"""What the tests of several commands share."""

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
