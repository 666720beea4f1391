"""The content of the page of a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.csc.alternation import OuterIteration
from csc_cogd.csc.dictionary import Dictionary
from csc_cogd.csc.iteration import Iteration
from csc_cogd.errors import InputError
from csc_cogd.report.totals import MISSING, Words


class Point(NamedTuple):
    """PSNR over the missing pixels in dB after a step of a stage; seconds since the start."""

    stage: str
    step: int
    seconds: float
    psnr: float


@dataclass(frozen=True, eq=False)
class Entry:
    """The content of the page of a picture.

    Attributes
    ----------
    title : str
        The file's name.
    before, after : (H, W) or (H, W, C) arrays of any real dtype
        As read, and restored. NaN in `before` is missing.
    missing : bool array, (H, W) or the picture's shape, optional
        Default: nothing, as in denoising.
    reference : array like `before`, optional
        The truth; where it is NaN, it isn't known.
    fit : array like `before`, of floats, optional
        What the sparse code alone says, in the picture's units: `before` less this is the residual.
    dictionary : Dictionary, optional
    usage : (K,) array, optional
        Codes in use for each filter.
    history : sequence of Iteration
        Of the code solve.
    curve : sequence of Point
    facts : dict
        Settings and findings, shown in this order.
    found : sequence of (box, str)
        What was found to be damaged, the worst first: top, left, bottom and right, and what it is.
    words : Words
        For what is missing, and for the rest.
    """

    title: str
    before: np.ndarray
    missing: np.ndarray | None
    after: np.ndarray
    reference: np.ndarray | None = None
    fit: np.ndarray | None = None
    dictionary: Dictionary | None = None
    usage: np.ndarray | None = None
    history: Sequence[Iteration] | Sequence[OuterIteration] = ()
    curve: Sequence[Point] = ()
    facts: dict[str, str] = field(default_factory=dict)
    found: Sequence[tuple[tuple[int, int, int, int], str]] = ()
    words: Words = MISSING


@dataclass(frozen=True, eq=False)
class Planes:
    """An entry's pixels as (H, W, C) arrays."""

    before: np.ndarray
    after: np.ndarray
    missing: np.ndarray
    reference: np.ndarray | None
    fit: np.ndarray | None


def planes_of(entry: Entry) -> Planes:
    """Return the entry's pixels, all of one shape; raise InputError if they aren't."""
    before = np.asarray(entry.before)
    if before.ndim not in (2, 3) or 0 in before.shape or before.dtype.kind not in "buif":
        raise InputError("before", f"must be an image, (H, W) or (H, W, C), got {before.dtype} of shape {before.shape}")
    shape = before.shape if before.ndim == 3 else (*before.shape, 1)

    def like(name: str, array: Any) -> np.ndarray | None:
        if array is not None and np.shape(array) != before.shape:
            raise InputError(name, f"must be of the image's shape {before.shape}, got {np.shape(array)}")
        return None if array is None else np.asarray(array).reshape(shape)

    missing = np.zeros(before.shape[:2], bool) if entry.missing is None else np.asarray(entry.missing, bool)
    if missing.shape == before.shape[:2]:
        missing = np.broadcast_to(missing[..., None], shape)
    elif missing.shape != before.shape:
        raise InputError("missing", f"must be of the image's shape {before.shape}, got {missing.shape}")
    if before.dtype.kind == "f":
        missing = missing | np.isnan(before.reshape(shape))
    after, reference, fit = like("after", entry.after), like("reference", entry.reference), like("fit", entry.fit)
    assert after is not None
    return Planes(before.reshape(shape), after, missing, reference, fit)
