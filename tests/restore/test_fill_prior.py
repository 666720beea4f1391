"""Inpainting by a prior that learned to fill: where it is used, what it is worth, and what is refused."""

import numpy as np
import pytest
from skimage.data import astronaut, camera

from csc_cogd import Dictionary, InputError, Prior, inpaint, psnr
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.restore.synthetic_masks import random_mask, scratch_mask

FILL = Prior.default("fill")


@pytest.fixture(scope="module")
def photo():
    return camera()[130:230, 180:290]


@pytest.fixture(scope="module")
def half(photo):
    return random_mask(photo.shape, 0.5, seed=3)


def quality(restored, image, mask):
    return psnr(restored, image, data_range=255, where=mask)


def test_where_half_is_missing_it_takes_the_place_of_the_code_and_is_as_good(photo, half):
    restored, report = inpaint(photo, half, return_report=True)
    coded, without = inpaint(photo, half, prior="none", return_report=True)
    assert report.groups[0].prior is FILL
    assert not report.groups[0].history
    assert without.groups[0].prior is None
    assert without.groups[0].history
    assert str(FILL) in report.lines()[0]
    assert quality(restored, photo, half) > quality(coded, photo, half) - 0.1
    np.testing.assert_array_equal(restored[~half], photo[~half])


def test_it_is_a_better_pilot_than_biharmonic_interpolation(photo, half):
    interpolated = fill_biharmonic(photo[None] / 255, half[None])[0] * 255
    small = np.minimum(photo.shape, 11)  # too small for patches
    alone = inpaint(photo[: small[0]], half[: small[0]], effort="fast")
    whole = inpaint(photo, half, effort="fast")
    assert quality(whole, photo, half) > quality(interpolated, photo, half) + 0.7
    assert quality(alone, photo[: small[0]], half[: small[0]]) > quality(
        fill_biharmonic(photo[None, : small[0]] / 255, half[None, : small[0]])[0] * 255, photo[: small[0]], half[: small[0]]
    )


def test_a_gpu_fills_as_the_cpu_does(cuda, photo):
    image, mask = photo[:40, :44], random_mask((40, 44), 0.6, seed=2)
    expected, report = inpaint(image, mask, device="cpu", return_report=True)
    found, same = inpaint(cuda.asarray(image), mask, return_report=True)
    assert same.groups[0].prior is report.groups[0].prior is FILL
    assert isinstance(found, cuda.ndarray)
    difference = found.get().astype(float) - expected
    assert abs(difference).max() <= 1
    assert abs(difference).mean() < 0.05


def test_color_that_misses_the_same_in_all_channels():
    image = astronaut()[60:140, 180:260]
    mask = random_mask(image.shape[:2], 0.66, seed=1)
    restored, report = inpaint(image, mask, channel_axis=-1, return_report=True)
    assert report.groups[0].prior is FILL
    coded = inpaint(image, mask, channel_axis=-1, prior="none")
    assert psnr(restored, image, data_range=255) > psnr(coded, image, data_range=255) - 0.2


@pytest.mark.parametrize(
    "options", [{"lmbda": 0.02}, {"dictionary": Dictionary.default("gray")}, {"noise_sigma": 3}, {"learn": True}]
)
def test_the_one_that_ships_leaves_the_code_to_what_asks_for_it(photo, half, options):
    assert inpaint(photo, half, return_report=True, **options)[1].groups[0].prior is None


def test_neither_scratches_nor_channels_with_masks_of_their_own_take_the_one_that_ships(photo, half):
    thin = scratch_mask(photo.shape, (2, 3))
    assert inpaint(photo, thin, return_report=True)[1].groups[0].prior is None
    masks = np.stack([half, half[::-1], half[:, ::-1]], axis=-1)
    color = np.stack([photo] * 3, axis=-1)
    assert inpaint(color, masks, channel_axis=-1, return_report=True)[1].groups[0].prior is None
    assert inpaint(photo, thin, prior=FILL, return_report=True)[1].groups[0].prior is FILL


def test_neither_tiles_nor_threads_show(photo, half):
    whole, tiled = (inpaint(photo.astype(float), half, tile=tile, effort="fast") for tile in (0, 64))
    assert abs(whole - tiled).max() < 6
    assert abs(whole - tiled).mean() < 0.1
    one, two = (inpaint(photo, half, threads=threads, effort="fast") for threads in (1, 2))
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"prior": Prior.default("gray")}, "prior isn't one that fills"),
        ({"prior": "wavelets"}, "prior must be a Prior, 'default' or 'none'"),
        ({"prior": FILL, "noise_sigma": 2}, "noise_sigma isn't known to a prior that fills"),
        ({"prior": FILL, "lmbda": 0.1}, "lmbda belongs to the sparse code"),
        ({"prior": FILL, "learn": True}, "learn belongs to the sparse code"),
        ({"prior": FILL, "dictionary": Dictionary.default("gray")}, "dictionary belongs to the sparse code"),
    ],
)
def test_what_does_not_go_together_is_refused(photo, half, options, message):
    with pytest.raises(InputError, match=message):
        inpaint(photo, half, **options)
