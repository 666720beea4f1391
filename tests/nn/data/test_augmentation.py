"""Random changes of images, told from where each pixel came from."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_cogd import InputError
from csc_cogd.nn import Augmentation


def numbered(n, height, width, dtype=np.int32):
    """Images whose pixels tell their row, column and image, each from 1."""
    image, row, column = np.indices((n, height, width)) + 1
    return np.stack([row, column, image], axis=-1).astype(dtype)


@given(
    n=st.integers(1, 5), height=st.integers(1, 9), width=st.integers(1, 9), crop=st.integers(0, 5), flip=st.booleans(),
    cutout=st.integers(0, 12), seed=st.integers(0, 1 << 32), dtype=st.sampled_from(["uint8", "int32", "float32"]),
)  # fmt: skip
def test_each_image_is_a_shifted_perhaps_mirrored_and_cut_copy_of_itself(n, height, width, crop, flip, cutout, seed, dtype):
    images = numbered(n, height, width, dtype)
    images.setflags(write=False)
    changed = Augmentation(crop, flip, cutout)(images, np.random.default_rng(seed), fill=99)
    assert changed.shape == images.shape
    assert changed.dtype == images.dtype
    for number, image in enumerate(changed):
        cut = image[..., 2] == 99
        black = (image == 0).all(axis=-1)
        seen = ~cut & ~black
        assert cut.sum() <= cutout**2
        assert (image[seen, 2] == number + 1).all()
        rows, columns = np.nonzero(seen)
        shifts = np.unique(image[seen, 0] - (rows + 1))
        assert len(shifts) <= 1
        assert (abs(shifts) <= crop).all()
        there = [np.unique(image[seen, 1] - (columns + 1)), np.unique(image[seen, 1] - (width - columns))]
        assert any(len(shifts) <= 1 and (abs(shifts) <= crop).all() for shifts in there[: 1 + flip])
        assert crop or not black.any()


def test_crops_show_every_shift_equally_often(rng):
    n, crop = 20_000, 2
    images = np.full((n, 5, 5, 3), [9, 9, 9], np.uint8)
    images[:, 2, 2] = 200
    changed = Augmentation(crop=crop)(images, rng)
    places = np.argwhere(changed[..., 0] == 200)
    assert len(places) == n
    counts = np.zeros((5, 5), int)
    np.add.at(counts, (places[:, 1], places[:, 2]), 1)
    assert abs(counts - n / 25).max() < 5 * (n / 25) ** 0.5


def test_half_of_the_images_are_mirrored(rng):
    n = 10_000
    changed = Augmentation(flip=True)(numbered(n, 1, 3), rng)
    mirrored = (changed[:, 0, :, 1] == [3, 2, 1]).all(axis=1)
    assert ((changed[:, 0, :, 1] == [1, 2, 3]).all(axis=1) | mirrored).all()
    assert abs(mirrored.sum() - n / 2) < 5 * (n / 4) ** 0.5


@pytest.mark.parametrize("side", [1, 4, 5])
def test_squares_lie_around_any_pixel_and_are_cut_at_borders(side, rng):
    images = np.ones((5_000, 12, 9, 3), np.uint8)
    cut = (Augmentation(cutout=side)(images, rng, fill=(7, 8, 9)) == (7, 8, 9)).all(axis=-1)
    rows, columns = cut.any(axis=2), cut.any(axis=1)
    np.testing.assert_array_equal(cut, rows[:, :, None] & columns[:, None, :])
    for covered in (rows, columns):
        size = covered.shape[1]
        center = np.arange(size)[:, None]
        possible = abs(2 * (np.arange(size) - center) + (side + 1) % 2) < side  # the rows of a square around each pixel
        found = np.unique(covered, axis=0)
        np.testing.assert_array_equal(found, np.unique(possible, axis=0))


def test_crops_keep_smooth_images_smooth_and_stay_within_them(rng):
    ramp = np.linspace(0, 255, 64).round().astype(np.uint8)
    images = np.zeros((500, 64, 64, 3), np.uint8)
    images[..., 0], images[..., 1] = ramp, ramp[:, None]
    changed = Augmentation(area=0.25)(images, rng).astype(float)
    spans = [np.ptp(changed[:, 32, :, 0], axis=1) / 255, np.ptp(changed[:, :, 32, 1], axis=1) / 255]
    areas, ratios = spans[0] * spans[1], spans[0] / spans[1]
    assert 0.2 < areas.min() < 0.3
    assert areas.max() > 0.8
    assert 0.71 < ratios.min() < 0.8
    assert 1.25 < ratios.max() < 1.41
    assert changed[:, 0, 0, 0].min() < 5
    assert changed[:, 0, -1, 0].max() > 250
    assert (np.diff(changed[..., 0], axis=2) >= 0).all()


def test_the_generator_decides_everything():
    images = np.random.default_rng(1).integers(0, 256, (20, 16, 16, 3)).astype(np.uint8)
    augmentation = Augmentation(crop=2, flip=True, cutout=5, area=0.5)
    first, again, other = (augmentation(images, np.random.default_rng(seed)) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_nothing_is_changed_by_default(rng):
    images = numbered(3, 4, 4)
    np.testing.assert_array_equal(Augmentation()(images, rng), images)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"crop": -1}, r"crop must be an integer >= 0 .*got -1"),
        ({"cutout": 2.5}, r"cutout must be an integer >= 0 .*got 2.5"),
        ({"crop": True}, r"crop must be an integer >= 0 .*got True"),
        ({"area": 1.5}, r"area must be in \[0, 1\] .*got 1.5"),
        ({"area": float("nan")}, r"area must be in \[0, 1\] .*got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(setting, message):
    with pytest.raises(InputError, match=message):
        Augmentation(**setting)


def test_crops_of_floats_are_refused(rng):
    with pytest.raises(InputError, match="images must be uint8 to be cropped, got float64"):
        Augmentation(area=0.5)(np.zeros((1, 4, 4, 3)), rng)
