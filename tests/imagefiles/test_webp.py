"""WebP: read as what it shows, written without loss."""

import io

import numpy as np
import pytest
from PIL import Image

from csc_cogd import InputError
from csc_cogd.imagefiles import ImageFile, MaskRules, read_image, true_suffix, write_image
from csc_cogd.imagefiles.formats.webp import pack_chunks, read_chunks
from csc_cogd.imagefiles.image import INCH, Density
from tests.imagefiles.making import exif, missing_pixels, pillow, pixels_of, rewritten, tiff

RNG = np.random.default_rng(3)
RGB, RGBA = pixels_of(RNG, (9, 13, 3)), pixels_of(RNG, (9, 13, 4))
RGBA[:3, :, 3] = 0  # colors under full transparency are pixels, too
OPAQUE = np.dstack([RGB, np.full((9, 13), 255, np.uint8)])
LOSSLESS = {"lossless": True, "exact": True}


def webp(pixels, **options):
    return pillow(Image.fromarray(pixels), "WEBP", **options)


def extended(pixels, flags, *behind, content=None):
    """A WebP of pixels with a VP8X chunk of such flags, and further chunks."""
    sides = b"".join((side - 1).to_bytes(3, "little") for side in pixels.shape[1::-1])
    coded = [chunk for chunk in read_chunks(content or webp(pixels, **LOSSLESS)) if chunk[0] != b"VP8X"]
    return pack_chunks([(b"VP8X", bytes([flags, 0, 0, 0]) + sides), *coded, *behind])


@pytest.mark.parametrize(
    ("content", "pixels"),
    [
        pytest.param(webp(RGB, **LOSSLESS), RGB, id="color"),
        pytest.param(webp(RGBA, **LOSSLESS), RGBA, id="opacity"),
        pytest.param(extended(OPAQUE, 0x10), OPAQUE, id="opaque everywhere"),
        pytest.param(webp(RGB[:1, :1], **LOSSLESS), RGB[:1, :1], id="1 x 1"),
        pytest.param(webp(np.tile(RGB[:1], (1, 300, 1)), **LOSSLESS), np.tile(RGB[:1], (1, 300, 1)), id="1 x 3900"),
    ],
)
def test_lossless_webp_comes_back_bit_for_bit(tmp_path, content, pixels):
    (tmp_path / "a.webp").write_bytes(content)
    (image,), notes = rewritten(tmp_path / "a.webp", tmp_path / "b.webp")
    assert notes == []
    assert (image.format, image.has_alpha, image.lossy) == ("webp", pixels.shape[2] == 4, False)
    for name in ("a.webp", "b.webp"):
        np.testing.assert_array_equal(read_image(tmp_path / name).pixels, pixels, strict=True)
        with Image.open(tmp_path / name) as opened:  # as others see it
            np.testing.assert_array_equal(np.asarray(opened.convert("RGBA"))[..., :3], pixels[..., :3])


@pytest.mark.parametrize("source", [RGB, RGBA], ids=["color", "opacity"])
def test_lossy_webp_is_written_losslessly_and_said_to_grow(tmp_path, source):
    (tmp_path / "a.webp").write_bytes(webp(source, quality=70))
    with Image.open(tmp_path / "a.webp") as opened:
        shown = np.asarray(opened)
    (image,), notes = rewritten(tmp_path / "a.webp", tmp_path / "b.webp")
    np.testing.assert_array_equal(image.pixels, shown, strict=True)
    assert image.lossy
    assert notes == ["the lossy WebP becomes a lossless one: known pixels stay exact, but the file is larger"]
    np.testing.assert_array_equal(read_image(tmp_path / "b.webp").pixels, shown, strict=True)
    assert rewritten(tmp_path / "a.webp", tmp_path / "b.png")[1] == []


def test_metadata_come_back(tmp_path):
    profile, xmp = b"an ICC profile, in name only", b'<x:xmpmeta tiff:Orientation="6"/>'
    content = webp(RGB, **LOSSLESS, icc_profile=profile, exif=b"Exif\0\0" + exif(), xmp=xmp)
    (tmp_path / "a.webp").write_bytes(extended(RGB, 0x2C, (b"MINE", b"odd"), content=content))
    image = read_image(tmp_path / "a.webp")
    np.testing.assert_array_equal(image.pixels, np.rot90(RGB, -1))
    write_image(image, tmp_path / "b.webp")
    again = read_image(tmp_path / "b.webp")
    np.testing.assert_array_equal(again.pixels, image.pixels)
    assert (again.icc_profile, again.xmp, again.exif) == (profile, xmp.replace(b"6", b"1"), image.exif)
    assert (b"MINE", b"odd") in read_chunks((tmp_path / "b.webp").read_bytes())
    with Image.open(tmp_path / "b.webp") as opened:
        assert opened.info["icc_profile"] == profile
        assert (opened.getexif()[0x010F], opened.getexif()[0x0112]) == ("Maker", 1)
        assert opened.getexif().get_ifd(0x8769)[0x927C] == b"a maker's note"
        assert opened.info["xmp"] == again.xmp
    assert write_image(image, tmp_path / "b.png") == ["MINE isn't carried over from WebP to PNG"]


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_the_resolution_goes_into_exif_data_and_back(tmp_path, suffix):
    write_image(ImageFile(RGB, tmp_path / "a", "png", density=Density(300, 200, INCH)), tmp_path / f"a.{suffix}")
    assert write_image(read_image(tmp_path / f"a.{suffix}"), tmp_path / "b.webp") == []
    image = read_image(tmp_path / "b.webp")
    assert [float(side * INCH / image.density.unit) for side in image.density[:2]] == pytest.approx([300, 200], abs=0.01)
    finer = image.with_pixels(RGB.repeat(2, axis=0).repeat(2, axis=1))
    write_image(finer, tmp_path / "c.webp")
    assert read_image(tmp_path / "c.webp").density.x == 2 * image.density.x


def test_what_webp_can_not_hold_is_named(tmp_path):
    tags = Image.Exif()
    tags[0x010F] = "Maker"
    image = ImageFile(RGB, tmp_path / "a.png", "png", exif=tags.tobytes(), density=Density(300, 200, INCH))
    assert write_image(image, tmp_path / "b.webp") == [
        "the resolution isn't carried over to WebP, as the EXIF data don't have it"
    ]
    gray = ImageFile(RGB[..., 0], tmp_path / "a.png", "png")
    assert write_image(gray, tmp_path / "c.webp") == [
        "WebP has no gray images: it is written in color, with three equal channels"
    ]
    np.testing.assert_array_equal(read_image(tmp_path / "c.webp").pixels, RGB[..., :1].repeat(3, axis=2))
    for pixels, alpha, message in (
        (RGB.astype("u2"), False, r"WebP can't hold 3 channel.s. of uint16: write \.png"),
        (RGBA, False, r"WebP can't hold 4 channel.s. of uint8"),
        (np.zeros((1, 16384, 3), np.uint8), False, r"WebP can't hold more than 16383 pixels a side"),
    ):
        with pytest.raises(InputError, match=rf"d\.webp: {message}"):
            write_image(ImageFile(pixels, tmp_path / "a.tif", "tiff", has_alpha=alpha), tmp_path / "d.webp")


def test_gray_with_opacity_becomes_color_with_opacity(tmp_path):
    write_image(ImageFile(RGBA[..., 2:], tmp_path / "a.png", "png", has_alpha=True), tmp_path / "b.webp")
    again = read_image(tmp_path / "b.webp")
    np.testing.assert_array_equal(again.pixels, RGBA[..., [2, 2, 2, 3]])
    assert again.has_alpha


def test_the_content_decides(tmp_path):
    (tmp_path / "a.png").write_bytes(webp(RGB, **LOSSLESS))
    assert true_suffix(tmp_path / "a.png") == ".webp"
    np.testing.assert_array_equal(read_image(tmp_path / "a.png").pixels, RGB)


def animation():
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "WEBP", save_all=True, append_images=[Image.fromarray(255 - RGB)], duration=40)
    return stream.getvalue()


WHOLE = webp(RGBA, **LOSSLESS, exif=exif())
REFUSED = {
    "animation": (animation(), "animations aren't supported: save their pictures as single images"),
    "cut off": (WHOLE[:-9], "damaged or unsupported WebP: the file ends too early"),
    "header only": (WHOLE[:12], "damaged or unsupported WebP: the file ends too early"),
    "no pixels": (pack_chunks([(b"EXIF", exif())]), "damaged or unsupported WebP: it has no pixels"),
    "chunk beyond the end": (pack_chunks([(b"VP8L", b"\x2f")])[:-5] + b"\xff\0\0\0\x2f\0", "WebP: a chunk ends too early"),
    "other canvas": (extended(RGB[:5], 0, content=webp(RGB, **LOSSLESS)), "canvas is of another size"),
    "claims much": (pack_chunks([(b"VP8L", b"\x2f\xff\xff\xff\x0f" + bytes(9))]), "claims 16384 x 16384 pixels, 0.81 GB"),
    "pixels damaged": (pack_chunks([(b"VP8L", b"\x2f\4\xc0\0\0" + bytes(9))]), "damaged or unsupported WebP: "),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), REFUSED.values(), ids=REFUSED)
def test_what_can_not_be_read_is_named_in_one_line(tmp_path, content, message):
    (tmp_path / "a.webp").write_bytes(content)
    with pytest.raises(InputError, match=rf"^[^\n]*a\.webp: {message}|^[^\n]*a\.webp: [^\n]*{message}") as caught:
        read_image(tmp_path / "a.webp")
    assert "\n" not in str(caught.value)


def test_a_lossy_mask_has_a_threshold_and_a_lossless_one_has_none(tmp_path):
    hole = np.zeros((9, 13), bool)
    hole[2:5, 4:9] = True
    image = ImageFile(RGB[..., 0], tmp_path / "a.png", "png")
    for level, options, marked in ((1, LOSSLESS, True), (255, {"quality": 30}, True), (50, {"quality": 95}, False)):
        (tmp_path / "m.webp").write_bytes(webp(np.repeat(hole[..., None] * np.uint8(level), 3, axis=2), **options))
        missing, _ = missing_pixels(image, MaskRules(tmp_path / "m.webp"), complete=True)
        np.testing.assert_array_equal(missing, hole & marked)


def test_a_tiff_of_webp_is_read(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(RGB, photometric="rgb", compression="webp"))
    assert read_image(tmp_path / "a.tif").pixels.shape == RGB.shape
