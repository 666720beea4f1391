"""Weights in files: safetensors, as PyTorch's tools write and read them. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.storage import write_whole

_READ = re.compile("BOOL|BF16|[FIUC](8|16|32|64)")
"""What is read, in the words of safetensors."""


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

    Numbers in bfloat16, which NumPy hasn't, come as float32, unchanged.

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
        If the file is missing, damaged, of another kind, or holds other numbers that NumPy hasn't, such as those of 8 bits.

    Examples
    --------
    See :func:`save_checkpoint`.
    """
    with _opened(path) as file:
        kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118  # not a mapping
        if others := [f"{key} is of {kind}" for key, kind in kinds.items() if not _READ.fullmatch(kind)]:
            raise InputError(f"{path}: {others[0]}, which NumPy hasn't: convert it where PyTorch is, by tensor.float()")
        arrays = {key: file.get_tensor(key) for key, kind in kinds.items() if kind != "BF16"}
        if len(arrays) < len(kinds):
            arrays |= _widened(Path(path).read_bytes())
        return {key: arrays[key] for key in kinds}, _parsed_metadata(file)


def load_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The metadata of a safetensors file; see :func:`load_checkpoint`."""
    with _opened(path) as file:
        return _parsed_metadata(file)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A safetensors file; errors while it is read say what to do."""
    from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError(f"{path}: no such file of weights")
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except InputError:
        raise
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: can't be read as safetensors {_way(Path(path), error)}") from None


def _widened(content: bytes) -> dict[str, np.ndarray]:
    """The arrays in bfloat16, which is the upper half of float32."""
    from safetensors import deserialize

    return {
        key: (np.frombuffer(array["data"], "<u2").astype(np.uint32) << 16).view(np.float32).reshape(array["shape"])
        for key, array in deserialize(content)
        if array["dtype"] == "BF16"
    }


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


def _parsed_metadata(file: Any) -> dict[str, Any]:
    return {key: _parsed(value) for key, value in (file.metadata() or {}).items()}


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
