import re
from functools import partial

import numpy as np
import pytest
from skimage.data import astronaut, camera

from csc_cogd import Blur, InputError, denoise, inpaint, restore_image
from csc_cogd.restore.noise import Gaussian, estimate_noise, rms_noise
from csc_cogd.restore.observation import ScaledPlanes
from tests.conftest import read_only


def piece(row, column):
    return camera()[row : row + 96, column : column + 96].astype(float)


@pytest.mark.parametrize("sigma", [5, 10, 25, 50])
@pytest.mark.parametrize("corner", [(20, 20), (200, 100), (400, 50)])
def test_noise_of_photographs(rng, sigma, corner):
    image = piece(*corner)
    noisy = image + sigma * rng.standard_normal(image.shape)
    assert estimate_noise(noisy) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("sigma", [10, 25, 50])
def test_fine_texture_adds_little_to_strong_noise_and_more_to_weak(rng, photo, sigma):
    for image in (photo, astronaut()[60:156, 180:276, 1], astronaut()[200:296, 200:296, 1]):
        noise = rng.standard_normal(image.shape)
        assert estimate_noise(image + sigma * noise) == pytest.approx(sigma, rel=0.15)
        assert 5 < estimate_noise(image + 5 * noise) < 7


def test_smooth_pictures_have_none():
    i, j = np.mgrid[:40, :50]
    assert estimate_noise(i * 3.0 - j + 0.5 * i * j) == pytest.approx(0, abs=1e-9)
    assert estimate_noise(np.full((40, 50), 7.0)) == 0


def test_estimates_scale_with_the_image_and_ignore_offsets(rng):
    noisy = rng.standard_normal((40, 50))
    plain = estimate_noise(read_only(noisy))
    assert estimate_noise(1e-6 * noisy - 3) == pytest.approx(1e-6 * plain)
    assert estimate_noise(noisy.T) == pytest.approx(plain)


@pytest.mark.parametrize("fill", [np.nan, 1e6])
def test_missing_pixels_are_left_out(rng, fill):
    image = piece(20, 20) + 10 * rng.standard_normal((96, 96))
    known = rng.random(image.shape) > 0.1
    assert estimate_noise(np.where(known, image, fill), known) == pytest.approx(10, rel=0.15)


@pytest.mark.parametrize("shape", [(2, 50), (50, 1), (4, 4)])
def test_too_few_pixels_tell_nothing(rng, shape):
    assert np.isnan(estimate_noise(rng.standard_normal(shape)))
    assert estimate_noise(rng.standard_normal((5, 5))) > 0


def test_known_pixels_without_complete_neighborhoods_tell_nothing(rng):
    known = np.indices((30, 30)).sum(axis=0) % 2 == 0
    assert np.isnan(estimate_noise(rng.standard_normal((30, 30)), known))


@pytest.mark.parametrize("share", [0.1, 0.4, 0.55, 0.9])
@pytest.mark.parametrize("whole", [False, True])
def test_parts_that_are_exactly_flat_are_left_out(rng, share, whole):
    """As what surrounds a mosaic of the sky, or a head: zeros that are no end of the range, as noise goes below them."""
    i, j = np.mgrid[:160, :160]
    noisy = 20 * np.sin(i / 15) + 20 * np.cos(j / 12) + rng.normal(0, 10, i.shape)
    noisy = np.rint(noisy) if whole else noisy
    disc = (i - 80) ** 2 + (j - 80) ** 2 > np.quantile((i - 80) ** 2 + (j - 80) ** 2, 1 - share)
    for flat in (j < share * 160, disc):
        assert estimate_noise(np.where(flat, 0, noisy)) == pytest.approx(10, rel=0.12)
    gappy = rng.random(i.shape) > 0.1
    assert estimate_noise(np.where(gappy, np.where(disc, 0, noisy), 1e6), gappy) == pytest.approx(10, rel=0.15)


def test_drawings_with_flat_ground_have_hardly_any(rng):
    """Their edges aren't taken for noise, though hardly anything else is left beside the flat ground."""
    i, j = np.mgrid[:200, :200]
    drawing = np.full((200, 200), 120.0)
    discs = np.column_stack([rng.integers(20, 180, (30, 2)), rng.integers(4, 20, 30), rng.integers(0, 255, 30)])
    for row, column, radius, gray in discs:
        cover = np.clip(radius + 0.5 - np.hypot(i - row, j - column), 0, 1)
        drawing += cover * (gray - drawing)
    estimate = estimate_noise(np.rint(drawing))
    assert np.isnan(estimate) or estimate < 2


def test_beside_flat_parts_the_calmest_places_tell(rng):
    """As in a photograph of a flat sky, of water and of much foliage."""
    spread = np.repeat([0.0, 3, 30], [100, 40, 60])
    image = 100 + spread[:, None] * rng.standard_normal((200, 120))
    assert estimate_noise(image) == pytest.approx(3, rel=0.35)


def test_a_channel_that_tells_nothing_does_not_lower_the_others(rng):
    flat = np.full((60, 60), 3.0)
    nearly_flat = np.where(np.arange(60) < 57, flat, 2)
    planes = np.stack([flat, rng.normal(0, 5, (60, 60)), nearly_flat])
    channels = [(plane, np.ones(plane.shape, bool)) for plane in planes]
    assert rms_noise(channels) == pytest.approx(5, rel=0.1)
    assert np.isnan(rms_noise(channels[2:]))
    assert rms_noise(channels[:1]) == 0


def test_noise_of_several_channels_is_their_mean_power(rng):
    planes = rng.standard_normal((2, 60, 60)) * np.array([1.0, 7.0])[:, None, None]
    scaled = ScaledPlanes(255 * planes, np.zeros(planes.shape, bool), 0.0, 255.0, largest=np.inf)
    assert Gaussian("auto").sigma(scaled, stabilized=True) == pytest.approx(5, rel=0.1)
    assert Gaussian(51).sigma(scaled, stabilized=True) == pytest.approx(0.2)
    assert Gaussian(None).sigma(scaled, stabilized=True) == 0


@pytest.mark.parametrize("value", [0, 3, 0.5, np.float32(2), "auto", None])
def test_standard_deviations(value):
    assert Gaussian(value).noise_sigma == value


@pytest.mark.parametrize("value", [-1, -0.1, np.nan, np.inf, "5", "automatic"])
def test_what_is_no_standard_deviation_is_named(value):
    with pytest.raises(InputError, match=f"noise_sigma must be a finite number of zero or more, or 'auto', got {value}"):
        Gaussian(value)


@pytest.mark.parametrize(
    ("dtype", "sigma", "message"),
    [
        (
            np.uint8,
            0.1,
            "is 0.1, less than rounding to whole numbers adds: .*: 0.1 of a range from 0 to 1 is 25.5 of one from",
        ),
        (np.uint16, 0.1, "is 0.1, less than rounding .* 6.55e.03 of one from 0 to 65535"),
        (np.uint8, 400, "is 400, but the image's values span .* to .*: give it in the image's units"),
        (float, 25, "is 25, but the image's values span 0.* to 0.*: give it in the image's units"),
        (float, [25, 25, 20], "is .*, but the image's values span 0.* to 0.*: give it in the image's units"),
    ],
)
@pytest.mark.parametrize("function", [inpaint, denoise, partial(restore_image, operator=Blur(np.ones((1, 3))))])
def test_a_standard_deviation_in_other_units_is_warned_of(photo, function, dtype, sigma, message):
    image = np.stack([photo[:24, :20]] * 3, -1)
    image = image / 255 if dtype is float else image.astype(dtype)
    mask = np.eye(24, 20)
    _, report = function(image, noise_sigma=sigma, mask=mask, channel_axis=-1, return_report=True, dry_run=True)
    (text,) = [str(remark) for remark in report.warnings if remark.argument == "noise_sigma"]
    assert re.match(f"noise_sigma {message}", text)


@pytest.mark.parametrize(("low", "high", "dtype", "sigma"), [(0, 255, np.uint8, 0.3), (0, 1, float, 0.9), (2, 2, float, 5)])
def test_a_standard_deviation_that_may_be_is_not_warned_of(rng, low, high, dtype, sigma):
    image = rng.uniform(low, high, (24, 20)).astype(dtype)
    _, report = denoise(image, sigma, return_report=True, dry_run=True)
    assert not report.warnings
