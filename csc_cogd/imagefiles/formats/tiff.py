"""TIFF and BigTIFF, page by page: pixels by tifffile, tags as they are."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles.codestreams import CODED, coded_pixels
from csc_cogd.imagefiles.exif import (
    EXIF,
    GPS,
    INTEROPERABILITY,
    ORIENTATION,
    Structure,
    Tag,
    TagFile,
    pack_directory,
    pack_exif,
    scaled_tags,
    set_xmp_upright,
    unpack_exif,
    without_pictures,
    without_thumbnail,
)
from csc_cogd.imagefiles.formats.format import Encoder, Format, Pages
from csc_cogd.imagefiles.georeference import regridded
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
from csc_cogd.imagefiles.samples import looked_up, scaled
from csc_cogd.locks import importing

_CLASSIC = 2**32 - 2**25  # bytes of pixels that are sure to fit into a classic TIFF, tags included
_DESCRIPTION, _ICC, _XMP = 270, 34675, 700
_IN_EXIF = (_DESCRIPTION, 271, 272, 305, 306, 315, 33432, EXIF, GPS)  # tags that EXIF data may hold beside pixels
_OF_THE_PIXELS = {
    *range(254, 260), *range(262, 267), 273, ORIENTATION, 277, 278, 279, 284, *range(288, 294), 317, 320, *range(322, 326),
    330, 332, 333, 334, 338, 339, 347, *range(512, 522), 529, 530, 531, 532, 559, 32997, 32998, 34016, 34017, 34018, 37724,
    50674,
}  # fmt: skip
_IN_FIELDS = {ORIENTATION, _ICC, _XMP, *RESOLUTION_TAGS}  # of ImageFile
_NODATA = 42113  # GDAL's: the value of pixels without data, as text
_LOSSLESS = {1: None, 5: "lzw", 8: "zlib", 32946: "zlib", 32773: "packbits", 34925: "lzma", 50000: "zstd"}
_DIRECTORIES = {EXIF: "EXIF", GPS: "GPS", INTEROPERABILITY: "interoperability"}
_BOUNDED = {1, 2, 3, 4, 5, 8, 32773, 32946, 34925, 34926, 50000, 50013}  # of which no more than a strip or tile is unpacked
_SMALL = 2**16  # pixels of a strip or tile that are decoded in any case
_RATIONAL = {5: 4, 10: 9}  # types, and those of their numerators and denominators
_EXTRA = (0, 1, 2)  # kinds of extra samples: unspecified, and opacities
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_SHAPE = b'{"shape"'  # how tifffile describes an array, in JSON
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _SEPARATED, _YCBCR = 0, 1, 2, 3, 5, 6


@dataclass(frozen=True, eq=False)
class TiffLayout(Layout):
    """How a page was stored, and its tags that don't say so.

    `inverted`: white was zero. `pages` are those of an image whose channels were pages.
    """

    structure: Structure
    tags: tuple[Tag, ...]
    shape: tuple[int, ...]
    color: bool
    separate: bool
    extrasamples: tuple[int, ...]
    compression: str | None
    predictor: int
    tile: tuple[int, ...] | None
    subfiletype: int
    inverted: bool
    pages: tuple[TiffLayout, ...] = ()

    repeats = frozenset({"exif"})

    def lost_tags(self, carried: Collection[str]) -> list[str]:
        """Name the tags that don't go into EXIF data, or all where those aren't carried."""
        with importing:
            import tifffile

        tags = [tag for page in (self.pages or (self,)) for tag in page.tags if not tag.value.startswith(_SHAPE)]
        codes = {tag.code for tag in tags if "exif" not in carried or tag.code not in _IN_EXIF or _by_software(tag)}
        return [str(tifffile.TIFF.TAGS.get(code, f"tag {code}")) for code in sorted(codes)]


class TiffPages(Pages):
    """The pages of an open TIFF file; reduced copies and masks among them are left out, and noted."""

    def __init__(self, path: Path, file: BinaryIO, axes: str | None, template: ImageFile | None):
        with importing:
            import tifffile

        if axes not in (None, "CYX"):
            raise InputError("axes", f"must be left out for TIFF, or 'CYX' if its pages are channels, got {axes!r}")
        logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it logs on damaged files is raised here
        self._path, self._file = path, file
        self._tags = TagFile(file)
        self._structure, self._offsets = self._tags.structure, self._tags.directories()
        if not self._offsets:
            raise ValueError("no page in it")
        kinds = [self._kind(offset) for offset in self._offsets]
        _check_whole({tag.code: tag for tag in self._tags.directory(self._offsets[0])}, len(kinds))
        file.seek(0)
        self._tiff = tifffile.TiffFile(file)
        full = [page for page, kind in enumerate(kinds) if not kind & (_REDUCED | _MASK)]
        self._pages = full or list(range(len(kinds)))
        left_out = len(kinds) - len(self._pages)
        self._notes = (f"{left_out} reduced copies or masks in the TIFF aren't carried over",) if left_out else ()
        self._channels = axes == "CYX"

    def __len__(self) -> int:
        return 1 if self._channels else len(self._pages)

    def read(self, page: int) -> ImageFile:
        if not self._channels:
            image = self._read(self._pages[page])
            return replace(image, notes=(*self._notes, *image.notes)) if page == 0 else image
        images = [self._read(page) for page in self._pages]
        shapes = {(image.pixels.shape, image.pixels.dtype) for image in images}
        if len(shapes) > 1 or images[0].pixels.ndim > 2:
            raise InputError("axes", "must not be 'CYX', as the pages aren't gray images of one size and type")
        layouts = tuple(image.layout for image in images if isinstance(image.layout, TiffLayout))
        notes = dict.fromkeys((*self._notes, *(note for image in images for note in image.notes)))
        if len({image.nodata for image in images}) > 1:
            notes["the pages name different nodata values: that of the first one counts"] = None
        pixels = np.stack([image.pixels for image in images], axis=-1)
        return replace(
            images[0], pixels=pixels, layout=replace(layouts[0], shape=pixels.shape, pages=layouts), notes=tuple(notes)
        )

    def close(self) -> None:
        self._tiff.close()

    def _kind(self, offset: int) -> int:
        tags = {tag.code: tag for tag in self._tags.directory(offset, (254, 255))}
        return self._number(tags, 254) or (_REDUCED if self._number(tags, 255) == 2 else 0)

    def _number(self, tags: dict[int, Tag], code: int, default: int = 0) -> int:
        values = tags[code].integers(self._structure.order) if code in tags else ()
        return values[0] if values else default

    def _read(self, page_number: int) -> ImageFile:
        order = self._structure.order
        directory = self._tags.directory(self._offsets[page_number])
        tags = {tag.code: tag for tag in directory}
        page: Any = self._tiff.pages[page_number]
        self._check(page, tags)
        pixels, inverted, notes = self._pixels(page, tags)
        orientation = self._number(tags, ORIENTATION, 1)
        xmp = without_thumbnail(tags[_XMP].value) if _XMP in tags else None
        if xmp and orientation != 1:
            xmp = set_xmp_upright(xmp)
        nodata = self._nodata(tags, page, notes)
        pixels = apply_orientation(pixels, orientation)
        extrasamples = tuple(int(kind) if kind in _EXTRA else 0 for kind in page.extrasamples)
        if unknown := [str(int(kind)) for kind in page.extrasamples if kind not in _EXTRA]:
            notes.append(f"extra samples of the unknown kind {', '.join(unknown)} are taken for unspecified ones")
        told = [tag for tag in directory if tag.code == _DESCRIPTION]  # by tifffile twice: a person's, then its own
        kept = _kept([*told[:-1], *tags.values()])
        if 330 in tags:
            notes.append("sub-images in the TIFF (SubIFDs, such as reduced copies) aren't carried over")
        if 37724 in tags:
            notes.append("Photoshop's layers aren't carried over")
        notes += _lost_pointers(directory)
        in_exif = [tag for tag in kept if tag.code in _IN_EXIF and not _by_software(tag)]
        return ImageFile(
            pixels, self._path, "tiff", icc_profile=tags[_ICC].value if _ICC in tags else None,
            exif=pack_exif(in_exif, order) if in_exif else None, xmp=xmp,
            has_alpha=extrasamples[-1:] == (2,) and pixels.ndim == 3, notes=tuple(notes), nodata=nodata,
            density=rotate_density(density_of_tags(tags, order), orientation),
            layout=TiffLayout(
                self._structure, kept, pixels.shape, page.photometric in (_RGB, _PALETTE, _YCBCR),
                page.planarconfig == 2 and pixels.ndim == 3, extrasamples, _LOSSLESS.get(int(page.compression), "zlib"),
                int(page.predictor), page.tile if page.is_tiled else None, page.subfiletype, inverted,
            ),
        )  # fmt: skip

    def _nodata(self, tags: dict[int, Tag], page: Any, notes: list[str]) -> float | None:
        """Return the value of pixels without data; note where it can't be used."""
        if _NODATA not in tags:
            return None
        text = tags[_NODATA].value.rstrip(b"\0 ").decode("latin-1").strip()
        stored = page.photometric in (_MINISWHITE, _PALETTE) or int(page.bitspersample) < 8
        try:
            value = float(text)
        except ValueError:
            notes.append(f"its nodata value, {text[:40]!r}, isn't a number and isn't used")
            return None
        if stored:
            notes.append(f"its nodata value, {text}, is that of stored pixels, not of shown ones, and isn't used")
        return None if stored else value

    def _check(self, page: Any, tags: dict[int, Tag]) -> None:
        photometric = int(page.photometric)
        if 50706 in tags:
            raise InputError("", "a camera's raw file (DNG) isn't supported", "develop it to an image first")
        if photometric not in (_MINISWHITE, _MINISBLACK, _RGB, _PALETTE) and (photometric, page.compression) != (_YCBCR, 7):
            kind = getattr(page.photometric, "name", photometric)
            name = "SEPARATED (CMYK)" if photometric == _SEPARATED else kind
            raise InputError("", f"TIFF colors of kind {name} aren't supported", "convert the image to gray or RGB first")
        if 1 in page.extrasamples:
            raise InputError("", "colors multiplied by opacity aren't supported", "save it with plain (straight) alpha")
        if isinstance(page.bitspersample, tuple):
            bits = ", ".join(map(str, page.bitspersample))
            raise InputError("", f"samples of {bits} bits aren't supported", "convert the image to 8 or 16 bits each first")
        if page.dtype is None:
            raise ValueError(f"samples of {page.bitspersample} bits, format {page.sampleformat}")
        size = self._file.seek(0, 2)
        n_values = max(page.size, math.prod(page.chunks))  # a tile may be larger than the image
        check_declared_pixels(self._path, page.imagewidth, page.imagelength, n_values * page.dtype.itemsize, size)
        plain = page.compression == 1 and sum(page.databytecounts) >= page.nbytes
        if len(page.dataoffsets) < math.prod(page.chunked) and not plain:
            found = f"{len(page.dataoffsets)} of {math.prod(page.chunked)}"
            raise InputError("", f"damaged TIFF: it has {found} strips or tiles")
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            if offset + count > size:
                raise InputError("", "damaged TIFF: the file ends too early")
        if sum(page.databytecounts) > size + 2 * page.nbytes:
            raise ValueError("its strips or tiles are larger than the file")
        self._check_coded(page)

    def _check_coded(self, page: Any) -> None:
        """Refuse strips or tiles that unpack to more pixels than they have in the image."""
        compression, most = int(page.compression), 2 * max(math.prod(page.chunks), _SMALL)
        if compression not in CODED and compression not in _BOUNDED:
            name = getattr(page.compression, "name", compression)
            raise InputError("", f"TIFF compression {name} isn't supported", "save it with another, such as deflate")
        if compression in _BOUNDED or page.jpegheader is not None:  # tifffile makes that one say what is right
            return
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False):
            self._file.seek(offset)
            if count and (found := coded_pixels(self._file.read(count), compression)) > most:
                raise ValueError(f"a strip or tile claims {found} pixels")

    def _pixels(self, page: Any, tags: dict[int, Tag]) -> tuple[np.ndarray, bool, list[str]]:
        """Return pixels as they are shown, whether white was zero in the file, and notes."""
        pixels = page.asarray()
        if page.planarconfig == 2 and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        if pixels.ndim not in (2, 3):
            raise InputError("", f"an image of shape {pixels.shape} isn't (H, W) or (H, W, channels)")
        bits = 1 if pixels.dtype == bool else int(page.bitspersample)
        pixels = pixels.astype(np.uint8 if bits == 1 else pixels.dtype.newbyteorder("="), copy=False)
        if page.photometric == _PALETTE:
            return looked_up(pixels, tags[320].integers(self._structure.order), bits), False, []
        white = page.photometric == _MINISWHITE
        if white and pixels.dtype.kind != "u":
            raise InputError("", f"MINISWHITE isn't supported for {pixels.dtype}", "convert it to plain gray")
        if bits < 8:
            pixels = scaled(pixels, bits, np.uint8)
        elif bits < pixels.dtype.itemsize * 8 and pixels.dtype.kind in "ui":
            white_is = np.array(2**bits - 1, pixels.dtype)
            notes = [f"samples of {bits} bits are written as {pixels.dtype.itemsize * 8} bits, of the same values"]
            return (white_is - pixels if white else pixels), False, notes
        return (~pixels if white else pixels), white and bits >= 8, []


class TiffEncoder(Encoder):
    """Writes images as pages of a TIFF file, as their layouts say."""

    def __init__(self, file: BinaryIO, n_pages: int):
        self._file, self._n_pages = file, n_pages
        self._structure = Structure("<")
        self._writer: Any = None

    def write(self, image: ImageFile) -> list[str]:
        notes: list[str] = []
        layout = image.layout if isinstance(image.layout, TiffLayout) else None
        if layout is not None and layout.shape != image.pixels.shape:
            layout, notes = _resized(layout, image.pixels.shape)
        if layout is None:
            notes = [*notes, *_lost_pointers(unpack_exif(image.exif or b"")[1])]
        if self._writer is None:
            self._begin(image, layout)
        if layout is not None and layout.pages:
            for channel, page in enumerate(layout.pages):
                self._write(image.with_pixels(image.pixels[..., channel]), page)
        else:
            self._write(image, layout)
        return notes

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _begin(self, image: ImageFile, layout: TiffLayout | None) -> None:
        with importing:
            import tifffile

        large = image.pixels.nbytes * self._n_pages > _CLASSIC
        order = layout.structure.order if layout is not None else unpack_exif(image.exif or b"")[0]
        self._structure = Structure(order, big=large or (layout is not None and layout.structure.big))
        self._writer = tifffile.TiffWriter(self._file, bigtiff=self._structure.big, byteorder=order, ome=False)  # type: ignore[arg-type]

    def _write(self, image: ImageFile, layout: TiffLayout | None) -> None:
        pixels = np.ascontiguousarray(image.pixels)
        if layout is not None and layout.inverted:
            pixels = ~pixels
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[..., 0]
        channels = n_channels(pixels)
        color = channels - image.has_alpha == 3 if layout is None else layout.color
        photometric = "rgb" if color else "miniswhite" if layout is not None and layout.inverted else "minisblack"
        extrasamples = None if layout is None else layout.extrasamples[: max(channels - (3 if color else 1), 0)]
        if layout is None and image.has_alpha:
            extrasamples = (2,)
        separate = layout is not None and layout.separate and pixels.ndim == 3
        order, of_exif = unpack_exif(image.exif or b"")
        tags = list(layout.tags if layout is not None else _kept(of_exif))
        density = image.density or (density_of_tags({tag.code: tag for tag in of_exif}, order) if layout is None else None)
        if image.xmp:
            tags.append(Tag(_XMP, 1, image.xmp))
        x, y, unit = (None, None, None) if density is None else resolution_of(density)
        self._writer.write(
            np.moveaxis(pixels, -1, 0) if separate else pixels, photometric=photometric, metadata=None, software=False,
            planarconfig=None if pixels.ndim == 2 else "separate" if separate else "contig",
            extrasamples=extrasamples or None, iccprofile=image.icc_profile, extratags=self._extratags(tags),
            resolution=None if density is None else (x, y), resolutionunit=unit,
            compression="zlib" if layout is None else layout.compression,
            predictor=None if layout is None else _predictor(layout, pixels.dtype),
            tile=None if layout is None else layout.tile, subfiletype=(layout and layout.subfiletype) or None,
        )  # fmt: skip

    def _extratags(self, tags: list[Tag]) -> list[tuple[int | str, int, int, Any, bool]]:
        """Return tags as tifffile wants them; directories that they point to are written to the file here."""
        extratags: list[tuple[int | str, int, int, Any, bool]] = []
        for tag in tags:
            if tag.children is None:
                value = (
                    Tag(0, _RATIONAL[tag.type], tag.value).integers(self._structure.order)
                    if tag.type in _RATIONAL
                    else tag.value
                )
                extratags.append((tag.code, tag.type, tag.count, value, False))
            elif tag.code in (EXIF, GPS):
                end = self._file.seek(0, 2)
                self._file.write(bytes(end % 2) + pack_directory(tag.children, self._structure, end + end % 2))
                kind = 16 if self._structure.big else 4
                extratags.append(("ExifTag" if tag.code == EXIF else "GPSTag", kind, 1, end + end % 2, False))
        return extratags


def _check_whole(tags: dict[int, Tag], n_pages: int) -> None:
    """Refuse files that hold more images than they have directories for."""
    text = tags[_DESCRIPTION].value if _DESCRIPTION in tags else b""
    images = re.search(rb"^images=(\d+)", text, re.MULTILINE) if text.startswith(b"ImageJ=") else None
    if (images and int(images[1]) > n_pages) or b'"truncated": true' in text or 33629 in tags:
        raise InputError("", f"it hides a stack behind {n_pages} page(s)", "save it as a TIFF with a page for each image")


def _kept(tags: Iterable[Tag]) -> tuple[Tag, ...]:
    """Return the tags that aren't about the storage of pixels, nor in the image's fields, nor point to something unknown."""
    without = _OF_THE_PIXELS | _IN_FIELDS
    kept = (tag for tag in tags if tag.code not in without and not tag.dangles and (tag.value or tag.children))
    return tuple(map(_without_previews, kept))


def _without_previews(tag: Tag) -> Tag:
    """Return a tag without previews of the picture before, as in those of Photoshop and of camera makers."""
    if tag.children is not None:
        return replace(tag, children=tuple(map(_without_previews, tag.children)))
    return replace(tag, value=without_pictures(tag.value)) if tag.type in (1, 7) else tag


def _lost_pointers(tags: Iterable[Tag]) -> list[str]:
    """Return remarks on directories that tags point to, and that aren't known or can't be read."""
    lost = dict.fromkeys(tag.code for tag in tags if tag.dangles and tag.code not in _OF_THE_PIXELS)
    names = ", ".join(_DIRECTORIES.get(code, f"tag {code}") for code in lost)
    return [f"directories of tags that are damaged or unknown aren't carried over: {names}"] if lost else []


def _by_software(tag: Tag) -> bool:
    """Return whether it is a description that a program wrote for itself, of the pages: OME-XML, ImageJ's, tifffile's."""
    return tag.code == _DESCRIPTION and (tag.value.startswith((b"ImageJ=", _SHAPE)) or b"<OME" in tag.value[:2000])


def _predictor(layout: TiffLayout, dtype: np.dtype) -> int | None:
    """Return the layout's predictor if it goes with the compression and the type."""
    fits = {2: "iu", 3: "f"}.get(layout.predictor, "")
    return layout.predictor if layout.compression not in (None, "packbits") and dtype.kind in fits else None


def _resized(layout: TiffLayout, shape: tuple[int, ...]) -> tuple[TiffLayout | None, list[str]]:
    """Return the layout for a finer or coarser grid over the same picture, and remarks on what is left out."""
    if shape[2:] != layout.shape[2:]:
        return None, ["TIFF tags aren't carried over, as the number of channels has changed"]
    order = layout.structure.order
    down, across = (Fraction(new, old) for new, old in zip(shape[:2], layout.shape[:2], strict=True))
    tags, lost = regridded(scaled_tags(layout.tags, order, across, down), order, across, down)
    if any(map(_by_software, tags)):
        lost.append("a program's description of the file")
    pages = tuple(page for page in (_resized(page, shape[:2])[0] for page in layout.pages) if page is not None)
    verb = "isn't" if len(lost) == 1 else "aren't"
    notes = [f"{', '.join(lost)} {verb} carried over, as the size has changed"] if lost else []
    kept = tuple(tag for tag in tags if not _by_software(tag))
    return replace(layout, tags=kept, shape=shape, pages=pages), notes


def _check(image: ImageFile) -> None:
    if image.pixels.dtype == bool:
        raise InputError("", "a bilevel image is written as .npy only", "widen it to 8 bits first")


TIFF = Format(
    name="tiff", title="TIFF", suffixes=(".tif", ".tiff"), signature=re.compile(rb"II[*+]\0|MM\0[*+]"),
    open_pages=TiffPages, encoder=TiffEncoder, check=_check, multipage=True, takes_axes=True,
    carries=frozenset({"icc_profile", "exif", "xmp", "density"}),
)  # fmt: skip
