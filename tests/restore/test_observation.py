import numpy as np

from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask


def test_random_masks_have_their_fraction_and_seed():
    mask = random_mask((200, 200), 0.25, seed=3)
    assert abs(mask.mean() - 0.25) < 0.02
    np.testing.assert_array_equal(mask, random_mask((200, 200), 0.25, seed=3))
    assert (mask != random_mask((200, 200), 0.25, seed=4)).any()


def test_scratches_and_text_cover_a_part_of_any_picture():
    for shape in ((512, 512), (40, 300), (64, 16)):
        mask = scratch_and_text_mask(shape, "csc-cogd")
        assert mask.shape == shape
        assert 0.01 < mask.mean() < 0.5
