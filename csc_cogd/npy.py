"""NumPy's array files, read without trust: nothing is unpickled, and no array is larger than its file can hold."""

from __future__ import annotations

import math
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from csc_cogd.errors import InputError

MAGIC = b"\x93NUMPY"
"""What an array's file begins with."""

CLAIMS = {2**26: 50_000, 2**30: 200}
"""From so many bytes in memory on, how many a byte of the file may unpack to."""

_HEADERS: dict[tuple[int, int], Callable[[Any], Any]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Header(NamedTuple):
    """What an array's file says of it."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def check_declared_size(
    path: str | os.PathLike[str], what: str, n_bytes: int, file_size: int, fix: str, claims: Mapping[int, int] = CLAIMS
) -> None:
    """Refuse a file that claims to hold much more than one of its size can.

    Parameters
    ----------
    path : path
    what : str
        What the file claims to hold, as it stands before how much that is.
    n_bytes : int
        Size of that in memory.
    file_size : int
    fix : str
        How to store what is really as large.
    claims : mapping
        See :data:`CLAIMS`.

    Raises
    ------
    InputError
    """
    for large, most in claims.items():
        if n_bytes > large and n_bytes > most * file_size:
            problem = f"claims {what} {n_bytes / 1e9:.2g} GB, in a file of {file_size} bytes"
            raise InputError("", problem, f"if it is real, {fix}", os.fspath(path))


def read_header(file: BinaryIO) -> Header:
    """Return the header at the beginning of an array's file, or of a member of an archive; its bytes follow there.

    Raises
    ------
    ValueError
        If it isn't an array.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"a NumPy file of version {version[0]}.{version[1]} isn't known")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of texts that aren't Python's, or are of Python 2
            header = Header(*_HEADERS[version](file))
    except (MemoryError, RecursionError):  # of Python's parser, whose depth has a limit
        raise ValueError("its header is nested too deeply") from None
    if any(length < 0 for length in header.shape):
        raise ValueError(f"there is no array of shape {header.shape}")
    return header


def read_array(file: BinaryIO, file_size: int) -> np.ndarray:
    """Return the array in a file that is at its beginning, and has so many bytes.

    Raises
    ------
    ValueError
        If it isn't an array, needs unpickling, or is larger than its file.
    """
    start = file.tell()
    header = read_header(file)
    if not header.dtype.hasobject and header.n_bytes > start + file_size - file.tell():
        raise ValueError("the file ends too early")
    file.seek(start)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return array


def open_archive(path: str | os.PathLike[str], file: BinaryIO) -> zipfile.ZipFile:
    """Return the archive in a file, of which no more is ever unpacked than its members claim: see :func:`check_members`.

    Raises
    ------
    InputError
        If a member is compressed in a way that unpacks to more before that is known, and that NumPy doesn't write.
    """
    archive = zipfile.ZipFile(file)
    for member in archive.infolist():
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            problem = f"holds {member.filename!r}, which isn't compressed as by NumPy"
            raise InputError("", problem, "save it by np.savez_compressed", str(path))
    return archive


def read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """Return the array in a member of an archive; see :func:`read_array`."""
    with archive.open(member) as file:
        return read_array(file, member.file_size)  # type: ignore[arg-type]  # it reads as a file does


def is_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bool:
    """Return whether a member of an archive begins as an array does."""
    with archive.open(member) as file:
        return file.read(len(MAGIC)) == MAGIC


def member_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Header | None:
    """Return the header of the array in a member; None if it holds something else."""
    with archive.open(member) as file:
        try:
            return read_header(file)  # type: ignore[arg-type]
        except ValueError:
            return None


def check_members(path: str | os.PathLike[str], members: list[zipfile.ZipInfo], file_size: int) -> None:
    """Refuse an archive whose members unpack to more than a file of its size can hold: see :func:`check_declared_size`."""
    total = sum(member.file_size for member in members)
    check_declared_size(path, "arrays of", total, file_size, "store them uncompressed, as by np.savez")
