"""Checks of the saved state of a learning run, so that nothing else is accepted from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.errors import InputError


class Entry(NamedTuple):
    """An array of a state: its shape, the range of its values, and whether they are whole numbers."""

    shape: tuple[int, ...]
    least: float = -np.inf
    most: float = np.inf
    whole: bool = False


COUNT = Entry((), 1, 2**53, whole=True)
POSITIVE = (float(np.finfo(np.float64).tiny), np.inf)
"""Range of divisors."""


def solver_entries(name: str, maps: tuple[int, ...], data: tuple[int, ...]) -> dict[str, Entry]:
    """Return the entries of a solver whose maps and data have these shapes."""
    return {f"{name}_p": Entry(maps), f"{name}_p0": Entry(data), f"{name}_penalties": Entry((2,), *POSITIVE)}


def check_state(path: str | os.PathLike[str], state: Mapping[str, Any], entries: Mapping[str, Entry]) -> None:
    """Raise InputError if something is missing, or can't be true, in a state that was read from a file."""
    for name, entry in entries.items():
        array = state.get(name)
        problem = "is missing" if array is None else _problem(array, entry)
        if problem:
            raise damaged_checkpoint(path, f"its {name} {problem}")


def damaged_checkpoint(path: str | os.PathLike[str], why: str) -> InputError:
    """Return the error to raise."""
    return InputError("", f"a damaged checkpoint: {why}", "delete it, or name another file", str(path))


def _problem(array: np.ndarray, entry: Entry) -> str:
    if array.shape != entry.shape:
        return f"is of shape {array.shape}, not {entry.shape}"
    if array.dtype.kind not in ("iu" if entry.whole else "fiu"):
        return f"is of {array.dtype}"
    if not np.isfinite(array).all():
        return "isn't finite"
    if array.size and not (entry.least <= array.min() and array.max() <= entry.most):
        return "is out of range"
    return ""
