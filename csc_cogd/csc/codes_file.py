"""Sparse codes in a file: values and places of what isn't zero, without pickle."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend import check_unmasked
from csc_cogd.errors import InputError
from csc_cogd.storage import read_arrays, write_arrays

_FORMAT = 1


def save_codes(codes: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write codes (N, K, H, W), or of any shape, as npz, in one step: ``values``, flat ``places``, and ``shape``.

    Parameters
    ----------
    codes : array of real numbers
    path : path
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the codes aren't numbers, the file exists already and may not be overwritten, or it can't be written.

    Examples
    --------
    >>> import tempfile
    >>> codes = np.zeros((1, 2, 4, 4))
    >>> codes[0, 1, 2, 3] = 0.5
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_codes(codes, f"{folder}/codes.npz")
    ...     bool((load_codes(f"{folder}/codes.npz") == codes).all())
    True
    """
    check_unmasked(codes, "codes")
    codes = np.asarray(codes)
    if codes.dtype.kind not in "fiu":
        raise InputError(f"codes: real numbers are needed, not {codes.dtype}")
    places = np.flatnonzero(codes)
    arrays = {"values": codes.ravel()[places], "places": places, "shape": np.array(codes.shape)}
    write_arrays(Path(path), arrays, {"format": _FORMAT}, overwrite=overwrite, compress=True)


def load_codes(path: str | os.PathLike[str]) -> np.ndarray:
    """Read what :func:`save_codes` wrote.

    Parameters
    ----------
    path : path

    Returns
    -------
    array
        Of the shape and dtype that was written.

    Raises
    ------
    InputError
        If the file is missing or holds no codes.

    Examples
    --------
    See :func:`save_codes`.
    """
    arrays, about = read_arrays(path, "codes")
    try:
        values, places = arrays["values"], arrays["places"]
        if values.dtype.kind not in "fiu" or values.shape != places.shape or (places < 0).any():
            raise ValueError("its values and places don't belong together")
        codes = np.zeros(arrays["shape"], values.dtype)
        codes.ravel()[places] = values
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a codes file: {error}") from None
    if about.get("format") != _FORMAT:
        raise InputError(f"{path}: not a codes file of this version: make it again by save_codes")
    return codes
