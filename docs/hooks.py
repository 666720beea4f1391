"""What the guide's pages gain while they are built: commands from click, equations as MathML."""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterator
from typing import Any

import click
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError

_COMMANDS = re.compile(r"<!-- commands -->")
_MATH = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
_ROLE = re.compile(r":(?:func|class|data|meth|mod|attr):(?=<code>|`)")  # Sphinx's, in docstrings
_REMOTE = re.compile(
    r"<(?:script|img|iframe|source)\b[^>]*\bsrc=[\"']?(?:https?:)?//"
    r"|<link\b[^>]*rel=[\"']?(?:stylesheet|preload|preconnect|icon)\b[^>]*href=[\"']?(?:https?:)?//"
)


def on_page_markdown(markdown: str, **_: Any) -> str:
    return _COMMANDS.sub(lambda _: "\n\n".join(_commands()), markdown)


def on_page_content(content: str, **_: Any) -> str:
    return _MATH.sub(_mathml, _ROLE.sub("", content))


def on_post_page(output: str, page: Any, **_: Any) -> str:
    found = _REMOTE.search(output)
    if found:
        raise PluginError(f"{page.file.src_uri}: {found[0]}...: the guide must be readable without a network")
    return output


def _mathml(found: re.Match[str]) -> str:
    block = found[1] == "div"
    formula = convert(html.unescape(found[2]).strip(), display="block" if block else "inline")
    return f'<div class="equation">{formula}</div>' if block else formula


def _commands() -> Iterator[str]:
    """Markdown of every command, from what its ``--help`` is made of."""
    from csc_cogd.cli import group

    yield from _walk(group, click.Context(group, info_name="csc-cogd"), 2)


def _walk(command: click.Group, ctx: click.Context, level: int) -> Iterator[str]:
    for name in command.list_commands(ctx):
        inner = command.get_command(ctx, name)
        assert inner is not None
        inner_ctx = click.Context(inner, info_name=name, parent=ctx)
        yield f"{'#' * level} {inner_ctx.command_path}"
        yield "```text\n" + " ".join([inner_ctx.command_path, *inner.collect_usage_pieces(inner_ctx)]) + "\n```"
        yield from map(_paragraph, inspect.cleandoc(inner.help or "").split("\n\n"))
        if isinstance(inner, click.Group):
            yield from _walk(inner, inner_ctx, level + 1)
        else:
            yield from (_option(*record) for record in _records(inner, inner_ctx))


def _records(command: click.Command, ctx: click.Context) -> Iterator[tuple[str, str]]:
    options = (option for option in command.get_params(ctx) if isinstance(option, click.Option))
    return filter(None, (option.get_help_record(ctx) for option in options))


def _paragraph(text: str) -> str:
    """A paragraph of a help; one that isn't wrapped starts with a backspace."""
    first, *rest = text.removeprefix("\b\n").split("\n")
    if first == "Examples:":
        return "```text\n" + inspect.cleandoc("\n".join(rest)) + "\n```"
    return _escaped(" ".join(line.strip() for line in (first, *rest)))


def _option(names: str, text: str) -> str:
    return f"`{names}`\n:   {_escaped(text)}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\`*_\[\]])", r"\\\1", html.escape(text, quote=False))
