"""Public names of a package that are imported on first use, so that importing the package costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from csc_cogd.locks import importing


def lazy_attributes(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The functions ``__getattr__`` and ``__dir__`` of a package [PEP 562].

    Parameters
    ----------
    package : str
        Its ``__name__``.
    homes : mapping of str to str
        For each name, the module below the package that has it. ``__all__`` lists them.

    Examples
    --------
    >>> get, names = lazy_attributes("csc_cogd", {"InputError": "errors"})
    >>> get("InputError"), "InputError" in names()
    (<class 'csc_cogd.errors.InputError'>, True)
    """

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with importing():
            value = getattr(import_module(f"{package}.{homes[name]}"), name)
        setattr(sys.modules[package], name, value)  # from now on it is found without asking here
        return value

    def names() -> list[str]:
        return list(vars(sys.modules[package])["__all__"])

    return get, names
