"""``csc-cogd paint``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import CONSOLE, ENGINE, options

if TYPE_CHECKING:
    from csc_cogd import Engine


@click.command("paint")
@click.argument("image", metavar="IMAGE|FOLDER", type=PATH)
@click.option(
    "--browser/--no-browser", default=True, show_default=True, help="Open the page; else its address is only printed."
)
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, metavar="N",
    help="Of the page's address; 0 is any free one.",
)  # fmt: skip
@click.option("--keep", is_flag=True, help="Go on when the last window of the page is closed; Ctrl-C ends it.")
@options("axes", ENGINE, CONSOLE)
def command(
    image: Path, browser: bool, port: int, keep: bool, axes: str | None, engine: Engine, console: Console
) -> None:  # fmt: skip
    """Paint over the damage of a picture in the browser, see it filled at once, and keep the result.

    The page is for this machine only: its address has a secret in it, and nothing leaves the machine. Nothing outside of
    the folder is read or written. What is kept is what csc-cogd inpaint would write with the painted mask, which is kept
    beside it as NAME_mask. Ends when the last window is closed, or by Ctrl-C.

    \b
    Examples:
      csc-cogd paint photo.jpg
      csc-cogd paint scans                            (a folder)
      csc-cogd paint stack.tif --no-browser --port 8000 --keep

    \b
    Exit codes: 0 done; 2 wrong usage or input; 3 device or memory.
    """
    from csc_cogd.page.server import PageServer
    from csc_cogd.page.session import Session

    console.check_device(engine)
    with Session(image, axes=axes, engine=engine) as session:
        server = PageServer(session, port=port, keep=keep)
        echo(server.url)
        if not (browser and server.open_browser()):
            console.say(
                "open this address in a browser on this machine; Ctrl-C ends. From another one, forward the port first: "
                f"ssh -L {server.port}:127.0.0.1:{server.port} HOST"
            )
        server.run()
        if session.unkept:
            names = ", ".join(picture.path.name for picture in session.unkept)
            console.warn(f"{names}: painted on, but not kept")
