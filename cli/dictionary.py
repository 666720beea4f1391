"""``csc-cogd dictionary``: look into dictionaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.console import echo
from csc_cogd.cli.option_types import PATH, complete_files
from csc_cogd.cli.options import options


@click.group("dictionary")
def command() -> None:
    """Look into a dictionary: draw its filters, or say what it is.

    \b
    Examples:
      csc-cogd dictionary show photos.npz -o photos.png
      csc-cogd dictionary info default
    """


@command.command("show")
@click.argument("dictionary", metavar="FILE|default|color", shell_complete=complete_files)
@click.option("-o", "--output", type=PATH, metavar="FILE", help="An image file. Default: NAME.png in the current folder.")
@click.option(
    "--scale", type=click.IntRange(1, 64), default=4, show_default=True, metavar="N", help="Pixels for each of a filter's."
)
@options("overwrite")
def show(dictionary: str, output: Path | None, scale: int, overwrite: bool) -> None:
    """Draw the filters, each stretched to its own range: gray is zero.

    \b
    Examples:
      csc-cogd dictionary show photos.npz
      csc-cogd dictionary show default --scale 8 -o filters.png

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    from csc_cogd.imagefiles import ImageFile, write_image
    from csc_cogd.storage import check_writable

    loaded = _load(dictionary)
    target = output or Path(f"{Path(dictionary).stem}.png")
    check_writable(target, overwrite=overwrite, inputs=(Path(dictionary),))
    picture = loaded.mosaic().repeat(scale, axis=0).repeat(scale, axis=1)
    write_image(ImageFile(picture, target, "png"), target, overwrite=overwrite)
    echo(f"{target}: {loaded.n_filters} filters")


@command.command("info")
@click.argument("dictionary", metavar="FILE|default|color", shell_complete=complete_files)
def info(dictionary: str) -> None:
    """Print number, sizes and channels of the filters, and where they come from.

    \b
    Examples:
      csc-cogd dictionary info photos.npz
      csc-cogd dictionary info color

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    import json

    loaded = _load(dictionary)
    echo(f"filters: {loaded.n_filters}")
    echo(f"sizes: {loaded.sizes()}")
    echo(f"channels: {loaded.n_channels}")
    for name, value in loaded.provenance.items():
        echo(f"{name}: {value if isinstance(value, str) else json.dumps(value)}")


def _load(name: str) -> Any:
    from csc_cogd import Dictionary

    return Dictionary.default({"default": "gray"}.get(name, name)) if name in ("default", "color") else Dictionary.load(name)
