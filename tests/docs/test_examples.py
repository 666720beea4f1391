"""Every example of the guide and the README does what the page says, or at least has no option that isn't there."""

import re
import shutil
import tomllib

import click
import pytest

from tests.docs.examples import PAGES, ROOT, blocks, parse, run
from tests.docs.samples import arrays, make_samples

NAMES = [page.stem for page in PAGES]
IN_THE_GUIDE = [words for page in PAGES[1:] for block in blocks(page) if not block.reason for words, _ in block.calls()]


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    make_samples(folder)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_examples_do_what_the_page_says(page, samples, tmp_path, monkeypatch):
    shutil.copytree(samples, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    readme = page.stem == "README"
    names = {"__name__": page.stem, **(arrays() if readme else {})}
    for block in blocks(page):
        assert block.language in ("python", "sh", "console", "text")
        if block.reason:
            continue
        for words, shown in block.calls():
            if not (readme and words in IN_THE_GUIDE):
                try:
                    run(words, shown)
                except AssertionError as error:
                    raise AssertionError(f"{page.name}, line {block.line}: {' '.join(words)}: {error}") from None
        if block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.text, page, "exec"), names)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_each_command_is_there_with_its_options_also_where_it_is_not_run(page, samples, monkeypatch, capsys):
    monkeypatch.chdir(samples)
    for block in blocks(page):
        for words, _ in block.calls():
            try:
                parse(words)
            except click.UsageError as error:
                raise AssertionError(
                    f"{page.name}, line {block.line}: {' '.join(words)}: {error.format_message()}"
                ) from None
        if block.language == "python":
            compile(block.text, page, "exec")


def test_extras_that_the_pages_install_are_there():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        name for page in PAGES for name in re.findall(r"pip install '(?:\.|csc-cogd)\[(\w+)\]'", page.read_text("utf-8"))
    }
    assert named
    assert named <= set(extras)


def test_wrong_examples_are_noticed(tmp_path, samples, monkeypatch):
    monkeypatch.chdir(samples)
    page = tmp_path / "page.md"
    page.write_text(
        "```console\n$ csc-cogd mask show dust.png\nsize: 48 x 4\n```\n\n```sh\ncsc-cogd mask show --no-such x\n```\n"
    )
    (words, other), (unknown, _) = (block.calls()[0] for block in blocks(page))
    with pytest.raises(AssertionError, match="printed:\nsize: 48 x 48\n"):
        run(words, other)
    with pytest.raises(click.NoSuchOption):
        parse(unknown)
    with pytest.raises(AssertionError, match=r"exit code 2: csc-cogd: error: none\.png: no such file"):
        run(["csc-cogd", "mask", "show", "none.png"], "")
