"""The examples of the guide and the README: taken from the pages, and run as a reader would, but in one process."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from dataclasses import dataclass
from glob import glob
from pathlib import Path

import click

from csc_cogd.cli import group, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
_BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_PROCESSES = re.compile(r"--jobs \d+")
_MEASURED = re.compile(r"\d[\d.]*(?= (?:s|ms|MB|GB|dB)\b)")


@dataclass(frozen=True)
class Block:
    """An example: code in Python, sh, or a console, which has commands after `$` and what they print.

    `reason` says why it isn't run, where it isn't.
    """

    language: str
    text: str
    line: int
    reason: str

    def calls(self) -> list[tuple[list[str], str]]:
        """The words of each call of csc-cogd, and what it prints; an empty text where nothing is said of that."""
        if self.language == "sh":
            return [(words, "") for line in self.text.splitlines() for words in _calls(line)]
        if self.language != "console":
            return []
        before, *pieces = re.split(r"^\$ (.*)\n", self.text, flags=re.MULTILINE)
        assert not before, f"line {self.line}: a console starts with a command, after '$ '"
        return [(words, shown) for line, shown in zip(pieces[::2], pieces[1::2], strict=True) for words in _calls(line)]


def blocks(page: Path) -> list[Block]:
    """All examples of a page."""
    text = page.read_text("utf-8")
    return [
        Block(found["language"], found["text"], text.count("\n", 0, found.start("text")) + 1, found["reason"] or "")
        for found in _BLOCK.finditer(text)
    ]


def _calls(line: str) -> list[list[str]]:
    """The words of each call in a command line; variables before it, and ``> FILE`` behind it, belong to it."""
    lexer = shlex.shlex(re.sub(r'^eval "\$\((.*)\)"', r"\1", line), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in lexer:
        if word in ("&&", ";"):
            parts.append([])
        else:
            parts[-1].append(word)
    return [part for part in parts if next((word for word in part if "=" not in word), "") == "csc-cogd"]


def parse(words: list[str]) -> None:
    """Raise click's error where there is no such command, option or value."""
    start, end = words.index("csc-cogd"), words.index(">") if ">" in words else len(words)
    command, arguments, ctx = group, words[start + 1 : end], click.Context(group, info_name="csc-cogd")
    while isinstance(command, click.Group):
        name, command, arguments = command.resolve_command(ctx, arguments)
        if not isinstance(command, click.Group):
            with contextlib.suppress(click.exceptions.Exit):  # of --help and --print-config
                command.make_context(name, arguments, parent=ctx)
        ctx = click.Context(command, parent=ctx, info_name=name)


def run(words: list[str], shown: str) -> None:
    """Run a call, and compare what it prints with what is `shown`, where something is.

    ``...`` there stands for anything; seconds, bytes and decibels depend on the machine. It fails if an error is shown.
    Results are the same by any number of processes, so all is done by this one.
    """
    words = shlex.split(_PROCESSES.sub("--jobs 1", shlex.join(words)))
    start, end = words.index("csc-cogd"), words.index(">") if ">" in words else len(words)
    variables = dict(word.split("=", 1) for word in words[:start])
    before = {name: os.environ.get(name) for name in variables}
    out, err, code = io.StringIO(), io.StringIO(), None
    try:
        os.environ.update(variables)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err if ">" in words else out):
            main([name for word in words[start + 1 : end] for name in sorted(glob(word)) or [word]])
    except SystemExit as done:
        code = done.code
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    printed = "\n".join(line for line in out.getvalue().splitlines() if not line.startswith(("device: ", "at work for ")))
    assert bool(code) == ("csc-cogd: error: " in shown), f"exit code {code}: {printed}{err.getvalue()}"
    if ">" in words:
        Path(words[end + 1]).write_text(out.getvalue())
    if shown:
        pattern = re.escape(_MEASURED.sub("#", shown.rstrip())).replace(r"\.\.\.", "(?s:.*)")
        assert re.fullmatch(pattern, _MEASURED.sub("#", printed)), f"printed:\n{printed}\nshown:\n{shown}"
