"""The value by which a GeoTIFF says that nothing was measured."""

import numpy as np
import pytest
import tifffile
from PIL import Image

from csc_cogd import InputError
from csc_cogd.imagefiles import MaskRules, read_image
from tests.imagefiles.making import missing_pixels, pixels_of, tiff

HOLE = np.zeros((12, 15), bool)
HOLE[4:6, 3:9] = True


def nodata(text):
    return [(42113, 2, 0, text, False)]


def saved(path, pixels, text, **options):
    path.write_bytes(tiff(pixels, extratags=nodata(text), **options))
    return read_image(path)


@pytest.mark.parametrize(
    ("dtype", "value", "text"),
    [
        ("float32", -9999, "-9999"), ("float64", 1e20, "1e+20 "), ("int16", -32768, "-32768"), ("uint16", 0, "0"),
        ("uint8", 255, "255.0"), ("float32", np.finfo(np.float32).min, "-3.4028234663852886e+38"),
        ("float32", np.finfo(np.float32).min, "-1.7976931348623157e+308"), ("float32", np.float32(0.1), "0.1"),
        ("float32", -np.inf, "-inf"), ("float32", np.nan, "nan"),
    ],
)  # fmt: skip
def test_its_pixels_are_missing(tmp_path, rng, dtype, value, text):
    pixels = rng.integers(10, 99, HOLE.shape).astype(dtype)
    pixels[HOLE] = value
    image = saved(tmp_path / "a.tif", pixels, text)
    missing, sources = missing_pixels(image, MaskRules())
    np.testing.assert_array_equal(missing, HOLE)
    by = "NaN" if np.isnan(value) else f"the file's nodata value {float(text):g}"
    assert sources == [f"6.7% by {by}"]
    if not np.isnan(value):
        np.testing.assert_array_equal(np.ma.getmaskarray(image.observed), HOLE)
        np.testing.assert_array_equal(np.ma.getdata(image.observed), pixels)


def test_it_is_united_with_a_mask(tmp_path, rng):
    pixels = np.where(HOLE, -1, rng.normal(50, 3, HOLE.shape))
    Image.fromarray(HOLE.T.reshape(HOLE.shape).astype(np.uint8)).save(tmp_path / "m.png")
    missing, sources = missing_pixels(saved(tmp_path / "a.tif", pixels, "-1"), MaskRules(tmp_path / "m.png"))
    np.testing.assert_array_equal(missing, HOLE | HOLE.T.reshape(HOLE.shape))
    assert len(sources) == 2


@pytest.mark.parametrize(("dtype", "alone"), [("uint8", False), ("int16", True), ("float32", True)])
def test_values_without_a_sign_must_be_alike_in_every_channel(tmp_path, dtype, alone):
    """As dark pixels have the value 0 in one channel, too."""
    pixels = np.full((*HOLE.shape, 3), 7, dtype)
    pixels[HOLE] = 0
    pixels[0, 0, 1] = 0
    missing, _ = missing_pixels(saved(tmp_path / "a.tif", pixels, "0", photometric="rgb"), MaskRules())
    assert missing[HOLE].all()
    assert missing[0, 0].tolist() == [False, alone, False]
    assert missing.sum() == 3 * HOLE.sum() + alone


def test_a_file_without_such_a_pixel_has_none(tmp_path, rng):
    for text in ("-9999", "0.5", "300"):
        image = saved(tmp_path / "a.tif", rng.integers(10, 99, HOLE.shape).astype(np.uint8), text)
        assert image.without_data is None
        assert image.observed is image.colors or not np.ma.isMaskedArray(image.observed)
        with pytest.raises(InputError, match=f"no pixel is missing: none has the file's nodata value {text}: give mask"):
            missing_pixels(image, MaskRules())


def test_what_can_not_be_heeded_is_named(tmp_path, rng):
    gray = pixels_of(rng, HOLE.shape)
    assert saved(tmp_path / "a.tif", gray, "none").notes == ("its nodata value, 'none', isn't a number and isn't used",)
    image = saved(tmp_path / "a.tif", gray, "0", photometric="miniswhite")
    assert image.nodata is None
    assert "that of stored pixels" in image.notes[0]
    with tifffile.TiffWriter(tmp_path / "cube.tif") as writer:
        for text in ("0", "1"):
            writer.write(gray, metadata=None, extratags=nodata(text))
    image = read_image(tmp_path / "cube.tif", axes="CYX")
    assert image.nodata == 0
    assert image.notes == ("the pages name different nodata values: that of the first one counts",)
