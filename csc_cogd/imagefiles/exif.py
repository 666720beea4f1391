"""TIFF's directories of tags, which EXIF data consist of too, as raw bytes [TIFF 6.0, section 2; BigTIFF].

Values aren't interpreted, so that nothing of them is lost: they are written again in the byte order they were read in.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import BinaryIO, NamedTuple

import numpy as np

ORIENTATION, EXIF, GPS, INTEROPERABILITY = 274, 34665, 34853, 40965
_POINTERS = (EXIF, GPS, INTEROPERABILITY)
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SHORT, _LONG, _RATIONAL, _LONG8 = 3, 4, 5, 16
_IFD = (13, 18)  # types of pointers
_INTEGERS = {1: "B", _SHORT: "H", _LONG: "I", 6: "b", 8: "h", 9: "i", 13: "I", _LONG8: "Q", 17: "q", 18: "Q"}

_ACROSS, _DOWN = {256, 282, 40962, 41486}, {257, 283, 40963, 41487}  # size, resolution, size again, that on the sensor
_XMP_ACROSS = (b"tiff:ImageWidth", b"tiff:XResolution", b"exif:PixelXDimension", b"exif:FocalPlaneXResolution")
_XMP_DOWN = (b"tiff:ImageLength", b"tiff:YResolution", b"exif:PixelYDimension", b"exif:FocalPlaneYResolution")
_STRIPS, _STRIP_SIZES, _THUMBNAIL, _THUMBNAIL_SIZE = 273, 279, 513, 514
_JPEG = b"\xff\xd8\xff"
_MAX_PREVIEWS, _MAX_STRIPS, _MAX_SEGMENTS = 100, 4096, 100  # that are examined in metadata, a thumbnail, a preview


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
        """Return whether it points to something that wasn't read, and that wouldn't be where it says in another file."""
        return self.children is None and (self.code in _POINTERS or self.type in _IFD)

    def integers(self, order: str) -> tuple[int, ...]:
        """Return the values; none if they aren't integers."""
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


class _Entry(NamedTuple):
    """A tag in a file: where its values are, and their bytes."""

    code: int
    type: int
    place: int
    size: int


class TagFile:
    """A file with a header and directories of tags, open to be read.

    Attributes
    ----------
    structure : Structure
    first : int
        Offset of the first directory.

    Raises
    ------
    ValueError
        Where there is no header; so do the methods where there is no directory.
    """

    def __init__(self, file: BinaryIO):
        self._file, self._size = file, file.seek(0, io.SEEK_END)
        file.seek(0)
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2])
        if order is None or len(head) < 8:
            raise ValueError("no TIFF header")
        version = struct.unpack_from(f"{order}H", head, 2)[0]
        if version not in (42, 43) or (version == 43 and len(head) < 16):
            raise ValueError("no TIFF header")
        self.structure = Structure(order, big=version == 43)
        self.first: int = struct.unpack_from(self.structure.offset, head, 8 if self.structure.big else 4)[0]

    def directory(self, offset: int, codes: Collection[int] | None = None) -> list[Tag]:
        """Return the tags of the directory at `offset`, or those of some codes.

        Those of damaged values are left out. A pointer to a directory that can't be read, or that isn't known, has no
        children. Raises ValueError, too, where its values together are larger than the file.
        """
        return self._directory(offset, codes, _Room(self._size), 0)

    def _directory(self, at: int, codes: Collection[int] | None, room: _Room, depth: int) -> list[Tag]:
        entries = self._packed_entries(at)
        self._unpack(self.structure.offset)  # of the next one, which must be there
        tags, followed = list[Tag](), set[int]()
        for code, kind, count, inline in struct.iter_unpack(self.structure.entry, entries):
            if codes is not None and code not in codes:
                continue
            n_bytes = count * _SIZES.get(kind, 0)
            value = inline[:n_bytes]
            if len(inline) < n_bytes <= self._size:
                if n_bytes > room.left:
                    raise ValueError("its tags are larger than the file")
                room.left -= n_bytes
                self._file.seek(min(struct.unpack(self.structure.offset, inline)[0], self._size))
                value = self._file.read(n_bytes)
            if kind not in _SIZES or len(value) != n_bytes:
                continue
            tag = Tag(code, kind, value)
            if code in _POINTERS and code not in followed and depth < 2:  # of several, the first
                followed.add(code)
                places = tag.integers(self.structure.order)
                with suppress(ValueError):  # one that can't be read
                    if len(places) == 1:
                        tag = replace(tag, children=tuple(self._directory(places[0], None, room, depth + 1)))
            if depth == 0 or not tag.dangles:
                tags.append(tag)
        return tags

    def directories(self) -> list[int]:
        """Return where the directories of the pages are. Raises ValueError if their chain is broken or goes in a circle."""
        offsets: dict[int, None] = {}
        offset = self.first
        while offset:
            if offset in offsets:
                raise ValueError("its chain of pages goes in a circle")
            offsets[offset] = None
            offset = self.next_directory(offset)
        return list(offsets)

    def entries(self, offset: int) -> Iterator[_Entry]:
        """Yield the tags of a directory, those of damaged values left out."""
        packed = self._packed_entries(offset)
        start, size = self._file.tell() - len(packed), struct.calcsize(self.structure.entry)
        for number, (code, kind, count, inline) in enumerate(struct.iter_unpack(self.structure.entry, packed), 1):
            n_bytes, place = count * _SIZES.get(kind, 0), start + number * size - len(inline)
            if n_bytes > len(inline):
                place = struct.unpack(self.structure.offset, inline)[0]
            if kind in _SIZES and place + n_bytes <= self._size:
                yield _Entry(code, kind, place, n_bytes)

    def read(self, entry: _Entry, most: int = 1) -> Tag:
        """Return a tag with at most so many of its values."""
        self._file.seek(entry.place)
        return Tag(entry.code, entry.type, self._file.read(min(entry.size, most * _SIZES[entry.type])))

    def end_of_entries(self, offset: int) -> int:
        """Return where a directory names the next one."""
        return self._n_tags(offset) * struct.calcsize(self.structure.entry) + self._file.tell()

    def next_directory(self, offset: int) -> int:
        """Return the offset of the directory behind one; 0 where it is the last."""
        self._file.seek(self.end_of_entries(offset))
        return self._unpack(self.structure.offset)

    def _packed_entries(self, offset: int) -> bytes:
        size = self._n_tags(offset) * struct.calcsize(self.structure.entry)
        entries = self._file.read(size)
        if len(entries) < size:
            raise ValueError("the file ends too early")
        return entries

    def _n_tags(self, offset: int) -> int:
        self._file.seek(min(offset, self._size))
        n_tags = self._unpack(self.structure.count)
        if not 0 < n_tags <= 4096:
            raise ValueError(f"a directory of {n_tags} tags")
        return n_tags

    def _unpack(self, form: str) -> int:
        try:
            number: int = struct.unpack(form, self._file.read(struct.calcsize(form)))[0]
        except struct.error:
            raise ValueError("the file ends too early") from None
        return number


@dataclass
class _Room:
    """How many bytes the values of a directory and of those below it may still take: all of them are in the file."""

    left: int


def pack_directory(tags: Iterable[Tag], structure: Structure, start: int) -> bytes:
    """Return a directory to be written at the even offset `start`, and behind it what it points to."""
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
    """Return EXIF data of these tags."""
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8)
    return head + pack_directory(tags, Structure(order), 8)


def unpack_exif(exif: bytes) -> tuple[str, list[Tag]]:
    """Return byte order and tags of EXIF data; none if they are damaged."""
    try:
        file = TagFile(io.BytesIO(exif.removeprefix(b"Exif\0\0")))
        return file.structure.order, file.directory(file.first)
    except ValueError:
        return "<", []


def set_upright(exif: bytes) -> tuple[int, bytes]:
    """Return the orientation that EXIF data name, and the data with orientation 1 and without thumbnails, else as they were.

    They are changed in place, as makers' notes hold offsets that nobody else knows of; where a thumbnail was, there are
    zeros, as it shows the picture before.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    changed, orientation = bytearray(exif), 1
    try:
        file = TagFile(io.BytesIO(exif))
        for entry in file.entries(file.first):
            if (entry.code, entry.type, entry.size) == (ORIENTATION, _SHORT, 2):
                orientation = file.read(entry).integers(file.structure.order)[0]
                struct.pack_into(f"{file.structure.order}H", changed, entry.place, 1)
        end = file.end_of_entries(file.first)
        _wipe_thumbnails(file, changed)
        struct.pack_into(file.structure.offset, changed, end, 0)
    except (ValueError, struct.error):
        return 1, exif
    return orientation, without_pictures(bytes(changed))


def set_xmp_upright(xmp: bytes) -> bytes:
    return re.sub(rb"""(tiff:Orientation(?:\s*=\s*["']|>\s*))[2-8]""", rb"\g<1>1", xmp)


def without_pictures(data: bytes) -> bytes:
    """Return metadata with zeros where a whole JPEG lies in them: a preview of the picture before, as in makers' notes."""
    changed, start = bytearray(data), 0
    for _ in range(_MAX_PREVIEWS):
        if (start := data.find(_JPEG, start)) < 0:
            break
        end = _end_of_jpeg(data, start)
        changed[start:end] = bytes(end - start)
        start = max(end, start + 1)
    return bytes(changed)


def without_thumbnail(xmp: bytes) -> bytes:
    """Return XMP data without the thumbnails in them, which are in base 64."""
    xmp = re.sub(rb"(<xmpGImg:image\s*>)[^<]*", rb"\g<1>", xmp)
    return re.sub(rb"""(xmpGImg:image\s*=\s*)(?:"[^"]*"|'[^']*')""", rb'\g<1>""', xmp)


def scaled_tags(tags: Iterable[Tag], order: str, across: Fraction, down: Fraction) -> tuple[Tag, ...]:
    """Return the tags of a picture that has become so many times wider and higher, with its size and resolution in them."""
    return tuple(
        _scaled(tag, order, across, down)
        if tag.children is None
        else replace(tag, children=scaled_tags(tag.children, order, across, down))
        for tag in tags
    )


def scale_exif(exif: bytes, across: Fraction, down: Fraction) -> bytes:
    """EXIF data of a picture that has become so many times wider and higher; they are changed in place."""
    prefix = b"Exif\0\0" if exif.startswith(b"Exif\0\0") else b""
    changed = bytearray(exif.removeprefix(prefix))
    try:
        file = TagFile(io.BytesIO(changed))
        order, entries = file.structure.order, list(file.entries(file.first))
        for pointer in [entry for entry in entries if entry.code == EXIF]:
            entries += file.entries(file.read(pointer).integers(order)[0])
    except (ValueError, IndexError):
        return exif
    for entry in entries:
        if entry.code in _ACROSS | _DOWN:
            scaled = _scaled(file.read(entry), order, across, down)
            if scaled.type != entry.type:  # of a single value, whose place has room for it
                struct.pack_into(f"{order}H", changed, entry.place - 6, scaled.type)
            changed[entry.place : entry.place + len(scaled.value)] = scaled.value
    return prefix + bytes(changed)


def scale_xmp(xmp: bytes, across: Fraction, down: Fraction) -> bytes:
    """XMP data of a picture that has become so many times wider and higher."""

    def scaled(found: re.Match[bytes]) -> bytes:
        numerator, _, denominator = found[3].partition(b"/")
        number = Fraction(int(numerator), int(denominator or 1) or 1) * (across if found[2] in _XMP_ACROSS else down)
        return found[1] + (f"{number.numerator}/{number.denominator}" if denominator else f"{round(number)}").encode()

    names = b"|".join(_XMP_ACROSS + _XMP_DOWN)
    return re.sub(rb"((" + names + rb""")(?:\s*=\s*["']|>\s*))(\d+(?:/\d+)?)""", scaled, xmp)


def _scaled(tag: Tag, order: str, across: Fraction, down: Fraction) -> Tag:
    """Return a tag of the size or the resolution times a factor, any other one as it is."""
    if tag.code not in _ACROSS | _DOWN:
        return tag
    factor = across if tag.code in _ACROSS else down
    if tag.type == _RATIONAL and tag.count == 1:
        numerator, denominator = struct.unpack(f"{order}2I", tag.value)
        return replace(tag, value=struct.pack(f"{order}2I", *_scaled_ratio(numerator, denominator, factor)))
    if tag.type in (_SHORT, _LONG) and tag.count == 1:
        size = min(round(tag.integers(order)[0] * factor), 2**32 - 1)
        kind = tag.type if size < 2**16 else _LONG
        return replace(tag, type=kind, value=struct.pack(f"{order}{_INTEGERS[kind]}", size))
    return tag


def _scaled_ratio(numerator: int, denominator: int, factor: Fraction) -> tuple[int, int]:
    """Return a ratio of 32-bit integers times a factor, of the same denominator where that is possible."""
    if not denominator:
        return numerator, denominator
    product = numerator * factor
    if product.denominator == 1 and product < 2**32:
        return product.numerator, denominator
    ratio = (product / denominator).limit_denominator(2**31 // max(int(product / denominator), 1) or 1)
    return min(ratio.numerator, 2**32 - 1), ratio.denominator


def _wipe_thumbnails(file: TagFile, data: bytearray) -> None:
    """Put zeros where the directories behind the first one are, and what they point to, pixels included."""
    following, wiped = file.next_directory(file.first), list[tuple[int, int]]()
    seen, size_of_offset = {file.first}, struct.calcsize(file.structure.offset)
    while following not in seen and len(seen) <= _MAX_PREVIEWS:
        seen.add(following)
        try:
            entries = {entry.code: entry for entry in file.entries(following)}
            end, after = file.end_of_entries(following), file.next_directory(following)
        except ValueError:
            break
        wiped.append((following, end + size_of_offset - following))
        wiped += [(entry.place, entry.size) for entry in entries.values()]
        for places, sizes in ((_THUMBNAIL, _THUMBNAIL_SIZE), (_STRIPS, _STRIP_SIZES)):
            if places in entries and sizes in entries:
                pairs = (file.read(entries[code], _MAX_STRIPS).integers(file.structure.order) for code in (places, sizes))
                wiped += zip(*pairs, strict=False)
        following = after
    changes = np.zeros(len(data) + 1, np.int64)
    for start, size in wiped:
        if 0 < start <= start + size <= len(data):
            changes[start] += 1
            changes[start + size] -= 1
    covered = np.cumsum(changes)[:-1] > 0
    covered[:8] = covered[file.first : file.end_of_entries(file.first) + size_of_offset] = False
    np.frombuffer(data, np.uint8)[covered] = 0


def _end_of_jpeg(data: bytes, start: int) -> int:
    """Return where a JPEG that starts there ends; there, too, if it isn't one."""
    position = start + 2
    for _ in range(_MAX_SEGMENTS):
        if position + 4 > len(data) or data[position] != 0xFF or data[position + 1] < 0xC0:
            break
        if data[position + 1] == 0xDA:
            end = data.find(b"\xff\xd9", position)
            return start if end < 0 else end + 2
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return start
