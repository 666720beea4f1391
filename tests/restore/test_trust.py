import numpy as np
import pytest

from csc_cogd.restore.base_layer import base_layer, pilot_estimate
from csc_cogd.restore.damage import random_mask, scratch_and_text_mask
from csc_cogd.restore.trust import trust_in_code


@pytest.fixture
def image(photo):
    return photo[None] / 255


@pytest.mark.parametrize("mask", [random_mask((96, 96), 0.5), scratch_and_text_mask((96, 96), "text")])
def test_a_perfect_code_is_trusted_and_a_useless_one_is_not(image, mask):
    missing = mask[None]

    def perfect(details, known):
        bases = [base_layer(pilot_estimate(image, ~known[0]))]
        return image[None] - bases

    def pilot_again(details, known):
        pilot = pilot_estimate(image, ~known[0])
        return (pilot - base_layer(pilot))[None] * np.ones(details.shape)

    def noise(details, known):
        return np.random.default_rng(1).standard_normal(details.shape)

    assert trust_in_code(image, missing, perfect) == pytest.approx(1)
    assert trust_in_code(image, missing, noise) < 0.02
    assert trust_in_code(image, missing, pilot_again) == 0


def test_the_code_never_sees_what_it_is_judged_by(image):
    missing = random_mask((96, 96), 0.5)[None]
    seen = []

    def spy(details, known):
        seen.append(known)
        assert not details[~known].any()
        return details

    trust_in_code(image, missing, spy)
    hidden = ~seen[0][0] & ~missing
    assert 0.02 < hidden.mean() < 0.1
    assert not (seen[0][0] & missing).any()


def test_images_too_small_to_judge_are_trusted():
    assert trust_in_code(np.zeros((1, 20, 200)), np.ones((1, 20, 200), bool), None) == 1


def test_a_smooth_image_is_left_to_the_pilot():
    from csc_cogd import inpaint, psnr

    i, j = np.mgrid[:128, :128]
    image = 0.5 + 0.4 * np.sin(i / 17) * np.cos(j / 23)
    mask = random_mask(image.shape, 0.5)
    restored, report = inpaint(image, mask, return_report=True, max_iter=20)
    pilot = pilot_estimate(image[None], mask[None])[0]
    assert report.trust[0] < 0.5
    assert psnr(restored, image, data_range=1) > psnr(pilot, image, data_range=1) - 0.1
