"""Files of sparse codes: the values and places of the non-zeros, without pickle."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.errors import InputError
from csc_cogd.npy import check_declared_size
from csc_cogd.storage import read_arrays, write_arrays

_FORMAT = 1
_CLAIMS = {2**30: 50_000}  # see check_declared_size: codes are nearly all zero


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
    codes = to_numpy(codes, "codes")
    if codes.dtype.kind not in "fiu":
        raise InputError("codes", f"must be real numbers, got {codes.dtype}")
    places = np.flatnonzero(codes)
    arrays = {"values": codes.ravel()[places], "places": places, "shape": np.array(codes.shape)}
    write_arrays(Path(path), arrays, {"format": _FORMAT}, overwrite=overwrite, compress=True)


def load_codes(path: str | os.PathLike[str]) -> np.ndarray:
    """Load codes that :func:`save_codes` wrote.

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
        If the file is missing, holds no codes, or claims many more than one of its size can hold.

    Examples
    --------
    See :func:`save_codes`.
    """
    arrays, about = read_arrays(path, "codes")
    try:
        values, places, shape = arrays["values"], arrays["places"], arrays["shape"]
        if values.dtype.kind not in "fiu" or values.shape != places.shape or (places < 0).any():
            raise ValueError("its values and places don't belong together")
        if shape.dtype.kind not in "iu" or shape.ndim != 1 or (shape < 0).any():
            raise ValueError("its shape isn't a row of lengths")
        n_bytes = math.prod(shape.tolist()) * values.itemsize
        way = "make them again by save_codes, image by image"
        check_declared_size(path, f"codes of shape {tuple(shape.tolist())},", n_bytes, os.path.getsize(path), way, _CLAIMS)
        codes = np.zeros(shape, values.dtype)
        codes.ravel()[places] = values
    except InputError:
        raise
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise InputError("", f"not a codes file: {error}", subject=str(path)) from None
    if about.get("format") != _FORMAT:
        raise InputError("", "not a codes file of this version", "make it again by save_codes", str(path))
    return codes
