"""What is known of a picture, found out by looking at little of it: the same as by looking at all."""

import numpy as np
import pytest

from csc_cogd import InputError
from csc_cogd.restore.observation import Observation, clipped_to_known, intensity_range, known_range


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.float32])
def test_the_range_is_that_of_all_known_values(rng, dtype):
    planes = rng.integers(0, 251, (3, 90, 110)).astype(dtype)
    missing = rng.random(planes.shape) < 0.3
    planes[missing] = 0
    known = [plane[~gone] for plane, gone in zip(planes, missing, strict=True)]
    assert known_range(planes, missing) == pytest.approx(intensity_range(known), rel=1e-12)


def test_the_range_of_one_value_is_widened_as_ever():
    planes, missing = np.full((1, 9, 9), 7, np.uint8), np.zeros((1, 9, 9), bool)
    assert known_range(planes, missing) == intensity_range([planes[0].ravel()])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_the_range_of_a_large_picture_is_about_that_of_all(rng, dtype):
    planes = (200 * rng.random((1, 2100, 2000)) ** 2).astype(dtype)
    missing = np.zeros(planes.shape, bool)
    missing[:, 100:200] = True
    found, exact = known_range(planes, missing), np.quantile(planes[~missing], (0.001, 0.999))
    assert found == pytest.approx(exact, abs=1)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_values_known_between_the_rows_that_are_looked_at_have_a_range(dtype):
    planes, missing = np.zeros((1, 3000, 1000), dtype), np.ones((1, 3000, 1000), bool)
    planes[0, 1], missing[0, 1] = np.arange(1000) % 11, False
    low, high = known_range(planes, missing)
    assert (low, high) == pytest.approx((0, 10), abs=0.1)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64, np.float64])
def test_clipped_values_lie_in_the_range_of_all_known_ones(rng, dtype):
    plane = (20 + 200 * rng.random((3000, 700))).astype(dtype)  # in several bands
    missing = rng.random(plane.shape) < 0.1
    plane[missing] = 0
    plane[2999, 5], plane[2999, 6], missing[2999, 5:7] = 7, 251, False  # in the last of them
    for values in (np.linspace(-3, 300, 99), np.linspace(30, 40, 9), np.linspace(-1, 50, 9), np.linspace(50, 253, 9)):
        known = plane[~missing]
        assert np.array_equal(clipped_to_known(values, plane, missing), np.clip(values, known.min(), known.max()))


def test_one_mask_for_all_channels_is_kept_once(rng):
    image, mask = rng.integers(0, 256, (20, 30, 3)).astype(np.uint8), rng.random((20, 30)) < 0.2
    for given in (mask, np.repeat(mask[..., None], 3, axis=2), mask.astype(np.uint8)):
        missing = Observation.of(image, given, channel_axis=-1).missing
        assert missing.strides[0] == 0
        assert np.array_equal(missing, np.stack([mask] * 3))
    other = np.repeat(mask[..., None], 3, axis=2)
    other[3, 4, 1] ^= True
    assert np.array_equal(Observation.of(image, other, channel_axis=-1).missing, np.moveaxis(other, -1, 0))


def test_all_that_says_what_is_missing_is_united(rng):
    image = rng.random((20, 30, 3))
    image[2, 3, 1] = np.nan
    mask, hidden = rng.random((20, 30)) < 0.2, rng.random((20, 30, 3)) < 0.1
    missing = Observation.of(np.ma.array(image, mask=hidden), mask, channel_axis=-1).missing
    assert np.array_equal(missing, np.moveaxis(hidden | np.isnan(image) | mask[..., None], -1, 0))


def test_values_that_cannot_be_computed_with_are_found_in_the_last_rows():
    image, mask = np.zeros((3000, 500)), np.zeros((3000, 500), bool)
    mask[5, 5] = True
    image[2999, 499] = np.inf
    with pytest.raises(InputError, match="infinite"):
        Observation.of(image, mask)
    mask[2999, 499] = True
    assert Observation.of(image, mask).missing.sum() == 2
