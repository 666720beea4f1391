"""BMP: pixels by Pillow, and the resolution."""

from __future__ import annotations

import io
import re
import struct
from fractions import Fraction
from pathlib import Path

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.formats.format import Format, SinglePage, SinglePageEncoder
from csc_cogd.imagefiles.image import INCH, METER, Density, ImageFile, check_declared_pixels, n_channels
from csc_cogd.locks import importing

_DEFAULT_DOTS = (96, 96)  # an inch
_SHOWN = {"1": "L", "P": "RGB"}  # Pillow's modes of bilevel and palette images, and what they are widened to


def read(content: bytes, path: Path) -> ImageFile:
    """Decode a BMP; palettes and fewer than 8 bits are widened."""
    with importing:
        from PIL.BmpImagePlugin import BmpImageFile

    with BmpImageFile(io.BytesIO(content)) as picture:
        width, height = picture.size
        check_declared_pixels(path, width, height, width * height * 4, len(content))
        pixels = np.asarray(picture.convert(_SHOWN.get(picture.mode, picture.mode)))
    density = None
    if int.from_bytes(content[14:18], "little") >= 40:
        x, y = struct.unpack_from("<ii", content, 38)
        density = Density(Fraction(x), Fraction(y), METER) if x > 0 and y > 0 else None
    return ImageFile(pixels, path, "bmp", has_alpha=pixels.ndim == 3 and pixels.shape[2] == 4, density=density)


def encode(image: ImageFile) -> tuple[bytes, list[str]]:
    """Return a BMP of the image, uint8, gray or RGB, and no remarks."""
    with importing:
        from PIL import Image

    stream = io.BytesIO()
    density = image.density if image.density and image.density.unit else None
    dots = _DEFAULT_DOTS if density is None else tuple(float(side * INCH / density.unit) for side in density[:2])
    Image.fromarray(np.ascontiguousarray(image.colors)).save(stream, "BMP", dpi=dots)
    return stream.getvalue(), []


def _check(image: ImageFile) -> None:
    pixels, channels = image.pixels, n_channels(image.pixels)
    if pixels.dtype != "uint8" or channels not in (1, 3) or image.has_alpha:
        raise InputError("", f"BMP can't hold {channels} channel(s) of {pixels.dtype}", "write .png or .tif")


BMP = Format(
    name="bmp", title="BMP", suffixes=(".bmp",), signature=re.compile(rb"BM"),
    open_pages=SinglePage.opener(read), encoder=SinglePageEncoder.opener(encode), check=_check,
    carries=frozenset({"density"}),
)  # fmt: skip
