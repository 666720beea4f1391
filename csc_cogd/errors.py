"""The errors that this package raises on purpose: one family, so that callers can catch them all."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from difflib import SequenceMatcher
from functools import wraps
from math import floor, log10
from typing import ParamSpec, Self, TypeVar

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


class Message(BaseException):
    """What an error or a warning says, as data, which Python, the command line and batches each put into their own words.

    By default it reads ``SUBJECT: ARGUMENT PROBLEM: FIX``, with the parts that are given.

    Parameters
    ----------
    argument : str
        Name of the argument that is spoken of; empty if it is none.
    problem : str
        What is wrong, as the rest of a sentence that begins with the argument's name.
    fix : str
        How to mend it. ``{name}`` stands for an argument, whatever it is called where the message is shown.
    subject : str
        The file, page or frame concerned.

    Examples
    --------
    >>> error = InputError("gain", "must be a positive number, got 0", "or leave {noise} out", "scan.tif")
    >>> str(error)
    'scan.tif: gain must be a positive number, got 0: or leave noise out'
    >>> error.render({"gain": "--gain", "noise": "--noise"})
    'scan.tif: --gain must be a positive number, got 0: or leave --noise out'
    """

    def __init__(self, argument: str, problem: str = "", fix: str = "", subject: str = ""):
        super().__init__(argument, problem, fix, subject)
        self.argument, self.problem, self.fix, self.subject = argument, problem, fix, subject

    def __str__(self) -> str:
        return self.render({})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Message) and type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        return hash((type(self), self.args))

    def render(self, names: Mapping[str, str]) -> str:
        """Return the message, with every argument under the name that it has there; its own, if it has none."""
        what = " ".join(filter(None, (names.get(self.argument, self.argument), self.problem)))
        return ": ".join(filter(None, (self.subject, what, self.fix.format_map(_Names(names)))))

    def about(self, subject: str) -> Self:
        """Return the same message, about a file, page or frame."""
        return type(self)(self.argument, self.problem, self.fix, ", ".join(filter(None, (subject, self.subject))))


class _Names(dict[str, str]):
    """What an argument's name is looked up in; others stay as they are."""

    def __missing__(self, name: str) -> str:
        return name


class CscCogdError(Message, Exception):
    """Base of every error that csc-cogd raises on purpose; its parameters are those of :class:`Message`.

    Examples
    --------
    >>> import numpy as np
    >>> from csc_cogd import inpaint
    >>> try:
    ...     inpaint(np.eye(3), effort="much")
    ... except CscCogdError as error:
    ...     print(error.argument)
    effort
    """


class InputError(CscCogdError, ValueError):
    """An argument or a file can't be used."""


class DiskFullError(InputError):
    """No more can be written."""


class DeviceError(CscCogdError, RuntimeError):
    """The requested device can't be used, or has too little memory; nothing falls back silently to another one."""


class Remark(Message, UserWarning):
    """What a caller should know; a warning of Python's where no report is asked for."""


def percent(share: float, digits: int = 1) -> str:
    """Return a share for display: a small one by its first digit, so that it isn't taken for none.

    Examples
    --------
    >>> percent(0.0734), percent(0.0734, 2), percent(0.00013), percent(4e-8), percent(0)
    ('7.3%', '7.34%', '0.01%', '0.000004%', '0.0%')
    """
    return f"{share:.{max(digits, -floor(log10(100 * share)) if share > 0 else 0)}%}"


def likely_meant(name: str, names: Iterable[str]) -> str:
    """Return the one of the names that another, which isn't among them, is likely to mean; empty if none is.

    Examples
    --------
    >>> likely_meant("sigma_psd", ["mask", "noise_sigma"]), likely_meant("radius", ["mask", "noise_sigma"])
    ('noise_sigma', '')
    """
    found = [(0.0, "")]
    for known in names:
        matcher = SequenceMatcher(None, name.lower(), known)
        together = max(block.size for block in matcher.get_matching_blocks())
        if matcher.ratio() >= (0.5 if together >= 4 else 0.6):
            found.append((matcher.ratio(), known))
    return max(found)[1]


def check_names(given: Iterable[str], known: Iterable[str]) -> None:
    """Raise TypeError for an argument that there isn't, as Python does, and say which may be meant."""
    names = list(known)
    for name in given:
        if name not in names:
            meant = likely_meant(name, names)
            fix = f"did you mean {meant!r}?" if meant else f"there are {', '.join(names)}"
            raise TypeError(f"got an unexpected keyword argument {name!r}: {fix}")


def with_hints(*more: str) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Let a function say which argument may be meant by one that it hasn't; `more` are those that it passes on."""

    def decorate(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        kinds = inspect.signature(function).parameters
        names = [*(name for name, one in kinds.items() if one.kind is not inspect.Parameter.VAR_KEYWORD), *more]

        @wraps(function)
        def call(*arguments: Parameters.args, **options: Parameters.kwargs) -> Returned:
            check_names(options, names)
            return function(*arguments, **options)

        return call

    return decorate


def library_failure(error: BaseException) -> str:
    """Explain an error with which a library couldn't be loaded; the first sentence of its own is enough."""
    why = " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
    return f"a library can't be loaded: {why}: give the process more memory, or reinstall csc-cogd"
