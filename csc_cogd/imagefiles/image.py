"""An image as it was in a file, and what is known of it besides its pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from csc_cogd.imagefiles.exif import scale_exif, scale_xmp
from csc_cogd.npy import check_claim

_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # by orientation [EXIF 2.32, tag 0x0112]
    2: np.fliplr,
    3: lambda pixels: pixels[::-1, ::-1],
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}


class Density(NamedTuple):
    """Pixels to a unit of length, along x and y; the unit in metres, 0 where only their ratio is meant."""

    x: Fraction
    y: Fraction
    unit: Fraction


INCH, CENTIMETRE, METRE = Fraction(254, 10000), Fraction(1, 100), Fraction(1)


class Layout(Protocol):
    """What only an image's own format can hold, to be written to that format again."""

    def names(self, kind: str) -> list[str]:
        """What is lost in another format `kind`, in words."""


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image as it was in a file: one page of it.

    Attributes
    ----------
    pixels : (H, W) or (H, W, C) array
        In the file's own dtype and the machine's byte order, upright: an orientation has been applied. Bilevel and
        palette images are widened to 8-bit grey and RGB, and white is always the greatest value.
    path : Path
    format : {"png", "jpeg", "tiff", "npy", "npz"}
    icc_profile, exif, xmp : bytes, optional
        Carried over on writing where the format can hold them; the orientation in them is reset. EXIF data are a TIFF
        structure without pixels.
    has_alpha : bool
        The last channel is opacity.
    density : Density, optional
    layout : Layout, optional
        For the same format only.
    nodata : float, optional
        The value by which the file itself says that nothing was measured, as GeoTIFF does.
    notes : tuple of str
        What couldn't be read, for the user to know.
    """

    pixels: np.ndarray
    path: Path
    format: str
    icc_profile: bytes | None = None
    exif: bytes | None = None
    has_alpha: bool = False
    xmp: bytes | None = None
    density: Density | None = None
    layout: Layout | None = None
    notes: tuple[str, ...] = ()
    nodata: float | None = None

    @property
    def colours(self) -> np.ndarray:
        """The pixels without opacity, (H, W) where one channel is left."""
        colours = self.pixels[..., :-1] if self.has_alpha else self.pixels
        return colours[..., 0] if colours.ndim == 3 and colours.shape[2] == 1 else colours

    @property
    def without_data(self) -> np.ndarray | None:
        """Which of the colours have the file's nodata value, bool of their shape; None where none has.

        Values without a sign are as well those of dark or of bright pixels: they must be alike in every channel.
        """
        colours = self.colours
        if self.nodata is None or colours.dtype.kind not in "iuf":
            return None
        if colours.dtype.kind == "f":
            limits = np.finfo(colours.dtype)
            infinite = np.isinf(self.nodata)
            value = self.nodata if infinite else np.clip(self.nodata, float(limits.min), float(limits.max))
            absent = colours == colours.dtype.type(value)
        else:
            absent = colours == self.nodata
        if colours.dtype.kind == "u" and colours.ndim == 3:
            absent &= absent.all(axis=2, keepdims=True)
        return absent if absent.any() else None

    @property
    def observed(self) -> np.ndarray:
        """The colours; as an array of ``numpy.ma`` where some of them have the nodata value."""
        absent = self.without_data
        return self.colours if absent is None else np.ma.array(self.colours, mask=absent)

    def with_pixels(self, pixels: np.ndarray) -> ImageFile:
        """The image with other pixels; the resolution is that of the grid, if it is finer or coarser."""
        down, across = (Fraction(new, old) for new, old in zip(pixels.shape[:2], self.pixels.shape[:2], strict=True))
        if down == across == 1:
            return replace(self, pixels=pixels)
        density = self.density and Density(self.density.x * across, self.density.y * down, self.density.unit)
        exif = self.exif and scale_exif(self.exif, across, down)
        xmp = self.xmp and scale_xmp(self.xmp, across, down)
        return replace(self, pixels=pixels, density=density, exif=exif, xmp=xmp)


def n_channels(pixels: np.ndarray) -> int:
    return 1 if pixels.ndim == 2 else pixels.shape[2]


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels turned as the orientation says, contiguous."""
    return np.ascontiguousarray(_UPRIGHT[orientation](pixels)) if orientation in _UPRIGHT else pixels


def turned(density: Density | None, orientation: int) -> Density | None:
    """The density of an image that was turned upright."""
    return Density(density.y, density.x, density.unit) if density is not None and orientation in (5, 6, 7, 8) else density


def check_pixels_claim(path: Path, width: int, height: int, n_bytes: int, file_size: int) -> None:
    """Refuse a large image in a file that is far too small for a picture of that size: see :func:`check_claim`."""
    way = "store it uncompressed, as TIFF or NPY"
    check_claim(path, f"{width} x {height} pixels,", n_bytes, file_size, way)
