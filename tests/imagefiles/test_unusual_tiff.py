"""TIFF and EXIF data of unusual kinds, and of those that were made to do harm."""

import io
import struct
import tracemalloc

import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cogd import InputError
from csc_cogd.imagefiles import read_image
from tests.imagefiles.making import packed_tiff, peak_of, pillow, pixels_of, png, raw_directory, raw_tiff, rewritten, tiff

PIXELS = pixels_of(np.random.default_rng(12), (40, 48, 3))
EXIF, GPS, INTEROPERABILITY = 34665, 34853, 40965

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


def test_directories_of_exif_data_that_can_not_be_carried_over_to_tiff_are_named(tmp_path):
    head = b"II*\0" + struct.pack("<I", 8)
    for pointers, lost in (([(EXIF, 13, [0])], "EXIF"), ([(GPS, 4, [7]), (50000, 13, [8])], "GPS, tag 50000")):
        exif = head + raw_directory([(271, 2, b"Maker\0"), *pointers], 8)
        (tmp_path / "a.png").write_bytes(png(PIXELS, (b"eXIf", exif)))
        _, notes = rewritten(tmp_path / "a.png", tmp_path / "b.tif")
        assert notes == [f"directories of tags that are damaged or unknown aren't carried over: {lost}"]
        with tifffile.TiffFile(tmp_path / "b.tif") as opened:
            assert opened.pages[0].tags["Make"].value == "Maker"


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
    shape, color = ((3,), "rgb") if compression in ("png", "webp") else ((), "minisblack")
    small, large = (
        tiff(np.zeros((side, side, *shape), np.uint8), photometric=color, compression=compression, rowsperstrip=side)
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
