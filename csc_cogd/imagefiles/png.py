"""PNG: pixels by imagecodecs, and the chunks that say more than pixels [PNG specification, third edition]."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.exif import set_upright, set_xmp_upright
from csc_cogd.imagefiles.image import METRE, Density, ImageFile, check_claim, turned, upright
from csc_cogd.locks import importing

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}  # by colour type; a palette may have opacities
_DECODED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_OF_THE_PIXELS = _DECODED | {b"bKGD", b"hIST", b"sBIT", b"acTL", b"fcTL", b"fdAT"}
_SAFE = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tIME"}  # besides those whose name says so
_ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
_INTERLACED = 1
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp\0"

Chunk = tuple[bytes, bytes]  # type and content


@dataclass(frozen=True)
class PngLayout:
    """Further chunks: those before the pixels, and those behind."""

    before: tuple[Chunk, ...] = ()
    behind: tuple[Chunk, ...] = ()

    def names(self, kind: str) -> list[str]:
        return sorted({"text" if code in _TEXTS else code.decode() for code, _ in self.before + self.behind})


def read(content: bytes, path: Path) -> ImageFile:
    """Decode a PNG: 8 or 16 bits, with opacity where it has any; palettes and fewer bits are widened."""
    chunks, notes = read_chunks(content)
    first = dict(reversed(chunks))  # of several of a kind the first
    if not {b"IHDR", b"IDAT", b"IEND"} <= first.keys() or len(first[b"IHDR"]) != 13:
        raise InputError(f"{path}: damaged PNG: the file ends too early")
    if int.from_bytes(first.get(b"acTL", b"")[:4]) > 1:
        raise InputError(f"{path}: it is an animation: save its pictures as single images")
    width, height, depth, colour = struct.unpack(">IIBB", first[b"IHDR"][:10])
    check_claim(path, width, height, width * height * _SAMPLES.get(colour, 4) * (1 + (depth == 16)), len(content))
    pixels = _decoded([chunk for chunk in chunks if chunk[0] in _DECODED])

    xmp, profile, exif, orientation = None, None, first.get(b"eXIf"), 1
    before, behind, lost = list[Chunk](), list[Chunk](), list[str]()
    place = before
    for kind, body in chunks:
        if kind == b"IDAT":
            place = behind
        if kind in _OF_THE_PIXELS or kind in (b"eXIf", b"pHYs"):
            continue
        try:
            if kind == b"iCCP":
                profile = _profile(body)
            elif kind == b"iTXt" and body.startswith(_XMP):
                xmp = _packet(body)
            elif exif is None and kind in _TEXTS and (legacy := _legacy_exif(kind, body)):
                exif = legacy
            elif kind in _SAFE or kind[3:].islower():
                place.append((kind, body))
            else:
                lost.append(kind.decode())
        except (zlib.error, ValueError, IndexError):
            notes.append(_damaged(kind))
    if exif:
        orientation, exif = set_upright(exif)
    if xmp and orientation != 1:
        xmp = set_xmp_upright(xmp)
    if lost:
        notes.append(f"PNG chunks that may depend on the pixels aren't carried over: {', '.join(lost)}")
    return ImageFile(
        upright(pixels, orientation), path, "png", icc_profile=profile, exif=exif, xmp=xmp,
        has_alpha=pixels.ndim == 3 and pixels.shape[2] in (2, 4), layout=PngLayout(tuple(before), tuple(behind)),
        density=turned(_density(first.get(b"pHYs", b"")), orientation), notes=tuple(notes),
    )  # fmt: skip


def encode(image: ImageFile) -> bytes:
    """A PNG of the image; its pixels are uint8 or uint16 of 1 to 4 channels."""
    with importing():
        import imagecodecs

    pixels = np.ascontiguousarray(image.pixels)
    content = bytes(imagecodecs.png_encode(pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels))
    layout = image.layout if isinstance(image.layout, PngLayout) else PngLayout()
    chunks = list(layout.before)
    if image.icc_profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(image.icc_profile)))
    if image.density:
        chunks.append((b"pHYs", _physical(image.density)))
    if image.exif:
        chunks.append((b"eXIf", image.exif.removeprefix(b"Exif\0\0")))
    if image.xmp:
        chunks.append((b"iTXt", _XMP + b"\0\0\0\0" + image.xmp))
    return insert_chunks(content, chunks, list(layout.behind))


def read_chunks(content: bytes) -> tuple[list[Chunk], list[str]]:
    """The chunks up to the end chunk, or to where they are cut off; those that can be missed aren't there where damaged.

    Beside them, notes on what is damaged. Raises ValueError where pixels are.
    """
    chunks, notes = list[Chunk](), list[str]()
    position = len(SIGNATURE)
    while position + 12 <= len(content) and (not chunks or chunks[-1][0] != b"IEND"):
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        if not kind.isalpha() or end > len(content):
            break
        if zlib.crc32(content[position + 4 : end - 4]) == int.from_bytes(content[end - 4 : end]):
            chunks.append((kind, content[position + 8 : end - 4]))
        elif kind in _DECODED:
            raise ValueError(f"wrong checksum of {kind.decode()}")
        else:
            notes.append(_damaged(kind))
        position = end
    return chunks, notes


def insert_chunks(content: bytes, before: list[Chunk], behind: list[Chunk] | None = None) -> bytes:
    """Put chunks behind the header of an encoded PNG, and others before its end."""
    start, end = len(SIGNATURE) + 25, len(content) - 12
    packed = [b"".join(_chunk(*chunk) for chunk in chunks) for chunks in (before, behind or [])]
    return content[:start] + packed[0] + content[start:end] + packed[1] + content[end:]


def _decoded(chunks: list[Chunk]) -> np.ndarray:
    with importing():
        import imagecodecs

    header = dict(chunks)[b"IHDR"]
    if header[-1] == _INTERLACED:
        return _from_passes(chunks, header)
    return np.asarray(imagecodecs.png_decode(SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)))


def _from_passes(chunks: list[Chunk], header: bytes) -> np.ndarray:
    """Pixels of an interlaced PNG, whose passes are PNGs of their own; of a whole one, libpng would print a warning."""
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    passes = [(range(top, height, down), range(left, width, right)) for top, left, down, right in _ADAM7]
    n_bits = depth * {2: 3, 4: 2, 6: 4}.get(colour, 1)
    sizes = [len(rows) * (1 + (len(columns) * n_bits + 7) // 8) * bool(columns) for rows, columns in passes]
    data = zlib.decompressobj().decompress(b"".join(body for kind, body in chunks if kind == b"IDAT"), sum(sizes))
    others = [chunk for chunk in chunks if chunk[0] in (b"PLTE", b"tRNS")]
    pixels = None
    for (rows, columns), size in zip(passes, sizes, strict=True):
        if size:
            small = struct.pack(">II", len(columns), len(rows)) + header[8:12] + b"\0"
            part = _decoded([(b"IHDR", small), *others, (b"IDAT", zlib.compress(data[:size])), (b"IEND", b"")])
            if pixels is None:
                pixels = np.zeros((height, width, *part.shape[2:]), part.dtype)
            pixels[rows.start :: rows.step, columns.start :: columns.step] = part
            data = data[size:]
    assert pixels is not None  # as the first pixel is in the first pass
    return pixels


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _damaged(kind: bytes) -> str:
    return f"the damaged PNG chunk {kind.decode()} isn't carried over"


def _inflate(data: bytes) -> bytes:
    """Inflate metadata; those of more than 16 MiB count as damaged, as a small file could fill the memory so."""
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(data, 2**24)
    if inflater.unconsumed_tail:
        raise zlib.error("too much")
    return inflated


def _profile(body: bytes) -> bytes:
    return _inflate(body.partition(b"\0")[2][1:])


def _packet(body: bytes) -> bytes:
    """XMP data of an iTXt chunk."""
    compressed, texts = body[len(_XMP)], body[len(_XMP) + 2 :].split(b"\0", 2)
    return _inflate(texts[2]) if compressed else texts[2]


def _legacy_exif(kind: bytes, body: bytes) -> bytes | None:
    """EXIF data as ImageMagick wrote them before PNG had a chunk for them: as hexadecimal digits in a text chunk."""
    keyword, _, text = body.partition(b"\0")
    if keyword not in (b"Raw profile type exif", b"Raw profile type APP1") or kind == b"iTXt":
        return None
    lines = (_inflate(text[1:]) if kind == b"zTXt" else text).split(b"\n", 3)
    data = bytes.fromhex(lines[3].decode("ascii")) if len(lines) == 4 else b""
    return data if data.startswith(b"Exif\0\0") else None


def _density(body: bytes) -> Density | None:
    if len(body) != 9:
        return None
    x, y, unit = struct.unpack(">IIB", body)
    return Density(Fraction(x), Fraction(y), {1: METRE}.get(unit, Fraction(0))) if x and y else None


def _physical(density: Density) -> bytes:
    """Content of a pHYs chunk: pixels a metre, or their ratio."""
    if not density.unit:
        x, y = (int(side * density.x.denominator * density.y.denominator) for side in density[:2])
        return struct.pack(">IIB", x, y, 0)
    return struct.pack(">IIB", *(min(round(side / density.unit), 2**31 - 1) for side in density[:2]), 1)
