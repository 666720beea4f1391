"""Files that are there whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.npy import MAGIC, check_members, is_array, open_archive, read_array, read_member

PREFIX = ".csc-cogd-"
"""Of the names of temporary files."""


def check_writable(path: Path, *, overwrite: bool, inputs: tuple[Path, ...] = (), new_folder: bool = False) -> None:
    """Raise InputError now for what :func:`write_whole` would refuse later, and for an output that is one of the inputs.

    With `new_folder`, the folder may still have to be made.
    """
    try:
        folder = path.parent
        while new_folder and not os.path.lexists(folder):
            folder = folder.parent
        if not folder.is_dir():
            raise InputError(f"{path}: there is no folder {folder}: create it first")
        if path.is_dir():
            raise InputError(f"{path}: is a directory: name a file")
        for source in inputs:
            if path.exists() and source.exists() and path.samefile(source):
                raise InputError(f"{path}: is an input, which is never overwritten: choose another --output")
        if os.path.lexists(path) and not overwrite:
            raise _exists(path)
        if not os.access(folder, os.W_OK):
            raise InputError(f"{path}: the folder {folder} isn't writable: choose another, or change its permissions")
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from None


def check_distinct(*paths: Path | None) -> None:
    """Raise InputError where two outputs are the same file."""
    found: set[str] = set()
    for path in filter(None, paths):
        if (place := os.path.realpath(path)) in found:
            raise InputError(f"{path}: two outputs would be written there: give them different names")
        found.add(place)


@contextmanager
def whole_file(path: Path, *, overwrite: bool, before: Callable[[Path], Any] | None = None) -> Iterator[BinaryIO]:
    """A temporary file in the same folder, to be written and read in a ``with`` statement, and renamed at its end.

    `before` is called with the finished temporary file, just before it is renamed.

    Raises
    ------
    InputError
        If the file exists and may not be replaced, or can't be written; then nothing is left behind.
    """
    name = f"{_temporary_prefix()}{os.getpid()}-{uuid.uuid4().hex[:12]}{path.suffix}"
    temporary = path.parent / name  # known before it is there: an interruption may come at any moment
    try:
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power failure could leave the name without its content
        if before is not None:
            before(temporary)
        if overwrite:
            os.replace(temporary, path)
        else:
            _rename_new(temporary, path)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[BinaryIO], Any], *, overwrite: bool) -> None:
    """Let `write` fill a file that appears whole: see :func:`whole_file`."""
    with whole_file(path, overwrite=overwrite) as file:
        write(file)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that killed processes of this machine have left in a folder."""
    ours = _temporary_prefix()
    for path in folder.glob(f"{ours}*"):
        owner = path.name.removeprefix(ours).partition("-")[0]
        if owner.isdecimal() and not _is_running(int(owner)):
            with suppress(OSError):
                path.unlink()


def write_arrays(
    path: Path, arrays: Mapping[str, Any], about: Mapping[str, Any], *, overwrite: bool, compress: bool
) -> None:
    """Write an npz file of arrays, with `about`, anything that JSON can hold, beside them; no pickle in it."""
    text = np.frombuffer(json.dumps(dict(about)).encode(), np.uint8)
    save = np.savez_compressed if compress else np.savez
    write_whole(path, lambda file: save(file, about=text, **arrays), overwrite=overwrite)


def read_arrays(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote; an npy file is its only array, named ``""``. Never unpickles.

    Members of an archive that aren't arrays are left out.

    Raises
    ------
    InputError
        If the file is missing, isn't of that `kind`, a word for the message, or claims more than its size can hold.
    """
    try:
        with open(path, "rb") as file:
            start, file_size = file.read(len(MAGIC)), file.seek(0, os.SEEK_END)
            file.seek(0)
            if start == MAGIC:
                return {"": read_array(file, file_size)}, {}
            if not start.startswith(b"PK"):
                raise ValueError("it begins with something else")
            with open_archive(path, file) as archive:
                check_members(path, archive.infolist(), file_size)
                members = {member.filename.removesuffix(".npy"): member for member in archive.infolist()}
                arrays = {name: read_member(archive, m) for name, m in members.items() if is_array(archive, m)}
        about = parse_json(bytes(arrays.pop("about"))) if "about" in arrays else {}
        if not isinstance(about, dict):
            raise ValueError("what is said about its arrays isn't a table of names and values")
        return arrays, about
    except FileNotFoundError:
        raise InputError(f"{path}: no such {kind} file") from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zipfile, its decompressors and NumPy raise whatever they like on damaged files
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: not a {kind} file (npz or npy without pickle): {why}") from None


def parse_json(text: bytes | str) -> Any:
    """What a text in JSON says. Raises ValueError where it isn't JSON, also where it is nested without end."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_number(value: Any) -> bool:
    """Whether what JSON said is a number that can be computed with: finite, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e300 < value < 1e300


def digest(*arrays: Any) -> str:
    """SHA-256 over shapes, types and values."""
    total = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        total.update(f"{array.shape} {array.dtype.str}".encode())
        total.update(array.data)
    return total.hexdigest()


def _exists(path: Path) -> InputError:
    return InputError(f"{path}: exists already: use --overwrite, or another name")


def _temporary_prefix() -> str:
    return f"{PREFIX}{_machine()}-"


@lru_cache
def _machine() -> str:
    """A name for where process numbers are told apart: this machine, or this container on it."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return hashlib.sha256(f"{platform.node()} {space}".encode()).hexdigest()[:12]


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where signal 0 isn't harmless
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # somebody else's
        return True
    try:
        state = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):  # not on Linux, or it has just ended
        return True
    return state != b"Z"  # one that has ended and isn't waited for, as where a container's first process doesn't do that


def _rename_new(temporary: Path, path: Path) -> None:
    """Rename without replacing what another process may have written meanwhile."""
    try:
        os.link(temporary, path)
        os.unlink(temporary)
    except FileExistsError:
        raise
    except OSError:  # no hard links on this file system
        if path.exists():
            raise FileExistsError from None
        os.rename(temporary, path)
