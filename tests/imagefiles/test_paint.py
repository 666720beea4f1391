"""Paint of a known brush over pictures that are known."""

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.data import astronaut

from csc_cogd.imagefiles import MaskRules, find_missing, read_image
from csc_cogd.imagefiles.paint import take_off_paint
from tests.imagefiles.making import missing_pixels

RED = np.array([255, 0, 0])


@pytest.fixture(scope="module")
def picture():
    return astronaut()[20:180, 140:340]


@pytest.fixture(scope="module")
def strokes():
    mask = np.zeros((160, 200), bool)
    mask[20:140, 50:58] = mask[80:90, 90:190] = mask[30:36, 120:126] = True
    return mask


def over(picture, strokes, blur, paint=RED):
    """The picture painted over with a brush, and the brush's opacity."""
    opacity = gaussian_filter(strokes.astype(float), blur) if blur else strokes.astype(float)
    return np.rint(picture + opacity[..., None] * (paint - picture)).astype(np.uint8), opacity


def rms(first, second, where):
    return np.sqrt(np.mean((first[where].astype(float) - second[where]) ** 2))


@pytest.mark.parametrize(
    ("name", "blur", "error"), [("a.png", 0.6, 8), ("a.png", 2.5, 13), ("a.jpg", 0.6, 12), ("a.jpg", 2.5, 14)]
)
def test_no_trace_of_a_soft_brush_is_left(tmp_path, picture, strokes, name, blur, error):
    painted, opacity = over(picture, strokes, blur)
    Image.fromarray(painted).save(tmp_path / name, **({"quality": 90} if name.endswith("jpg") else {}))
    found = find_missing(read_image(tmp_path / name), MaskRules(color="red"))
    covered = found.pixels[..., 0]
    assert covered[opacity > 0.75].mean() > 0.98
    assert covered[opacity < 0.15].mean() < 0.02
    bared = found.bared
    assert not (bared & covered).any()
    assert rms(found.image.pixels, picture, bared & (opacity > 0.02)) < error
    before = rms(painted, picture, bared & (opacity > 0.02))
    assert rms(found.image.pixels, picture, bared & (opacity > 0.02)) < before / 2
    redness = found.image.pixels[..., 0].astype(float) - found.image.pixels[..., 1:].mean(axis=2)
    wanted = picture[..., 0].astype(float) - picture[..., 1:].mean(axis=2)
    beside = binary_dilation(covered, iterations=3) & ~covered
    assert abs(np.mean((redness - wanted)[beside])) < 3


def test_what_was_bared_counts_as_missing_where_there_is_but_a_mask(tmp_path, picture, strokes):
    painted, _ = over(picture, strokes, 0.8)
    Image.fromarray(painted).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    found = find_missing(image, MaskRules(color="red"))
    missing, sources = missing_pixels(image, MaskRules(color="red"))
    np.testing.assert_array_equal(missing[..., 1], found.pixels[..., 1] | found.bared)
    assert "at its rims; its traces are taken off" in sources[-1]
    hard, _ = missing_pixels(image, MaskRules(color="red", dilate=0))
    np.testing.assert_array_equal(hard[..., 0], (abs(painted.astype(int) - RED) <= 40).all(axis=2))


def test_opacity_is_kept_apart(tmp_path, picture, strokes):
    painted, _ = over(picture, strokes, 0.8)
    alpha = np.full(strokes.shape, 200, np.uint8)
    Image.fromarray(np.dstack([painted, alpha])).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    found = find_missing(image, MaskRules(color="red"))
    assert found.image.pixels.shape == (160, 200, 4)
    assert not found.pixels[..., 3].any()
    assert not missing_pixels(image, MaskRules(color="red"))[0][..., 3].any()
    np.testing.assert_array_equal(found.image.pixels[..., 3], alpha)


def test_paint_of_no_hue_covers_all_that_it_touches(picture, strokes):
    white = np.array([255, 255, 255])
    painted, opacity = over(picture // 3, strokes, 0.6, white)
    bared, covered, rims = take_off_paint(painted, opacity > 0.8, white)
    np.testing.assert_array_equal(bared, painted)
    assert not rims.any()
    assert covered[opacity > 0.15].mean() > 0.98


def test_sixteen_bits_are_as_eight(picture, strokes):
    painted, opacity = over(picture, strokes, 0.8)
    core = opacity > 0.85
    eight = take_off_paint(painted, core, RED)
    sixteen = take_off_paint(painted.astype(np.uint16) * 257, core, RED * 257)
    np.testing.assert_array_equal(eight[1], sixteen[1])
    assert abs(sixteen[0] / 257 - eight[0]).max() <= 0.6


def test_other_masks_beside_paint_are_united(tmp_path, picture, strokes):
    painted, _ = over(picture, strokes, 0.6)
    Image.fromarray(painted).save(tmp_path / "a.png")
    other = np.zeros(strokes.shape, np.uint8)
    other[130:150, 150:160] = 255
    Image.fromarray(other).save(tmp_path / "m.png")
    missing, sources = missing_pixels(read_image(tmp_path / "a.png"), MaskRules(tmp_path / "m.png", color="red"))
    assert missing[other > 0].all()
    assert missing[strokes].all()
    assert [source.split(" by ")[1][:5] for source in sources if " by " in source] == ["m.png", "color"]


def test_small_dots_that_jpeg_has_faded_are_found_and_red_things_are_not(tmp_path, picture):
    dots = np.zeros((160, 200), bool)
    for row, column in ((15, 20), (40, 100), (120, 60), (140, 170)):
        dots[row : row + 3, column + 1] = dots[row + 1, column : column + 3] = True
    dots[60:72, 120:190] = True  # and a stroke
    thing = np.where(
        (np.indices(dots.shape)[0] < 30)[..., None] & (np.indices(dots.shape)[1] > 170)[..., None], (190, 40, 45), picture
    )
    painted, _ = over(thing.astype(np.uint8), dots, 0.5)
    Image.fromarray(painted).save(tmp_path / "a.jpg", quality=85)
    found = find_missing(read_image(tmp_path / "a.jpg"), MaskRules(color="red", color_tolerance=20))
    hard, _ = missing_pixels(read_image(tmp_path / "a.jpg"), MaskRules(color="red", color_tolerance=20, dilate=0))
    assert not hard[15:18, 20:23].any()
    assert found.pixels[..., 0][dots].mean() > 0.9
    assert not found.pixels[:25, 178:].any()


def test_the_rims_of_deep_holes_are_covered(picture):
    hole = np.zeros((160, 200), bool)
    hole[40:90, 60:120] = True
    painted, opacity = over(picture, hole, 0.8)
    _, covered, rims = take_off_paint(painted, opacity > 0.85, RED)
    assert covered[opacity > 0.02].all()
    assert not (rims & (opacity > 0)).any()
