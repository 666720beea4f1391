"""Weights in files: safetensors, as PyTorch's tools write and read them. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.storage import parse_json, write_whole


def save_checkpoint(
    arrays: Mapping[str, np.ndarray], path: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write arrays and metadata to a safetensors file, which appears whole.

    Parameters
    ----------
    arrays : mapping of str to array
        Such as :meth:`Module.state_dict` returns.
    path : path
    metadata : mapping of str to anything that JSON can hold, optional
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the file exists and may not be replaced, or can't be written, or the arrays or metadata can't be stored.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint({"weight": np.ones(3)}, f"{folder}/a.safetensors", metadata={"epoch": 7})
    ...     load_checkpoint(f"{folder}/a.safetensors")
    ({'weight': array([1., 1., 1.])}, {'epoch': 7})
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save

    if not arrays:
        raise InputError("arrays: there are none: give those of a network, by Module.state_dict")
    texts = metadata_texts(metadata)
    try:
        content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()}, texts)
    except (SafetensorError, KeyError, TypeError) as error:
        raise InputError(f"arrays: safetensors can't hold them ({error}): use arrays of real numbers") from None
    write_whole(Path(path), lambda file: file.write(content), overwrite=overwrite)


def metadata_texts(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """Each entry as JSON.

    Raises
    ------
    InputError
        For what JSON can't hold.
    """
    try:
        return {key: json.dumps(value) for key, value in (metadata or {}).items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"metadata: JSON can't hold it ({error}): use texts, numbers, lists and mappings") from None


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a safetensors file by their names, and its metadata, of which what is JSON is parsed.

    Parameters
    ----------
    path : path

    Returns
    -------
    arrays : dict of str to array
    metadata : dict

    Raises
    ------
    InputError
        If the file is missing, damaged, of another kind, or holds numbers that NumPy hasn't, such as bfloat16.

    Examples
    --------
    See :func:`save_checkpoint`.
    """
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file of weights")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = {key: _parsed(value) for key, value in (file.metadata() or {}).items()}
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118  # not a mapping
            for key, array in arrays.items():
                if array.dtype.kind not in "biufc":  # once a package such as onnx has taught NumPy bfloat16
                    raise TypeError(f"{key} is of {array.dtype}")
            return arrays, metadata
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: can't be read as safetensors {_way(Path(path), error)}") from None


def _way(path: Path, error: Exception) -> str:
    """Why, and what to do."""
    start = b""
    with suppress(OSError), path.open("rb") as file:
        start = file.read(2)
    if start in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05"):
        return (
            "(it is a pickle, which could run any program): convert PyTorch's .pt and .pth where PyTorch is, "
            "safetensors.torch.save_file(torch.load(path, weights_only=True), 'name.safetensors')"
        )
    return f"({error}): fetch it again if it is damaged; convert PyTorch's .pt and .pth by safetensors.torch"


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError:
        return text
