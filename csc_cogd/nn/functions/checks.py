"""What the functions ask of their arguments."""

from __future__ import annotations

from typing import Any

from csc_cogd.errors import InputError

Pair = int | tuple[int, int]


def pair(value: Pair, name: str, least: int = 1) -> tuple[int, int]:
    """Two integers of one or two; an InputError if they are below `least`."""
    first, second = value if isinstance(value, tuple) else (value, value)
    if min(first, second) < least:
        raise InputError(f"{name}: {value} is too small: use {least} or more")
    return first, second


def check_shape(name: str, array: Any, form: str, **sizes: int) -> None:
    """Raise InputError unless an array's shape has a form such as ``"N C H W"``, with those of its sizes that are given."""
    letters = form.split()
    wanted = tuple(sizes.get(letter, letter) for letter in letters)
    if len(array.shape) != len(letters) or any(
        isinstance(size, int) and size != found for size, found in zip(wanted, array.shape, strict=True)
    ):
        text = ", ".join(map(str, wanted))
        raise InputError(f"{name}: its shape is {tuple(array.shape)}: ({text}{',' if len(wanted) == 1 else ''}) is needed")
