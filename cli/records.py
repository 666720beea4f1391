"""Records of a command's options, for functions that take several of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from csc_cogd.engine import Engine


def takes(*records: Any) -> Callable[[Any], Any]:
    """Decorate a command that takes its options as these dataclasses, whose fields have the options' names."""

    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def command(**given: Any) -> Any:
            return function(*(record(**{field.name: given[field.name] for field in fields(record)}) for record in records))

        return command

    return decorate


@dataclass(frozen=True)
class OutputOptions:
    """Options about output: whether files may be replaced, and how much is printed."""

    overwrite: bool
    quiet: bool
    verbose: int

    @property
    def verbosity(self) -> int:
        """The verbosity of a :class:`csc_cogd.cli.console.Console`."""
        return -1 if self.quiet else self.verbose


@dataclass(frozen=True)
class EngineOptions:
    """The options of the engine; see :class:`csc_cogd.engine.Engine`."""

    device: str
    dtype: str
    threads: int | None
    fft: str | None

    def engine(self) -> Engine:
        from csc_cogd.engine import Engine

        return Engine(self.dtype, self.device, self.threads, self.fft)
