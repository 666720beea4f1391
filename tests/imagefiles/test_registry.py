"""A format is known everywhere as soon as the registry knows it."""

import re

import numpy as np
import pytest

from csc_cogd import InputError, restore_batch
from csc_cogd.imagefiles import ImageFile, MaskRules, check_output, open_images, read_image, true_suffix, write_image
from csc_cogd.imagefiles.formats.format import Format, SinglePage, SinglePageEncoder
from csc_cogd.imagefiles.formats.registry import FORMATS, SUFFIXES
from tests.cli.calling import call
from tests.imagefiles.making import npy


def read(content, path):
    height, width = content[4], content[5]
    return ImageFile(np.frombuffer(content[6:], np.uint8).reshape(height, width), path, "tiny")


def encode(image):
    return b"TINY" + bytes(image.pixels.shape) + image.pixels.tobytes(), ["it is tiny"]


def check(image):
    if image.pixels.dtype != "uint8" or image.pixels.ndim != 2 or max(image.pixels.shape) > 255:
        raise InputError("", "TINY holds small gray images only", "write .png")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    known = Format(
        "tiny",
        "TINY",
        (".tiny", ".ty"),
        re.compile(b"TINY"),
        SinglePage.opener(read),
        SinglePageEncoder.opener(encode),
        check,
    )
    monkeypatch.setitem(FORMATS, "tiny", known)
    for suffix in known.suffixes:
        monkeypatch.setitem(SUFFIXES, suffix, known)


@pytest.fixture
def image(tmp_path):
    ramp = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    image = ImageFile(ramp, tmp_path / "a.png", "png", xmp=b"<x/>")
    write_image(image, tmp_path / "a.png")
    return image


def test_it_is_read_and_written(tmp_path, image):
    assert write_image(image, tmp_path / "b.TY") == ["XMP data isn't carried over from PNG to TINY", "it is tiny"]
    np.testing.assert_array_equal(read_image(tmp_path / "b.TY").pixels, image.pixels)
    (tmp_path / "b.TY").rename(tmp_path / "b.png")
    assert true_suffix(tmp_path / "b.png") == ".tiny"
    assert write_image(read_image(tmp_path / "b.png"), tmp_path / "c.png") == []
    (tmp_path / "d").write_bytes(b"TINY\x09\x09")
    with pytest.raises(InputError, match=rf"^{tmp_path}/d: damaged or unsupported TINY: cannot reshape"):
        read_image(tmp_path / "d")


def test_what_it_can_not_hold_is_refused(tmp_path, image):
    for pixels in (image.pixels.astype("u2"), np.zeros((300, 5), np.uint8)):
        with pytest.raises(InputError, match=rf"^{tmp_path}/b\.tiny: TINY holds small gray images only: write \.png$"):
            write_image(ImageFile(pixels, tmp_path / "a.png", "png"), tmp_path / "b.tiny")
    (tmp_path / "a.npy").write_bytes(npy(np.zeros((3, 9, 7), np.uint8)))
    with open_images(tmp_path / "a.npy", axes="NYX") as pages, pytest.raises(InputError, match="TINY can't hold 3 pages"):
        check_output(tmp_path / "b.tiny", pages, overwrite=False)
    write_image(image, tmp_path / "b.tiny")
    with pytest.raises(InputError, match="axes must not be given for TINY"):
        open_images(tmp_path / "b.tiny", axes="YX")


def test_it_is_named_where_formats_are(tmp_path, image):
    (tmp_path / "d").write_bytes(b"something else")
    with pytest.raises(InputError, match=r"isn't an image of a known format: use PNG, .* or TINY$"):
        read_image(tmp_path / "d")
    with pytest.raises(InputError, match=r"isn't known by its name: end it in \.png, .*, \.tiny, \.ty$"):
        write_image(image, tmp_path / "b.odd")


def test_masks_batches_and_the_command_line_take_it(tmp_path, image):
    mask = np.zeros((40, 50), np.uint8)
    mask[20, 9:40] = 1
    for folder in ("in", "masks"):
        (tmp_path / folder).mkdir()
    write_image(image, tmp_path / "in" / "a.tiny")
    write_image(ImageFile(mask, tmp_path, "png"), tmp_path / "masks" / "a.tiny")
    assert MaskRules(tmp_path / "masks").for_image(tmp_path / "in" / "a.tiny").path == tmp_path / "masks" / "a.tiny"
    (result,) = restore_batch(tmp_path / "in", tmp_path / "out", mask=tmp_path / "masks")
    assert (result.status, result.warnings) == ("done", ["it is tiny"])
    restored = read_image(tmp_path / "out" / "a.tiny").pixels
    np.testing.assert_array_equal(restored[mask == 0], image.pixels[mask == 0])
    arguments = ("inpaint", tmp_path / "a.png", "-m", tmp_path / "masks" / "a.tiny", "--suffix", ".ty", "-q")
    assert call(*arguments) == 0
    np.testing.assert_array_equal(read_image(tmp_path / "a_inpainted.ty").pixels, restored)
