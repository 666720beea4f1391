"""What is remembered of a result: from which input and by which settings it was made.

The record lies in a hidden folder beside the result, ``.csc-cogd/<name>.json``. It is written before the result appears, and
holds the result's digest: wherever a batch was cut off, a result is there with its record or not at all. The version of this
program is noted, but not compared.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd import __version__
from csc_cogd.batch.job import Result
from csc_cogd.storage import Json, check_own_folder, digest, is_number, make_folder, parse_json, write_whole

FOLDER = ".csc-cogd"
_NAMES = ("title", "page", "thumbnail", "dtype")  # among a page's figures
MOST = 240  # bytes of a name that are sure to leave room for a suffix


def sidecar_path(target: Path) -> Path:
    """Where the record of a result is; of a name that is nearly too long, by a digest."""
    encoded = os.fsencode(target.name)
    name = target.name if len(encoded) <= MOST else hashlib.sha256(encoded).hexdigest()
    return target.parent / FOLDER / f"{name}.json"


def write_sidecar(target: Path, finished: Path, record: dict[str, Json]) -> None:
    """Remember a result that is finished, in a temporary file, and about to become `target`."""
    path = sidecar_path(target)
    check_own_folder(path.parent)
    make_folder(path.parent)
    record = {"csc-cogd": __version__, **record, "output": {"name": target.name, "sha256": file_digest(finished)}}
    text = json.dumps(record, indent=1, default=str).encode()
    write_whole(path, text, overwrite=True, follow_link=False)


def read_sidecar(target: Path) -> dict[str, Json] | None:
    """The record of a result that is there unchanged; None where there is none, or it speaks of another content.

    Nor is there one where its ``"result"`` isn't what was written there.
    """
    path = sidecar_path(target)
    try:
        record: Any = parse_json(path.read_bytes()) if path.is_file() else None
        unchanged = record["output"]["sha256"] == file_digest(target)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if unchanged and _is_result(record.setdefault("result", {})) else None


def result_of(record: dict[str, Json], source: Path, target: Path) -> Result:
    """Return the result that a record tells of."""
    told: Any = record["result"]
    return Result(str(source), str(target), **{name: value for name, value in told.items() if name in _RESULT})


def _is_result(told: Any) -> bool:
    """Whether it describes a result, so that programs and reports can go on with it."""
    return isinstance(told, dict) and all(name not in told or is_right(told[name]) for name, is_right in _RESULT.items())


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


def _are_figures(value: Any) -> bool:
    """Numbers, NaN and infinite ones too, by names; and below ``"report"``, those of a page, and what it is called."""
    if not isinstance(value, dict):
        return False
    figures, page = value | {"report": None}, value.get("report") or {}
    if not isinstance(page, dict):
        return False
    named = all(isinstance(page.get(name, ""), str) for name in _NAMES)
    numbers = [*figures.values(), *(number for name, number in page.items() if name not in _NAMES)]
    return named and all(number is None or isinstance(number, float) or is_number(number) for number in numbers)


_RESULT: dict[str, Callable[[Any], bool]] = {
    "seconds": is_number, "pages": is_number, "missing": is_number,
    "changed": lambda value: value is None or is_number(value), "altered": lambda value: value is None or is_number(value),
    "notes": _are_texts, "warnings": _are_texts, "details": _are_texts, "figures": _are_figures,
}  # fmt: skip
"""What is taken from a record of :class:`csc_cogd.Result`, and what it must be like."""


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
