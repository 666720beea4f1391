"""Checks of the arguments of functions."""

from __future__ import annotations

from typing import Any

from csc_cogd.errors import InputError

Pair = int | tuple[int, int]


def pair(value: Pair, name: str, least: int = 1) -> tuple[int, int]:
    """Return two integers, given one for both, or two.

    Raises
    ------
    InputError
        If one is below `least`.
    """
    first, second = value if isinstance(value, tuple) else (value, value)
    if min(first, second) < least:
        raise InputError(name, f"must be {least} or more, got {value}")
    return first, second


def check_positive(name: str, number: int) -> None:
    """Raise InputError for a number below 1."""
    if number < 1:
        raise InputError(name, f"must be 1 or more, got {number}")


def check_shape(name: str, array: Any, *wanted: str | int) -> None:
    """Raise InputError unless an array has a shape such as ``"N", 3, "H", "W"``, with any numbers in place of letters."""
    if len(array.shape) != len(wanted) or any(
        isinstance(size, int) and size != found for size, found in zip(wanted, array.shape, strict=True)
    ):
        text = ", ".join(map(str, wanted))
        raise InputError(name, f"must be of shape ({text}{',' if len(wanted) == 1 else ''}), got {tuple(array.shape)}")
