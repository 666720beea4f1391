"""Image files as others write them."""

import io
import struct
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from csc_cogd.imagefiles import create_images, open_images
from csc_cogd.imagefiles.png import SIGNATURE, insert_chunks


def rewritten(source, target, axes=None):
    """Read every page and write it again; the pages, and the notes."""
    with open_images(source, axes=axes) as reader, create_images(target, reader, overwrite=True) as writer:
        pages = []
        for page in reader:
            pages.append(page)
            writer.write(page)
    return pages, writer.notes


def pixels_of(rng, shape, dtype="uint8"):
    if np.dtype(dtype).kind == "f":
        pixels = rng.standard_normal(shape).astype(dtype)
        pixels.flat[1] = np.nan
        return pixels
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


def tiff(pixels, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **{"metadata": None, **options})
    return stream.getvalue()


def pillow(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def png(pixels, *chunks):
    return insert_chunks(imagecodecs.png_encode(pixels), list(chunks))


def packed_png(values, bits):
    """A grey PNG of fewer than 8 bits, a byte a row."""
    rows = b"".join(b"\0" + bytes([sum(int(v) << (8 - bits * (n + 1)) for n, v in enumerate(row))]) for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    return raw_png((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def interlaced_png(grey):
    """A grey PNG in Adam7's seven passes."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = (grey[top::down, left::right] for top, left, down, right in passes)
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part if row.size)
    header = struct.pack(">IIBBBBB", grey.shape[1], grey.shape[0], 8, 0, 0, 0, 1)
    return raw_png((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def raw_png(*chunks):
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def exif():
    """EXIF data: a maker, a time of exposure, a maker's note, a place; turned by 90 degrees."""
    tags = Image.Exif()
    tags[0x010F], tags[0x0112], tags[0x0132] = "Maker", 6, "2020:01:01 00:00:00"
    tags.get_ifd(0x8769).update({0x829A: (1, 50), 0x927C: b"a maker's note"})
    tags.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    return tags.tobytes().removeprefix(b"Exif\0\0")
