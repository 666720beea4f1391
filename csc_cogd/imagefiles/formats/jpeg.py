"""JPEG: pixels by imagecodecs and Pillow, and the segments that say more than pixels [ITU T.81, JFIF 1.02, EXIF 2.32]."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Collection
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.exif import set_upright, set_xmp_upright, without_pictures, without_thumbnail
from csc_cogd.imagefiles.formats.format import Format, SinglePage, SinglePageEncoder
from csc_cogd.imagefiles.image import (
    CENTIMETER,
    INCH,
    Density,
    ImageFile,
    Layout,
    apply_orientation,
    check_declared_pixels,
    n_channels,
    rotate_density,
)
from csc_cogd.locks import importing

MAX_SIDE = 65535  # pixels a side
_SOI, _EOI, _SOS, _DQT, _COMMENT = 0xD8, 0xD9, 0xDA, 0xDB, 0xFE
_ALONE = {0x00, 0x01, 0xFF, *range(0xD0, 0xD8)}  # what no segment begins with: zeros behind 0xFF, padding, restarts
_PROGRESSIVE = 0xC2
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JFIF, _EXIF, _XMP, _ICC = b"JFIF\0", b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_MOST = 65533  # bytes that a segment holds
_MOST_SCANS = 100  # each takes its time, however empty it is; progressive ones have about ten
_SUBSAMPLINGS = {(1, 1): 0, (2, 1): 1, (2, 2): 2}  # of the chroma across and down, as Pillow numbers them

Segment = tuple[int, bytes]  # marker and content


class Coding(NamedTuple):
    """How finely pixels are coded, in Pillow's words; -1 for its choice."""

    tables: list[list[int]] | None = None
    subsampling: int = -1
    quality: int = -1


_FINE = Coding(None, subsampling=0, quality=95)


@dataclass(frozen=True)
class JpegLayout(Layout):
    """Further segments (comments, IPTC and others), and how the pixels were coded."""

    segments: tuple[Segment, ...] = ()
    coding: Coding | None = None
    progressive: bool = False

    def lost_tags(self, carried: Collection[str]) -> list[str]:
        """Name the segments."""
        return sorted({"comment" if marker == _COMMENT else f"APP{marker - 0xE0}" for marker, _ in self.segments})


def read(content: bytes, path: Path) -> ImageFile:
    """Decode a JPEG of 8 bits, gray or in color."""
    with importing:
        import imagecodecs

    segments, scan = _read_segments(content)
    if content.rfind(b"\xff\xd9", scan) < 0:
        raise InputError("", "damaged JPEG: the file ends too early")
    _check_scans(content, scan)
    marker, frame = next((segment for segment in segments if segment[0] in _FRAMES), (0, b""))
    if len(frame) < 6:
        raise InputError("", "damaged JPEG: it doesn't say its size")
    depth, height, width, n_components = struct.unpack(">BHHB", frame[:6])
    if depth != 8 or marker not in (0xC0, 0xC1, _PROGRESSIVE) or n_components == 2:
        raise InputError("", "this kind of JPEG isn't supported: only 8 bits, baseline or progressive are")
    if n_components == 4:
        raise InputError("", "CMYK colors aren't supported", "convert the image to RGB first")
    check_declared_pixels(path, width, height, width * height * n_components, len(content))
    pixels = imagecodecs.jpeg8_decode(content)

    exif, xmp, orientation = _first(segments, 0xE1, _EXIF), _first(segments, 0xE1, _XMP), 1
    if exif:
        orientation, exif = set_upright(exif)
    xmp = xmp and without_thumbnail(xmp)
    if xmp and orientation != 1:
        xmp = set_xmp_upright(xmp)
    own = [(mark, without_pictures(body)) for mark, body in segments if _is_kept(mark, body)]
    pictures = any(mark == 0xE2 and body.startswith(b"MPF\0") for mark, body in segments)
    return ImageFile(
        apply_orientation(pixels, orientation), path, "jpeg", icc_profile=_profile(segments), exif=exif, xmp=xmp,
        density=rotate_density(_density(_first(segments, 0xE0, _JFIF)), orientation),
        layout=JpegLayout(tuple(own), _coding(segments, frame), marker == _PROGRESSIVE),
        notes=("the further pictures in this JPEG (MPF) aren't carried over",) if pictures else (), lossy=True,
        coarse_color=len({frame[at] for at in range(7, len(frame), 3)}) > 1,
    )  # fmt: skip


def coded_pixels(content: bytes) -> int:
    """Return the number of pixels of a JPEG. Raises ValueError where it doesn't say it, or can't be decoded soon."""
    segments, scan = _read_segments(content)
    _check_scans(content, scan)
    frame = next((body for marker, body in segments if marker in _FRAMES), b"")
    if len(frame) < 5:
        raise ValueError("it doesn't say its size")
    height, width = struct.unpack(">HH", frame[1:5])
    return int(height * width)


def encode(image: ImageFile) -> tuple[bytes, list[str]]:
    """Return a JPEG of the image, uint8 of one or three channels, and remarks on what was left out.

    An image that was a JPEG is coded as finely as it was there, and progressively if it was.
    """
    with importing:
        from PIL import Image

    pixels = np.ascontiguousarray(image.pixels)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    layout = image.layout if isinstance(image.layout, JpegLayout) else JpegLayout()
    coding = layout.coding or _FINE
    if len(coding.tables or ()) != (1 if pixels.ndim == 2 else 2):
        coding = _FINE
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, "JPEG", progressive=layout.progressive, quality=coding.quality, subsampling=coding.subsampling,
        qtables=coding.tables,
    )  # fmt: skip
    coded, _ = _read_segments(stream.getvalue())
    head = len(_segment(*coded[0])) + 2  # the start, and Pillow's own JFIF segment

    notes = []
    segments: list[Segment] = [(0xE0, _jfif(image.density))]
    for name, prefix, body in (("EXIF", _EXIF, image.exif), ("XMP", _XMP, image.xmp)):
        if body and len(prefix + body) > _MOST:
            notes.append(f"the {name} data are too large for JPEG and aren't carried over")
        elif body:
            segments.append((0xE1, prefix + body.removeprefix(prefix)))
    profile, most = image.icc_profile or b"", _MOST - len(_ICC) - 2
    pieces = [profile[start : start + most] for start in range(0, len(profile), most)]
    if len(pieces) > 255:
        notes.append("the ICC profile is too large for JPEG and isn't carried over")
        pieces = []
    segments += [(0xE2, _ICC + bytes([n, len(pieces)]) + piece) for n, piece in enumerate(pieces, 1)]
    packed = b"".join(_segment(*segment) for segment in [*segments, *layout.segments])
    return b"\xff\xd8" + packed + stream.getvalue()[head:], notes


def _read_segments(content: bytes) -> tuple[list[Segment], int]:
    """Return the segments before the pixels, and where the first scan begins. Raises ValueError.

    Bytes between segments that don't belong to any are passed over, as all readers do.
    """
    segments: list[Segment] = []
    position = 2
    while (position := content.find(b"\xff", position)) >= 0 and position + 4 <= len(content):
        marker = content[position + 1]
        if marker in _ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        if marker == _EOI:
            break
        if marker == _SOS:
            return segments, position
        length = int.from_bytes(content[position + 2 : position + 4])
        segments.append((marker, content[position + 4 : position + 2 + length]))
        position += 2 + length
    raise ValueError("the file ends too early")


def _check_scans(content: bytes, first: int) -> None:
    """Raise ValueError where there are too many scans, of which the first begins there."""
    end = content.find(bytes((0xFF, _EOI)), first)
    n_scans = content.count(bytes((0xFF, _SOS)), first, len(content) if end < 0 else end)
    if n_scans > _MOST_SCANS:
        raise ValueError(f"its pixels are in {n_scans} scans")


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _first(segments: list[Segment], marker: int, prefix: bytes) -> bytes | None:
    return next((body[len(prefix) :] for mark, body in segments if mark == marker and body.startswith(prefix)), None)


def _is_kept(marker: int, body: bytes) -> bool:
    """Return whether a segment is metadata that no field of the image holds; thumbnails and Adobe's color mark aren't."""
    own = {0xE0: (_JFIF, b"JFXX\0"), 0xE1: (_EXIF, _XMP), 0xE2: (_ICC, b"MPF\0"), 0xEE: (b"Adobe",)}
    return marker == _COMMENT or (0xE0 <= marker <= 0xEF and not body.startswith(own.get(marker, (b"\0" * 99,))))


def _profile(segments: list[Segment]) -> bytes | None:
    pieces = [body for marker, body in segments if marker == 0xE2 and body.startswith(_ICC)]
    pieces.sort(key=lambda body: body[len(_ICC)] if len(body) > len(_ICC) else 0)
    return b"".join(body[len(_ICC) + 2 :] for body in pieces) or None


def _density(jfif: bytes | None) -> Density | None:
    if jfif is None or len(jfif) < 7:
        return None
    unit, x, y = struct.unpack(">BHH", jfif[2:7])
    if not x or not y or (unit, x, y) == (0, 1, 1):
        return None
    return Density(Fraction(x), Fraction(y), {1: INCH, 2: CENTIMETER}.get(unit, Fraction(0)))


def _jfif(density: Density | None) -> bytes:
    unit, x, y = 0, 1, 1
    if density is not None:
        unit = {Fraction(0): 0, CENTIMETER: 2}.get(density.unit, 1)
        length = CENTIMETER if unit == 2 else INCH
        scale = length / density.unit if density.unit else Fraction(1)
        x, y = (min(max(round(side * scale), 1), 65535) for side in density[:2])
    return _JFIF + struct.pack(">BBBHHBB", 1, 1, unit, x, y, 0, 0)


def _coding(segments: list[Segment], frame: bytes) -> Coding | None:
    """Return the quantization tables and the subsampling; None if Pillow can't write those."""
    with importing:
        from PIL.JpegImagePlugin import zigzag_index

    tables: dict[int, list[int]] = {}
    for body in (body for marker, body in segments if marker == _DQT):
        while body:
            wide, number = divmod(body[0], 16)
            values = struct.unpack(">64H" if wide else ">64B", body[1 : 129 if wide else 65])
            tables[number] = [values[place] for place in zigzag_index]
            body = body[129 if wide else 65 :]
    components = [frame[at : at + 3] for at in range(6, len(frame), 3)]
    used = [tables[component[2]] for component in components if component[2] in tables]
    factors = [divmod(component[1], 16) for component in components]
    if len(used) != len(components) or max(map(max, used)) > 255:
        return None
    if len(components) == 1:
        return Coding(used)
    adobe = _first(segments, 0xEE, b"Adobe")
    rgb = (adobe is not None and adobe[6:7] == b"\0") or bytes(component[0] for component in components) == b"RGB"
    subsampling = _SUBSAMPLINGS.get(factors[0])
    if rgb or subsampling is None or factors[1:] != [(1, 1)] * 2 or used[1] != used[2]:
        return None
    return Coding(used[:2], subsampling)


def _check(image: ImageFile) -> None:
    pixels, channels = image.pixels, n_channels(image.pixels)
    if pixels.dtype != "uint8" or channels not in (1, 3) or image.has_alpha:
        raise InputError("", f"JPEG can't hold {channels} channel(s) of {pixels.dtype}", "write .png or .tif")
    if max(pixels.shape[:2]) > MAX_SIDE:
        raise InputError("", f"JPEG can't hold more than {MAX_SIDE} pixels a side", "write .png or .tif")


JPEG = Format(
    name="jpeg", title="JPEG", suffixes=(".jpg", ".jpeg"), signature=re.compile(rb"\xff\xd8\xff"),
    open_pages=SinglePage.opener(read), encoder=SinglePageEncoder.opener(encode), check=_check, lossy=True,
    carries=frozenset({"icc_profile", "exif", "xmp", "density"}),
)  # fmt: skip
