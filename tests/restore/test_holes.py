"""Holes: each is filled in the way that is right about what is around it."""

import numpy as np
import pytest
from skimage.restoration import inpaint_biharmonic

from csc_cogd import inpaint
from csc_cogd.biharmonic import fill_harmonic
from csc_cogd.restore.hole_finding import count_holes, find_holes
from csc_cogd.restore.kriging import Covariance, krige
from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask


def box(shape, top, left, height, width):
    mask = np.zeros(shape, bool)
    mask[top : top + height, left : left + width] = True
    return mask


def without(image, mask):
    return np.where(mask if image.ndim == 2 else mask[..., None], 0, image).astype(image.dtype)


@pytest.mark.parametrize("mask", [random_mask((96, 96), 0.9), scratch_and_text_mask((96, 96), "text")])
def test_scattered_pixels_and_thin_scratches_are_no_holes(mask):
    assert not find_holes(mask[None])


def test_a_hole_is_found_once_without_the_scratches_that_lead_to_it():
    mask = box((90, 90), 30, 0, 16, 14) | box((90, 90), 37, 14, 2, 60) | box((90, 90), 70, 60, 10, 9)
    found = find_holes(np.stack([mask] * 3))
    assert len(found) == 2
    for hole in found:
        assert hole.channels == slice(0, 3)
        assert mask[hole.window][hole.pixels].all()
        assert hole.pixels.sum() < 16 * 14 + 40
    assert len(find_holes(np.stack([mask, ~mask & False, mask]))) == 4  # of each channel by itself


def test_a_color_photograph_s_hole_at_the_border_is_filled_as_well_as_scikit_image_asks():
    """The test of its biharmonic interpolation: the error is to be less than a hundredth of the damage's."""
    from skimage import data

    image = data.astronaut()[:64, :64] / 255
    mask = box((64, 64), 8, 0, 8, 16)
    restored = inpaint(without(image, mask), mask, channel_axis=-1)
    assert ((restored - image) ** 2).mean() < 0.01 * ((without(image, mask) - image) ** 2).mean()


@pytest.mark.parametrize("place", [(0, 0), (0, 40), (96 - 18, 96 - 18), (30, 50)])
def test_no_fill_leaves_the_range_of_what_surrounds_the_hole(photo, place):
    """Whatever lies further away: here black and white."""
    image = photo[:96, :96].copy()
    mask = box(image.shape, *place, 18, 18)
    around = box(image.shape, max(place[0] - 6, 0), max(place[1] - 6, 0), *(18 + min(p, 6) + 6 for p in place)) & ~mask
    image[~(mask | around)] = np.where(np.arange((~(mask | around)).sum()) % 2, 0, 255)
    restored = inpaint(without(image, mask), mask)
    assert image[around].min() <= restored[mask].min()
    assert restored[mask].max() <= image[around].max()


def test_what_lies_in_a_corner_is_not_extrapolated_as_a_ramp():
    """A slope that ends before the corner, where biharmonic interpolation would go on with it."""
    i, j = np.mgrid[:80, :80]
    image = np.clip(200 - 6 * np.hypot(np.maximum(i - 24, 0), np.maximum(j - 24, 0)), 60, 200).astype(np.uint8)
    image += np.random.default_rng(1).integers(0, 3, image.shape).astype(np.uint8)
    mask = box(image.shape, 0, 0, 20, 20)
    restored = inpaint(without(image, mask), mask)
    assert abs(restored[mask].astype(float) - 201).max() < 6


def test_each_hole_is_judged_by_itself(photo):
    """In the smooth half biharmonic interpolation is exact; in the other it isn't used."""
    i, j = np.mgrid[:96, :128] / 128
    image = (60 + 150 * (i - 0.4) ** 2 + 90 * j).astype(float)
    texture = 40 * np.sin(np.arange(96) * 0.9)[:, None] * np.ones(128)
    image[:, 64:] += texture[:, 64:]
    smooth, striped = box(image.shape, 40, 20, 14, 14), box(image.shape, 40, 90, 14, 14)
    restored = inpaint(np.where(smooth | striped, 0, image), smooth | striped)
    plain = inpaint_biharmonic(np.where(smooth | striped, 0, image), smooth | striped)
    assert abs(restored - image)[smooth].max() < 1.0
    assert ((restored - image)[striped] ** 2).mean() < 0.05 * ((plain - image)[striped] ** 2).mean()


def test_holes_don_t_depend_on_tiles_and_threads_beyond_the_stages(photo):
    mask = box(photo.shape, 20, 20, 12, 20) | box(photo.shape, 60, 0, 16, 10)
    damaged = without(photo, mask)
    np.testing.assert_array_equal(inpaint(damaged, mask, threads=1), inpaint(damaged, mask, threads=2))


def test_the_report_counts_holes(photo):
    mask = box(photo.shape, 20, 20, 12, 20)
    _, report = inpaint(without(photo, mask), mask, return_report=True)
    assert report.groups[0].holes == 1
    assert "1 hole filled" in repr(report)


def test_a_rim_that_disagrees_with_its_surroundings_is_left_out():
    """Red paint that the mask doesn't cover doesn't spread into the hole; it is known, and stays."""
    from scipy.ndimage import binary_dilation
    from skimage import data

    image = data.chelsea()[60:188, 300:428]
    mask = box(image.shape[:2], 50, 50, 14, 14)
    rim = binary_dilation(mask, np.ones((3, 3))) & ~mask
    painted = image.copy()
    painted[rim] = np.rint(0.4 * painted[rim] + 0.6 * np.array([255, 0, 0]))
    clean, spoilt = (inpaint(without(picture, mask), mask, channel_axis=-1, fill="smooth") for picture in (image, painted))
    np.testing.assert_array_equal(spoilt[rim], painted[rim])
    assert abs(spoilt.astype(int) - clean)[mask].mean() < 20  # of 75 where it spreads


class TestKriging:
    def test_it_goes_on_with_a_texture(self):
        i, j = np.mgrid[:80, :80]
        planes = (0.5 + 0.3 * np.sin(0.7 * i + 0.3 * j))[None]
        hole = box((80, 80), 30, 30, 16, 16)
        filled = krige(np.where(hole, 0, planes), hole, hole, Covariance(prior=0.05, reach=8))
        assert abs(filled - planes).max() < 0.1
        np.testing.assert_array_equal(filled[:, ~hole], planes[:, ~hole])

    def test_a_constant_stays_one(self):
        hole = box((40, 40), 0, 0, 20, 20)
        filled = krige(np.full((2, 40, 40), 0.3), hole, hole, Covariance())
        np.testing.assert_allclose(filled, 0.3)

    def test_a_slope_goes_on_to_the_border_where_it_is_asked_for(self):
        i, j = np.mgrid[:60, :70] / 70
        planes, hole = np.stack([0.2 + 0.5 * i + 0.2 * j, 0.9 - 0.3 * j]), box((60, 70), 0, 20, 14, 16)
        seen = np.where(hole, 0, planes)
        sloping, level = (krige(seen, hole, hole, Covariance(prior=1.0, length=5.0, slope_from=size)) for size in (6, 0))
        np.testing.assert_allclose(sloping, planes, atol=1e-6)
        assert abs(level - planes).max() > 0.02

    def test_a_plane_that_few_pixels_tell_of_is_level(self):
        planes, missing = np.random.default_rng(0).random((1, 40, 40)), np.ones((40, 40), bool)
        missing[0, :12] = False
        models = (Covariance(slope_from=size) for size in (0, 60))
        level, sloping = (krige(planes, missing, box((40, 40), 10, 10, 12, 12), model) for model in models)
        np.testing.assert_array_equal(sloping, level)

    def test_missing_pixels_outside_of_the_hole_are_not_read(self, rng):
        planes, hole = rng.random((3, 50, 50)), box((50, 50), 10, 10, 12, 12)
        missing = hole | (rng.random((50, 50)) < 0.2)
        model = Covariance(likeness=0.1)
        filled = krige(np.where(missing, 0, planes), missing, hole, model)
        np.testing.assert_allclose(filled[:, hole], krige(np.where(missing, 9.0, planes), missing, hole, model)[:, hole])

    def test_it_beats_biharmonic_interpolation_in_a_photograph(self):
        from skimage.data import camera

        image, errors = camera()[100:400, 100:400] / 255, []
        for top, left in np.random.default_rng(2).integers(20, 260, (12, 2)):
            hole = box(image.shape, top, left, 16, 16)
            filled = krige(np.where(hole, 0, image)[None], hole, hole, Covariance(likeness=0.08))[0]
            errors.append([((a - image)[hole] ** 2).mean() for a in (filled, inpaint_biharmonic(image * ~hole, hole))])
        assert np.log10(errors).mean(axis=0) @ (-10, 10) > 1  # dB


class TestHarmonic:
    def test_it_is_the_solution_of_the_dense_system(self, rng):
        """Every missing pixel is the mean of its neighbors, of which there are fewer at the border."""
        planes, missing = rng.random((2, 12, 15)), box((12, 15), 0, 8, 6, 7) | (rng.random((12, 15)) < 0.2)
        filled = fill_harmonic(np.where(missing, np.nan, planes), missing)
        system, right = np.eye(180), np.zeros((180, 2))
        for row, column in np.argwhere(missing):
            beside = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
            beside = [15 * i + j for i, j in beside if 0 <= i < 12 and 0 <= j < 15]
            system[15 * row + column, beside] = -1 / len(beside)
        right[~missing.ravel()] = planes[:, ~missing].T
        np.testing.assert_allclose(filled.reshape(2, -1).T, np.linalg.solve(system, right), atol=1e-12)
        np.testing.assert_array_equal(filled[:, ~missing], planes[:, ~missing])

    def test_it_keeps_to_the_range_of_what_is_known(self, photo):
        missing = box(photo.shape, 0, 0, 20, 20) | box(photo.shape, 50, 40, 16, 16)
        filled = fill_harmonic(photo[None], missing)
        known = photo[~missing]
        assert known.min() <= filled.min()
        assert filled.max() <= known.max()

    def test_nothing_missing_is_no_error(self):
        np.testing.assert_array_equal(fill_harmonic(np.ones((1, 4, 4)), np.zeros((4, 4), bool)), 1)


def test_scratches_are_no_holes_however_they_lie_but_wide_tears_are():
    def found(*boxes):
        missing = np.zeros((1, 200, 200), bool)
        for box in boxes:
            missing[0, *box] = True
        return count_holes(find_holes(missing))

    assert found(np.s_[50:58, 60:68]) == 1
    assert found(np.s_[50:58, 60:84]) == 1
    assert found(np.s_[50:57, 20:180]) == 0
    assert found(np.s_[50:57, 20:180], np.s_[20:180, 90:97]) == 0
    assert found(np.s_[50:64, 20:180]) == 1
    diagonal = np.pad(abs(np.subtract.outer(np.arange(150), np.arange(150))) <= 6, 25)
    assert not find_holes(diagonal[None])
