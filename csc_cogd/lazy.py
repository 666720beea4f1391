"""Public names of a package that are imported on first use, so that importing the package costs nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lazy_loader

from csc_cogd.locks import importing


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package [PEP 562], by the type stub beside it.

    As :func:`lazy_loader.attach_stub`; and a process may fork while a name is being imported.

    Parameters
    ----------
    package, file : str
        Its ``__name__`` and ``__file__``.
    """
    load, names, public = lazy_loader.attach_stub(package, file)

    def get(name: str) -> Any:
        if name not in public:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        with importing:
            return load(name)

    return get, names, public
