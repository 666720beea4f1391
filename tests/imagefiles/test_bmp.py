"""BMP: read as what it shows, written as it was."""

import struct

import numpy as np
import pytest
from PIL import Image

from csc_cogd import InputError
from csc_cogd.imagefiles import ImageFile, read_image, write_image
from tests.imagefiles.making import pillow, pixels_of, rewritten

RNG = np.random.default_rng(4)
GRAY, RGB, RGBA = (pixels_of(RNG, shape) for shape in ((9, 13), (9, 13, 3), (9, 13, 4)))
PALETTE = Image.fromarray(RGB).quantize(16)


def with_masks(pixels):
    """A BMP of RGBA whose header says where each channel is, from top to bottom."""
    h, w = pixels.shape[:2]
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", 108, w, -h, 1, 32, 3, pixels.nbytes, 0, 0, 0, 0) + masks + bytes(52)
    return b"BM" + struct.pack("<IHHI", 122 + pixels.nbytes, 0, 0, 122) + header + pixels.tobytes()


SHOWN = {
    "gray": (pillow(Image.fromarray(GRAY), "BMP"), GRAY),
    "color": (pillow(Image.fromarray(RGB), "BMP", dpi=(300, 200)), RGB),
    "bilevel": (pillow(Image.fromarray(GRAY > 99), "BMP"), (GRAY > 99) * np.uint8(255)),
    "palette": (pillow(PALETTE, "BMP"), np.asarray(PALETTE.convert("RGB"))),
    "opacity": (with_masks(RGBA), RGBA),
}


@pytest.mark.parametrize(("content", "pixels"), SHOWN.values(), ids=SHOWN)
def test_bmps_are_read_as_what_they_show_and_come_back(tmp_path, content, pixels):
    (tmp_path / "a.bmp").write_bytes(content)
    image = read_image(tmp_path / "a.bmp")
    np.testing.assert_array_equal(image.pixels, pixels, strict=True)
    if image.has_alpha:
        assert pixels.shape[2] == 4
        with pytest.raises(InputError, match=r"b\.bmp: BMP can't hold 4 channel.s. of uint8: write \.png"):
            write_image(image, tmp_path / "b.bmp")
        return
    _, notes = rewritten(tmp_path / "a.bmp", tmp_path / "b.bmp")
    again = read_image(tmp_path / "b.bmp")
    np.testing.assert_array_equal(again.pixels, pixels, strict=True)
    assert (notes, again.density) == ([], image.density)


def test_the_resolution_is_carried_over_and_what_is_not_is_named(tmp_path):
    (tmp_path / "a.bmp").write_bytes(SHOWN["color"][0])
    write_image(read_image(tmp_path / "a.bmp"), tmp_path / "b.png")
    with Image.open(tmp_path / "b.png") as opened:
        assert opened.info["dpi"] == pytest.approx((300, 200), abs=0.01)
    image = ImageFile(RGB, tmp_path / "a.png", "png", icc_profile=b"profile")
    assert write_image(image, tmp_path / "c.bmp") == ["the ICC profile isn't carried over from PNG to BMP"]
    with pytest.raises(InputError, match=r"d\.bmp: BMP can't hold 1 channel.s. of uint16"):
        write_image(ImageFile(GRAY.astype("u2"), tmp_path / "a.png", "png"), tmp_path / "d.bmp")


def huge():
    content = bytearray(SHOWN["color"][0])
    content[18:26] = struct.pack("<ii", 60000, 60000)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SHOWN["color"][0][:-99], "damaged or unsupported BMP: "), (SHOWN["color"][0][:12], "damaged or unsupported BMP: "),
        (huge(), "claims 60000 x 60000 pixels"), (b"BM, a letter", "damaged or unsupported BMP: "),
    ],
)  # fmt: skip
def test_what_can_not_be_read_is_named(tmp_path, content, message):
    (tmp_path / "a.bmp").write_bytes(content)
    with pytest.raises(InputError, match=rf"^[^\n]*a\.bmp: {message}[^\n]*$"):
        read_image(tmp_path / "a.bmp")
