"""The command line: one module a command, imported when it is called."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import warnings
from difflib import get_close_matches
from importlib import import_module
from typing import Any

import click

from csc_cogd import __version__
from csc_cogd.cli.config import configurable
from csc_cogd.cli.console import echo
from csc_cogd.errors import CscCogdError, DeviceError, library_failure

_SECTIONS = {
    "Restore": {
        "inpaint": "Fill the missing pixels of images.",
        "clean": "Find dust, hairs and scratches on scans, and fill them.",
        "denoise": "Remove noise, or corrupted pixels, from images.",
        "deblur": "Sharpen images that were blurred by a known kernel.",
        "upscale": "Restore images on a finer grid.",
        "paint": "Paint over damage in the browser, see it filled, keep the file.",
        "mask": "Make, find or look at masks of what is missing.",
    },
    "Learn": {
        "learn": "Learn a dictionary from images.",
        "learn-prior": "Learn a prior from photographs, for denoise.",
        "reconstruct": "Learn filters and codes from images and rebuild the images from them.",
        "dictionary": "Look into a dictionary: draw its filters, or say what it is.",
    },
    "Classify": {
        "train": "Train a small image classifier, or test one.",
        "prune": "Make a trained network smaller.",
        "classify": "Say of what classes images are, by a network.",
    },
    "Look around": {
        "demo": "Damage a picture, restore it, and show the figures.",
        "beale": "Show the rule of cogradient descent on a problem of two variables.",
        "doctor": "Say what csc-cogd finds on this machine, and whether it works here.",
        "completion": "Print the script that completes csc-cogd's commands in a shell.",
    },
}
_COMMANDS = [name for section in _SECTIONS.values() for name in section]


class _LazyGroup(click.Group):
    """Knows its commands' names and one-line helps; imports a command when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return _COMMANDS

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        return configurable(import_module(f"csc_cogd.cli.{name.replace('-', '_')}").command)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in _COMMANDS and (near := get_close_matches(args[0], _COMMANDS, 2)):
            raise click.UsageError(f"No such command {args[0]!r}. Did you mean {' or '.join(near)}?", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:<{max(map(len, _COMMANDS))}}", text) for name, text in commands.items()])


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="csc-cogd")
def group() -> None:
    """Restore damaged pictures and scientific images by convolutional sparse coding.

    \b
    Examples:
      csc-cogd demo
      csc-cogd inpaint photo.png --mask scratches.png
      csc-cogd inpaint archive -r -m masks -o restored
      csc-cogd clean scans -o clean --report report
      csc-cogd denoise photo.png
    """


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; every failure is one line on stderr and an exit code (see `csc-cogd inpaint --help`)."""
    if arguments is None:  # called as a program
        arguments = sys.argv[1:]
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: files are cleaned up
    flags = [argument for argument in arguments if argument == "--verbose" or re.fullmatch("-[a-z]+", argument)]
    verbose = "".join(flags).count("v") > 1  # of which there is one in --verbose
    if not verbose:
        warnings.simplefilter("ignore")  # what matters is said as an error or by the command itself
    names: dict[str, str] = {}  # of arguments, which the command fills in
    try:
        code = group.main(args=arguments, prog_name="csc-cogd", standalone_mode=False, obj=names)
        sys.exit(code if isinstance(code, int) else 0)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(error.format_message() + _hint(error, arguments), 2, verbose)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted: nothing half-written is left behind", 130, verbose)
    except CscCogdError as error:
        text = error.render(names)
        _fail(text, 3 if isinstance(error, DeviceError) else 2, verbose)
    except MemoryError:
        _fail("out of memory: use a smaller image, or a machine with more", 3, verbose)
    except (ImportError, SystemError) as error:
        _fail(library_failure(error), 3, verbose)
    except OSError as error:  # images and results are looked after where they are read and written
        if error.strerror is None:  # no error of the system, but of who loads a library
            _fail(library_failure(error), 3, verbose)
        if error.filename is not None:  # a file of a library's, such as a cache
            _fail(f"{error.filename}: {error.strerror}: change its permissions, or name another folder", 1, verbose)
        with contextlib.suppress(OSError, ValueError):  # a closed or full stdout
            _fail(f"can't print: {error.strerror}", 1, verbose)
        sys.exit(1)


def _hint(error: click.ClickException, arguments: list[str]) -> str:
    """What else could be meant by an option that isn't one: a file; and what an option that is missing would be."""
    if isinstance(error, click.MissingParameter) and isinstance(error.param, click.Option) and error.param.help:
        return f" {error.param.help}"
    if isinstance(error, click.NoSuchOption):
        for name in arguments:
            if name.startswith("-") and os.path.isfile(name):
                return f" If the file {name} is meant, write ./{name}"
    return ""


def _fail(message: str, code: int, verbose: bool) -> None:
    if verbose:
        import traceback

        for line in traceback.format_exc().splitlines():
            echo(f"  {line}", err=True)
    echo("csc-cogd: error: " + " ".join(message.split()), err=True)
    sys.exit(code)
