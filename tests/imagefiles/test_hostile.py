"""Files that were made to do harm, or that change while they are read: they cost nothing but themselves."""

import io
import os
import struct
import tracemalloc
import zipfile
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cogd import InputError
from csc_cogd.batch import restore_batch
from csc_cogd.imagefiles import MaskRules, missing_pixels, open_images, read_image
from tests.imagefiles.making import (
    claiming,
    npy,
    npz,
    packed_tiff,
    pillow,
    pixels_of,
    png,
    raw_directory,
    raw_png,
    raw_tiff,
    rewritten,
    tiff,
)

PIXELS = pixels_of(np.random.default_rng(12), (40, 48, 3))
STACK = pixels_of(np.random.default_rng(13), (4, 60, 50))
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965


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


# -- files that are cut short while they are read ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "axes"),
    [
        (npy(STACK), "NYX"), (npy(np.moveaxis(STACK, 0, -1)), "YXN"), (npy(np.asfortranarray(STACK)), "NYX"),
        (tiff(STACK, photometric="minisblack"), None), (npz(a=STACK), "NYX"),
    ],
    ids=["pages", "scattered", "Fortran's order", "TIFF", "npz"],
)  # fmt: skip
def test_a_file_that_is_cut_short_meanwhile_is_an_error_of_its_own(tmp_path, content, axes):
    path = tmp_path / "a"
    path.write_bytes(content)
    with open_images(path, axes=axes) as reader:
        if axes:
            os.truncate(path, 200)
        else:
            reader.read(0)
            os.truncate(path, len(content) // 2)
        with pytest.raises(InputError, match=r"a: damaged .*(ends too early|end of|[Tt]runcated|Bad magic)"):
            reader.read(3)


def test_a_mask_that_is_cut_short_meanwhile_is_an_error_of_its_own(tmp_path):
    np.save(tmp_path / "image.npy", STACK)
    np.save(tmp_path / "mask.npy", STACK > 200)
    rules = MaskRules(tmp_path / "mask.npy")
    with (
        open_images(tmp_path / "image.npy", axes="NYX") as images,
        open_images(tmp_path / "mask.npy", template=images.peek()) as masks,
    ):
        missing_pixels(images.read(0), rules, n_pages=4, masks=masks)
        os.truncate(tmp_path / "mask.npy", 200)
        with pytest.raises(InputError, match=r"mask\.npy: damaged .*ends too early"):
            missing_pixels(images.read(1), rules, page=1, n_pages=4, masks=masks)


def test_in_a_batch_it_costs_only_its_own_result(tmp_path):
    pixels = np.where(STACK > 250, np.nan, STACK.astype(np.float32))
    for name in ("a.npy", "b.npy"):
        np.save(tmp_path / name, pixels)

    def cut(progress):
        if (tmp_path / "a.npy").stat().st_size > 200:
            os.truncate(tmp_path / "a.npy", 200)

    options = {"axes": "NYX", "effort": "fast", "max_iter": 1, "device": "cpu", "callback": cut}
    a, b = restore_batch(tmp_path, tmp_path / "out", **options)
    assert (a.status, b.status) == ("failed", "done")
    assert "a.npy: damaged or unsupported NPY: the file ends too early" in a.error
    assert [path.name for path in (tmp_path / "out").iterdir() if not path.is_dir()] == ["b.npy"]


@pytest.mark.parametrize(
    ("shape", "axes", "order"),
    [
        ((700, 3, 9000), "YNX", "C"), ((3, 700, 9000), "NYX", "C"), ((700, 9000, 3), "YXN", "C"),
        ((700, 3, 9000), "YNX", "F"), ((3, 700, 9000), "NYX", "F"),
    ],
)  # fmt: skip
def test_large_arrays_are_read_and_written_in_pieces(tmp_path, rng, shape, axes, order):
    array = np.frombuffer(rng.bytes(int(np.prod(shape))), np.uint8).reshape(shape, order=order)
    np.save(tmp_path / "a.npy", array)
    rewritten(tmp_path / "a.npy", tmp_path / "b.npy", axes)
    assert (tmp_path / "a.npy").read_bytes() == (tmp_path / "b.npy").read_bytes()


# -- PNG -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("large_last", [False, True])
def test_a_png_has_one_header(tmp_path, interlaced, large_last):
    headers = [struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, interlaced) for side in (8, 50_000)]
    headers = headers if large_last else headers[::-1]
    data = zlib.compress(bytes(2**24))
    path = tmp_path / "a.png"
    path.write_bytes(raw_png((b"IHDR", headers[0]), (b"IHDR", headers[1]), (b"IDAT", data), (b"IEND", b"")))
    said, peak = peak_of(path)
    assert "a.png: damaged or unsupported PNG: it doesn't begin with one header" in said
    assert peak < 2**24


GREY_ROWS = b"".join(b"\0" + bytes(range(8)) for _ in range(8))
GREY = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
INDEXED = struct.pack(">IIBBBBB", 8, 8, 8, 3, 0, 0, 0)
RGBA = struct.pack(">IIBBBBB", 2, 8, 8, 6, 0, 0, 0)
MORE = "what is behind the pixels in the PNG's data isn't carried over"
CLEAR = "the damaged PNG chunk tRNS isn't carried over"


@pytest.mark.parametrize(
    ("chunks", "notes"),
    [
        ([(b"IHDR", GREY), (b"IDAT", zlib.compress(GREY_ROWS + b"more"))], [MORE]),
        ([(b"IHDR", GREY), (b"IDAT", zlib.compress(GREY_ROWS) + b"more")], [MORE]),
        ([(b"IHDR", GREY), (b"IDAT", zlib.compress(GREY_ROWS)), (b"IDAT", b"more")], [MORE]),
        ([(b"IHDR", GREY), (b"PLTE", bytes(9)), (b"IDAT", zlib.compress(GREY_ROWS))], []),
        ([(b"IHDR", GREY), (b"tRNS", bytes(5)), (b"IDAT", zlib.compress(GREY_ROWS))], [CLEAR]),
        ([(b"IHDR", RGBA), (b"tRNS", bytes(6)), (b"IDAT", zlib.compress(GREY_ROWS))], [CLEAR]),
        ([(b"IHDR", INDEXED), (b"PLTE", bytes(24)), (b"tRNS", bytes(9)), (b"IDAT", zlib.compress(GREY_ROWS))], [CLEAR]),
        ([(b"IHDR", INDEXED), (b"tRNS", bytes(2)), (b"PLTE", bytes(24)), (b"IDAT", zlib.compress(GREY_ROWS))], []),
    ],
    ids=["data", "compressed data", "chunk", "palette", "opacity", "two opacities", "long opacity", "opacity first"],
)
def test_what_libpng_would_warn_of_is_a_note_and_not_printed(tmp_path, capfd, chunks, notes):
    (tmp_path / "a.png").write_bytes(raw_png(*chunks, (b"IEND", b"")))
    image = read_image(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")
    assert list(image.notes) == notes
    shown = image.pixels if image.pixels.ndim == 2 else image.pixels.reshape(8, -1)
    if chunks[0] == (b"IHDR", INDEXED):
        assert not image.colors.any()
    else:
        np.testing.assert_array_equal(shown, np.tile(np.arange(8, dtype=np.uint8), (8, 1)))


@pytest.mark.parametrize("change", [{0: 0}, {0: 2**31 - 1}, {2: 3}, {2: 32}, {3: 1}, {3: 9}, {4: 1}, {5: 1}, {6: 2}])
def test_headers_that_libpng_would_warn_of_are_refused_in_words(tmp_path, capfd, change):
    values = [change.get(place, value) for place, value in enumerate((8, 8, 8, 0, 0, 0, 0))]
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", *values)), (b"IDAT", zlib.compress(GREY_ROWS)), (b"IEND", b""))
    (tmp_path / "a.png").write_bytes(raw_png(*chunks))
    with pytest.raises(
        InputError, match=r"a\.png: damaged .*(pixels of an unknown kind|can't be read: 1 to 1000000 a side)"
    ):
        read_image(tmp_path / "a.png")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(), (2,), (3,), (4,)])
def test_narrow_png_come_back(tmp_path, rng, width, shape):
    for dtype in ("uint8", "uint16"):
        pixels = pixels_of(rng, (2000, width, *shape), dtype)
        np.save(tmp_path / "a.npy", pixels)
        rewritten(tmp_path / "a.npy", tmp_path / "b.png", "YXC" if shape else "YX")
        np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "b.png").read_bytes()), pixels)


# -- JPEG ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stray", [b"stray", b"\0", b"\xff\0", b"a\xff\xff\xff", b"\xff\xd0", b"\xff\x01b"])
def test_bytes_between_the_segments_of_a_jpeg_do_not_matter(tmp_path, stray):
    content = pillow(Image.fromarray(PIXELS), "JPEG", comment=b"hello")
    shown = np.asarray(Image.open(io.BytesIO(content)))
    for marker in (b"\xff\xdb", b"\xff\xc0", b"\xff\xc4", b"\xff\xda"):
        (tmp_path / "a.jpg").write_bytes(content.replace(marker, stray + marker, 1))
        image = read_image(tmp_path / "a.jpg")
        np.testing.assert_array_equal(image.pixels, shown)
        rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg")
        with Image.open(tmp_path / "b.jpg") as picture:
            assert picture.info["comment"] == b"hello"


def test_a_jpeg_of_endless_scans_is_refused(tmp_path):
    content = pillow(Image.fromarray(PIXELS[..., 0]), "JPEG", progressive=True)
    empty = b"\xff\xda\0\x08\x01\x01\0\x01\x3f\x10"
    (tmp_path / "a.jpg").write_bytes(content[:-2] + 1000 * empty + content[-2:])
    with pytest.raises(InputError, match=r"its pixels are in 10\d\d scans"):
        read_image(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").write_bytes(content + 1000 * empty)  # behind its end, nobody decodes them
    assert read_image(tmp_path / "a.jpg").pixels.shape == (40, 48)


# -- TIFF and EXIF -------------------------------------------------------------------------------------------------------

PAGE = [
    (256, 3, [8]),
    (257, 3, [8]),
    (258, 3, [8]),
    (259, 3, [1]),
    (262, 3, [1]),
    (277, 3, [1]),
    (278, 3, [8]),
    (279, 3, [64]),
]


def test_tags_that_are_larger_than_their_file_are_refused(tmp_path):
    """A megabyte of zeros, which a thousand tags call theirs: each alone could be true."""
    count = 2**20
    tags = [(32768 + code, 7, [0] * 5) for code in range(1000)]
    content = bytearray(raw_tiff([*PAGE, *tags], bytes(64)) + bytes(count))
    for code, _, _ in tags:
        at = content.index(struct.pack("<HHI", code, 7, 5))
        struct.pack_into("<II", content, at + 4, count, len(content) - count)
    (tmp_path / "a.tif").write_bytes(content)
    said, peak = peak_of(tmp_path / "a.tif")
    assert "its tags are larger than the file" in said
    assert peak < 8 * count


def pointers_to_pointers(order="<"):
    """EXIF data whose directories point to directories, each by a thousand pointers: a billion of them."""
    start, size = 8, 2 + 12 * 3000 + 4
    levels = [
        raw_directory([(code, 4, [start + (level + 1) * size])] * 1000, 0)[2:-4]
        for level in range(3)
        for code in (EXIF, GPS, INTEROPERABILITY)
    ]
    directories = [struct.pack("<H", 3000) + b"".join(levels[3 * n : 3 * n + 3]) + bytes(4) for n in range(3)]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(directories) + raw_directory([(36864, 7, b"0230")], start + 3 * size)


@pytest.mark.parametrize("kind", ["png", "jpeg", "tiff"])
def test_directories_that_point_to_each_other_without_end_are_read_soon(tmp_path, kind):
    exif = pointers_to_pointers()
    source = tmp_path / f"a.{kind}"
    if kind == "png":
        source.write_bytes(png(PIXELS, (b"eXIf", exif)))
    elif kind == "jpeg":
        exif = exif[: 2**15]
        source.write_bytes(pillow(Image.fromarray(PIXELS), "JPEG", exif=b"Exif\0\0" + exif))
    else:
        content = raw_tiff([*PAGE, (EXIF, 4, [0])], bytes(64))
        content += bytes(len(content) % 2)
        nested = raw_directory([(code, 4, [len(content)]) for code in 1000 * [EXIF, GPS, INTEROPERABILITY]], len(content))
        at = content.index(struct.pack("<HHI", EXIF, 4, 1))
        source.write_bytes(content[: at + 8] + struct.pack("<I", len(content)) + content[at + 12 :] + nested)
    tracemalloc.start()
    rewritten(source, tmp_path / "b.tif")
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()
    assert (tmp_path / "b.tif").stat().st_size < 2**20


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_behind_a_pointer_of_the_type_of_pointers_is_carried_over(tmp_path, big, order):
    kind = 18 if big else 13
    content = raw_tiff([*PAGE, (EXIF, kind, [0]), (GPS, kind, [0])], bytes(64), order, big)
    exif = raw_directory([(36867, 2, b"2020:01:01 00:00:00\0"), (42033, 2, b"No. 5\0")], len(content), order, big)
    gps = raw_directory([(29, 2, b"2020:01:01\0")], len(content) + len(exif), order, big)
    for code, place in ((EXIF, len(content)), (GPS, len(content) + len(exif))):
        entry = struct.pack(f"{order}HH{'Q' if big else 'I'}", code, kind, 1)
        content = content.replace(
            entry + struct.pack(f"{order}{'Q' if big else 'I'}", 0),
            entry + struct.pack(f"{order}{'Q' if big else 'I'}", place),
        )
    (tmp_path / "a.tif").write_bytes(content + exif + gps)
    assert [rewritten(tmp_path / "a.tif", tmp_path / f"b{suffix}")[1] for suffix in (".tif", ".png")] == [[], []]
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        tags = opened.pages[0].tags
        assert tags[EXIF].value == {"DateTimeOriginal": "2020:01:01 00:00:00", "BodySerialNumber": "No. 5"}
        assert tags[GPS].value == {"GPSDateStamp": "2020:01:01"}
    with Image.open(tmp_path / "b.png") as picture:
        assert picture.getexif().get_ifd(EXIF) == {36867: "2020:01:01 00:00:00", 42033: "No. 5"}
        assert picture.getexif().get_ifd(GPS) == {29: "2020:01:01"}


def test_directories_that_can_not_be_carried_over_are_named(tmp_path):
    content = raw_tiff([*PAGE, (EXIF, 13, [2**31]), (GPS, 4, [2**31]), (50000, 13, [8])], bytes(64))
    (tmp_path / "a.tif").write_bytes(content)
    _, notes = rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    assert notes == ["directories of tags that are damaged or unknown aren't carried over: EXIF, GPS, tag 50000"]
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert not {EXIF, GPS, 50000} & {tag.code for tag in opened.pages[0].tags}


@pytest.mark.parametrize("photometric", [0, 1])
@pytest.mark.parametrize("bits", range(1, 9))
def test_samples_of_few_bits_are_scaled_exactly(tmp_path, bits, photometric):
    values = np.arange(2**bits).reshape(2, -1)
    (tmp_path / "a.tif").write_bytes(packed_tiff(values, bits, photometric=photometric))
    shown = [round(255 * value / (2**bits - 1)) for value in range(2**bits)]
    shown = np.array(shown, np.uint8).reshape(2, -1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, shown if photometric else 255 - shown)


def test_samples_of_uneven_bits_are_refused_in_words(tmp_path):
    tags = [tag for tag in PAGE if tag[0] not in (258, 262, 277)]
    tags += [(258, 3, [5, 6, 5]), (262, 3, [2]), (277, 3, [3])]
    (tmp_path / "a.tif").write_bytes(raw_tiff(tags, bytes(128)))
    with pytest.raises(InputError, match="samples of 5, 6, 5 bits aren't supported: convert"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("planar", [1, 2])
@pytest.mark.parametrize(("bits", "deep"), [(8, False), (4, False), (8, True), (4, True)])
@pytest.mark.parametrize("kind", [0, 2])
def test_a_palette_beside_other_samples_is_looked_up(tmp_path, rng, planar, bits, deep, kind):
    table = rng.integers(0, 2**16, (3, 2**bits)) if deep else rng.integers(0, 2**8, (3, 2**bits)) * 257
    pixels = rng.integers(0, 2**bits, (6, 8, 2))
    tags = (320, 3, table.ravel().tolist()), (338, 3, [kind])
    (tmp_path / "a.tif").write_bytes(packed_tiff(pixels, bits, *tags, photometric=3, planar=planar))
    (image,), notes = rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    white, most = (65535, 2**bits - 1) if deep else (255, 2**bits - 1)
    expected = np.dstack(
        [table[:, pixels[..., 0]].transpose(1, 2, 0) // (1 if deep else 257), pixels[..., 1] * white // most]
    )
    np.testing.assert_array_equal(image.pixels, expected)
    assert (image.has_alpha, image.pixels.dtype, notes) == (kind == 2, "uint16" if deep else "uint8", [])
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        page = opened.pages[0]
        assert (page.photometric, page.extrasamples) == (2, (kind,))


def test_extra_samples_of_an_unknown_kind_are_kept_and_named(tmp_path, rng):
    pixels = rng.integers(0, 256, (6, 8, 2))
    (tmp_path / "a.tif").write_bytes(packed_tiff(pixels, 8, (338, 3, [999])))
    _, notes = rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    assert notes == ["extra samples of the unknown kind 999 are taken for unspecified ones"]
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), pixels)


@pytest.mark.parametrize("compression", ["jpeg", "jpeg2000", "jpegxl", "png", "webp", "lerc"])
def test_a_tile_that_unpacks_to_more_than_a_tile_is_refused(tmp_path, compression):
    shape, colour = ((3,), "rgb") if compression in ("png", "webp") else ((), "minisblack")
    small, large = (
        tiff(np.zeros((side, side, *shape), np.uint8), photometric=colour, compression=compression, rowsperstrip=side)
        for side in (64, 2048)
    )
    with tifffile.TiffFile(io.BytesIO(large)) as opened:
        page = opened.pages[0]
        strip = large[page.dataoffsets[0] : page.dataoffsets[0] + page.databytecounts[0]]
    with tifffile.TiffFile(io.BytesIO(small)) as opened:
        places = {name: opened.pages[0].tags[name].valueoffset for name in ("StripOffsets", "StripByteCounts")}
    (tmp_path / "a.tif").write_bytes(small)
    assert read_image(tmp_path / "a.tif").pixels.shape[:2] == (64, 64)
    content = bytearray(small + strip)
    for name, value in (("StripOffsets", len(small)), ("StripByteCounts", len(strip))):
        form = "<I" if name == "StripOffsets" or struct.unpack_from("<H", content, places[name] - 6)[0] == 4 else "<H"
        struct.pack_into(form, content, places[name], value)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(InputError, match=r"a strip or tile claims \d+ pixels"):
        read_image(tmp_path / "a.tif")


def test_a_compression_that_can_not_be_checked_is_refused_in_words(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(PIXELS, photometric="rgb", compression="jpegxr"))
    with pytest.raises(InputError, match="TIFF compression JPEGXR isn't supported: save it with another, such as deflate"):
        read_image(tmp_path / "a.tif")


# -- NPY and NPZ ---------------------------------------------------------------------------------------------------------


def test_other_arrays_of_an_npz_may_not_unpack_to_gigabytes(tmp_path):
    (tmp_path / "a.npz").write_bytes(claiming(2**30 + 2**24, image=PIXELS))
    with pytest.raises(InputError, match=r"a\.npz: claims arrays of 1\.1 GB, in a file of \d+ bytes"):
        open_images(tmp_path / "a.npz")


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (10**9, 4)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 1000000000000)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999, 0)}",
        f"{'(' * 5000}{')' * 5000}",
        f"{'-' * 9000}1",
        "{'descr': 'what', 'fortran_order': False, 'shape': (4, 4)}",
        "{'descr': '|S9999999', 'fortran_order': False, 'shape': (4, 4)}",
        "1l",
        "[",
    ],
    ids=["negative", "computed", "huge", "empty", "brackets", "signs", "type", "texts", "Python 2", "half"],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_headers_of_nonsense_are_refused(tmp_path, header, kind):
    text = header.encode() + b"\n"
    content = b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text + bytes(64)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content)
    if kind == "npz":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("image.npy", content)
    with pytest.raises(InputError, match=rf"^\S+a\.{kind}: [^\n]+$"):
        read_image(path)
