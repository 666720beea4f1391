"""Information content of a sparse code."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import check_unmasked
from csc_cogd.errors import InputError


def code_bits(codes: Any, step: float) -> float:
    """Return the bits that an ideal entropy coder needs for codes with amplitudes rounded to multiples of `step`.

    An estimate without context: where codes are non-zero, by each map's own density, and the rounded amplitudes by their
    frequencies over all maps. The tables of frequencies aren't counted, and neither is the dictionary.

    Parameters
    ----------
    codes : (K, H, W) array
    step : float > 0

    Raises
    ------
    InputError
        If they aren't such.

    Examples
    --------
    >>> import numpy as np
    >>> code_bits(np.array([[[0, 0, 0.5, 0], [0, 0, -0.5, 0]]]), step=0.5)  # doctest: +ELLIPSIS
    8.490...
    """
    check_unmasked(codes, "codes")
    codes = np.asarray(codes, np.float64)
    if codes.ndim != 3 or 0 in codes.shape:
        raise InputError("codes", f"must be of shape (K, H, W), got {codes.shape}")
    if not step > 0:
        raise InputError("step", f"must be a positive number, got {step}")
    levels = np.rint(codes / step).astype(np.int64)
    places = levels[0].size
    used = np.count_nonzero(levels, axis=(1, 2))
    bits = sum(_entropy(np.array([count, places - count])) for count in used)
    amplitudes = np.unique(levels[levels != 0], return_counts=True)[1]
    return float(bits + _entropy(amplitudes))


def _entropy(counts: np.ndarray) -> float:
    """Return bits of a sequence with these frequencies."""
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum()) if counts.size else 0.0
