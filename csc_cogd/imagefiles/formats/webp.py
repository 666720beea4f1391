"""WebP: pixels by imagecodecs and Pillow, and the chunks that say more than pixels [RFC 9649].

It is always written losslessly, so that known pixels stay exact, whether it was lossy or not.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.exif import (
    Tag,
    pack_exif,
    set_upright,
    set_xmp_upright,
    unpack_exif,
    without_pictures,
    without_thumbnail,
)
from csc_cogd.imagefiles.formats.format import Format, SinglePage, SinglePageEncoder
from csc_cogd.imagefiles.image import (
    RESOLUTION_TAGS,
    ImageFile,
    Layout,
    apply_orientation,
    check_declared_pixels,
    density_of_tags,
    n_channels,
    resolution_of,
    rotate_density,
)
from csc_cogd.locks import importing

MAX_SIDE = 16383
_ICC, _ALPHA, _EXIF, _XMP, _ANIMATION = 0x20, 0x10, 0x08, 0x04, 0x02  # flags of a VP8X chunk
_LOSSY, _LOSSLESS = b"VP8 ", b"VP8L"
_KNOWN = {_LOSSY, _LOSSLESS, b"VP8X", b"ALPH", b"ICCP", b"EXIF", b"XMP "}

Chunk = tuple[bytes, bytes]  # type and content


@dataclass(frozen=True)
class WebpLayout(Layout):
    """Further chunks."""

    chunks: tuple[Chunk, ...] = ()

    def lost_tags(self, carried: Collection[str]) -> list[str]:
        """Name the chunks."""
        return sorted({code.decode("latin-1").strip() for code, _ in self.chunks})


def read(content: bytes, path: Path) -> ImageFile:
    """Decode a WebP of one image, in color, with opacity where it has any."""
    with importing:
        import imagecodecs

    chunks = read_chunks(content)
    first = dict(reversed(chunks))  # of several of a kind the first
    flags = first.get(b"VP8X", b"\0")[0]
    if flags & _ANIMATION or b"ANMF" in first:
        raise InputError("", "animations aren't supported", "save their pictures as single images")
    width, height, has_alpha = _coded(first)
    has_alpha |= bool(flags & _ALPHA) or b"ALPH" in first
    check_declared_pixels(path, width, height, width * height * (3 + has_alpha), len(content))
    pixels = np.asarray(imagecodecs.webp_decode(content, hasalpha=has_alpha))

    exif, xmp, orientation = first.get(b"EXIF"), first.get(b"XMP "), 1
    if exif:
        orientation, exif = set_upright(exif)
    xmp = xmp and without_thumbnail(xmp)
    if xmp and orientation != 1:
        xmp = set_xmp_upright(xmp)
    order, tags = unpack_exif(exif or b"")
    own = tuple((kind, without_pictures(body)) for kind, body in chunks if kind not in _KNOWN)
    return ImageFile(
        apply_orientation(pixels, orientation), path, "webp", icc_profile=first.get(b"ICCP"), exif=exif, xmp=xmp,
        has_alpha=has_alpha, density=rotate_density(density_of_tags({tag.code: tag for tag in tags}, order), orientation),
        layout=WebpLayout(own), lossy=_LOSSLESS not in first, coarse_color=_LOSSLESS not in first,
    )  # fmt: skip


def encode(image: ImageFile) -> tuple[bytes, list[str]]:
    """Return a lossless WebP of the image, uint8, gray or RGB with or without opacity; and what to remark."""
    with importing:
        from PIL import Image

    pixels = image.pixels.reshape(*image.pixels.shape[:2], -1)
    if pixels.shape[2] < 3:
        pixels = np.concatenate([pixels[..., :1]] * 3 + [pixels[..., 1:]], axis=2)
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "WEBP", lossless=True, exact=True)
    coded = dict(read_chunks(stream.getvalue()))[_LOSSLESS]

    remarks, exif = [], image.exif
    if image.density and not exif:
        x, y, unit = resolution_of(image.density)
        values = ((5, struct.pack("<II", *x)), (5, struct.pack("<II", *y)), (3, struct.pack("<H", unit)))
        exif = pack_exif((Tag(code, *value) for code, value in zip(RESOLUTION_TAGS, values, strict=True)), "<")
    elif image.density and RESOLUTION_TAGS[0] not in {tag.code for tag in unpack_exif(exif or b"")[1]}:
        remarks.append("the resolution isn't carried over to WebP, as the EXIF data don't have it")
    if image.lossy and image.format == "webp":
        remarks.append("the lossy WebP becomes a lossless one: known pixels stay exact, but the file is larger")
    height, width = pixels.shape[:2]
    exif = exif and exif.removeprefix(b"Exif\0\0")
    metadata = {_ICC: (b"ICCP", image.icc_profile), _EXIF: (b"EXIF", exif), _XMP: (b"XMP ", image.xmp)}
    flags = sum(flag for flag, (_, body) in metadata.items() if body) | (_ALPHA if image.has_alpha else 0)
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunks = [
        (b"VP8X", bytes([flags, 0, 0, 0]) + sides),
        metadata[_ICC],
        (_LOSSLESS, coded),
        metadata[_EXIF],
        metadata[_XMP],
    ]
    chunks += image.layout.chunks if isinstance(image.layout, WebpLayout) else ()
    return pack_chunks([(kind, body) for kind, body in chunks if body]), remarks


def read_chunks(content: bytes) -> list[Chunk]:
    """Return the chunks of a WebP. Raises ValueError where it is cut off."""
    end = 8 + int.from_bytes(content[4:8], "little")
    if end > len(content):
        raise ValueError("the file ends too early")
    chunks, position = list[Chunk](), 12
    while position + 8 <= end:
        kind, size = struct.unpack_from("<4sI", content, position)
        chunks.append((kind, content[position + 8 : position + 8 + size]))
        position += 8 + size + size % 2
    if position > end + 1:
        raise ValueError("a chunk ends too early")
    return chunks


def pack_chunks(chunks: list[Chunk]) -> bytes:
    """Return a WebP of these chunks."""
    packed = b"".join(struct.pack("<4sI", kind, len(body)) + body + bytes(len(body) % 2) for kind, body in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(packed)) + b"WEBP" + packed


def coded_pixels(data: bytes) -> int:
    """Return the number of pixels of a WebP. Raises ValueError where it doesn't say it."""
    width, height, _ = _coded(dict(reversed(read_chunks(data))))
    return width * height


def _coded(chunks: dict[bytes, bytes]) -> tuple[int, int, bool]:
    """Return width, height and opacity, as coded with the pixels. Raises ValueError where the canvas is of another size."""
    if len(body := chunks.get(_LOSSLESS, b"")) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        width, height, has_alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    elif len(body := chunks.get(_LOSSY, b"")) >= 10:
        width, height = (int.from_bytes(body[at : at + 2], "little") & 0x3FFF for at in (6, 8))
        has_alpha = False
    else:
        raise ValueError("it has no pixels")
    canvas = chunks.get(b"VP8X")
    sides = b"".join((side - 1).to_bytes(3, "little", signed=True) for side in (width, height))
    if canvas is not None and canvas[4:10] != sides:
        raise ValueError("its canvas is of another size than its picture")
    return width, height, has_alpha


def _check(image: ImageFile) -> None:
    pixels, channels = image.pixels, n_channels(image.pixels)
    if pixels.dtype != "uint8" or channels - image.has_alpha not in (1, 3):
        raise InputError("", f"WebP can't hold {channels} channel(s) of {pixels.dtype}", "write .png or .tif")
    if max(pixels.shape[:2]) > MAX_SIDE:
        raise InputError("", f"WebP can't hold more than {MAX_SIDE} pixels a side", "write .png or .tif")


def _caveats(image: ImageFile) -> list[str]:
    gray = n_channels(image.pixels) - image.has_alpha == 1
    return ["WebP has no gray images: it is written in color, with three equal channels"] if gray else []


WEBP = Format(
    name="webp", title="WebP", suffixes=(".webp",), signature=re.compile(rb"RIFF....WEBP", re.DOTALL),
    open_pages=SinglePage.opener(read), encoder=SinglePageEncoder.opener(encode), check=_check, caveats=_caveats,
    carries=frozenset({"icc_profile", "exif", "xmp", "density"}),
)  # fmt: skip
