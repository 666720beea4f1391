"""What a file says of its size and place holds on a finer grid, too."""

import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from csc_cogd.imagefiles import ImageFile, read_image, write_image
from csc_cogd.imagefiles.image import INCH, Density
from tests.imagefiles.making import tiff

PIXELS = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)
IS_POINT = (34735, 3, 8, (1, 1, 0, 1, 1025, 0, 1, 2), False)


def enlarged(source, target, across=3, down=3):
    """Write an image with more pixels, and return the notes."""
    image = read_image(source)
    pixels = image.pixels.repeat(down, 0).repeat(across, 1)
    return write_image(image.with_pixels(pixels), target)


def on_earth(path, row, column):
    """Where the corner of a pixel lies, by the tags."""
    with tifffile.TiffFile(path) as opened:
        tags = {tag.code: tag.value for tag in opened.pages[0].tags}
    if 1025 in tags.get(34735, ()):
        row, column = row - 0.5, column - 0.5
    if 34264 in tags:
        return (np.reshape(tags[34264], (4, 4)) @ [column, row, 0, 1])[:2]
    (scale_x, scale_y, _), (i, j, _, x, y, _) = tags[33550], tags[33922][:6]
    return np.array([x + (column - i) * scale_x, y - (row - j) * scale_y])


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("of_points", [False, True])
@pytest.mark.parametrize("how", ["scale and tiepoint", "matrix"])
def test_a_georeference_is_that_of_the_finer_grid(tmp_path, order, of_points, how):
    tags = [(42113, 2, 0, "-9999", False), *([IS_POINT] if of_points else [])]
    if how == "matrix":
        tags.append((34264, 12, 16, (2.0, 0.5, 0, 100, 0.25, -3, 0, 200, 0, 0, 0, 0, 0, 0, 0, 1), False))
    else:
        tags += [(33550, 12, 3, (10.0, 20.0, 0.0), False), (33922, 12, 6, (2.0, 1, 0, 500000, 4e6, 0), False)]
    (tmp_path / "a.tif").write_bytes(tiff(PIXELS, byteorder=order, extratags=sorted(tags)))
    assert enlarged(tmp_path / "a.tif", tmp_path / "b.tif", across=2, down=3) == []
    for row, column in [(0, 0), (20, 30), (7, 11)]:
        np.testing.assert_allclose(
            on_earth(tmp_path / "b.tif", 3 * row, 2 * column), on_earth(tmp_path / "a.tif", row, column)
        )
    with tifffile.TiffFile(tmp_path / "b.tif") as opened:
        assert opened.pages[0].tags[42113].value == "-9999"


def test_what_is_not_converted_is_named(tmp_path):
    tags = [(33550, 12, 2, (10.0, 20.0), False), (50844, 12, 92, (1.0,) * 92, False)]
    (tmp_path / "a.tif").write_bytes(tiff(PIXELS, extratags=tags, description="ImageJ=1.53t\nunit=um\n"))
    assert enlarged(tmp_path / "a.tif", tmp_path / "b.tif") == [
        "a damaged georeference, the rational polynomial coefficients, a program's description of the file aren't carried "
        "over, as the size has changed"
    ]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_the_resolution_is_that_of_the_finer_grid(tmp_path, suffix):
    image = ImageFile(PIXELS.astype(np.uint8), tmp_path / f"a.{suffix}", "png", density=Density(100, 60, INCH))
    write_image(image, image.path)
    enlarged(image.path, tmp_path / f"b.{suffix}", across=3, down=2)
    x, y, unit = read_image(tmp_path / f"b.{suffix}").density
    assert [float(x * INCH / unit), float(y * INCH / unit)] == pytest.approx([300, 120], abs=0.02)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_size_and_resolution_in_exif_and_xmp_are_those_of_the_finer_grid(tmp_path, suffix):
    tags = Image.Exif()
    tags[271], tags[282], tags[283] = "Maker", 72.0, 36.0
    tags.get_ifd(0x8769).update({40962: 30, 40963: 20, 41486: IFDRational(2001, 2), 41487: IFDRational(2001, 2)})
    xmp = b"<x tiff:XResolution=\"72/1\" exif:PixelYDimension='20'><exif:PixelXDimension>30</exif:PixelXDimension></x>"
    exif = tags.tobytes().removeprefix(b"Exif\0\0")
    image = ImageFile(PIXELS.astype(np.uint8), tmp_path / f"a.{suffix}", "png", exif=exif, xmp=xmp)
    write_image(image, image.path)
    enlarged(image.path, tmp_path / f"b.{suffix}", across=3, down=2)
    again = read_image(tmp_path / f"b.{suffix}")
    assert again.xmp == (
        b"<x tiff:XResolution=\"216/1\" exif:PixelYDimension='40'><exif:PixelXDimension>90</exif:PixelXDimension></x>"
    )
    found = Image.Exif()
    found.load(b"Exif\0\0" + again.exif)
    if suffix != "tif":  # where they are tags of the file itself
        assert (found[282], found[283]) == (216, 72)
    inner = found.get_ifd(0x8769)
    assert (inner[40962], inner[40963], inner[41486], inner[41487]) == (90, 40, 3001.5, 2001)
    with Image.open(tmp_path / f"b.{suffix}") as opened:
        assert opened.size == (90, 40)


def test_a_width_that_outgrows_its_type_is_written_in_a_larger_one(tmp_path):
    tags = Image.Exif()
    tags.get_ifd(0x8769)[40962] = 40000
    image = ImageFile(np.zeros((1, 40000), np.uint8), tmp_path / "a.png", "png", exif=tags.tobytes())
    found = Image.Exif()
    found.load(image.with_pixels(np.zeros((2, 80000), np.uint8)).exif)
    assert found.get_ifd(0x8769)[40962] == 80000


@pytest.mark.parametrize("exif", [b"", b"MM\0*", b"MM\0*\0\0\0\x08\xff\xff", b"no EXIF data at all"])
def test_damaged_exif_data_stay_as_they_are(tmp_path, exif):
    image = ImageFile(PIXELS, tmp_path / "a.png", "png", exif=exif)
    assert image.with_pixels(PIXELS.repeat(2, 0)).exif == exif


def test_ratios_keep_their_denominator_where_they_can(tmp_path):
    stream = io.BytesIO()
    stream.write(struct.pack("<2sHI", b"II", 42, 8) + struct.pack("<H", 1) + struct.pack("<HHII", 282, 5, 1, 26) + bytes(4))
    for (numerator, denominator), expected in {
        (720000, 10000): (1440000, 10000), (2**32 - 1, 1): (2**32 - 1, 1), (3 * 2**30, 2**30): (6, 1), (7, 0): (7, 0),
    }.items():  # fmt: skip
        exif = stream.getvalue() + struct.pack("<2I", numerator, denominator)
        image = ImageFile(PIXELS, tmp_path / "a.png", "png", exif=exif)
        assert struct.unpack("<2I", image.with_pixels(PIXELS.repeat(2, 1)).exif[-8:]) == expected
