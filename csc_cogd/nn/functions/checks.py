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


def check_positive(**numbers: int) -> None:
    """Raise InputError for the first of some arguments, by their names, that is below 1."""
    for name, number in numbers.items():
        if number < 1:
            raise InputError(name, f"must be 1 or more, got {number}")


def check_shape(name: str, array: Any, form: str, **sizes: int) -> None:
    """Raise InputError unless an array's shape has a form such as ``"N C H W"``, with the `sizes` that are given."""
    letters = form.split()
    wanted = tuple(sizes.get(letter, letter) for letter in letters)
    if len(array.shape) != len(letters) or any(
        isinstance(size, int) and size != found for size, found in zip(wanted, array.shape, strict=True)
    ):
        text = ", ".join(map(str, wanted))
        raise InputError(name, f"must be of shape ({text}{',' if len(wanted) == 1 else ''}), got {tuple(array.shape)}")
