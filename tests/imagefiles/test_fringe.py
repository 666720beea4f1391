"""Rims of damage that was painted here, so that its width is known."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.data import brick, camera, coins, grass, gravel

from csc_cogd.imagefiles import ImageFile, MaskRules, missing_pixels, write_image
from csc_cogd.imagefiles.fringe import MAX_WIDTH, fringe_width
from csc_cogd.restore.synthetic_masks import random_mask, scratch_mask

SIDE = 160


@pytest.fixture
def picture(rng):
    """Colours in [0, 255] with structure at all scales, and grain."""
    planes = [sum(s * gaussian_filter(rng.normal(size=(SIDE, SIDE)), s) for s in (1, 3, 9)) for _ in range(3)]
    return np.clip(110 + 25 * np.stack(planes, axis=-1) + rng.normal(0, 2, (SIDE, SIDE, 3)), 0, 255)


@pytest.fixture
def scratches():
    return scratch_mask((SIDE, SIDE), [4, 4, 4], seed=3)


def painted(picture, scratches, blur, paint=(255, 240, 235)):
    """Scratches of soft rims over a picture, and how many pixels beside the mask have more than a twentieth of the paint."""
    cover = gaussian_filter(scratches.astype(float), blur) if blur else scratches.astype(float)
    return picture + cover[..., None] * (np.array(paint) - picture), cover


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("blur", "low", "high"), [(0, 0, 0), (0.8, 1, 2), (2.0, 2, 5)])
def test_the_width_of_soft_rims_is_found(picture, scratches, blur, low, high, dtype):
    damaged, cover = painted(picture, scratches, blur)
    scale = 257 if dtype == np.uint16 else 1
    found = fringe_width((damaged * scale).astype(dtype), scratches)
    assert low <= found <= high
    beyond = binary_dilation(scratches, np.ones((3, 3)), iterations=found + 1) if found else scratches
    assert np.median(cover[binary_dilation(beyond, np.ones((3, 3))) & ~beyond]) < 0.03  # what "auto" leaves


def test_grey_pictures_and_dark_damage(picture, scratches):
    damaged, _ = painted(picture, scratches, 0.8, (0, 0, 0))
    assert fringe_width(damaged[..., 0].astype(np.uint8), scratches) in (1, 2)


def test_nothing_is_found_where_nothing_is_to_be_seen(picture, scratches):
    assert fringe_width(picture, scratches) == 0  # a mask over a whole picture
    assert fringe_width(np.where(scratches[..., None], np.nan, picture), scratches) == 0
    assert fringe_width(np.where(scratches[..., None], 0, picture), scratches) == 0  # cut out
    assert fringe_width(picture, random_mask((SIDE, SIDE), 0.5)) == 0
    assert fringe_width(picture, np.zeros((SIDE, SIDE), bool)) == 0
    assert fringe_width(picture[:3, :3], scratches[:3, :3]) == 0


def test_texture_beside_sharp_damage_is_hardly_ever_taken_for_a_rim():
    """In gravel, a black line is: stones are darker than what lies between them."""
    found = []
    for picture in (camera, coins, brick, grass, gravel):
        piece = picture()[60:188, 60:188]
        line = np.zeros(piece.shape, bool)
        line[:, 42] = True
        for name, mask in (("line", line), ("scratches", scratch_mask(piece.shape, [4, 4, 4], seed=3))):
            for paint in (0, 255):
                if fringe_width(np.where(mask, paint, piece), mask):
                    found.append((picture.__name__, name, paint))
    assert found in ([], [("gravel", "line", 0)])


def test_masks_grow_by_themselves(tmp_path, picture, scratches):
    damaged, _ = painted(picture, scratches, 0.8)
    image = ImageFile(damaged.astype(np.uint8), tmp_path / "a.png", "png")
    write_image(ImageFile(scratches.astype(np.uint8), tmp_path / "m.png", "png"), tmp_path / "m.png")
    width = fringe_width(image.pixels, scratches)
    missing, sources = missing_pixels(image, MaskRules(tmp_path / "m.png", dilate="auto"))
    expected = binary_dilation(scratches, np.ones((3, 3)), iterations=width + 1)
    np.testing.assert_array_equal(missing, np.repeat(expected[..., None], 3, 2))
    assert sources[-1] == f"grown by {width + 1} px"
    assert width <= MAX_WIDTH
    clean = image.with_pixels(np.where(scratches[..., None], 0, picture).astype(np.uint8))
    missing, sources = missing_pixels(clean, MaskRules(tmp_path / "m.png", dilate="auto"))
    np.testing.assert_array_equal(missing[..., 0], scratches)
    assert len(sources) == 1
