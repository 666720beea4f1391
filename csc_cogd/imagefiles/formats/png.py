"""PNG: pixels by imagecodecs, and the chunks that say more than pixels [PNG specification, third edition]."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.exif import set_upright, set_xmp_upright, without_thumbnail
from csc_cogd.imagefiles.formats.format import Format, SinglePage, SinglePageEncoder
from csc_cogd.imagefiles.image import (
    METER,
    Density,
    ImageFile,
    Layout,
    apply_orientation,
    check_declared_pixels,
    n_channels,
    rotate_density,
)
from csc_cogd.locks import importing

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _PALETTE = 0, 2, 3  # color types
_DEPTHS = {_GRAY: (1, 2, 4, 8, 16), _RGB: (8, 16), _PALETTE: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # by color type
_STORED = {_GRAY: 1, _RGB: 3, _PALETTE: 1, 4: 2, 6: 4}  # samples of a pixel in the file,
_SHOWN = {**_STORED, _PALETTE: 3}  # and in memory, without the opacity that a tRNS chunk gives
_LARGEST = 1_000_000  # pixels a side, by libpng's limit
_DECODED = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_OF_THE_PIXELS = _DECODED | {b"acTL", b"fcTL", b"fdAT"}
_SAFE = {b"gAMA", b"cHRM", b"sRGB", b"cICP", b"mDCV", b"cLLI", b"tIME"}  # besides those whose name says so
_ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
_INTERLACED = 1
_PIECE, _MOST = 2**16, 2**22  # bytes of data that are inflated at once, and of what becomes of them
_SURPLUS = "what is behind the pixels in the PNG's data isn't carried over"
_WRONG_SUM = "the checksum of the PNG's pixels is wrong: some of them may be damaged"
_METADATA = 2**24  # bytes that a file's metadata may inflate to
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_XMP = b"XML:com.adobe.xmp\0"

Chunk = tuple[bytes, bytes]  # type and content


@dataclass(frozen=True)
class PngLayout(Layout):
    """Further chunks: those before the pixels, and those behind."""

    before: tuple[Chunk, ...] = ()
    behind: tuple[Chunk, ...] = ()

    def lost_tags(self, carried: Collection[str]) -> list[str]:
        """Name the chunks."""
        return sorted({"text" if code in _TEXTS else code.decode() for code, _ in self.before + self.behind})


def read(content: bytes, path: Path) -> ImageFile:
    """Decode a PNG: 8 or 16 bits, with opacity where it has any; palettes and fewer bits are widened."""
    chunks, notes = read_chunks(content)
    first = dict(reversed(chunks))  # of several of a kind the first
    if not {b"IHDR", b"IDAT", b"IEND"} <= first.keys():
        raise InputError("", "damaged PNG: the file ends too early")
    header = _checked_header(chunks)
    if int.from_bytes(first.get(b"acTL", b"")[:4]) > 1:
        raise InputError("", "animations aren't supported", "save their pictures as single images")
    width, height, depth, color = struct.unpack(">IIBB", header[:10])
    samples = min(_SHOWN[color] + (b"tRNS" in first), 4)
    check_declared_pixels(path, width, height, width * height * samples * (1 + (depth == 16)), len(content))
    colors, doubtful = _color_chunks(chunks, color)
    pixels, remark = _decoded(header, colors, [body for kind, body in chunks if kind == b"IDAT"])
    notes += [_damaged(kind) for kind in doubtful]
    notes += [remark] if remark else []

    xmp, profile, exif, orientation = None, None, first.get(b"eXIf"), 1
    before, behind, lost = list[Chunk](), list[Chunk](), list[str]()
    place, room = before, _Room(_METADATA)
    for kind, body in chunks:
        if kind == b"IDAT":
            place = behind
        if kind in _OF_THE_PIXELS or kind in (b"eXIf", b"pHYs"):
            continue
        try:
            if kind in (b"sBIT", b"bKGD"):
                if body is first[kind]:
                    before.append((kind, _as_decoded(kind, body, first, pixels)))
            elif kind == b"iCCP":
                profile = _profile(body, room)
            elif kind == b"iTXt" and body.startswith(_XMP):
                xmp = _packet(body, room)
            elif exif is None and kind in _TEXTS and (legacy := _legacy_exif(kind, body, room)):
                exif = legacy
            elif kind in _SAFE or kind[3:].islower():
                place.append((kind, body))
            else:
                lost.append(kind.decode())
        except (zlib.error, ValueError, IndexError, struct.error):
            notes.append(_damaged(kind))
    if exif:
        orientation, exif = set_upright(exif)
    xmp = xmp and without_thumbnail(xmp)
    if xmp and orientation != 1:
        xmp = set_xmp_upright(xmp)
    if lost:
        notes.append(f"PNG chunks that may depend on the pixels aren't carried over: {', '.join(dict.fromkeys(lost))}")
    return ImageFile(
        apply_orientation(pixels, orientation), path, "png", icc_profile=profile, exif=exif, xmp=xmp,
        has_alpha=pixels.ndim == 3 and pixels.shape[2] in (2, 4), layout=PngLayout(tuple(before), tuple(behind)),
        density=rotate_density(_density(first.get(b"pHYs", b"")), orientation), notes=tuple(notes),
    )  # fmt: skip


def coded_pixels(content: bytes) -> int:
    """Return the number of pixels of a PNG with nothing else in it. Raises ValueError for others: libpng might warn."""
    chunks, doubtful = read_chunks(content)
    kinds = [kind for kind, _ in chunks]
    if b"IDAT" not in kinds or not content.startswith(SIGNATURE):
        raise ValueError("it isn't a PNG")
    header = _checked_header(chunks)
    width, height, depth, color = struct.unpack(">IIBB", header[:10])
    colors, bad = _color_chunks(chunks, color)
    data = [body for kind, body in chunks if kind == b"IDAT"]
    plain = kinds == [b"IHDR", *(kind for kind, _ in colors), *[b"IDAT"] * len(data), b"IEND"]
    if doubtful or bad or not plain or header[-1] == _INTERLACED:
        raise ValueError("a PNG within it has other chunks than those of pixels")
    if remark := _remark(data, height * _row_size(width, depth, color)):
        raise ValueError(remark)
    return int(width * height)


def encode(image: ImageFile) -> tuple[bytes, list[str]]:
    """Return a PNG of the image, uint8 or uint16 of 1 to 4 channels, and no remarks."""
    with importing:
        import imagecodecs

    pixels = np.ascontiguousarray(image.pixels)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    room = (pixels.nbytes + len(pixels)) * 9 // 8 + 4096  # rows that can't be compressed, their filters, and chunks
    content = bytes(imagecodecs.png_encode(pixels, out=room))
    layout = image.layout if isinstance(image.layout, PngLayout) else PngLayout()
    n_colors = n_channels(pixels) - (n_channels(pixels) in (2, 4))
    sizes = {b"sBIT": n_channels(pixels), b"bKGD": 2 * n_colors}
    chunks = [(kind, body) for kind, body in layout.before if len(body) == sizes.get(kind, len(body))]
    if image.icc_profile:
        chunks.append((b"iCCP", b"ICC profile\0\0" + zlib.compress(image.icc_profile)))
    if image.density:
        chunks.append((b"pHYs", _physical(image.density)))
    if image.exif:
        chunks.append((b"eXIf", image.exif.removeprefix(b"Exif\0\0")))
    if image.xmp:
        chunks.append((b"iTXt", _XMP + b"\0\0\0\0" + image.xmp))
    return insert_chunks(content, chunks, list(layout.behind)), []


def read_chunks(content: bytes) -> tuple[list[Chunk], list[str]]:
    """Return the chunks up to the end chunk, or to where they are cut off, and notes on damaged ones, which are left out.

    Raises ValueError where the pixels are damaged.
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
    return content[:start] + _packed(before) + content[start:end] + _packed(behind or []) + content[end:]


def _checked_header(chunks: list[Chunk]) -> bytes:
    """Return the only header of a PNG. Raises ValueError where there are several, or pixels can't be as it says."""
    headers = [body for kind, body in chunks if kind == b"IHDR"]
    if len(headers) > 1 or chunks[0][0] != b"IHDR" or len(headers[0]) != 13:
        raise ValueError("it doesn't begin with one header")
    width, height, depth, color, *methods = struct.unpack(">IIBBBBB", headers[0])
    if depth not in _DEPTHS.get(color, ()) or methods not in ([0, 0, 0], [0, 0, _INTERLACED]):
        raise ValueError("its header names pixels of an unknown kind")
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise ValueError(f"{width} x {height} pixels can't be read: 1 to {_LARGEST} a side can")
    return headers[0]


def _color_chunks(chunks: list[Chunk], color: int) -> tuple[list[Chunk], list[bytes]]:
    """Return palette and transparency, as far as they belong to pixels of a color type, and the damaged ones.

    Raises ValueError where a palette is needed, and there is none.
    """
    first: dict[bytes, bytes] = {}
    for kind, body in chunks[: [kind for kind, _ in chunks].index(b"IDAT")]:
        first.setdefault(kind, body)
    palette, clear = first.get(b"PLTE", b""), first.get(b"tRNS")
    if color != _PALETTE:
        palette = b""  # only a suggestion
    elif not 0 < len(palette) <= 768 or len(palette) % 3:
        raise ValueError("its palette is missing or damaged")
    colors = [(b"PLTE", palette)] if palette else []
    if clear is None:
        return colors, []
    lengths = {_GRAY: [2], _RGB: [6], _PALETTE: range(1, len(palette) // 3 + 1)}
    if len(clear) not in lengths.get(color, []):
        return colors, [b"tRNS"]
    return [*colors, (b"tRNS", clear)], []


def _decoded(header: bytes, colors: list[Chunk], data: list[bytes]) -> tuple[np.ndarray, str]:
    """Return pixels, and a remark on their data, of which libpng would print a warning."""
    with importing:
        import imagecodecs

    if header[-1] == _INTERLACED:
        return _from_passes(header, colors, data)
    width, height, depth, color = struct.unpack(">IIBB", header[:10])
    size = height * _row_size(width, depth, color)
    if remark := _remark(data, size):
        data = [zlib.compress(_inflated(data, size), 1)]
    chunks = [(b"IHDR", header), *colors, *[(b"IDAT", body) for body in data], (b"IEND", b"")]
    return np.asarray(imagecodecs.png_decode(SIGNATURE + _packed(chunks))), remark


def _from_passes(header: bytes, colors: list[Chunk], packed: list[bytes]) -> tuple[np.ndarray, str]:
    """Return pixels of an interlaced PNG, each pass decoded as a PNG: of a whole one, libpng would print a warning."""
    width, height, depth, color = struct.unpack(">IIBB", header[:10])
    passes = [(range(top, height, down), range(left, width, right)) for top, left, down, right in _ADAM7]
    sizes = [len(rows) * _row_size(len(columns), depth, color) * bool(columns) for rows, columns in passes]
    data, remark = _inflated(packed, sum(sizes)), _remark(packed, sum(sizes))
    pixels = None
    for (rows, columns), size in zip(passes, sizes, strict=True):
        if size:
            small = struct.pack(">II", len(columns), len(rows)) + header[8:12] + b"\0"
            part, _ = _decoded(small, colors, [zlib.compress(data[:size], 1)])
            if pixels is None:
                pixels = np.zeros((height, width, *part.shape[2:]), part.dtype)
            pixels[rows.start :: rows.step, columns.start :: columns.step] = part
            data = data[size:]
    assert pixels is not None  # as the first pixel is in the first pass
    return pixels, remark


def _row_size(width: int, depth: int, color: int) -> int:
    """Return the bytes of a row of pixels and of the filter that is named before them."""
    return 1 + (width * depth * _STORED[color] + 7) // 8


def _inflated(data: list[bytes], size: int) -> bytes:
    """Return as many bytes of the data of pixels, or fewer if there aren't more, whatever their checksum is."""
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(b"".join(data)[2:], size)


def _remark(data: list[bytes], size: int) -> str:
    """Return a remark on the data besides the `size` bytes of pixels; none if those are damaged, as libpng finds out."""
    try:
        return _SURPLUS if _is_longer(data, size) else ""
    except zlib.error:
        with suppress(zlib.error):
            return _WRONG_SUM if len(_inflated(data, size)) == size else ""
        return ""


def _is_longer(data: list[bytes], size: int) -> bool:
    """Return whether more than `size` bytes are in the data, or something is behind them; inflate them piece by piece."""
    inflater, found = zlib.decompressobj(), 0
    for body in data:
        for start in range(0, len(body), _PIECE):
            if inflater.eof:
                return True
            found += len(inflater.decompress(body[start : start + _PIECE], _MOST))
            while inflater.unconsumed_tail and found <= size:
                found += len(inflater.decompress(inflater.unconsumed_tail, _MOST))
            if found > size or inflater.unused_data:
                return True
    return False


def _as_decoded(kind: bytes, body: bytes, first: dict[bytes, bytes], pixels: np.ndarray) -> bytes:
    """Return the significant bits (sBIT) or the background (bKGD) of the pixels as they are decoded.

    Palettes and gray of fewer than 8 bits are widened, and one transparent color, or those of a palette, become opacity.

    Raises ValueError or IndexError where they are damaged.
    """
    depth, color = first[b"IHDR"][8:10]
    n_colors = 3 if pixels.ndim == 3 and pixels.shape[2] > 2 else 1
    opacity = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    if kind == b"sBIT":
        if len(body) < n_colors:
            raise ValueError("too few numbers")
        return body[: n_colors + opacity].ljust(n_colors + opacity, bytes([8 * pixels.itemsize]))
    if color == _PALETTE:
        return struct.pack(">3H", *(first[b"PLTE"][3 * body[0] + channel] for channel in range(3)))
    values = struct.unpack(f">{n_colors}H", body)
    return struct.pack(f">{n_colors}H", *(value * (255 // (2**depth - 1)) if depth < 8 else value for value in values))


def _packed(chunks: list[Chunk]) -> bytes:
    parts: list[bytes] = []
    for kind, body in chunks:
        parts += [struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))]
    return b"".join(parts)


def _damaged(kind: bytes) -> str:
    return f"the damaged PNG chunk {kind.decode()} isn't carried over"


@dataclass
class _Room:
    """How many bytes the metadata of a file may still inflate to."""

    left: int


def _inflate(data: bytes, room: _Room) -> bytes:
    """Inflate metadata; those without room count as damaged, as a small file could take long to read, and much memory."""
    inflater = zlib.decompressobj()
    inflated = inflater.decompress(data, room.left) if room.left else b""
    room.left = 0 if inflater.unconsumed_tail else room.left - len(inflated)
    if not room.left:
        raise zlib.error("too much")
    return inflated


def _profile(body: bytes, room: _Room) -> bytes:
    return _inflate(body.partition(b"\0")[2][1:], room)


def _packet(body: bytes, room: _Room) -> bytes:
    """Return the XMP data of an iTXt chunk."""
    compressed, texts = body[len(_XMP)], body[len(_XMP) + 2 :].split(b"\0", 2)
    return _inflate(texts[2], room) if compressed else texts[2]


def _legacy_exif(kind: bytes, body: bytes, room: _Room) -> bytes | None:
    """Return EXIF data as ImageMagick wrote them before PNG had a chunk for them: as hexadecimal digits in a text chunk."""
    keyword, _, text = body.partition(b"\0")
    if keyword not in (b"Raw profile type exif", b"Raw profile type APP1") or kind == b"iTXt":
        return None
    lines = (_inflate(text[1:], room) if kind == b"zTXt" else text).split(b"\n", 3)
    data = bytes.fromhex(lines[3].decode("ascii")) if len(lines) == 4 else b""
    return data if data.startswith(b"Exif\0\0") else None


def _density(body: bytes) -> Density | None:
    if len(body) != 9:
        return None
    x, y, unit = struct.unpack(">IIB", body)
    return Density(Fraction(x), Fraction(y), {1: METER}.get(unit, Fraction(0))) if x and y else None


def _physical(density: Density) -> bytes:
    """Return the content of a pHYs chunk: pixels a meter, or their ratio."""
    if not density.unit:
        x, y = (int(side * density.x.denominator * density.y.denominator) for side in density[:2])
        return struct.pack(">IIB", x, y, 0)
    return struct.pack(">IIB", *(min(round(side / density.unit), 2**31 - 1) for side in density[:2]), 1)


def _check(image: ImageFile) -> None:
    pixels, channels = image.pixels, n_channels(image.pixels)
    if pixels.dtype not in ("uint8", "uint16") or channels > 4:
        raise InputError("", f"PNG can't hold {channels} channel(s) of {pixels.dtype}", "write .tif or .npy")


def _caveats(image: ImageFile) -> list[str]:
    mistaken = n_channels(image.pixels) in (2, 4) and not image.has_alpha
    return ["the last channel means opacity in PNG"] if mistaken else []


PNG = Format(
    name="png", title="PNG", suffixes=(".png",), signature=re.compile(re.escape(SIGNATURE)),
    open_pages=SinglePage.opener(read), encoder=SinglePageEncoder.opener(encode), check=_check, caveats=_caveats,
    carries=frozenset({"icc_profile", "exif", "xmp", "density"}),
)  # fmt: skip
