"""Types of options: amounts of memory, numbers or a word, suffixes; and what a shell completes."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

PATH = click.Path(path_type=Path)
LEAST_BYTES = 100_000  # that a number without a unit is taken for


class Memory(click.ParamType):
    """An amount of memory such as 4GB or 500MB, in bytes."""

    name = "memory"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT]?)B?", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} isn't an amount of memory such as 4GB", param, ctx)
        n_bytes = float(match[1]) * 1000.0 ** " KMGT".index(match[2].upper() or " ")
        if str(value)[-1].isdigit() and n_bytes < LEAST_BYTES:
            self.fail(f"{value!r} has no unit, and would be bytes: say {value}MB or {value}GB", param, ctx)
        return n_bytes


class PixelsOrAuto(click.ParamType):
    """A number of pixels, or ``auto``, which stays a word."""

    name = "pixels"

    def convert(self, value: Any, param: Any, ctx: Any) -> int | str:
        if value == "auto":
            return "auto"
        if not str(value).isdecimal():
            self.fail(f"{value!r} is neither 'auto' nor a number of pixels", param, ctx)
        return int(value)


class NumberOrAuto(click.ParamType):
    """A finite number of zero or more, or ``auto``, which stays a word; with `several`, numbers with commas, too."""

    name = "number"

    def __init__(self, several: bool = False):
        self.several = several

    def convert(self, value: Any, param: Any, ctx: Any) -> float | str | tuple[float, ...]:
        if value == "auto" or isinstance(value, tuple):
            return value
        try:
            numbers = [float(part) for part in (str(value).split(",") if self.several else [value])]
        except ValueError:
            numbers = [math.nan]
        if not all(0 <= number < math.inf for number in numbers):
            self.fail(f"{value!r} is neither 'auto' nor a number of zero or more", param, ctx)
        return numbers[0] if len(numbers) == 1 else tuple(numbers)


class OneOf(click.ParamType, ABC):
    """One of some names, which are known once one is needed: what knows them takes long to load."""

    @abstractmethod
    def names(self) -> Iterable[str]:
        """Return the names."""

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        if value not in self.names():
            self.fail(f"{value!r} is not one of {', '.join(self.names())}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Complete the name."""
        from click.shell_completion import CompletionItem

        return [CompletionItem(name) for name in self.names() if name.startswith(incomplete)]


class Suffix(OneOf):
    """Suffix of a format of image files."""

    name = "suffix"

    def names(self) -> Iterable[str]:
        from csc_cogd.imagefiles import SUFFIXES

        return SUFFIXES


class NetworkName(OneOf):
    """Name of a network."""

    name = "network"

    def names(self) -> Iterable[str]:
        from csc_cogd.nn.networks import NETWORKS

        return NETWORKS


def complete_files(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete the name of a file, for texts that may be one."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(incomplete, type="file")]


def complete_devices(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a device."""
    return [name for name in ("auto", "cpu", "cuda") if name.startswith(incomplete)]
