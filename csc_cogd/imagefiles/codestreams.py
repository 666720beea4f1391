"""Number of pixels that a coded picture says it has, such as in strips and tiles of a TIFF, without decoding it.

Its decoder believes the picture, whatever the file around it says [ITU T.81; T.800; ISO 18181-1; RFC 9649; LERC 2].
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from csc_cogd.imagefiles.formats import jpeg, png, webp


def coded_pixels(data: bytes, compression: int) -> int:
    """Return the number of pixels of a picture in a TIFF compression, one of :data:`CODED`.

    Raises ValueError where it doesn't say.
    """
    try:
        return CODED[compression](data)
    except (struct.error, IndexError):
        raise ValueError("a strip or tile ends too early") from None


def _of_jpeg_2000(data: bytes) -> int:
    stream = data if data.startswith(b"\xff\x4f\xff\x51") else _content_of_box(data, b"jp2c")
    right, bottom, left, top = struct.unpack_from(">IIII", stream, 8)
    return int(max(right - left, 0) * max(bottom - top, 0))


def _of_jpeg_xl(data: bytes) -> int:
    stream = data if data.startswith(b"\xff\x0a") else _content_of_box(data, b"jxlc", b"jxlp")
    bits, place = int.from_bytes(stream[2:22], "little"), 0

    def read(n_bits: int) -> int:
        nonlocal place
        place += n_bits
        return bits >> (place - n_bits) & ((1 << n_bits) - 1)

    small = read(1)

    def side() -> int:
        return 8 * (read(5) + 1) if small else read((9, 13, 18, 30)[read(2)]) + 1

    height = side()
    ratio = read(3)
    across, down = [(0, 0), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1)][ratio]
    return height * (height * across // down if ratio else side())


def _of_lerc(data: bytes) -> int:
    if not data.startswith(b"Lerc2 "):
        raise ValueError("a strip or tile isn't LERC of version 2")
    (version,) = struct.unpack_from("<i", data, 6)
    height, width, depth = struct.unpack_from("<iii", data, 14 if version >= 3 else 10)
    return int(abs(height * width) * (abs(depth) if version >= 4 else 1) * data.count(b"Lerc2 "))


CODED: dict[int, Callable[[bytes], int]] = {
    **dict.fromkeys((6, 7, 33007, 34892), jpeg.coded_pixels), **dict.fromkeys((33003, 33004, 33005, 34712), _of_jpeg_2000),
    34887: _of_lerc, 34933: png.coded_pixels, **dict.fromkeys((34927, 50001), webp.coded_pixels),
    **dict.fromkeys((50002, 52546), _of_jpeg_xl),
}  # fmt: skip
"""The TIFF compressions whose strips and tiles are pictures by themselves."""


def _content_of_box(data: bytes, *kinds: bytes) -> bytes:
    """Return what is in the first box of such a kind, in a file that consists of boxes."""
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        head = 8
        if size == 1:
            (size,), head = struct.unpack_from(">Q", data, place + 8), 16
        if kind in kinds:
            return data[place + head + (4 if kind == b"jxlp" else 0) :]
        place += max(size, head) if size else len(data)
    raise ValueError("a strip or tile has no picture in it")
