"""Image files as others write them."""

import io
import struct
import tracemalloc
import zipfile
import zlib

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from csc_cogd import InputError
from csc_cogd.imagefiles import create_images, find_missing, open_images
from csc_cogd.imagefiles.formats.png import SIGNATURE, insert_chunks


def rewritten(source, target, axes=None):
    """Read every page and write it again; the pages, and the notes."""
    with open_images(source, axes=axes) as reader, create_images(target, reader, overwrite=True) as writer:
        pages = []
        for page in reader:
            pages.append(page)
            writer.write(page)
    return pages, writer.notes


def missing_pixels(image, rules, **options):
    """What is missing or has some paint on it, and what each source says of it."""
    found = find_missing(image, rules, **options)
    return found.touched, found.sources


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


def claiming(n_bytes, **arrays):
    """An npz with another member that is said to have so many bytes."""
    stream = io.BytesIO(npz(**arrays))
    with zipfile.ZipFile(stream, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zeros.npy", npy(np.zeros(9)))
        file.getinfo("zeros.npy").file_size = n_bytes
    return stream.getvalue()


def unpacking_to_more(n_bytes, method, **arrays):
    """An npz whose members unpack to so many zeros more than they claim."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, array in arrays.items():
            content = npy(array)
            file.writestr(f"{name}.npy", content + bytes(n_bytes))
            member = file.getinfo(f"{name}.npy")
            member.file_size, member.CRC = len(content), zlib.crc32(content)
    return stream.getvalue()


def png(pixels, *chunks):
    return insert_chunks(imagecodecs.png_encode(pixels), list(chunks))


def packed_png(values, bits):
    """A gray PNG of fewer than 8 bits, a byte a row."""
    rows = b"".join(b"\0" + bytes([sum(int(v) << (8 - bits * (n + 1)) for n, v in enumerate(row))]) for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, 0, 0, 0, 0)
    return raw_png((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))


def interlaced_png(gray):
    """A gray PNG in Adam7's seven passes."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    parts = (gray[top::down, left::right] for top, left, down, right in passes)
    rows = b"".join(b"\0" + row.tobytes() for part in parts for row in part if row.size)
    header = struct.pack(">IIBBBBB", gray.shape[1], gray.shape[0], 8, 0, 0, 0, 1)
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


NUMBERS = {1: "B", 2: "B", 3: "H", 4: "I", 7: "B", 13: "I", 16: "Q", 18: "Q"}  # by TIFF's types


def raw_directory(tags, start, order="<", big=False):
    """A TIFF directory at an offset: tags (code, type, values); values that don't fit into it are behind it."""
    size, kind = (8, "Q") if big else (4, "I")
    count = struct.pack(f"{order}Q" if big else f"{order}H", len(tags))
    end = start + len(count) + len(tags) * (4 + 2 * size) + size
    entries, behind = b"", b""
    for code, type_, values in tags:
        packed = struct.pack(f"{order}{len(values)}{NUMBERS[type_]}", *values)
        entries += struct.pack(f"{order}HH{kind}", code, type_, len(values))
        if len(packed) > size:
            entries += struct.pack(f"{order}{kind}", end + len(behind))
            behind += packed
        else:
            entries += packed.ljust(size, b"\0")
    return count + entries + bytes(size) + behind


def raw_tiff(tags, data, order="<", big=False):
    """A TIFF of one page of these tags, whose pixels are `data`, in as many strips as tag 279 has values."""
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", 43 if big else 42)
    head += struct.pack(f"{order}HHQ", 8, 0, 16) if big else struct.pack(f"{order}I", 8)
    lengths = next((values for code, _, values in tags if code == 279), [len(data)])
    start = len(head) + len(raw_directory([*tags, (273, 4, lengths)], len(head), order, big))
    places = [start + sum(lengths[:strip]) for strip in range(len(lengths))]
    return head + raw_directory(sorted([*tags, (273, 4, places)]), len(head), order, big) + data


def packed_tiff(pixels, bits, *tags, photometric=1, planar=1):
    """A TIFF of unsigned samples (H, W) or (H, W, C) of so many bits, packed row by row."""
    planes = [pixels] if planar == 1 else list(np.moveaxis(pixels, -1, 0))
    strips = []
    for plane in planes:
        rows = ["".join(f"{value:0{bits}b}" for value in row.ravel().tolist()) for row in plane]
        strips.append(b"".join(int(row + "0" * (-len(row) % 8), 2).to_bytes(-(-len(row) // 8), "big") for row in rows))
    n_samples = 1 if pixels.ndim == 2 else pixels.shape[2]
    described = [
        (256, 4, [pixels.shape[1]]), (257, 4, [pixels.shape[0]]), (258, 3, [bits] * n_samples), (259, 3, [1]),
        (262, 3, [photometric]), (277, 3, [n_samples]), (278, 4, [pixels.shape[0]]), (279, 4, list(map(len, strips))),
        (284, 3, [planar]), *tags,
    ]  # fmt: skip
    return raw_tiff(described, b"".join(strips))


def peak_of(path, **options):
    """What reading the pages says, if anything, and the most memory that it takes in Python."""
    tracemalloc.start()
    try:
        with open_images(path, **options) as reader:
            for _ in reader:
                pass
        said = ""
    except InputError as error:
        said = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return said, peak
