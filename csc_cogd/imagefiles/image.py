"""An image as it was in a file, and what is known of it besides its pixels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from scipy.ndimage import zoom

from csc_cogd.imagefiles.exif import Tag, scale_exif, scale_xmp
from csc_cogd.npy import check_declared_size

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
    """Pixels to a unit of length, along x and y; the unit in meters, 0 where only their ratio is meant."""

    x: Fraction
    y: Fraction
    unit: Fraction


INCH, CENTIMETER, METER = Fraction(254, 10000), Fraction(1, 100), Fraction(1)
RESOLUTION_TAGS = (282, 283, 296)  # of TIFF and EXIF: along x and y, and their unit


class Layout(ABC):
    """What only an image's own format can hold, to be written to that format again.

    Attributes
    ----------
    repeats : frozenset of str
        The image's fields that have some of it, too.
    """

    repeats: ClassVar[frozenset[str]] = frozenset()

    @abstractmethod
    def lost_tags(self, carried: Collection[str]) -> list[str]:
        """Name what is lost in another format that holds the image's fields `carried`."""


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image as it was in a file: one page of it.

    Attributes
    ----------
    pixels : (H, W) or (H, W, C) array
        In the file's own dtype and the machine's byte order, upright: an orientation has been applied. Bilevel and
        palette images are widened to 8-bit gray and RGB, with white as the greatest value; 9 to 15 bits stay as stored.
    path : Path
    format : str
        Name of its :class:`csc_cogd.imagefiles.formats.format.Format`, such as ``"png"``.
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
    lossy : bool
        The file's pixels were compressed lossily.
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
    lossy: bool = False

    @property
    def colors(self) -> np.ndarray:
        """The pixels without opacity, (H, W) if one channel is left."""
        colors = self.pixels[..., :-1] if self.has_alpha else self.pixels
        return colors[..., 0] if colors.ndim == 3 and colors.shape[2] == 1 else colors

    @property
    def without_data(self) -> np.ndarray | None:
        """Which of the colors have the file's nodata value, bool of their shape; None where none has.

        Values without a sign are as well those of dark or of bright pixels: they must be alike in every channel.
        """
        colors = self.colors
        if self.nodata is None or colors.dtype.kind not in "iuf":
            return None
        if colors.dtype.kind == "f":
            limits = np.finfo(colors.dtype)
            infinite = np.isinf(self.nodata)
            value = self.nodata if infinite else np.clip(self.nodata, float(limits.min), float(limits.max))
            absent = colors == colors.dtype.type(value)
        else:
            absent = colors == self.nodata
        if colors.dtype.kind == "u" and colors.ndim == 3:
            absent &= absent.all(axis=2, keepdims=True)
        return absent if absent.any() else None

    @property
    def observed(self) -> np.ndarray:
        """The colors; as an array of ``numpy.ma`` where some of them have the nodata value."""
        absent = self.without_data
        return self.colors if absent is None else np.ma.array(self.colors, mask=absent)

    def with_pixels(self, pixels: np.ndarray) -> ImageFile:
        """Return the image with other pixels; if their grid is finer or coarser, its resolution is, too."""
        down, across = map(Fraction, pixels.shape[:2], self.pixels.shape[:2])
        if down == across == 1:
            return replace(self, pixels=pixels)
        density = self.density and Density(self.density.x * across, self.density.y * down, self.density.unit)
        exif = self.exif and scale_exif(self.exif, across, down)
        xmp = self.xmp and scale_xmp(self.xmp, across, down)
        return replace(self, pixels=pixels, density=density, exif=exif, xmp=xmp)

    def with_colors(self, colors: np.ndarray, opaque: np.ndarray | None = None) -> ImageFile:
        """Return the image with other colors, perhaps on a finer grid; pixels that are `opaque`, (H, W) bool, become so."""
        pixels = colors.reshape(*colors.shape[:2], -1)
        if self.has_alpha:
            opacity = self.pixels[..., -1]
            if opaque is not None:
                full = 1 if opacity.dtype.kind == "f" else np.iinfo(opacity.dtype).max
                opacity = np.where(opaque, full, opacity)
            opacity = _resized(opacity.astype(pixels.dtype), colors.shape[:2])
            pixels = np.concatenate([pixels, opacity[..., None]], axis=2)
        return self.with_pixels(pixels[..., 0] if self.pixels.ndim == 2 else pixels)


def _resized(plane: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return a plane (H, W) on another grid, by linear interpolation, in its own dtype."""
    if plane.shape == shape:
        return plane
    factors = [new / old for new, old in zip(shape, plane.shape, strict=True)]
    resized = zoom(plane.astype(np.float64), factors, order=1, mode="nearest", grid_mode=True)
    return np.asarray(resized if plane.dtype.kind == "f" else np.rint(resized)).astype(plane.dtype)


def n_channels(pixels: np.ndarray) -> int:
    """Return the number of channels of an image, (H, W) or (H, W, C)."""
    return 1 if pixels.ndim == 2 else pixels.shape[2]


def apply_orientation(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return the pixels turned as the orientation says, contiguous."""
    return np.ascontiguousarray(_UPRIGHT[orientation](pixels)) if orientation in _UPRIGHT else pixels


def rotate_density(density: Density | None, orientation: int) -> Density | None:
    """Return the density of an image that is turned as the orientation says."""
    return Density(density.y, density.x, density.unit) if density is not None and orientation in (5, 6, 7, 8) else density


def density_of_tags(tags: Mapping[int, Tag], order: str) -> Density | None:
    """Return the density that tags by their codes, of a byte order, tell; None if they don't."""
    sides = []
    for code in RESOLUTION_TAGS[:2]:
        if code not in tags or tags[code].type != 5 or len(tags[code].value) != 8:
            return None
        numerator, denominator = Tag(code, 4, tags[code].value).integers(order)
        if not numerator or not denominator:
            return None
        sides.append(Fraction(numerator, denominator))
    unit = tags[296].integers(order) if 296 in tags else (2,)
    density = Density(sides[0], sides[1], {2: INCH, 3: CENTIMETER}.get(unit[0] if unit else 2, Fraction(0)))
    written_for_none = Density(Fraction(1), Fraction(1), Fraction(0))  # by tifffile
    return None if density == written_for_none else density


def resolution_of(density: Density) -> tuple[tuple[int, int], tuple[int, int], int]:
    """Return the values of :data:`RESOLUTION_TAGS` for a density: two ratios, and the number of their unit."""
    unit = {Fraction(0): 1, CENTIMETER: 3}.get(density.unit, 2)
    scale = INCH / density.unit if unit == 2 else Fraction(1)
    x, y = ((side * scale).limit_denominator(2**31) for side in density[:2])
    return (x.numerator, x.denominator), (y.numerator, y.denominator), unit


def check_declared_pixels(path: Path, width: int, height: int, n_bytes: int, file_size: int) -> None:
    """Refuse a large image in a file that is far too small for a picture of that size: see :func:`check_declared_size`."""
    fix = "store it uncompressed, as TIFF or NPY"
    check_declared_size(path, f"{width} x {height} pixels,", n_bytes, file_size, fix)
