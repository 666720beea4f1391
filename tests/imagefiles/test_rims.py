"""Rims of damage that was painted here, so that its width is known."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.data import brick, camera, coins, grass, gravel

from csc_cogd.imagefiles import ImageFile, MaskRules, write_image
from csc_cogd.imagefiles.rims import MAX_WIDTH, grow_over_rims, has_rims
from csc_cogd.restore.synthetic_masks import random_mask, scratch_mask
from tests.imagefiles.making import missing_pixels

SIDE = 160
SQUARE = np.ones((3, 3))


@pytest.fixture
def picture(rng):
    """Colors in [0, 255] with structure at all scales, and grain."""
    planes = [sum(s * gaussian_filter(rng.normal(size=(SIDE, SIDE)), s) for s in (1, 3, 9)) for _ in range(3)]
    return np.clip(110 + 25 * np.stack(planes, axis=-1) + rng.normal(0, 2, (SIDE, SIDE, 3)), 0, 255)


@pytest.fixture
def scratches():
    return scratch_mask((SIDE, SIDE), [4, 4, 4], seed=3)


def painted(picture, scratches, blur, paint=(255, 240, 235)):
    """Scratches of soft rims over a picture, and how much of each pixel they cover."""
    cover = gaussian_filter(scratches.astype(float), blur) if blur else scratches.astype(float)
    return picture + cover[..., None] * (np.array(paint) - picture), cover


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize(("blur", "reach"), [(0.8, 2), (2.0, 5)])
def test_soft_rims_are_taken_in_and_little_more(picture, scratches, blur, reach, dtype):
    damaged, cover = painted(picture, scratches, blur)
    scale = 257 if dtype == np.uint16 else 1
    grown = grow_over_rims((damaged * scale).astype(dtype), scratches)
    assert has_rims((damaged * scale).astype(dtype), scratches)
    assert np.mean(cover[~grown] > 0.15) < 0.01
    assert not (grown & ~binary_dilation(scratches, SQUARE, iterations=reach)).any()


def test_gray_pictures_and_dark_damage(picture, scratches):
    damaged, cover = painted(picture, scratches, 0.8, (0, 0, 0))
    grown = grow_over_rims(damaged[..., 0].astype(np.uint8), scratches)
    assert np.mean(cover[~grown] > 0.15) < 0.01
    assert not (grown & ~binary_dilation(scratches, SQUARE, iterations=2)).any()


def test_a_mask_beside_the_damage_grows_on_the_side_where_that_is(picture):
    damage = np.zeros((SIDE, SIDE), bool)
    damage[:, 76:84] = True
    mask = np.roll(damage, -2, axis=1)  # 2 pixels too far left
    grown = grow_over_rims(painted(picture, damage, 0.5)[0].astype(np.uint8), mask)
    assert grown[:, 82:84].all()
    assert not grown[:, :74].any()


def test_nothing_grows_where_nothing_is_to_be_seen(picture, scratches):
    for colors in (
        picture,  # a mask over a whole picture
        np.where(scratches[..., None], np.nan, picture),
        np.where(scratches[..., None], 0, picture),  # cut out
    ):
        np.testing.assert_array_equal(grow_over_rims(colors, scratches), scratches)
        assert not has_rims(colors, scratches)
    half = random_mask((SIDE, SIDE), 0.5)
    for mask in (half, np.zeros_like(half), np.ones_like(half)):
        np.testing.assert_array_equal(grow_over_rims(picture, mask), mask)
    np.testing.assert_array_equal(grow_over_rims(picture[:3, :3], scratches[:3, :3]), scratches[:3, :3])


def specks(shape, step):
    """Squares of 3 x 3 pixels on a grid."""
    mask = np.zeros(shape, bool)
    mask[step // 2 :: step, step // 2 :: step] = True
    return binary_dilation(mask, SQUARE)


@pytest.mark.parametrize("soft", ["none", "specks", "the large hole"])
def test_of_thousands_of_holes_enough_are_looked_at(picture, soft):
    colors = np.tile(picture, (8, 8, 1))
    small, large = specks(colors.shape[:2], 40), np.zeros(colors.shape[:2], bool)
    large[700:760, 400:460] = True
    small &= ~binary_dilation(large, SQUARE, iterations=20)
    cover = gaussian_filter(small.astype(float), 0.8) if soft == "specks" else small.astype(float)
    cover = np.maximum(cover, gaussian_filter(large.astype(float), 1.5) if soft == "the large hole" else large)
    damaged = (colors + cover[..., None] * (np.array((255, 240, 235)) - colors)).astype(np.uint8)
    assert has_rims(damaged, small | large) == (soft != "none")


def test_texture_beside_sharp_damage_is_hardly_ever_taken_for_a_rim():
    found = []
    for picture in (camera, coins, brick, grass, gravel):
        piece = picture()[60:188, 60:188]
        line = np.zeros(piece.shape, bool)
        line[:, 42] = True
        for name, mask in (("line", line), ("scratches", scratch_mask(piece.shape, [4, 4, 4], seed=3))):
            for paint in (0, 255):
                grown = grow_over_rims(np.where(mask, paint, piece), mask)
                if grown.sum() > 1.5 * mask.sum():
                    found.append((picture.__name__, name, paint))
    assert len(found) <= 2, found


def test_what_lies_in_several_squares_grows_as_in_one(rng):
    picture = np.kron(rng.integers(80, 120, (9, 80)), np.ones((8, 8)))
    damage = np.zeros(picture.shape, bool)
    damage[34:38] = True
    grown = grow_over_rims(painted(picture[..., None], damage, 1.0, (255,))[0][..., 0], damage)
    assert (grown == grown[:, :1]).all()
    assert 1 <= damage.argmax(axis=0)[0] - grown.argmax(axis=0)[0] <= MAX_WIDTH


@pytest.mark.parametrize("blur", [0.8, 2.0])
def test_what_grows_is_the_same_wherever_the_picture_begins(picture, scratches, blur):
    damaged, _ = painted(picture, scratches, blur)
    grown = grow_over_rims(damaged.astype(np.uint8), scratches)
    border = ((37, 5), (21, 50))
    larger = np.pad(damaged.astype(np.uint8), (*border, (0, 0)), "reflect")
    inside = grow_over_rims(larger, np.pad(scratches, border))[37:-5, 21:-50]
    inner = (slice(30, -30), slice(30, -30))  # beyond, what is beneath is told by what was padded
    assert (grown & ~scratches)[inner].any()
    np.testing.assert_array_equal(inside[inner], grown[inner])


def test_masks_grow_by_themselves_where_the_picture_is_a_jpeg(tmp_path, picture, scratches):
    damaged = painted(picture, scratches, 0.8)[0].astype(np.uint8)
    write_image(ImageFile(scratches.astype(np.uint8), tmp_path / "m.png", "png"), tmp_path / "m.png")
    expected = grow_over_rims(damaged, scratches)
    for lossy, dilate, grows in ((False, None, False), (False, "auto", True), (True, None, True), (True, 0, False)):
        image = ImageFile(damaged, tmp_path / "a", "png", lossy=lossy)
        missing, sources = missing_pixels(image, MaskRules(tmp_path / "m.png", dilate=dilate))
        np.testing.assert_array_equal(missing[..., 0], expected if grows else scratches)
        assert len(sources) == 1 + grows
    assert (
        "at the rims, which hold some of the damage"
        in missing_pixels(image, MaskRules(tmp_path / "m.png", dilate="auto"))[1][-1]
    )
