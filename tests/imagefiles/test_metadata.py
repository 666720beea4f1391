import struct

import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cogd.imagefiles import ImageFile, open_images, read_image, write_image
from csc_cogd.imagefiles.formats.png import insert_chunks, read_chunks
from csc_cogd.imagefiles.image import INCH, Density
from tests.imagefiles.making import exif, packed_png, pillow, pixels_of, png, raw_png, rewritten

PROFILE = b"an ICC profile, in name only" * 4000  # more than one segment of a JPEG
XMP = b'<x:xmpmeta tiff:Orientation="6"/>'
PIXELS = pixels_of(np.random.default_rng(7), (16, 24, 3))


def source(tmp_path, kind):
    """A file of a kind with all that three formats have in common."""
    image = ImageFile(
        PIXELS, tmp_path / f"a.{kind}", "png", PROFILE, exif(), xmp=XMP, density=Density(300, 200, INCH)
    )  # fmt: skip
    write_image(image, image.path)
    return image.path


def tags_of(data):
    """EXIF tags of the image, of its exposure, and of its place."""
    tags = Image.Exif()
    tags.load(b"Exif\0\0" + data)
    pointers = (0x8769, 0x8825)
    return {code: value for code, value in tags.items() if code not in pointers}, *(
        dict(tags.get_ifd(code)) for code in pointers
    )


@pytest.mark.parametrize("first", ["png", "jpg", "tif"])
@pytest.mark.parametrize("second", ["png", "jpg", "tif"])
def test_what_formats_have_in_common_is_carried_over(tmp_path, first, second):
    image = read_image(source(tmp_path, first))
    write_image(image, tmp_path / f"b.{second}")
    again = read_image(tmp_path / f"b.{second}")
    turned = first != "tif"  # a TIFF's orientation is its own tag, which wasn't written for pixels that were upright
    assert again.pixels.shape == ((24, 16, 3) if turned else (16, 24, 3))
    assert again.icc_profile == PROFILE
    assert again.xmp == (XMP.replace(b"6", b"1") if turned else XMP)
    main, exposure, place = tags_of(again.exif)
    assert (main[0x010F], main[0x0132], main.get(0x0112, 1)) == ("Maker", "2020:01:01 00:00:00", 1)
    assert exposure == {0x829A: (1, 50), 0x927C: b"a maker's note"}
    assert place == {1: "N", 2: (1.0, 2.0, 3.0)}
    x, y, unit = again.density
    assert [float(x * INCH / unit), float(y * INCH / unit)] == pytest.approx([200, 300] if turned else [300, 200], abs=0.01)


def test_other_libraries_find_exif_in_our_tiff(tmp_path):
    with tifffile.TiffFile(source(tmp_path, "tif")) as opened:
        tags = opened.pages[0].tags
        assert tags["ExifTag"].value["ExposureTime"] == (1, 50)
        assert tags["GPSTag"].value["GPSLatitude"] == (1, 1, 2, 1, 3, 1)
        assert (tags["Make"].value, tags["InterColorProfile"].value) == ("Maker", PROFILE)
    with Image.open(tmp_path / "a.tif") as opened:
        assert opened.getexif().get_ifd(0x8769)[0x927C] == b"a maker's note"


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tags_of_every_page_come_back(tmp_path, order, bigtiff):
    plain = [
        (270, 2, 0, "ein schöner Scan".encode(), False), (271, 2, 0, "Maker", False), (305, 2, 0, "scanner", False),
        (306, 2, 0, "2001:01:01 10:00:00", False), (315, 2, 0, "Märta".encode("latin-1"), False),
        (700, 1, 5, b"<x/> ", False), (33432, 2, 0, "nobody", False), (33723, 7, 5, b"\x1c\x02abc", False),
        (33550, 12, 3, (1.0, 2.0, 0.0), False), (33922, 12, 6, (0.0, 0, 0, 1, 2, 3), False),
        (34735, 3, 4, (1, 1, 0, 0), False), (34737, 2, 0, "WGS 84|", False), (42112, 2, 0, "<GDALMetadata/>", False),
        (42113, 2, 0, "-9999", False), (51123, 2, 0, '{"Exposure": 3}', False), (65000, 5, 2, (1, 2, 3, 4), False),
        (65001, 10, 1, (-1, 2), False), (65002, 11, 2, (1.5, 2.5), False), (65003, 3, 1, 7, False),
        (65004, 8, 3, (-1, 0, 1), False), (65005, 7, 3, b"abc", False), (65006, 2, 0, "", False),
    ]  # fmt: skip
    with tifffile.TiffWriter(tmp_path / "a.tif", byteorder=order, bigtiff=bigtiff) as writer:
        for page in range(2):
            writer.write(
                PIXELS, photometric="rgb", metadata=None, software=False, extratags=[*plain, (65007, 4, 1, page, False)],
                resolution=((3000001, 10000), (72, 1)), resolutionunit="CENTIMETER", iccprofile=PROFILE,
            )  # fmt: skip
    _, notes = rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    assert notes == []
    with tifffile.TiffFile(tmp_path / "a.tif") as before, tifffile.TiffFile(tmp_path / "b.tif") as after:
        assert (after.byteorder, after.is_bigtiff) == (order, bigtiff)
        for was, now in zip(before.pages, after.pages, strict=True):
            assert was.tags.keys() == now.tags.keys()
            places = ("StripOffsets", "StripByteCounts", "RowsPerStrip")
            for tag in (tag for tag in was.tags if tag.name not in places):
                assert (now.tags[tag.code].value, now.tags[tag.code].dtype) == (tag.value, tag.dtype), tag.name


def test_chunks_of_a_png_come_back(tmp_path):
    before = [
        (b"gAMA", struct.pack(">I", 45455)), (b"cHRM", bytes(32)), (b"sRGB", b"\0"), (b"cICP", b"\1\2\3\4"),
        (b"pHYs", struct.pack(">IIB", 2, 1, 0)), (b"tEXt", b"Title\0x"), (b"prVt", b"private"),
        (b"tIME", b"\x07\xe4\1\1\0\0\0"), (b"sBIT", b"\5\6\5"), (b"bKGD", b"\0\1\0\2\0\3"),
    ]  # fmt: skip
    (tmp_path / "a.png").write_bytes(png(PIXELS, *before, (b"unSA", b"of the pixels")))
    _, notes = rewritten(tmp_path / "a.png", tmp_path / "b.png")
    assert notes == ["PNG chunks that may depend on the pixels aren't carried over: unSA"]
    chunks, _ = read_chunks((tmp_path / "b.png").read_bytes())
    assert set(before) == {chunk for chunk in chunks if chunk[0] not in (b"IHDR", b"IDAT", b"IEND")}
    _, notes = rewritten(tmp_path / "a.png", tmp_path / "b.tif")
    assert notes[1] == "bKGD, cHRM, cICP, gAMA, prVt, sBIT, sRGB, tIME, text aren't carried over from PNG to TIFF"


def test_significant_bits_and_background_of_a_png_are_those_of_its_widened_pixels(tmp_path):
    """A palette with an opacity, one bit of gray, and gray with one transparent value."""
    palette = Image.fromarray(PIXELS).quantize(4)
    table = np.array(palette.getpalette()[:12]).reshape(4, 3)
    content = insert_chunks(pillow(palette, "PNG", transparency=1), [(b"sBIT", b"\5\6\5")])
    at = content.index(b"IDAT") - 4
    cases = {
        "palette": (
            content[:at] + raw_png((b"bKGD", b"\2"))[8:] + content[at:],
            b"\5\6\5\x08",
            struct.pack(">3H", *table[2]),
        ),
        "bilevel": (
            insert_chunks(packed_png(np.tile(np.arange(8) % 2, (2, 1)), 1), [(b"sBIT", b"\1"), (b"bKGD", b"\0\1")]),
            b"\1",
            b"\0\xff",
        ),
        "transparent gray": (
            png(PIXELS[..., 0].copy(), (b"sBIT", b"\7"), (b"bKGD", b"\0\x55"), (b"tRNS", b"\0\1")),
            b"\7\x08",
            b"\0\x55",
        ),
    }
    for name, (before, bits, background) in cases.items():
        (tmp_path / "a.png").write_bytes(before)
        _, notes = rewritten(tmp_path / "a.png", tmp_path / "b.png")
        chunks = dict(read_chunks((tmp_path / "b.png").read_bytes())[0])
        assert (notes, chunks[b"sBIT"], chunks[b"bKGD"]) == ([], bits, background), name
    (tmp_path / "a.png").write_bytes(png(PIXELS, (b"sBIT", b"\5"), (b"hIST", bytes(4))))
    _, notes = rewritten(tmp_path / "a.png", tmp_path / "b.png")
    assert notes == [
        "the damaged PNG chunk sBIT isn't carried over",
        "PNG chunks that may depend on the pixels aren't carried over: hIST",
    ]


def test_damaged_chunks_do_not_cost_the_pixels(tmp_path):
    content = bytearray(png(PIXELS, (b"tEXt", b"Title\0x"), (b"iCCP", b"name\0\0no zlib")))
    content[content.index(b"Title")] ^= 1
    (tmp_path / "a.png").write_bytes(content)
    (image,), notes = rewritten(tmp_path / "a.png", tmp_path / "b.png")
    np.testing.assert_array_equal(image.pixels, PIXELS)
    assert notes == ["the damaged PNG chunk tEXt isn't carried over", "the damaged PNG chunk iCCP isn't carried over"]


def test_exif_that_older_programs_hid_in_text_is_found(tmp_path):
    data = b"Exif\0\0" + exif()
    text = b"Raw profile type exif\0\nexif\n%8d\n" % len(data) + data.hex().encode() + b"\n"
    (tmp_path / "a.png").write_bytes(png(PIXELS, (b"tEXt", text)))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.pixels, np.rot90(PIXELS, -1))
    assert tags_of(image.exif)[0][0x010F] == "Maker"


@pytest.mark.parametrize(
    "options", [{"quality": 61, "subsampling": 2}, {"quality": 30, "subsampling": 1, "progressive": True}]
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_is_coded_as_finely_as_it_was(tmp_path, options, mode):
    picture = Image.fromarray(PIXELS).convert(mode)
    (tmp_path / "a.jpg").write_bytes(pillow(picture, "JPEG", comment=b"a comment", dpi=(72, 36), **options))
    rewritten(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "a.jpg") as before, Image.open(tmp_path / "b.jpg") as after:
        assert after.quantization == before.quantization
        assert mode == "L" or after.layer == before.layer  # the sampling
        assert after.info.get("progressive") == before.info.get("progressive") == options.get("progressive", None)
        assert after.info["comment"] == b"a comment"
        assert after.info["dpi"] == (72, 36)


def test_what_does_not_fit_into_a_segment_of_a_jpeg_is_named(tmp_path):
    image = ImageFile(PIXELS, tmp_path / "a.png", "png", xmp=bytes(70000))
    assert "the XMP data are too large for JPEG and aren't carried over" in write_image(image, tmp_path / "b.jpg")
    assert read_image(tmp_path / "b.jpg").xmp is None


def test_what_arrays_can_not_hold_is_named(tmp_path):
    _, notes = rewritten(source(tmp_path, "png"), tmp_path / "b.npy")
    assert notes == ["the ICC profile, EXIF data, XMP data, the resolution aren't carried over from PNG to NPY"]


def test_reduced_copies_are_left_out_and_named(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(PIXELS, subifds=1, photometric="rgb", metadata=None)
        writer.write(PIXELS[::2, ::2], subfiletype=1, photometric="rgb", metadata=None)
        writer.write(PIXELS[::4, ::4], subfiletype=1, photometric="rgb", metadata=None)
    with open_images(tmp_path / "a.tif") as reader:
        assert len(reader) == 1
        notes = " ".join(reader.read(0).notes)
    assert "1 reduced copies or masks" in notes
    assert "SubIFDs" in notes


def test_a_resolution_that_only_exif_tells_is_found_by_readers_of_tiff(tmp_path):
    tags = Image.Exif()
    tags[0x011A], tags[0x011B], tags[0x0128], tags[0x0213] = 300.0, 200.0, 2, 1
    image = ImageFile(PIXELS, tmp_path / "a.jpg", "jpeg", exif=tags.tobytes())
    write_image(image, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as opened:
        assert opened.pages[0].get_resolution("inch") == (300, 200)
        assert 0x0213 not in opened.pages[0].tags  # YCbCrPositioning


def test_a_channel_that_png_takes_for_opacity_is_named(tmp_path):
    np.save(tmp_path / "a.npy", PIXELS[..., :2])
    assert rewritten(tmp_path / "a.npy", tmp_path / "b.png")[1] == ["the last channel means opacity in PNG"]


@pytest.mark.parametrize("suffix", [".tif", ".jpg"])
def test_a_description_is_kept_beside_the_one_that_tifffile_writes_for_itself(tmp_path, suffix):
    tifffile.imwrite(tmp_path / "a.tif", PIXELS.astype(np.uint8), photometric="rgb", description="Grandma 1931")
    image = read_image(tmp_path / "a.tif")
    write_image(image, tmp_path / f"b{suffix}")
    if suffix == ".jpg":
        with Image.open(tmp_path / "b.jpg") as picture:
            assert picture.getexif()[270] == "Grandma 1931"
    else:
        with tifffile.TiffFile(tmp_path / "b.tif") as file:
            assert file.pages[0].description == "Grandma 1931"
            assert file.series[0].shape == PIXELS.shape
