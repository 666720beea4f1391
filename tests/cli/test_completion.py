"""What a shell offers, by the protocol its completion script speaks, and by bash itself."""

import os
import shutil
import subprocess
import sys

import pytest
from click.shell_completion import BashComplete

from csc_cogd.cli import group
from tests.cli.calling import call


def offered(*words):
    """What is offered for the last word."""
    complete = BashComplete(group, {}, "csc-cogd", "_CSC_COGD_COMPLETE")
    items = complete.get_completions(list(words[:-1]), words[-1])
    return [item.value if item.type == "plain" else item.type for item in items]


def test_commands_options_and_their_words_are_offered():
    assert offered("de") == ["denoise", "deblur", "demo"]
    assert offered("dictionary", "") == ["info", "show"]
    assert offered("inpaint", "--mask-p") == ["--mask-polarity"]
    assert offered("inpaint", "--mask-polarity", "") == ["missing", "valid"]
    assert offered("inpaint", "--fft", "py") == ["pyfftw"]
    assert offered("inpaint", "--device", "c") == ["cpu", "cuda"]
    assert offered("completion", "") == ["bash", "zsh", "fish"]
    assert "--learn" in offered("inpaint", "--l")


@pytest.mark.parametrize(
    "words",
    [
        ("inpaint", "pho"), ("learn", "a.png", ""), ("inpaint", "--mask", ""), ("inpaint", "--dictionary", "f"),
        ("inpaint", "x.png", "--config", ""), ("dictionary", "show", ""), ("inpaint", "--best", "--output", "a"),
    ],
)  # fmt: skip
def test_files_are_left_to_the_shell(words):
    assert offered(*words) == ["file"]


def test_a_half_typed_line_with_mistakes_or_a_config_still_completes(tmp_path, monkeypatch):
    monkeypatch.setenv("CSC_COGD_CONFIG", str(tmp_path / "none.toml"))
    assert offered("inpaint", "--print-config", "--mask-dilate", "x", "--dt") == ["--dtype"]


@pytest.mark.parametrize(
    ("shell", "sign"), [("bash", "complete -o"), ("zsh", "#compdef csc-cogd"), ("fish", "complete --no-files")]
)
def test_scripts_are_printed_for_each_shell(shell, sign, capsys):
    assert call("completion", shell) == 0
    script = capsys.readouterr().out
    assert sign in script
    assert f"_CSC_COGD_COMPLETE={shell}_complete" in script


def test_an_unknown_shell_is_refused(capsys):
    assert call("completion", "tcsh") == 2
    assert "'tcsh' is not one of 'bash', 'zsh', 'fish'" in capsys.readouterr().err


def test_completing_imports_nothing_heavy():
    program = (
        "import sys, atexit\nfrom csc_cogd.cli import main\n"
        "atexit.register(lambda: print('heavy', sorted({'numpy', 'scipy', 'numba', 'PIL'} & set(sys.modules))))\n"
        "main()\n"
    )
    words = {"_CSC_COGD_COMPLETE": "bash_complete", "COMP_WORDS": "csc-cogd d", "COMP_CWORD": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=os.environ | words, capture_output=True, text=True)
    assert "plain,demo" in done.stdout
    assert "heavy []" in done.stdout


def test_bash_completes(tmp_path):
    bash = shutil.which("bash")
    if bash is None or subprocess.run([bash, "-c", "((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404))"]).returncode:
        pytest.skip("there is no bash 4.4 or later")
    tool = tmp_path / "csc-cogd"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m csc_cogd "$@"\n')
    tool.chmod(0o755)
    session = (
        'eval "$(csc-cogd completion bash)"; complete -p csc-cogd\n'
        'try() { COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=(); _csc_cogd_completion csc-cogd; echo $COMPREPLY; }\n'
        "try csc-cogd inp\ntry csc-cogd inpaint 'a\\ b.png' --mask-pol\n"
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "--norc", "-c", session], env=environment, capture_output=True, text=True)
    registered, *replies = done.stdout.splitlines()
    assert "_csc_cogd_completion csc-cogd" in registered
    assert replies == ["inpaint", "--mask-polarity"]
