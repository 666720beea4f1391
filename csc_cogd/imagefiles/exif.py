"""TIFF's directories of tags, which EXIF data consist of too, as raw bytes [TIFF 6.0, section 2; BigTIFF].

Values aren't interpreted, so that nothing of them is lost: they are written again in the byte order they were read in.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import BinaryIO

ORIENTATION, EXIF, GPS, INTEROPERABILITY = 274, 34665, 34853, 40965
_POINTERS = (EXIF, GPS, INTEROPERABILITY)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SHORT, _LONG, _LONG8 = 3, 4, 16
_IFD = (13, 18)  # types of pointers
_INTEGERS = {1: "B", _SHORT: "H", _LONG: "I", 6: "b", 8: "h", 9: "i", 13: "I", _LONG8: "Q", 17: "q", 18: "Q"}


@dataclass(frozen=True)
class Tag:
    """A tag: its type by number, and its values' bytes; or, of a pointer to another directory, the tags in there."""

    code: int
    type: int
    value: bytes = b""
    children: tuple[Tag, ...] | None = None

    @property
    def count(self) -> int:
        return len(self.value) // _SIZES[self.type]

    @property
    def dangles(self) -> bool:
        """Whether it points to something that wasn't read, and that wouldn't be where it says in another file."""
        return self.children is None and (self.code in _POINTERS or self.type in _IFD)

    def integers(self, order: str) -> tuple[int, ...]:
        """The values; none where they aren't integers."""
        kind = _INTEGERS.get(self.type)
        return struct.unpack(f"{order}{self.count}{kind}", self.value) if kind else ()


@dataclass(frozen=True)
class Structure:
    """How the numbers of a TIFF structure are written: byte order, ``"<"`` or ``">"``, and whether it is a BigTIFF."""

    order: str
    big: bool = False

    @property
    def entry(self) -> str:
        return f"{self.order}HHQ8s" if self.big else f"{self.order}HHI4s"

    @property
    def offset(self) -> str:
        return f"{self.order}Q" if self.big else f"{self.order}I"

    @property
    def count(self) -> str:
        return f"{self.order}Q" if self.big else f"{self.order}H"


def read_header(file: BinaryIO) -> tuple[Structure, int]:
    """Structure and the offset of the first directory. Raises ValueError."""
    file.seek(0)
    head = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    if order is None or len(head) < 8:
        raise ValueError("no TIFF header")
    version = struct.unpack_from(f"{order}H", head, 2)[0]
    if version == 42:
        return Structure(order), struct.unpack_from(f"{order}I", head, 4)[0]
    if version != 43 or len(head) < 16:
        raise ValueError("no TIFF header")
    return Structure(order, big=True), struct.unpack_from(f"{order}Q", head, 8)[0]


def read_directory(
    file: BinaryIO, structure: Structure, offset: int, codes: Collection[int] | None = None
) -> tuple[list[Tag], int]:
    """The tags of the directory at `offset`, or those of some codes, and the offset of the next one.

    Those of damaged values are left out. A pointer to a directory that can't be read, or that isn't known, has no children.

    Raises ValueError where there is no directory, or its values together are larger than the file.
    """
    return _read_directory(file, structure, offset, codes, _Room(file.seek(0, io.SEEK_END)), 0)


@dataclass
class _Room:
    """How many bytes the values of a directory and of those below it may still take: all of them are in the file."""

    left: int


def _read_directory(
    file: BinaryIO, structure: Structure, offset: int, codes: Collection[int] | None, room: _Room, depth: int
) -> tuple[list[Tag], int]:
    file_size = file.seek(0, io.SEEK_END)
    n_tags = _n_tags(file, structure, offset)
    size = struct.calcsize(structure.entry)
    entries = file.read(n_tags * size)
    if len(entries) < n_tags * size:
        raise ValueError("the file ends too early")
    following = _unpack(structure.offset, file)
    tags, followed = list[Tag](), set[int]()
    for code, kind, count, inline in struct.iter_unpack(structure.entry, entries):
        if codes is not None and code not in codes:
            continue
        n_bytes = count * _SIZES.get(kind, 0)
        value = inline[:n_bytes]
        if len(inline) < n_bytes <= file_size:
            if n_bytes > room.left:
                raise ValueError("its tags are larger than the file")
            room.left -= n_bytes
            file.seek(min(struct.unpack(structure.offset, inline)[0], file_size))
            value = file.read(n_bytes)
        if kind not in _SIZES or len(value) != n_bytes:
            continue
        tag = Tag(code, kind, value)
        if code in _POINTERS and code not in followed and depth < 2:  # of several, the first
            tag = _followed(file, structure, tag, room, depth)
            followed.add(code)
        if depth == 0 or not tag.dangles:
            tags.append(tag)
    return tags, following


def _followed(file: BinaryIO, structure: Structure, tag: Tag, room: _Room, depth: int) -> Tag:
    """A pointer with the tags that it points to; without them, where they can't be read."""
    places = tag.integers(structure.order)
    if len(places) != 1:
        return tag
    try:
        children, _ = _read_directory(file, structure, places[0], None, room, depth + 1)
    except ValueError:
        return tag
    return replace(tag, children=tuple(children))


def directory_offsets(file: BinaryIO, structure: Structure, first: int) -> list[int]:
    """Where the directories of a file's pages are. Raises ValueError where their chain is broken or goes in a circle."""
    offsets: dict[int, None] = {}
    while first:
        if first in offsets:
            raise ValueError("its chain of pages goes in a circle")
        offsets[first] = None
        n_tags = _n_tags(file, structure, first)
        file.seek(n_tags * struct.calcsize(structure.entry), io.SEEK_CUR)
        first = _unpack(structure.offset, file)
    return list(offsets)


def pack_directory(tags: Iterable[Tag], structure: Structure, start: int) -> bytes:
    """A directory to be written at the even offset `start`, and behind it what it points to."""
    tags = sorted(tags, key=lambda tag: tag.code)
    size = struct.calcsize(structure.offset)
    begin = start + struct.calcsize(structure.count) + len(tags) * struct.calcsize(structure.entry) + size
    begin += begin % 2
    entries, behind, end = list[bytes](), list[bytes](), begin
    for tag in tags:
        kind, count, value, elsewhere = tag.type, tag.count, tag.value, b""
        if tag.children is not None:
            elsewhere = pack_directory(tag.children, structure, end)
            kind, count = (_LONG8 if structure.big else _LONG), 1
        elif len(value) > size:
            elsewhere = value + b"\0" * (len(value) % 2)
        if elsewhere:
            value = struct.pack(structure.offset, end)
        entries.append(struct.pack(structure.entry, tag.code, kind, count, value))
        behind.append(elsewhere)
        end += len(elsewhere)
    directory = struct.pack(structure.count, len(tags)) + b"".join(entries) + bytes(size)
    return directory.ljust(begin - start, b"\0") + b"".join(behind)


def pack_exif(tags: Iterable[Tag], order: str) -> bytes:
    """EXIF data of these tags."""
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return head + pack_directory(tags, Structure(order), 8)


def unpack_exif(exif: bytes) -> tuple[str, list[Tag]]:
    """Byte order and tags of EXIF data; none where they are damaged."""
    file = io.BytesIO(exif.removeprefix(b"Exif\0\0"))
    try:
        structure, first = read_header(file)
        return structure.order, read_directory(file, structure, first)[0]
    except ValueError:
        return "<", []


def set_upright(exif: bytes) -> tuple[int, bytes]:
    """The orientation that EXIF data name, and the data with orientation 1 and without a thumbnail, else as they were.

    They are changed in place, as makers' notes hold offsets that nobody else knows of.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    file, changed, orientation = io.BytesIO(exif), bytearray(exif), 1
    try:
        structure, first = read_header(file)
        n_tags = _n_tags(file, structure, first)
        for _ in range(n_tags):
            code, kind, count, value = struct.unpack(structure.entry, file.read(struct.calcsize(structure.entry)))
            if (code, kind, count) == (ORIENTATION, _SHORT, 1):
                orientation = struct.unpack(f"{structure.order}H", value[:2])[0]
                struct.pack_into(f"{structure.order}H", changed, file.tell() - len(value), 1)
        struct.pack_into(structure.offset, changed, file.tell(), 0)
    except (ValueError, struct.error):
        return 1, exif
    return orientation, bytes(changed)


def set_xmp_upright(xmp: bytes) -> bytes:
    return re.sub(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""", rb"\g<1>1", xmp)


def _n_tags(file: BinaryIO, structure: Structure, offset: int) -> int:
    file.seek(min(offset, file.seek(0, io.SEEK_END)))
    n_tags = _unpack(structure.count, file)
    if not 0 < n_tags <= 4096:
        raise ValueError(f"a directory of {n_tags} tags")
    return n_tags


def _unpack(form: str, file: BinaryIO) -> int:
    try:
        number: int = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    except struct.error:
        raise ValueError("the file ends too early") from None
    return number
