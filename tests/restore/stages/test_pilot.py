import numpy as np
import pytest

from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore.observation import ScaledPlanes
from csc_cogd.restore.stages.pilot import cross_validated_weight
from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask


def weight_of(restore, image, missing):
    def restore_state(state):
        return restore(state.observed, state.missing, state.pilot)

    return cross_validated_weight(restore_state, ScaledPlanes(image, missing, 0.0, 1.0))


@pytest.fixture
def image(photo):
    return photo[None] / 255


@pytest.mark.parametrize("mask", [random_mask((96, 96), 0.5), scratch_and_text_mask((96, 96), "text")])
def test_a_perfect_restoration_is_trusted_and_a_useless_one_is_not(image, mask):
    missing = mask[None]

    def perfect(tile, absent, pilot):
        return image

    def too_far(times):
        return lambda tile, absent, pilot: pilot + times * (image - pilot)

    def noise(tile, absent, pilot):
        return pilot + np.random.default_rng(1).standard_normal(tile.shape)

    def worse(tile, absent, pilot):
        return pilot + 0.1 * (pilot - image)

    assert weight_of(perfect, image, missing) == pytest.approx(1)
    assert weight_of(too_far(5), image, missing) == pytest.approx(0.2)
    assert weight_of(too_far(3), image, missing) == 1  # in doubt for the restoration
    assert weight_of(noise, image, missing) < 0.02
    assert weight_of(worse, image, missing) == 0


@pytest.mark.parametrize("mask", [random_mask((96, 96), 0.5), scratch_and_text_mask((96, 96), "text")])
def test_a_restoration_never_sees_what_it_is_judged_by(image, mask):
    missing, seen = mask[None], []

    def spy(tile, absent, pilot):
        seen.append(absent)
        assert not tile[absent].any()
        np.testing.assert_array_equal(tile[~absent], image[~absent])
        np.testing.assert_allclose(pilot, fill_biharmonic(tile, absent))
        return pilot

    weight_of(spy, image, missing)
    assert len(seen) == 1
    assert seen[0][missing].all()
    hidden = seen[0] & ~missing
    assert 0.02 < hidden.mean() < 0.15


def test_what_is_hidden_looks_like_the_damage(image):
    """Scratches hide whole scratches, not scattered pixels."""
    missing = np.zeros(image.shape, bool)
    missing[:, 10:13, 5:90] = True
    seen = []
    weight_of(lambda tile, absent, pilot: seen.append(absent) or pilot, image, missing)
    np.testing.assert_array_equal(np.flatnonzero((seen[0] & ~missing).any(axis=(0, 2))), [42, 43, 44])


def test_the_weight_is_the_one_closest_to_the_truth(image, rng):
    missing = random_mask((96, 96), 0.4)[None]
    blurred = image + 0.15 * rng.standard_normal(image.shape)
    kept = []

    def restore(tile, absent, pilot):
        kept.append((absent & ~missing, pilot))
        return blurred

    weight = weight_of(restore, image, missing)
    hidden, pilot = kept[0]
    tried = [((pilot + w * (blurred - pilot) - image)[hidden] ** 2).sum() for w in np.linspace(0, 1, 101)]
    assert 0.01 < weight < 0.29
    assert weight == pytest.approx(np.argmin(tried) / 100, abs=0.0051)


def test_the_worst_tiles_of_a_large_picture_are_judged(photo):
    image = np.tile(photo / 255, (2, 3))[None]
    missing = np.zeros(image.shape, bool)
    missing[0, :, :96] = random_mask((192, 96), 0.4)
    missing[0, 96:, 96:] = random_mask((96, 192), 0.2)
    missing[0, :96, 96:][random_mask((96, 192), 0.01)] = True
    seen = []
    weight_of(lambda tile, absent, pilot: seen.append(absent) or pilot, image, missing)
    assert len(seen) == 4
    assert all(absent.shape == (1, 96, 96) and absent.mean() > 0.3 for absent in seen)


def test_images_too_small_to_judge_are_trusted():
    assert weight_of(None, np.zeros((1, 20, 200)), np.ones((1, 20, 200), bool)) == 1


def test_channels_are_judged_together_with_masks_of_their_own(image):
    image = np.concatenate([image, image[:, ::-1]])[:, :48, :48]
    missing = np.array([random_mask((48, 48), 0.5, seed=seed) for seed in (1, 2)])
    assert weight_of(lambda tile, absent, pilot: image, image, missing) == pytest.approx(1)
    half = weight_of(lambda tile, absent, pilot: np.stack([image[0], pilot[1]]), image, missing)
    assert half == pytest.approx(1)  # where nothing was changed, nothing speaks against it


def test_a_smooth_image_is_not_spoilt():
    """The code alone is worse than the pilot there."""
    from csc_cogd import inpaint, psnr

    i, j = np.mgrid[:96, :96]
    image = 0.5 + 0.4 * np.sin(i / 17) * np.cos(j / 23)
    mask = random_mask(image.shape, 0.5)
    restored = inpaint(image, mask, max_iter=20)
    pilot = fill_biharmonic(image[None], mask[None])[0]
    assert psnr(restored, image, data_range=1) > psnr(pilot, image, data_range=1) + 6
