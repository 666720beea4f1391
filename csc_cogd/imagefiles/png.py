"""The few PNG chunks that carry metadata; pixels are left to the codecs [PNG specification, third edition]."""

from __future__ import annotations

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def bit_depth(content: bytes) -> int:
    """Bits per sample; 0 where the file is too short to say."""
    return content[24] if len(content) > 25 else 0


def read_chunks(content: bytes) -> dict[bytes, bytes]:
    """Contents of the chunks by type; of several of a type the first."""
    chunks: dict[bytes, bytes] = {}
    position = len(SIGNATURE)
    while position + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        chunks.setdefault(kind, content[position + 8 : position + 8 + length])
        position += length + 12
    return chunks


def icc_profile(chunks: dict[bytes, bytes]) -> bytes | None:
    name, _, rest = chunks.get(b"iCCP", b"").partition(b"\0")
    return zlib.decompress(rest[1:]) if name and rest else None


def insert_metadata(content: bytes, icc: bytes | None, exif: bytes | None) -> bytes:
    """Put an ICC profile and EXIF data behind the header of an encoded PNG."""
    extra = b""
    if icc:
        extra += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif:
        extra += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    header_end = len(SIGNATURE) + 25
    return content[:header_end] + extra + content[header_end:]


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
