"""What is remembered of a result: from which input and by which settings it was made.

The record lies in a hidden folder beside the result, ``.csc-cogd/<name>.json``. It is written before the result appears, and
holds the result's digest: wherever a batch was cut off, a result is there with its record or not at all. The version of this
program is noted, but not compared.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd import __version__
from csc_cogd.errors import InputError
from csc_cogd.storage import check_own_folder, digest, write_whole

FOLDER = ".csc-cogd"
MOST = 240  # bytes of a name that are sure to leave room for a suffix


def sidecar_path(target: Path) -> Path:
    """Where the record of a result is; of a name that is nearly too long, by a digest."""
    encoded = os.fsencode(target.name)
    name = target.name if len(encoded) <= MOST else hashlib.sha256(encoded).hexdigest()
    return target.parent / FOLDER / f"{name}.json"


def write_sidecar(target: Path, finished: Path, record: dict[str, Any]) -> None:
    """Remember a result that is finished, in a temporary file, and about to become `target`."""
    path = sidecar_path(target)
    check_own_folder(path.parent)
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{path.parent}: the folder can't be made: {error.strerror}") from None
    record = {"csc-cogd": __version__, **record, "output": {"name": target.name, "sha256": file_digest(finished)}}
    text = json.dumps(record, indent=1, default=str).encode()
    write_whole(path, lambda file: file.write(text), overwrite=True, follow_link=False)


def read_sidecar(target: Path) -> dict[str, Any] | None:
    """The record of a result that is there unchanged; None where there is none, or it speaks of another content."""
    try:
        record = json.loads(sidecar_path(target).read_bytes())
        unchanged = record["output"]["sha256"] == file_digest(target)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if unchanged else None


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe(value: Any) -> Any:
    """A setting as JSON can hold it, so that equal settings give equal texts."""
    if isinstance(value, dict):
        return {str(name): describe(part) for name, part in sorted(value.items())}
    if isinstance(value, (list, tuple)):
        return [describe(part) for part in value]
    if isinstance(value, np.ndarray):
        return digest(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (np.dtype, type)):
        return np.dtype(value).name
    if hasattr(value, "__dict__"):
        return {"type": type(value).__name__, **describe(vars(value))}
    return value
