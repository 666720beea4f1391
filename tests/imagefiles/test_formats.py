"""Every kind of file comes back bit for bit, or is refused in one line."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cogd import InputError
from csc_cogd.imagefiles import ImageFile, check_output, open_images, read_image, true_suffix, write_image
from tests.imagefiles.making import interlaced_png, npy, npz, packed_png, pillow, pixels_of, png, rewritten, tiff

RNG = np.random.default_rng(5)
GRAY, RGB, RGBA = (pixels_of(RNG, shape) for shape in ((9, 7), (9, 7, 3), (9, 7, 4)))
DEEP = pixels_of(RNG, (9, 7, 3), "uint16")
WIDE = pixels_of(RNG, (33, 40))

TIFFS = {
    **{name: tiff(pixels_of(RNG, (9, 7), name)) for name in ("int8", "int16", "uint32", "int64", "float16", "float64")},
    "white is zero": tiff(GRAY, photometric="miniswhite"),
    "white is zero, 16 bits, big-endian": tiff(DEEP[..., 0], photometric="miniswhite", byteorder=">"),
    "color in strips": tiff(RGB, photometric="rgb", rowsperstrip=2, compression="lzw", predictor=2),
    "color in planes": tiff(np.moveaxis(RGB, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib"),
    "opacity": tiff(RGBA, photometric="rgb", extrasamples=["unassalpha"]),
    "four channels without opacity": tiff(RGBA, photometric="rgb", extrasamples=["unspecified"]),
    "hyperspectral": tiff(pixels_of(RNG, (9, 7, 30), "float32"), photometric="minisblack", planarconfig="contig"),
    "hyperspectral in planes": tiff(pixels_of(RNG, (30, 9, 7)), photometric="minisblack", planarconfig="separate"),
    "BigTIFF in tiles": tiff(WIDE, tile=(16, 16), bigtiff=True, compression="zstd"),
    "float predictor": tiff(pixels_of(RNG, (9, 7), "float32"), compression="zlib", predictor=3),
    "packbits": tiff(GRAY, compression="packbits"),
    "lzma": tiff(GRAY, compression="lzma"),
    "1 x 1": tiff(GRAY[:1, :1]),
    "1 x 5000": tiff(pixels_of(RNG, (1, 5000))),
    "JPEG": tiff(np.zeros((16, 16, 3), np.uint8) + 90, photometric="rgb", compression="jpeg"),
    "JPEG XL": tiff(RGB, photometric="rgb", compression="jpegxl"),
    "stack": tiff(pixels_of(RNG, (5, 9, 7)), photometric="minisblack"),
    "ImageJ's stack": tiff(pixels_of(RNG, (5, 9, 7)), imagej=True, metadata={"axes": "ZYX"}),
    "OME": tiff(pixels_of(RNG, (5, 9, 7)), ome=True, photometric="minisblack", metadata={}),
}  # fmt: skip


def pages_of(path):
    with tifffile.TiffFile(path) as opened:
        return [
            (page.asarray(), page.photometric, page.planarconfig, page.extrasamples, page.tile, page.predictor)
            for page in opened.pages
        ], (opened.byteorder, opened.is_bigtiff)


@pytest.mark.parametrize("content", TIFFS.values(), ids=TIFFS)
def test_tiffs_come_back_as_they_were_stored(tmp_path, content):
    (tmp_path / "a.tif").write_bytes(content)
    _, notes = rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    assert notes == []
    (before, kind), (after, kind_after) = pages_of(tmp_path / "a.tif"), pages_of(tmp_path / "b.tif")
    assert kind == kind_after
    assert len(before) == len(after)
    for was, now in zip(before, after, strict=True):
        np.testing.assert_array_equal(was[0], now[0], strict=True)
        if was[1] != tifffile.PHOTOMETRIC.YCBCR:
            assert was[1:] == now[1:]


@pytest.mark.parametrize("compression", ["lzw", "zlib", "packbits", "lzma", "zstd", "jpegxl"])
def test_lossless_compression_that_can_be_written_is_kept(tmp_path, compression):
    (tmp_path / "a.tif").write_bytes(tiff(GRAY, compression=compression))
    rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as before, tifffile.TiffFile(tmp_path / "b.tif") as after:
        kept = compression != "jpegxl"
        assert after.pages[0].compression == (before.pages[0].compression if kept else tifffile.COMPRESSION.ADOBE_DEFLATE)


def test_white_that_is_zero_is_shown_as_white(tmp_path):
    (tmp_path / "a.tif").write_bytes(TIFFS["white is zero"])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, 255 - GRAY)


def shown_tiffs():
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    bits, fine = GRAY > 99, RNG.integers(0, 65536, (3, 256)).astype(np.uint16)
    yield "bilevel", tiff(bits, photometric="minisblack"), bits * np.uint8(255)
    yield "bilevel, white is zero", tiff(bits, photometric="miniswhite"), ~bits * np.uint8(255)
    yield "fax", pillow(Image.fromarray(bits), "TIFF", compression="group4"), bits * np.uint8(255)
    for name, colors, expected in (
        ("8", table * 257, table.astype("u1")),
        ("16", fine, fine),
        ("low", table, table.astype("u1")),
    ):
        yield f"palette of {name}", tiff(GRAY, photometric="palette", colormap=colors), expected.T[GRAY]
    yield "12 bits", tiff(GRAY.astype("u2") * 16, bitspersample=12), GRAY.astype("u2") * 16


def shown_pngs():
    bits = GRAY > 99
    palette = Image.fromarray(RGB).quantize(16)
    see_through = np.asarray(palette)[..., None] != 3
    rgb = np.asarray(palette.convert("RGB"))
    yield "bilevel", pillow(Image.fromarray(bits), "PNG"), bits * np.uint8(255)
    yield "palette", pillow(palette, "PNG"), rgb
    yield "palette with a transparent color", pillow(palette, "PNG", transparency=3), np.dstack([rgb, see_through * 255])
    yield "2 bits", packed_png(GRAY[:, :4] // 64, 2), GRAY[:, :4] // 64 * 85
    yield "4 bits", packed_png(GRAY[:, :2] // 16, 4), GRAY[:, :2] // 16 * 17
    yield "interlaced", interlaced_png(GRAY), GRAY
    yield "1 x 5000", png(pixels := pixels_of(RNG, (1, 5000))), pixels
    yield "16 bits in color", png(DEEP), DEEP


@pytest.mark.parametrize(
    ("content", "expected"), [pytest.param(*case[1:], id=case[0]) for case in (*shown_tiffs(), *shown_pngs())]
)
def test_images_are_read_as_what_they_show(tmp_path, content, expected):
    path = tmp_path / "any.image"
    path.write_bytes(content)
    image = read_image(path)
    np.testing.assert_array_equal(image.pixels, expected)
    write_image(image, tmp_path / f"b.{image.format}")
    np.testing.assert_array_equal(read_image(tmp_path / f"b.{image.format}").pixels, expected)


ORDERS = {
    "fortran": np.asfortranarray(pixels_of(RNG, (9, 7, 3), "float32")),
    "big-endian": pixels_of(RNG, (9, 7), "float64").astype(">f8"),
    "bool": GRAY > 99,
}


@pytest.mark.parametrize("array", ORDERS.values(), ids=ORDERS)
def test_npy_files_come_back_byte_for_byte(tmp_path, array):
    (tmp_path / "a.npy").write_bytes(npy(array))
    (image,), notes = rewritten(tmp_path / "a.npy", tmp_path / "b.npy")
    assert notes == []
    assert image.pixels.dtype.isnative
    assert (tmp_path / "b.npy").read_bytes() == (tmp_path / "a.npy").read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "suffix"),
    [
        ("a.png", png(GRAY), ".png"), ("a.jpg", png(GRAY), ".png"),
        ("a.JPEG", pillow(Image.fromarray(RGB), "JPEG"), ".JPEG"),
        ("a.png", TIFFS["stack"], ".tif"), ("a", npy(GRAY), ".npy"), ("a.npy", npz(a=GRAY), ".npz"),
        ("a.txt", pillow(Image.fromarray(RGB), "JPEG"), ".jpg"),
    ],
)  # fmt: skip
def test_the_suffix_follows_the_content(tmp_path, name, content, suffix):
    (tmp_path / name).write_bytes(content)
    assert true_suffix(tmp_path / name) == suffix


@pytest.mark.parametrize("name", ["ein schönes Bild, 写真.png", "x" * 196 + ".tif", "a b'c\"d.npy"])
def test_names_of_all_kinds(tmp_path, name):
    image = ImageFile(GRAY, tmp_path / "source.png", "png")
    write_image(image, tmp_path / name)
    np.testing.assert_array_equal(read_image(tmp_path / name).pixels, GRAY)


def test_a_large_stack_becomes_a_bigtiff(tmp_path, monkeypatch):
    monkeypatch.setattr("csc_cogd.imagefiles.formats.tiff._CLASSIC", 300)
    (tmp_path / "a.tif").write_bytes(TIFFS["stack"])
    rewritten(tmp_path / "a.tif", tmp_path / "b.tif")
    assert pages_of(tmp_path / "b.tif")[1] == ("<", True)


def test_formats_of_one_page_are_refused_early(tmp_path):
    (tmp_path / "a.tif").write_bytes(TIFFS["stack"])
    with open_images(tmp_path / "a.tif") as reader:
        check_output(tmp_path / "b.npy", reader, overwrite=False)
        for name in ("b.png", "b.jpg"):
            with pytest.raises(InputError, match="can't hold 5 pages"):
                check_output(tmp_path / name, reader, overwrite=False)
