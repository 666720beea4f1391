"""A folder of files of every kind, whole and spoilt, as they come in other people's folders.

`RIGHT` are files that are restored, by folder and name; `WRONG` are files that can't be, with what is said of them.
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from PIL import Image, ImageCms

from csc_cogd.imagefiles.formats.registry import FORMATS
from tests.imagefiles.making import exif, interlaced_png, npy, npz, pillow, png, raw_png, tiff

H, W = 24, 20
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LONG = "n" * 200
LONGEST = "写" * 83 + ".npy"  # 253 bytes: with anything more, too many for a file system


class Right(NamedTuple):
    """A file that is restored: its content, its pages as they are shown, and what is missing in each.

    `mask` is the content of a mask's file; `suffix` is the result's, where it isn't the file's own. Without `exact`, the
    format is lossy.
    """

    content: bytes
    pages: list[np.ndarray]
    missing: list[np.ndarray]
    mask: bytes | None = None
    exact: bool = True
    suffix: str = ""


class Wrong(NamedTuple):
    """A file that can't be restored: its content, and a pattern of what is said of it behind its name."""

    content: bytes
    error: str
    mask: bytes | None = None


def picture(*shape, dtype="uint8"):
    """A smooth picture, (H, W) or (H, W, C), that spans nearly all values of its integer type, up to 2**52, or -50 to 50."""
    y, x, c = np.ogrid[: shape[0], : shape[1], : (*shape, 1)[2]]
    wave = (np.sin(y / 6 + c / 2) * np.cos(x / 7 - c / 3)).reshape(shape) * 0.499
    if np.dtype(dtype).kind == "f":
        return (100 * wave).astype(dtype)
    low, high = max(np.iinfo(dtype).min, -(2**52)), min(np.iinfo(dtype).max, 2**52)
    steps = np.rint((wave + 0.5) * 2**20).astype(object)
    return (low + steps * (high - low) // 2**20).astype(dtype)


def holes(height, width):
    """A seventh of the pixels."""
    return np.arange(height * width).reshape(height, width) % 7 == 0


def masked(content, *pages, alpha=False, **options):
    """A file whose mask is in another file, with a page for each of its own; with `alpha`, the last channel is opacity."""
    masks = [holes(*page.shape[:2]) for page in pages]
    missing = [in_channels(mask, page, alpha) for mask, page in zip(masks, pages, strict=True)]
    return Right(content, list(pages), missing, pages_of(*(mask * np.uint8(255) for mask in masks)), **options)


def in_channels(mask, page, alpha):
    """A mask (H, W) for every channel of a page, but not of its opacity."""
    channels = np.arange((*page.shape, 1)[2])
    return (mask[..., None] & ~(alpha & (channels == channels[-1]))).reshape(page.shape)


def with_gaps(pixels):
    """Float pixels, and the same with NaN, in every channel at other places."""
    flat = np.arange(pixels.size).reshape(pixels.shape) * 5 % 11 == 3
    return np.where(flat, np.array(np.nan, pixels.dtype), pixels).astype(pixels.dtype), flat


def by_mask():
    gray, rgb, rgba = picture(H, W), picture(H, W, 3), picture(H, W, 4)
    for name in ("uint8", "uint16"):
        for channels in (1, 2, 3, 4):
            pixels = picture(H, W, channels, dtype=name) if channels > 1 else picture(H, W, dtype=name)
            yield f"{name} {channels}.png", masked(png(pixels), pixels, alpha=channels in (2, 4))
    yield "interlaced.png", masked(interlaced_png(gray), gray)
    palette = Image.fromarray(rgb).quantize(16)
    shown = np.asarray(palette.convert("RGB"))
    clear = np.dstack([shown, (np.asarray(palette) != 3) * np.uint8(255)])
    yield "palette.png", masked(pillow(palette, "PNG"), shown)
    yield "palette with opacity.png", masked(pillow(palette, "PNG", transparency=3), clear, alpha=True)
    yield "bilevel.png", masked(pillow(Image.fromarray(gray > 99), "PNG"), (gray > 99) * np.uint8(255))
    chunks = (b"tEXt", b"Title\0a picture"), (b"gAMA", struct.pack(">I", 45455)), (b"eXIf", exif())
    with_profile = pillow(Image.fromarray(rgb), "PNG", icc_profile=PROFILE, dpi=(300, 200), exif=exif())
    yield "turned, with ICC and EXIF.png", masked(with_profile, np.rot90(rgb, -1))
    deep = picture(H, W, 3, dtype="uint16")
    yield "turned, 16 bits, with text.png", masked(png(deep, *chunks), np.rot90(deep, -1))
    yield "1 x 5000.png", masked(png(picture(1, 5000)), picture(1, 5000))
    yield "5000 x 1.tif", masked(tiff(picture(5000, 1, dtype="uint16")), picture(5000, 1, dtype="uint16"))
    yield "2 x 2.png", masked(png(picture(2, 2)), picture(2, 2))
    yield "1 x 2.png", masked(png(picture(1, 2)), picture(1, 2))
    yield "constant.png", masked(png(np.full((H, W), 7, np.uint8)), np.full((H, W), 7, np.uint8))

    tags = {"quality": 90, "icc_profile": PROFILE, "exif": b"Exif\0\0" + exif(), "comment": b"a comment", "dpi": (300, 200)}
    for name, image, options in (
        ("color.jpg", rgb, tags), ("gray.JPEG", gray, {}), ("progressive.jpg", rgb, {"progressive": True}),
    ):  # fmt: skip
        shown = np.asarray(Image.open(io.BytesIO(content := pillow(Image.fromarray(image), "JPEG", **options))))
        yield name, masked(content, np.rot90(shown, -1) if "exif" in options else shown, exact=False)

    turned = pillow(Image.fromarray(rgb), "WEBP", lossless=True, exif=b"Exif\0\0" + exif())
    yield "turned, with EXIF.webp", masked(turned, np.rot90(rgb, -1))
    yield "opacity.webp", masked(pillow(Image.fromarray(rgba), "WEBP", lossless=True, exact=True), rgba, alpha=True)
    yield "gray.bmp", masked(pillow(Image.fromarray(gray), "BMP"), gray)

    for name in ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64"):
        pixels = picture(H, W, dtype=name)
        yield f"{name}.tif", masked(tiff(pixels), pixels)
        yield f"{name}.npy", masked(npy(pixels), pixels)
    yield "planes.tif", masked(tiff(np.moveaxis(deep, -1, 0), photometric="rgb", planarconfig="separate"), deep)
    yield "opacity.tif", masked(tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]), rgba, alpha=True)
    yield "four channels.tif", masked(tiff(rgba, photometric="rgb", extrasamples=["unspecified"]), rgba)
    many = picture(H, W, 12, dtype="uint16")
    yield "hyperspectral.tif", masked(tiff(many, photometric="minisblack", planarconfig="contig"), many)
    tiled = {"bigtiff": True, "byteorder": ">", "tile": (16, 16), "compression": "zlib"}
    yield "BigTIFF in tiles.tif", masked(tiff(deep, photometric="rgb", **tiled), deep)
    yield "white is zero.tif", masked(tiff(gray, photometric="miniswhite"), ~gray)
    table = np.arange(256).astype("u2") * 257
    colors = np.stack([table, table[::-1], table // 2 // 257 * 257])
    yield "palette.tif", masked(tiff(gray, photometric="palette", colormap=colors), (colors.T >> 8).astype("u1")[gray])
    extra = [
        (271, 2, 0, "Maker", False), (274, 3, 1, 6, False), (306, 2, 0, "2001:01:01 10:00:00", False),
        (33432, 2, 0, "nobody", False), (65000, 5, 2, (1, 2, 3, 4), False), (65002, 11, 2, (1.5, 2.5), False),
    ]  # fmt: skip
    labelled = tiff(
        deep, photometric="rgb", extratags=extra, iccprofile=PROFILE, resolution=(300, 200), description="a scan",
        software="scanner",
    )  # fmt: skip
    yield "turned, with ICC and tags.tif", masked(labelled, np.rot90(deep, -1))
    yield "with EXIF.tif", masked(pillow(Image.fromarray(rgb), "TIFF", exif=upright_exif(), icc_profile=PROFILE), rgb)
    stack = np.stack([picture(H, W + shift, dtype="uint16")[:, shift:] for shift in range(3)])
    yield "pages.tif", masked(tiff(stack, photometric="minisblack"), *stack)
    yield "pages of any kind.tif", masked(pages_of(rgb, deep[::2], gray[:, ::2]), rgb, deep[::2], gray[:, ::2])
    yield "stack of ImageJ.tif", masked(tiff(stack, imagej=True, metadata={"axes": "ZYX"}), *stack)

    yield "big-endian.npy", masked(npy(gray.astype(">i4")), gray.astype("i4"))
    yield "fortran.npy", masked(npy(np.asfortranarray(deep)), deep)
    yield "four channels.npy", masked(npy(rgba), rgba)
    yield "arrays.npz", masked(npz(a=gray, b=deep, about="a text"), gray, deep)

    yield "a JPEG by name.jpg", masked(png(rgb), rgb, suffix=".png")
    yield "a PNG by name.PNG", masked(tiff(stack, photometric="minisblack"), *stack, suffix=".tif")
    yield "an image by name.tif", masked(npy(gray), gray, suffix=".npy")
    yield "ein schönes Bild, 写真 🖼.png", masked(png(gray), gray)
    yield f"{LONG}.png", masked(png(gray), gray)
    yield "a [b]*? 'c' \"d\".png", masked(png(gray), gray)
    yield "two\nlines.png", masked(png(gray), gray)
    yield os.fsdecode(b"Latin \xe9.png"), masked(png(gray), gray)


def by_nan():
    for name in ("float16", "float32", "float64"):
        pixels, missing = with_gaps(picture(H, W, dtype=name))
        yield f"{name}.npy", Right(npy(pixels), [pixels], [missing])
        yield f"{name}.tif", Right(tiff(pixels), [pixels], [missing])
    yield LONGEST, Right(npy(pixels), [pixels], [missing])
    pixels, missing = with_gaps(picture(H, W, 3, dtype="float32"))
    yield "color.tif", Right(tiff(pixels, photometric="rgb"), [pixels], [missing])
    yield "color.npz", Right(npz(image=pixels), [pixels], [missing])
    stack, gaps = np.stack([pixels[..., 0], pixels[..., 1]]), np.stack([missing[..., 0], missing[..., 1]])
    yield "pages.tif", Right(tiff(stack, photometric="minisblack"), list(stack), list(gaps))
    half = np.stack([pixels[..., 0], picture(H, W, dtype="float32")])
    yield "one page of two.tif", Right(tiff(half, photometric="minisblack"), list(half), list(np.isnan(half)))
    pixels, missing = with_gaps(picture(H, W, 12, dtype="float64") * 1e140)
    yield "huge.tif", Right(tiff(pixels, photometric="minisblack", planarconfig="contig"), [pixels], [missing])
    pixels, missing = with_gaps(picture(H, W, dtype="float64") * 1e-200)
    yield "tiny.npy", Right(npy(pixels), [pixels], [missing])


def upright_exif():
    tags = Image.Exif()
    tags.load(exif())
    del tags[0x0112]
    return tags


def pages_of(*images):
    """A TIFF with pages of different shapes and types."""
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for image in images:
            writer.write(image, photometric="rgb" if image.ndim == 3 else "minisblack", metadata=None)
    return stream.getvalue()


def by_alpha():
    for name, channels in (("uint8", 2), ("uint8", 4), ("uint16", 2), ("uint16", 4)):
        pixels = picture(H, W, channels, dtype=name)
        pixels[..., -1] = np.where(holes(H, W), 0, pixels[..., -1] | 1)
        opaque = pixels.copy()
        opaque[holes(H, W), -1] = np.iinfo(name).max  # as what was transparent is seen now
        missing = in_channels(holes(H, W), pixels, alpha=True)
        yield f"{name} {channels}.png", Right(png(pixels), [opaque], [missing])
        extra = {"photometric": "rgb" if channels == 4 else "minisblack", "planarconfig": "contig"}
        yield f"{name} {channels}.tif", Right(tiff(pixels, extrasamples=["unassalpha"], **extra), [opaque], [missing])


def by_value():
    for name in ("uint8", "int16", "uint16", "float32"):
        clean = picture(H, W, dtype=name)
        pixels = np.where(holes(H, W), 77, clean).astype(name)
        kind, content = ("png", png(pixels)) if name.startswith("uint") else ("tif", tiff(pixels))
        yield f"{name}.{kind}", Right(content, [clean], [pixels == 77])


def cut(content, share=0.6):
    return content[: int(len(content) * share)]


def by_error():
    """Files that can't be restored, and what is said of each behind its name."""
    gray, rgb = picture(H, W), picture(H, W, 3)
    whole = {
        "PNG": png(rgb), "JPEG": pillow(Image.fromarray(rgb), "JPEG"), "TIFF": tiff(rgb, photometric="rgb"), "NPY": npy(rgb),
        "NPZ": npz(image=rgb),
    }  # fmt: skip
    suffixes = {"PNG": "png", "JPEG": "jpg", "TIFF": "tif", "NPY": "npy", "NPZ": "npz"}
    for kind, content in whole.items():
        yield f"truncated.{suffixes[kind]}", Wrong(cut(content), f"damaged (or unsupported )?{kind}: .+")
        yield f"first bytes only.{suffixes[kind]}", Wrong(content[:12], f"damaged (or unsupported )?{kind}: .+")
        noise = content[:8] + bytes(range(256)) * 3
        yield f"noise behind the signature.{suffixes[kind]}", Wrong(noise, f"damaged (or unsupported )?{kind}: .{{,160}}")
    flipped = bytearray(png(rgb))
    flipped[-30] ^= 255
    yield "wrong checksum.png", Wrong(bytes(flipped), "damaged or unsupported PNG: wrong checksum of IDAT")
    *others, last = (each.title for each in FORMATS.values())
    unknown = f"isn't an image of a known format: use {', '.join(others)} or {last}"
    yield "empty.png", Wrong(b"", "the file is empty")
    yield "empty.npy", Wrong(b"", "the file is empty")
    yield "a text.jpg", Wrong(b"<html>404 not found</html>", unknown)
    yield "a GIF.png", Wrong(pillow(Image.fromarray(gray), "GIF"), "GIF can't be read: convert it to PNG .+")
    yield "a pickle.npy", Wrong(pickle.dumps(gray), unknown)
    yield "CMYK.jpg", Wrong(pillow(Image.fromarray(rgb).convert("CMYK"), "JPEG"), "CMYK colors aren't supported: .+")
    yield "CMYK.tif", Wrong(pillow(Image.fromarray(rgb).convert("CMYK"), "TIFF"), "TIFF colors of kind SEPARATED .+")
    animation = pillow(Image.fromarray(gray), "PNG", save_all=True, append_images=[Image.fromarray(255 - gray)])
    yield "animation.png", Wrong(animation, "animations aren't supported: .+")
    yield "complex.npy", Wrong(npy(gray * 1j), "pixels of type complex128 aren't supported: .+")
    yield "objects.npy", Wrong(npy(np.array([[None, 1]])), "has Python objects, .+")
    yield "no pixel.npy", Wrong(npy(gray[:0]), "(has no pixels|damaged or unsupported NPY: .+)")
    yield "a row.npy", Wrong(npy(gray[0]), r"an array of shape \(20,\) isn't .+")
    yield (
        "hyperspectral.npy",
        Wrong(npy(picture(H, W, 12)), r"the axes of an array of shape \(24, 20, 12\) are ambiguous: .+"),
    )
    yield "no image.npz", Wrong(npz(a=np.arange(3)), "no array in it is an image")
    yield "NaN only.npy", Wrong(npy(np.full((H, W), np.nan)), "every pixel is missing: there is nothing to restore from")
    yield "no red.npy", Wrong(npy(rgb * np.array([np.nan, 1, 1])), "every pixel of channel 0 is missing: .+")
    infinite = np.where(holes(H, W), np.nan, picture(H, W, dtype="float32"))
    infinite[1, 1] = -np.inf
    yield "infinite.npy", Wrong(npy(infinite), "the image has infinite values: set them to NaN, .+")
    yield (
        "too large.npy",
        Wrong(npy(with_gaps(picture(H, W, dtype="float64") * 1e300)[0]), "the image has values beyond 1e150, .+"),
    )
    yield "whole.npy", Wrong(npy(gray * 1.0), "nothing says what is missing: .+")
    yield "1 x 1.png", Wrong(png(gray[:1, :1]), "nothing says what is missing: .+")
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    large = raw_png((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    yield "claims much.png", Wrong(large, "claims 60000 x 60000 pixels, .+")


def by_spoilt_mask():
    gray, stack = picture(H, W), np.stack([picture(H, W)] * 3)
    good, none = holes(H, W) * np.uint8(255), np.zeros((H, W), np.uint8)
    yield "without a mask.png", Wrong(png(gray), "has no mask: none of .+")
    for name, mask, error in (
        (
            "mask of another size",
            tiff(good[:, 1:]),
            "the mask must be of the image's size, 20 x 24 pixels, but it is 19 x 24: crop, extend or redraw it to match",
        ),
        ("mask upside down", tiff(good.T), "the mask must be .+, but it is 24 x 20: turn it by 90 degrees .+"),
        ("empty mask", tiff(none), "the mask is empty: .+ use --mask-polarity valid"),
        ("full mask", tiff(~none), "the mask is full: .+ use --mask-polarity valid"),
        ("damaged mask", cut(tiff(good)), "damaged TIFF: the file ends too early"),
        ("zero bytes of mask", b"", "the file is empty"),
        ("mask of NaN", tiff(with_gaps(gray.astype("f4"))[0]), "the mask must have finite numbers only: .+"),
        (
            "two masks",
            pages_of(good, good),
            r"has 2 masks, but the image has 1 page\(s\): give one mask, or as many as pages",
        ),
    ):
        yield f"{name}.png", Wrong(png(gray), f"masks/by mask/{name}_mask.tif: {error}", mask)
    yield "1 x 1.png", Wrong(png(gray[:1, :1]), ".+: the mask is full: .+", tiff(~none[:1, :1]))
    three = tiff(stack, photometric="minisblack")
    yield "empty masks.tif", Wrong(three, "no pixel is missing in any page", tiff(none))
    two = r".+: has 2 masks, but the image has 3 page\(s\): give one mask, or as many as pages"
    yield "two masks for three pages.tif", Wrong(three, two, pages_of(good, good))


def by_strange_value():
    yield (
        "beyond a double.npy",
        Wrong(npy(np.where(holes(H, W), 77, 2**60)), r"the image has integers .+"),
    )
    yield "without it.png", Wrong(png(np.full((H, W), 7, np.uint8)), "no pixel is missing: none has the value 77")


def in_folders(**folders):
    return {f"{folder.replace('_', ' ')}/{name}": case for folder, cases in folders.items() for name, case in cases}


RIGHT = in_folders(by_mask=by_mask(), by_NaN=by_nan(), by_alpha=by_alpha(), by_value=by_value())
WRONG = in_folders(by_mask=by_spoilt_mask(), by_NaN=by_error(), by_value=by_strange_value())


def make(folder: Path):
    for name, case in [*RIGHT.items(), *WRONG.items()]:
        path, mask = folder / "images" / name, folder / "masks" / Path(name).parent
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(case.content)
        if case.mask is not None:
            mask.mkdir(parents=True, exist_ok=True)
            (mask / f"{path.stem}_mask.tif").write_bytes(case.mask)
