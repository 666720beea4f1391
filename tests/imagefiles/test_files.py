import io
import os
import struct

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from csc_cogd import InputError
from csc_cogd.imagefiles import ImageFile, read_image, write_image
from csc_cogd.imagefiles.formats.png import insert_chunks

PROFILE = b"an ICC profile, in name only" * 20
SHAPES = {"gray": (9, 7), "gray+alpha": (9, 7, 2), "rgb": (9, 7, 3), "rgb+alpha": (9, 7, 4)}


def pixels_of(rng, shape, dtype):
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, np.iinfo(dtype).max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_png_comes_back_bit_for_bit(tmp_path, rng, shape, dtype):
    pixels, path = pixels_of(rng, shape, dtype), tmp_path / "a.png"
    image = ImageFile(pixels, path, "png", icc_profile=PROFILE, has_alpha=shape[-1] in (2, 4))
    assert write_image(image, path) == []
    again = read_image(path)
    np.testing.assert_array_equal(again.pixels, pixels)
    assert (again.pixels.dtype, again.has_alpha, again.icc_profile) == (pixels.dtype, image.has_alpha, PROFILE)
    np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes()), pixels)
    with Image.open(path) as opened:
        assert opened.info["icc_profile"] == PROFILE


@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3), (9, 7, 4), (9, 7, 5)])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
def test_tiff_comes_back_bit_for_bit(tmp_path, rng, shape, dtype):
    pixels, path = pixels_of(rng, shape, dtype), tmp_path / "a.tif"
    image = ImageFile(pixels, path, "tiff", icc_profile=PROFILE, has_alpha=shape[-1] == 4)
    assert write_image(image, path) == []
    again = read_image(path)
    np.testing.assert_array_equal(again.pixels, pixels)
    assert (again.pixels.dtype, again.has_alpha, again.icc_profile) == (pixels.dtype, image.has_alpha, PROFILE)


@pytest.mark.parametrize("compression", [None, "lzw", "zlib"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_tiff_kinds_of_others(tmp_path, rng, compression, planar):
    pixels = pixels_of(rng, (9, 7, 3), "uint16")
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif", stored, photometric="rgb", planarconfig=planar, compression=compression, byteorder=">"
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif").pixels, pixels)


def test_npy_keeps_nan_and_any_type(tmp_path, rng):
    pixels = pixels_of(rng, (5, 6, 2), "float64")
    pixels[2, 3] = np.nan
    write_image(ImageFile(pixels, tmp_path / "a.npy", "npy"), tmp_path / "a.npy")
    np.testing.assert_array_equal(read_image(tmp_path / "a.npy").pixels, pixels)


def test_jpeg_is_close_and_says_that_it_is_lossy(tmp_path, photo):
    path = tmp_path / "a.jpg"
    notes = write_image(ImageFile(photo, path, "png", icc_profile=PROFILE), path)
    assert any("lossy" in note for note in notes)
    again = read_image(path)
    assert abs(again.pixels.astype(int) - photo).mean() < 3
    assert again.icc_profile == PROFILE


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "16-bit png", "tiff"])
def test_orientation_is_applied(tmp_path, rng, orientation, kind):
    pixels = pixels_of(rng, (16, 24, 3), "uint8")
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / "eight.png", exif=exif)
    with Image.open(tmp_path / "eight.png") as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    if kind == "png":
        image = read_image(tmp_path / "eight.png")
    elif kind == "tiff":
        tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extratags=[(274, 3, 1, orientation, False)])
        image = read_image(tmp_path / "a.tif")
    else:
        deep = insert_chunks(imagecodecs.png_encode(pixels.astype(np.uint16)), [(b"eXIf", exif.tobytes()[6:])])
        (tmp_path / "deep.png").write_bytes(deep)
        image = read_image(tmp_path / "deep.png")
    np.testing.assert_array_equal(image.pixels, expected)


@pytest.mark.parametrize("deep", [False, True])
def test_exif_is_carried_over_and_orientation_reset(tmp_path, rng, deep):
    pixels = pixels_of(rng, (16, 24, 3), "uint16" if deep else "uint8")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    (tmp_path / "a.png").write_bytes(insert_chunks(imagecodecs.png_encode(pixels), [(b"eXIf", exif.tobytes()[6:])]))
    image = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(image.pixels, np.rot90(pixels, -1))
    write_image(image, tmp_path / "b.png")
    np.testing.assert_array_equal(read_image(tmp_path / "b.png").pixels, image.pixels)
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.getexif().get(0x0112, 1) == 1
        assert opened.getexif()[0x010F] == "maker"


def test_palette_and_bilevel_png_are_read_as_what_they_show(tmp_path, rng):
    pixels = rng.integers(0, 2, (8, 9)).astype(bool)
    Image.fromarray(pixels).save(tmp_path / "bilevel.png")
    np.testing.assert_array_equal(read_image(tmp_path / "bilevel.png").pixels, pixels * np.uint8(255))
    palette = Image.fromarray(pixels_of(rng, (8, 9, 3), "uint8")).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png").pixels, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(("mode", "color"), [("L", 7), ("RGB", (1, 2, 3))])
def test_a_transparent_color_becomes_opacity(tmp_path, mode, color):
    picture = Image.new(mode, (6, 5), color)
    picture.putpixel((2, 3), 0 if mode == "L" else (9, 9, 9))
    picture.save(tmp_path / "a.png", transparency=color)
    image = read_image(tmp_path / "a.png")
    assert image.has_alpha
    assert image.pixels[..., -1].max() == image.pixels[3, 2, -1] == 255
    assert image.pixels[0, 0, -1] == 0


def test_bytes_behind_the_end_of_a_png_do_not_matter(tmp_path, rng):
    pixels = pixels_of(rng, (8, 9, 3), "uint16")
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels) + b"trailing bytes" * 3)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, pixels)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg", "a.npy"])
def test_one_channel_images_are_written(tmp_path, rng, name):
    pixels = pixels_of(rng, (8, 9, 1), "uint8")
    write_image(ImageFile(pixels, tmp_path / "source.npy", "npy"), tmp_path / name)
    assert read_image(tmp_path / name).pixels.shape[:2] == (8, 9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"photometric": "separated"}, "SEPARATED"),
        ({"photometric": "rgb", "extrasamples": ["assocalpha"]}, "straight"),
    ],
)
def test_tiff_kinds_that_are_not_supported_are_refused(tmp_path, options, message):
    shape = (8, 9, 4)
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, np.uint8), **options)
    with pytest.raises(InputError, match=message):
        read_image(tmp_path / "a.tif")


def test_the_content_decides_not_the_name(tmp_path, photo):
    write_image(ImageFile(photo, tmp_path / "a.png", "png"), tmp_path / "a.png")
    os.rename(tmp_path / "a.png", tmp_path / "a.tif")
    image = read_image(tmp_path / "a.tif")
    assert image.format == "png"
    np.testing.assert_array_equal(image.pixels, photo)


def cmyk_jpeg():
    stream = io.BytesIO()
    Image.new("CMYK", (8, 8)).save(stream, "JPEG")
    return stream.getvalue()


def two_pages():
    stream = io.BytesIO()
    tifffile.imwrite(stream, np.zeros((2, 8, 8), np.uint8), photometric="minisblack")
    return stream.getvalue()


def truncated(depth):
    content = imagecodecs.png_encode(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(depth))
    return content[: len(content) // 2]


def pickled():
    stream = io.BytesIO()
    np.save(stream, np.array([{}]), allow_pickle=True)
    return stream.getvalue()


def cube():
    stream = io.BytesIO()
    np.save(stream, np.zeros((4, 5, 6)))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a letter", "isn't an image of a known format: use PNG, JPEG, TIFF, "),
        (b"GIF89a...", "GIF can't be read: convert it to PNG or TIFF"),
        (cmyk_jpeg(), "CMYK"),
        (two_pages(), "2 pages"),
        (truncated("uint8"), "damaged PNG: the file ends too early"),
        (truncated("uint16"), "damaged PNG: the file ends too early"),
        (b"\xff\xd8\xff\xe0" + b"\0" * 40, "damaged or unsupported JPEG"),
        (b"II*\0" + struct.pack("<I", 8), "damaged or unsupported TIFF"),
        (pickled(), "Python objects, which are never unpickled here: save it"),
        (b"SIMPLE  =                    T", r"astropy\.io\.fits"),
        (cube(), "ambiguous: name them by axes, such as NYX"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, content, message):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_image(path)
    assert str(caught.value).startswith(str(path))


def test_missing_files_and_directories_are_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(InputError, match="is a directory"):
        read_image(tmp_path)


def test_nothing_is_overwritten_unless_asked(tmp_path, photo):
    path = tmp_path / "a.png"
    path.write_bytes(b"precious")
    with pytest.raises(InputError, match="exists already: use overwrite"):
        write_image(ImageFile(photo, path, "png"), path)
    assert path.read_bytes() == b"precious"
    write_image(ImageFile(photo, path, "png"), path, overwrite=True)
    np.testing.assert_array_equal(read_image(path).pixels, photo)
    assert path.stat().st_mode & 0o777 == 0o666 & ~current_umask()


def current_umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_full_disk_leaves_nothing_half_written(tmp_path, photo, monkeypatch, overwrite):
    path = tmp_path / "a.png"
    if overwrite:
        path.write_bytes(b"precious")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace" if overwrite else "link", full)
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(InputError, match="can't be written: No space left on device"):
        write_image(ImageFile(photo, path, "png"), path, overwrite=overwrite)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == ([b"precious"] if overwrite else [])


@pytest.mark.parametrize(
    ("name", "dtype", "alpha", "message"),
    [
        ("a.gif", "uint8", False, "format isn't known by its name"),
        ("none/a.png", "uint8", False, "there is no folder"),
        ("a.png", "float32", False, "PNG can't hold 4 channel.s. of float32"),
        ("a.jpg", "uint16", False, "JPEG can't hold 4 channel.s. of uint16"),
        ("a.jpg", "uint8", True, "JPEG can't hold 4 channel.s. of uint8"),
        ("x" * 300 + ".png", "uint8", False, "File name too long"),
    ],
)
def test_what_can_not_be_written_is_named(tmp_path, name, dtype, alpha, message):
    image = ImageFile(np.zeros((4, 4, 4), dtype), tmp_path / "source.tif", "tiff", has_alpha=alpha)
    with pytest.raises(InputError, match=message):
        write_image(image, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("shape", "alpha", "colors"),
    [
        ((4, 5), False, (4, 5)), ((4, 5, 1), False, (4, 5)), ((4, 5, 2), True, (4, 5)), ((4, 5, 4), True, (4, 5, 3)),
        ((4, 5, 4), False, (4, 5, 4)),
    ],
)  # fmt: skip
def test_colors_can_be_replaced_under_the_opacity(rng, shape, alpha, colors):
    image = ImageFile(rng.integers(0, 255, shape), "a.npy", "npy", has_alpha=alpha)
    assert image.colors.shape == colors
    np.testing.assert_array_equal(image.with_colors(image.colors).pixels, image.pixels)
    negative = image.with_colors(-image.colors).pixels
    signs = np.full(shape, -1)
    if alpha:
        signs[..., -1] = 1
    np.testing.assert_array_equal(negative, signs * image.pixels)
