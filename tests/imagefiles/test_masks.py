from pathlib import Path

import numpy as np
import pytest
import tifffile

from csc_cogd import InputError
from csc_cogd.imagefiles import ImageFile, MaskRules, open_images, write_image
from tests.imagefiles.making import missing_pixels


@pytest.fixture
def hole():
    mask = np.zeros((10, 12), bool)
    mask[3:6, 4:8] = True
    return mask


@pytest.fixture
def gray(tmp_path, rng):
    return ImageFile(rng.integers(1, 255, (10, 12)).astype(np.uint8), tmp_path / "a.png", "png")


def saved(tmp_path, pixels, name="mask.png", alpha=False):
    write_image(ImageFile(pixels, tmp_path / name, "png", has_alpha=alpha), tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("kind", ["gray", "rgb", "16 bits", "opaque", "painted layer", "bool tiff"])
def test_masks_of_every_kind(tmp_path, gray, hole, kind):
    eight = hole.astype(np.uint8) * 255
    red = np.stack([eight, 0 * eight, 0 * eight], axis=-1)
    pixels = {
        "gray": hole.astype(np.uint8),
        "rgb": red,
        "16 bits": hole.astype(np.uint16),
        "opaque": np.dstack([red, np.full_like(eight, 255)]),
        "painted layer": np.dstack([0 * red, eight]),  # black strokes on nothing
        "bool tiff": hole.astype(np.uint8),
    }[kind]
    path = saved(tmp_path, pixels, "m.tif" if "tiff" in kind else "m.png", alpha=pixels.shape[-1] == 4)
    missing, sources = missing_pixels(gray, MaskRules(path))
    np.testing.assert_array_equal(missing, hole)
    assert sources == [f"10.0% by {path.name} ({'opacity' if 'layer' in kind else 'brightness'}, non-zero is missing)"]


def test_jpeg_masks_have_a_threshold(tmp_path, gray, hole):
    path = saved(tmp_path, hole.astype(np.uint8) * 255, "m.jpg")
    np.testing.assert_array_equal(missing_pixels(gray, MaskRules(path))[0], hole)


def test_polarity_threshold_and_dilation(tmp_path, gray, hole):
    path = saved(tmp_path, np.where(hole, 30, 200).astype(np.uint8))
    np.testing.assert_array_equal(missing_pixels(gray, MaskRules(path, "valid", threshold=100))[0], hole)
    grown = missing_pixels(gray, MaskRules(path, "valid", threshold=100, dilate=2))[0]
    expected = np.zeros_like(hole)
    expected[1:8, 2:10] = True
    np.testing.assert_array_equal(grown, expected)


def test_sources_are_united_and_each_is_reported(tmp_path, hole):
    pixels = np.ones((10, 12), np.float32)
    pixels[0, 0], pixels[9, 9] = np.nan, -999
    image = ImageFile(pixels, tmp_path / "a.npy", "npy")
    missing, sources = missing_pixels(image, MaskRules(saved(tmp_path, hole.astype(np.uint8)), value=-999))
    expected = hole.copy()
    expected[0, 0] = expected[9, 9] = True
    np.testing.assert_array_equal(missing, expected)
    assert [source.split(" by ")[1].split(" ")[0] for source in sources] == ["mask.png", "NaN", "value"]


def test_transparent_pixels_are_missing_on_request_and_opacity_never_is(tmp_path, rng, hole):
    pixels = rng.integers(1, 255, (10, 12, 4)).astype(np.uint8)
    pixels[..., 3] = np.where(hole, 0, 255)
    image = ImageFile(pixels, tmp_path / "a.png", "png", has_alpha=True)
    missing, _ = missing_pixels(image, MaskRules(from_alpha=True))
    np.testing.assert_array_equal(missing[..., :3], np.repeat(hole[..., None], 3, 2))
    assert not missing[..., 3].any()


def test_a_channel_of_nan_is_named(tmp_path):
    pixels = np.ones((6, 6, 3))
    pixels[..., 1] = np.nan
    with pytest.raises(InputError, match="every pixel of channel 1 is missing"):
        missing_pixels(ImageFile(pixels, tmp_path / "a.npy", "npy"), MaskRules())


def test_negative_values_are_not_zero(tmp_path, gray, hole):
    np.save(tmp_path / "m.npy", -hole.astype(np.int16))
    np.testing.assert_array_equal(missing_pixels(gray, MaskRules(tmp_path / "m.npy"))[0], hole)


def test_nan_is_missing_in_its_channel_only(tmp_path):
    pixels = np.ones((6, 6, 3))
    pixels[2, 2, 1] = np.nan
    missing, _ = missing_pixels(ImageFile(pixels, tmp_path / "a.npy", "npy"), MaskRules())
    np.testing.assert_array_equal(missing, np.isnan(pixels))


def test_what_does_not_fit_is_named(tmp_path, gray, hole):
    small = saved(tmp_path, hole[:5].astype(np.uint8), "small.png")
    empty = saved(tmp_path, np.zeros((10, 12), np.uint8), "empty.png")
    full = saved(tmp_path, np.ones((10, 12), np.uint8), "full.png")
    for rules, message in [
        (MaskRules(small), "small.png: the mask must be of the image's size, 12 x 10 pixels, but it is 12 x 5"),
        (MaskRules(empty), "empty.png: the mask is empty.*mask_polarity"),
        (MaskRules(full), "full.png: the mask is full.*mask_polarity"),
        (MaskRules(full, "valid"), "full.png: the mask is empty"),
        (MaskRules(), "a.png: nothing says what is missing: give mask, mask_color"),
        (MaskRules(value=0), "a.png: no pixel is missing: none has the value 0"),
        (MaskRules(dilate=2), "a.png: nothing says what is missing"),
        (MaskRules(polarity="valid"), "a.png: mask_polarity says how to read a mask file, but there is none: give mask"),
        (MaskRules(full, threshold=300), "full.png: the mask is empty.*mask_threshold"),
        (MaskRules(from_alpha=True), "has no alpha channel"),
        (MaskRules(tmp_path / "none.png"), "none.png: no such file"),
    ]:
        with pytest.raises(InputError, match=message):
            missing_pixels(gray, rules)


def test_masks_of_a_directory_are_found_by_their_names(tmp_path, gray, hole):
    masks = tmp_path / "masks"
    (masks / "deep").mkdir(parents=True)
    rules = MaskRules(masks, dilate=1)
    with pytest.raises(InputError, match=r"a.png: has no mask: none of .*deep/a and .*deep/a_mask and .*masks/a and "):
        rules.for_image(gray.path, Path("deep"))
    for name in ("a_mask.tif", "a.TIFF", "deep/a_mask.png", "deep/a.npy"):  # each is preferred to those before
        found = masks / name
        write_image(ImageFile(hole.astype(np.uint8), found, "png"), found)
        assert rules.for_image(gray.path, Path("deep")) == MaskRules(found, dilate=1)
    assert rules.for_image(gray.path).path == masks / "a.TIFF"
    assert rules.for_image(gray.path, Path("elsewhere")).path == masks / "a.TIFF"
    one = MaskRules(masks / "a_mask.tif")
    assert one.for_image(gray.path) is one


def test_an_image_is_never_its_own_mask(tmp_path, gray, hole):
    saved(tmp_path, gray.pixels, "a.png")
    path = saved(tmp_path, hole.astype(np.uint8), "a_mask.png")
    assert MaskRules(tmp_path).for_image(gray.path).path == path


@pytest.mark.parametrize("name", ["m.npy", "m.npz", "m.tif"])
@pytest.mark.parametrize("axes", ["NYX", "YXN"])
def test_a_mask_for_each_page_or_one_for_all(tmp_path, rng, hole, name, axes):
    np.save(tmp_path / "a.npy", rng.random((3, 10, 12) if axes == "NYX" else (10, 12, 3)))
    stack = np.stack([hole, np.zeros_like(hole), ~hole])
    if name == "m.tif":
        tifffile.imwrite(tmp_path / name, stack.astype(np.uint8), photometric="minisblack")
    else:
        array = (stack if axes == "NYX" else np.moveaxis(stack, 0, -1)).astype(np.uint8)
        (np.save if name == "m.npy" else np.savez)(tmp_path / name, array)
    single = saved(tmp_path, hole.astype(np.uint8))
    with open_images(tmp_path / "a.npy", axes=axes) as reader:
        for page, image in enumerate(reader):
            missing, _ = missing_pixels(image, MaskRules(tmp_path / name), page=page, n_pages=3, complete=True)
            np.testing.assert_array_equal(missing, stack[page])
            np.testing.assert_array_equal(missing_pixels(image, MaskRules(single), page=page, n_pages=3)[0], hole)
            with pytest.raises(InputError, match=r"3 masks, but the image has 4 page\(s\)"):
                missing_pixels(image, MaskRules(tmp_path / name), page=page, n_pages=4)
        with pytest.raises(InputError, match="the mask is empty"):
            missing_pixels(image, MaskRules(tmp_path / name), page=1, n_pages=3)


def test_a_page_may_be_complete_but_not_empty(gray, tmp_path):
    full = saved(tmp_path, np.ones((10, 12), np.uint8), "full.png")
    missing, sources = missing_pixels(gray, MaskRules(), complete=True)
    assert (missing.any(), sources) == (False, [])
    with pytest.raises(InputError, match="the mask is full"):
        missing_pixels(gray, MaskRules(full), complete=True)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("color", ["red", "#ff0000", "255,0,0", "RGB(255, 0, 0)"])
def test_painted_colors_are_missing(tmp_path, hole, dtype, color, rng):
    step = np.iinfo(dtype).max // 255
    pixels = rng.integers(0, 200, (10, 12, 3))  # no red
    pixels[hole] = 250, 20, 5
    pixels[5, 7] = 210, 0, 0  # beyond the default tolerance, 40
    image = ImageFile((pixels * step).astype(dtype), tmp_path / "a.png", "png")
    missing, sources = missing_pixels(image, MaskRules(color=color, color_tolerance=45))
    np.testing.assert_array_equal(missing, np.repeat(hole[..., None], 3, 2))
    assert sources == [f"10.0% by color {color}"]
    hole[5, 7] = False
    np.testing.assert_array_equal(missing_pixels(image, MaskRules(color=color))[0][..., 1], hole)


@pytest.mark.parametrize("color", ["rot", "#ff00", "255,0", "300,0,0", "255,0,x", ""])
def test_what_is_no_color_is_refused(tmp_path, color):
    image = ImageFile(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png", "png")
    if color == "#ff00":  # a short form with opacity, on web pages
        color = "#f"
    with pytest.raises(InputError, match=r"mask_color must be a color such as red, .* got "):
        missing_pixels(image, MaskRules(color=color))


def test_colors_are_looked_for_where_there_are_some(tmp_path, gray):
    with pytest.raises(InputError, match=r"a\.png: painted colors .* not in 1 channel.s. of uint8: use mask_value"):
        missing_pixels(gray, MaskRules(color="red"))
    image = ImageFile(np.zeros((4, 4, 3), np.uint8), tmp_path / "a.png", "png")
    with pytest.raises(InputError, match=r"a\.png: no pixel is missing: none is within 40 of red"):
        missing_pixels(image, MaskRules(color="red"))


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((12, 10), ": turn it by 90 degrees"),
        ((5, 6), ": it was drawn on a smaller or larger copy: scale it"),
        ((10, 11), ": crop, extend or redraw it"),
    ],
)
def test_a_mask_of_another_size_is_told_what_it_is(tmp_path, gray, shape, advice):
    path = saved(tmp_path, np.ones(shape, np.uint8))
    with pytest.raises(InputError, match=rf"image's size, 12 x 10 pixels, but it is {shape[1]} x {shape[0]}{advice}"):
        missing_pixels(gray, MaskRules(path))


@pytest.mark.parametrize("dilate", ["wide", -1, True])
def test_what_is_no_growth_is_refused(tmp_path, gray, hole, dilate):
    with pytest.raises(InputError, match=f"mask_dilate must be an integer >= 0, or 'auto', got {dilate!r}"):
        missing_pixels(gray, MaskRules(saved(tmp_path, hole.astype(np.uint8)), dilate=dilate))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_photograph_is_no_mask(tmp_path, rng, dtype):
    photo = rng.integers(0, 256, (40, 50)).astype(dtype) * (257 if dtype == np.uint16 else 1)
    image = ImageFile(photo, tmp_path / "a.png", "png")
    path = saved(tmp_path, photo)
    with pytest.raises(InputError, match=r"mask.png: looks like a photograph, not like a mask: 8\d% of it .*mask_color"):
        missing_pixels(image, MaskRules(path))
    assert missing_pixels(image, MaskRules(path, threshold=100))[0].any()


def test_soft_masks_and_labels_are_masks(tmp_path, rng):
    image = ImageFile(rng.integers(0, 256, (80, 80)).astype(np.uint8), tmp_path / "a.png", "png")
    disk = np.hypot(*np.mgrid[-40:40, -40:40])
    soft = np.clip(255 * (25 - disk) / 10, 0, 255).astype(np.uint8)  # a feather of 10 pixels
    np.testing.assert_array_equal(missing_pixels(image, MaskRules(saved(tmp_path, soft)))[0], soft > 0)
    labels = (disk // 10).astype(np.uint8) * 40
    np.testing.assert_array_equal(missing_pixels(image, MaskRules(saved(tmp_path, labels, "l.png")))[0], labels > 0)


def test_soft_rims_of_an_eraser_are_missing(tmp_path, rng):
    pixels = rng.integers(1, 255, (40, 50, 4)).astype(np.uint8)
    disk = np.hypot(*np.mgrid[-20:20, -25:25])
    pixels[..., 3] = np.clip(25.5 * (disk - 4), 0, 255)
    pixels[2:5, 2:5, 3] = 128  # not erased: nothing there is fully transparent
    image = ImageFile(pixels, tmp_path / "a.png", "png", has_alpha=True)
    missing, _ = missing_pixels(image, MaskRules(from_alpha=True))
    assert missing[disk < 13, 0].all()
    assert not missing[disk > 15, 0].any()
    np.testing.assert_array_equal(
        missing_pixels(image, MaskRules(from_alpha=True, dilate=0))[0][..., 0], pixels[..., 3] == 0
    )
