"""Reading and writing single images: PNG, JPEG, TIFF, NPY, at their own depth.

Pillow (through imageio) reads JPEG and the PNG kinds of up to 8 bits; imagecodecs reads and writes 16-bit PNG, which
Pillow narrows to 8 bits in colour. Everything is read into memory as (H, W) or (H, W, channels).
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.imagefiles import png
from csc_cogd.storage import check_writable, whole_file, write_whole

_ORIENTATION = 0x0112  # EXIF and TIFF tag
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {  # by orientation [EXIF 2.32, tag 0x0112]
    2: np.fliplr,
    3: lambda pixels: pixels[::-1, ::-1],
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, -1),
    7: lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
SUFFIXES = {
    ".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".tif": "tiff", ".tiff": "tiff", ".npy": "npy",
}  # fmt: skip
_SUFFIX_OF = {"png": ".png", "jpeg": ".jpg", "tiff": ".tif", "npy": ".npy", "npz": ".npz"}


@dataclass(frozen=True, eq=False)
class ImageFile:
    """An image as it was in a file.

    Attributes
    ----------
    pixels : (H, W) or (H, W, C) array
        In the file's own dtype, upright: an EXIF orientation has been applied. Bilevel and palette PNG are widened to
        8-bit grey and RGB.
    path : Path
    format : {"png", "jpeg", "tiff", "npy"}
    icc_profile, exif : bytes, optional
        Carried over on writing where the format can hold them; the orientation in `exif` is reset.
    has_alpha : bool
        The last channel is opacity.
    """

    pixels: np.ndarray
    path: Path
    format: str
    icc_profile: bytes | None = None
    exif: bytes | None = None
    has_alpha: bool = False

    @property
    def channel_axis(self) -> int | None:
        return None if self.pixels.ndim == 2 else -1

    @property
    def colours(self) -> np.ndarray:
        """The pixels without opacity, (H, W) where one channel is left."""
        colours = self.pixels[..., :-1] if self.has_alpha else self.pixels
        return colours[..., 0] if colours.ndim == 3 and colours.shape[2] == 1 else colours

    def with_pixels(self, pixels: np.ndarray) -> ImageFile:
        return replace(self, pixels=pixels)

    def with_colours(self, colours: np.ndarray) -> ImageFile:
        """Other `colours`; the opacity as it was."""
        n_colours = 1 if self.pixels.ndim == 2 else self.pixels.shape[2] - self.has_alpha
        pixels = colours.reshape(*colours.shape[:2], n_colours)
        if self.has_alpha:
            pixels = np.concatenate([pixels, self.pixels[..., -1:]], axis=2)
        return replace(self, pixels=pixels.reshape(self.pixels.shape))


class ImageReader:
    """The pages of an image file, read one at a time; a context manager, and iterable."""

    def __init__(self, path: Path, first: ImageFile):
        self.path = path
        self.format = first.format
        self._first = first

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[ImageFile]:
        return (self.read(page) for page in range(len(self)))

    def __enter__(self) -> ImageReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def read(self, page: int) -> ImageFile:
        return self._first

    def close(self) -> None:
        pass


class ImageWriter:
    """Writes the pages of an image file in their order; leaving the ``with`` statement makes the file appear whole.

    Where it is left by an exception, nothing is left behind. `notes` is what the user should be warned of.
    """

    def __init__(self, path: Path, source: ImageReader, overwrite: bool, before: Callable[[Path], None] | None):
        self.path, self.notes = path, list[str]()
        self._source, self._overwrite, self._before = source, overwrite, before
        self._content = b""

    def write(self, image: ImageFile) -> None:
        self._content, notes = _encode(image, SUFFIXES[self.path.suffix.lower()])
        self.notes += notes

    def __enter__(self) -> ImageWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is not None:
            return

        with whole_file(self.path, overwrite=self._overwrite, before=self._before) as file:
            file.write(self._content)


def open_images(path: str | os.PathLike[str], *, axes: str | None = None) -> ImageReader:
    """Open an image file to read its pages."""
    return ImageReader(Path(path), read_image(path))


def create_images(
    path: str | os.PathLike[str],
    source: ImageReader,
    *,
    overwrite: bool = False,
    before: Callable[[Path], None] | None = None,
) -> ImageWriter:
    """Begin an image file with as many pages as the source; `before` is called with the finished temporary file."""
    return ImageWriter(Path(path), source, overwrite, before)


def true_suffix(source: ImageFile | ImageReader) -> str:
    """The suffix of the content's format: the file's own where it fits."""
    own = source.path.suffix
    return own if SUFFIXES.get(own.lower()) == source.format else _SUFFIX_OF[source.format]


def sniff_suffix(path: Path) -> str:
    """The suffix that fits a file's first bytes: its own where that does, or where they say nothing."""
    try:
        with path.open("rb") as file:
            kind = _format_of(file.read(16))
    except OSError:
        return path.suffix
    return path.suffix if kind in (None, SUFFIXES.get(path.suffix.lower())) else _SUFFIX_OF[kind]


def read_image(path: str | os.PathLike[str], *, axes: str | None = None) -> ImageFile:
    """Read one image.

    Raises
    ------
    InputError
        If the file is missing, isn't an image of a known format, or holds more than one.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory: name an image file")
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from None
    kind = _format_of(content)
    if not content:
        raise InputError(f"{path}: the file is empty")
    if kind is None:
        raise InputError(f"{path}: not an image that is known here: use PNG, JPEG, TIFF or NPY")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # decoders warn of what they then raise, or of harmless tags
            image = _READERS[kind](content, path)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        what = str(error).strip().splitlines()
        raise InputError(f"{path}: damaged or unsupported {kind.upper()}: {what[0] if what else error!r}") from None
    if 0 in image.pixels.shape:
        raise InputError(f"{path}: holds no pixel")
    if image.pixels.dtype.kind not in "biuf" or image.pixels.dtype.itemsize > 8:
        raise InputError(f"{path}: {image.pixels.dtype} isn't a kind of pixels: integers or floats of up to 64 bits are")
    return image


def write_image(image: ImageFile, path: str | os.PathLike[str], *, overwrite: bool = False) -> list[str]:
    """Write an image in the format of the path's suffix, in one step: the file is there whole or not at all.

    Returns what the user should be warned of: what the format can't hold.

    Raises
    ------
    InputError
        If the format is unknown or can't hold the pixels, the file exists, or it can't be written.
    """
    path = Path(path)
    check_output(path, image, overwrite=overwrite)
    content, notes = _encode(image, SUFFIXES[path.suffix.lower()])
    write_whole(path, lambda file: file.write(content), overwrite=overwrite)
    return notes


def check_output(
    path: Path,
    source: ImageFile | ImageReader,
    *,
    overwrite: bool,
    inputs: tuple[Path, ...] = (),
    new_folder: bool = False,
) -> None:
    """Raise InputError now for what `write_image` would refuse later, and for an output that is one of the inputs.

    Only shape and dtype of the image's pixels are looked at. With `new_folder`, the folder may still have to be made.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: the output's format isn't known by its name: end it in {', '.join(SUFFIXES)}")
    check_writable(path, overwrite=overwrite, inputs=inputs, new_folder=new_folder)
    image = source if isinstance(source, ImageFile) else source.read(0)
    kind, pixels = SUFFIXES[path.suffix.lower()], image.pixels
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    if kind == "png" and (pixels.dtype not in ("uint8", "uint16") or channels > 4):
        raise InputError(f"{path}: PNG can't hold {channels} channel(s) of {pixels.dtype}: write .tif or .npy")
    if kind == "jpeg" and (pixels.dtype != "uint8" or channels not in (1, 3)):
        raise InputError(f"{path}: JPEG can't hold {channels} channel(s) of {pixels.dtype}: write .png or .tif")
    if kind == "tiff" and pixels.dtype == bool:
        raise InputError(f"{path}: a bilevel image is written as .npy only: widen it to 8 bits first")


def make_folder(path: Path) -> None:
    """Make a folder for outputs where there is none."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{path}: the folder can't be made: {error.strerror}") from None


def _format_of(content: bytes) -> str | None:
    """Format by the first bytes: names lie."""
    if content.startswith(png.SIGNATURE):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    return "npy" if content.startswith(b"\x93NUMPY") else None


def _read_png(content: bytes, path: Path) -> ImageFile:
    if png.bit_depth(content) < 16:
        return _read_with_pillow(content, path, "png")
    import imagecodecs

    chunks = png.read_chunks(content)
    if b"IEND" not in chunks:
        raise InputError(f"{path}: damaged PNG: the file ends too early")
    pixels, exif = _upright(imagecodecs.png_decode(content), chunks.get(b"eXIf"))
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    return ImageFile(pixels, path, "png", png.icc_profile(chunks), exif, has_alpha)


def _read_with_pillow(content: bytes, path: Path, kind: str) -> ImageFile:
    import imageio.v3 as iio
    from PIL import Image

    with Image.open(io.BytesIO(content)) as opened:
        mode, info = opened.mode, dict(opened.info)
        if kind == "png" and getattr(opened, "n_frames", 1) > 1:
            raise InputError(f"{path}: it is an animation: this version restores single images")
        exif = opened.getexif().tobytes() or None
    if mode in ("CMYK", "YCCK"):
        raise InputError(f"{path}: CMYK colours aren't supported: convert the image to RGB first")
    target = {"1": "L", "P": "RGB"}.get(mode, mode)
    if "transparency" in info:
        target = {"L": "LA", "RGB": "RGBA"}[target]
    pixels, exif = _upright(iio.imread(content, plugin="pillow", index=0, mode=target), exif)
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    return ImageFile(pixels, path, kind, info.get("icc_profile"), exif, has_alpha)


def _upright(pixels: np.ndarray, exif: bytes | None) -> tuple[np.ndarray, bytes | None]:
    """Apply the orientation that EXIF data names, and reset it there."""
    if not exif:
        return pixels, None
    from PIL import Image

    tags = Image.Exif()
    tags.load(exif)
    orientation = tags.get(_ORIENTATION, 1)
    if orientation in _UPRIGHT:
        pixels = np.ascontiguousarray(_UPRIGHT[orientation](pixels))
        tags[_ORIENTATION] = 1
    return pixels, tags.tobytes()


def _read_tiff(content: bytes, path: Path) -> ImageFile:
    import tifffile

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it logs on damaged files is raised here
    with tifffile.TiffFile(io.BytesIO(content)) as tiff:
        if not len(tiff.pages):
            raise ValueError("no page in it")
        if len(tiff.pages) != 1:
            raise InputError(f"{path}: {len(tiff.pages)} pages: this version restores single images, split it first")
        page: Any = tiff.pages[0]
        if page.photometric not in (tifffile.PHOTOMETRIC.MINISBLACK, tifffile.PHOTOMETRIC.RGB):
            name = getattr(page.photometric, "name", page.photometric)
            raise InputError(f"{path}: TIFF colours of kind {name} aren't supported: convert the image to grey or RGB first")
        if tifffile.EXTRASAMPLE.ASSOCALPHA in page.extrasamples:
            raise InputError(f"{path}: colours multiplied by opacity aren't supported: save it with plain (straight) alpha")
        pixels = page.asarray()
        if page.planarconfig == tifffile.PLANARCONFIG.SEPARATE and pixels.ndim == 3:
            pixels = np.moveaxis(pixels, 0, -1)
        icc, orientation = page.tags.get("InterColorProfile"), page.tags.get("Orientation")
        has_alpha = tuple(page.extrasamples) == (tifffile.EXTRASAMPLE.UNASSALPHA,)
    if pixels.ndim not in (2, 3):
        raise InputError(f"{path}: an image of shape {pixels.shape} isn't (H, W) or (H, W, channels)")
    if orientation is not None and orientation.value in _UPRIGHT:
        pixels = np.ascontiguousarray(_UPRIGHT[orientation.value](pixels))
    return ImageFile(pixels, path, "tiff", icc.value if icc is not None else None, None, has_alpha)


def _read_npy(content: bytes, path: Path) -> ImageFile:
    pixels = np.load(io.BytesIO(content), allow_pickle=False)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] > 4):
        raise InputError(
            f"{path}: an array of shape {pixels.shape} isn't (H, W) or (H, W, 1 to 4 channels): put the channels last"
        )
    return ImageFile(pixels, path, "npy")


_READERS: dict[str, Callable[[bytes, Path], ImageFile]] = {
    "png": _read_png,
    "jpeg": lambda content, path: _read_with_pillow(content, path, "jpeg"),
    "tiff": _read_tiff,
    "npy": _read_npy,
}


def _encode(image: ImageFile, kind: str) -> tuple[bytes, list[str]]:
    pixels, notes = np.ascontiguousarray(image.pixels), []
    if kind != "npy" and pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if kind == "png":
        import imagecodecs

        content = png.insert_metadata(bytes(imagecodecs.png_encode(pixels)), image.icc_profile, image.exif)
    elif kind == "jpeg":
        from PIL import Image

        notes.append("JPEG is lossy: none of the pixels will be exact; write .png or .tif to keep them")
        stream = io.BytesIO()
        metadata: dict[str, Any] = {"icc_profile": image.icc_profile, "exif": image.exif}
        Image.fromarray(pixels).save(
            stream, "JPEG", quality=95, subsampling=0, **{key: value for key, value in metadata.items() if value}
        )
        content = stream.getvalue()
    elif kind == "tiff":
        import tifffile

        colour = pixels.ndim == 3 and pixels.shape[2] - image.has_alpha == 3
        stream = io.BytesIO()
        tifffile.imwrite(
            stream, pixels, photometric="rgb" if colour else "minisblack", compression="zlib",
            planarconfig="contig" if pixels.ndim == 3 else None, iccprofile=image.icc_profile, metadata=None,
            extrasamples=["unassalpha"] if image.has_alpha else None,
        )  # fmt: skip
        content = stream.getvalue()
    else:
        stream = io.BytesIO()
        np.save(stream, pixels, allow_pickle=False)
        content = stream.getvalue()
    if image.exif and kind in ("tiff", "npy"):
        notes.append(f"EXIF data isn't carried over from {image.format.upper()} to {kind.upper()}")
    if image.icc_profile and kind == "npy":
        notes.append("the ICC profile isn't carried over to NPY")
    return content, notes
