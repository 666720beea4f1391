"""Help of every command."""

import subprocess
import sys

import click
import pytest

from csc_cogd.cli import group
from tests.cli.test_config import COMMANDS, NAMES


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=NAMES)
def test_each_command_has_examples_of_itself_exit_codes_and_help_for_each_option(path, command):
    text = command.get_help(click.Context(command, info_name=path[-1]))
    assert "Examples:" in text
    assert f"\n    csc-cogd {' '.join(path)}" in text or "completion" in path
    assert "Exit codes: 0 " in text
    options = [option for option in command.params if isinstance(option, click.Option)]
    assert [option.name for option in options if not option.help] == []


def test_the_group_lists_every_command_under_a_heading():
    ctx = click.Context(group, info_name="csc-cogd")
    text = group.get_help(ctx)
    for heading in ("Restore:", "Learn:", "Classify:", "Look around:"):
        assert f"\n{heading}\n" in text
    for name in group.list_commands(ctx):
        assert f"\n  {name} " in text


@pytest.mark.parametrize("arguments", [("--help",), ("doctor", "--help"), ("completion", "zsh"), ("demo", "--print-config")])
def test_what_only_prints_imports_nothing_heavy(arguments):
    program = (
        "import sys\nfrom csc_cogd.cli import main\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert done.code == 0\n"
        "sys.exit(str({'numpy', 'scipy', 'numba', 'skimage', 'PIL', 'tifffile', 'dask'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert done.stderr == "set()\n"
