"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import stat
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import numpy as np

from csc_cogd.errors import DiskFullError, InputError
from csc_cogd.npy import MAGIC, check_members, is_array, open_archive, read_array, read_member

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"
"""What JSON can hold."""
PREFIX = ".csc-cogd-"
"""Of the names of temporary files."""


def check_writable(path: Path, *, overwrite: bool, inputs: tuple[Path, ...] = (), new_folder: bool = False) -> None:
    """Raise InputError now for what :func:`write_whole` would refuse later, and for an output that is one of the inputs.

    With `new_folder`, the folder may still have to be made.
    """
    try:
        place = _behind_link(path) if overwrite else path
        folder = existing_parent(place.parent) if new_folder else place.parent
        if not folder.is_dir():
            raise InputError("", f"there is no folder {folder}", "create it first", str(path))
        if path.is_dir():
            raise InputError("", "is a directory", "name a file", str(path))
        for source in inputs:
            if path.exists() and source.exists() and path.samefile(source):
                raise InputError("", "is an input, which is never overwritten", "choose another {output}", str(path))
        if os.path.lexists(path) and not overwrite:
            raise _exists(path)
        if not os.access(folder, os.W_OK):
            fix = "choose another, or change its permissions"
            raise InputError("", f"the folder {folder} isn't writable", fix, str(path))
    except OSError as error:
        raise InputError("", f"can't be written: {error.strerror or error}", subject=str(path)) from None


def existing_parent(folder: Path) -> Path:
    """Return the folder, or the one above it where it would have to be made."""
    while not os.path.lexists(folder):
        folder = folder.parent
    return folder


def make_folder(folder: Path) -> None:
    """Make a folder for outputs if there is none."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError("", f"the folder can't be made: {error.strerror}", subject=str(folder)) from None


def check_own_folder(path: Path) -> None:
    """Raise InputError where a folder whose name is this program's choice is a link, behind which other files may lie."""
    if os.path.islink(path):
        raise InputError(
            f"{path}: is a symbolic link, through which nothing is written: remove it, or choose another folder"
        )


def check_distinct(*paths: Path | None) -> None:
    """Raise InputError where two outputs are the same file."""
    found: set[str] = set()
    for path in filter(None, paths):
        if (place := os.path.realpath(path)) in found:
            raise InputError("", "two outputs would be written there", "give them different names", str(path))
        found.add(place)


@contextmanager
def whole_file(
    path: Path, *, overwrite: bool, before: Callable[[Path], Any] | None = None, follow_link: bool = True
) -> Iterator[BinaryIO]:
    """A temporary file in the same folder, to be written and read in a ``with`` statement, and renamed at its end.

    `before` is called with the finished temporary file, just before it is renamed. A file that is replaced leaves its
    permissions to the new one. Where a symbolic link is overwritten, the file that it names is replaced; without
    `follow_link`, for names that the user hasn't chosen, the link itself.

    Raises
    ------
    InputError
        If the file exists and may not be replaced, or can't be written; then nothing is left behind.
    """
    place = _behind_link(path) if overwrite and follow_link else path
    name = f"{_temporary_prefix()}{os.getpid()}-{uuid.uuid4().hex[:12]}{path.suffix}"
    temporary = place.parent / name  # known before it is there: an interruption may come at any moment
    try:
        with open(temporary, "x+b") as file:
            if overwrite:
                _take_permissions(file, place)
            yield file
            file.flush()
            os.fsync(file.fileno())  # or a power failure could leave the name without its content
        if before is not None:
            before(temporary)
        if overwrite:
            os.replace(temporary, place)
        else:
            _rename_new(temporary, place)
    except FileExistsError:
        raise _exists(path) from None
    except OSError as error:
        raise _not_written(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes, *, overwrite: bool, follow_link: bool = True) -> None:
    """Write a file that appears whole: see :func:`whole_file`."""
    with whole_file(path, overwrite=overwrite, follow_link=follow_link) as file:
        file.write(content)


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
    with whole_file(path, overwrite=overwrite) as file:
        save(file, about=text, **arrays)


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
        raise InputError("", f"no such {kind} file", subject=str(path)) from None
    except (InputError, MemoryError):
        raise
    except Exception as error:  # zipfile, its decompressors and NumPy raise whatever they like on damaged files
        why = " ".join(str(error).split()) or type(error).__name__
        raise InputError("", f"not a {kind} file (npz or npy without pickle): {why}", subject=str(path)) from None


def parse_json(text: bytes | str) -> Any:
    """Return what a text in JSON says. Raises ValueError if it isn't JSON, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_number(value: Any) -> bool:
    """Return whether what JSON said is a number that can be computed with: finite, and no truth value."""
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
    return InputError("", "exists already", "use {overwrite}, or another name", str(path))


def _not_written(path: Path, error: OSError) -> InputError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT) or " requested and " in str(error)  # as NumPy says it, without errno
    why = error.strerror or ("the disk is full" if full else str(error))
    if full:
        return DiskFullError("", f"can't be written: {why}", "make room, or write to another disk", str(path))
    return InputError("", f"can't be written: {why}", subject=str(path))


def _behind_link(path: Path) -> Path:
    """The file that a name means, also where it is a symbolic link; InputError for what can't be replaced by a file."""
    place = Path(os.path.realpath(path)) if os.path.islink(path) else path
    if os.path.islink(place):
        raise InputError(f"{path}: is a symbolic link that leads to itself: remove it, or choose another name")
    if os.path.exists(place) and not os.path.isfile(place) and not os.path.isdir(place):
        raise InputError(f"{path}: isn't a regular file: choose another name")
    return place


def _take_permissions(file: BinaryIO, replaced: Path) -> None:
    """Give a new file the permissions of the one that it will replace; owner and group, too, where that is allowed."""
    if os.name != "posix":
        return
    try:
        status = os.lstat(replaced)
    except OSError:
        return
    if not stat.S_ISREG(status.st_mode):
        return
    for owner in (status.st_uid, -1):
        try:
            os.chown(file.fileno(), owner, status.st_gid)
            break
        except OSError:
            continue
    with suppress(OSError):  # not on every file system
        os.chmod(file.fileno(), stat.S_IMODE(status.st_mode) & 0o777)


@lru_cache
def _temporary_prefix() -> str:
    """Return how names of temporary files begin on this machine, or in this container: process numbers are its own."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return f"{PREFIX}{hashlib.sha256(f'{platform.node()} {space}'.encode()).hexdigest()[:12]}-"


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
        if os.path.lexists(path):
            raise FileExistsError from None
        os.rename(temporary, path)
