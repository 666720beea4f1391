"""Noise of cameras and film: physics of the simulation, and that it is seeded."""

import numpy as np
import pytest

from csc_cogd.unrolled.cameras import Camera, compressed, degraded, demosaicked, from_light, grainy, softened, to_light

GRAY = np.full((3, 96, 96), 0.5, np.float32)


@pytest.mark.parametrize("curved", [False, True])
def test_light_and_back_is_the_same(curved):
    values = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_allclose(from_light(to_light(values, curved), curved), values, atol=1e-5)


def test_middle_gray_is_a_fifth_of_the_light():
    assert to_light(np.array([0.5]), False)[0] == pytest.approx(0.214, abs=1e-3)


def test_noise_has_the_variance_of_photons_and_of_reading():
    camera = Camera(1e-3, 1e-5, np.ones((3, 1, 1), np.float32), 0.0, False, False, (0.0, 0.0), (1.0, 1.0))
    taken = camera.take(GRAY, np.random.default_rng(0))
    green = to_light(taken, False)[1] - 0.214
    measured = green[1::2, 1::2].var() + green[::2, ::2].var() + green[1::2, ::2].var() + green[::2, 1::2].var()
    sensed, interpolated = 2 * (1e-3 * 0.214 + 1e-5), 2 * (1e-3 * 0.214 + 1e-5) / 4
    assert measured == pytest.approx(sensed + interpolated, rel=0.1)


def test_demosaicking_keeps_what_is_the_same_everywhere_and_correlates_noise():
    flat = np.array([0.2, 0.5, 0.3], np.float32)[:, None, None] * np.ones((3, 32, 32), np.float32)
    for from_differences in (False, True):
        for turn in range(4):
            np.testing.assert_allclose(demosaicked(flat, from_differences, turn), flat, atol=1e-6)
    noise = demosaicked(np.random.default_rng(0).standard_normal((3, 96, 96)).astype(np.float32), False)
    assert np.mean(noise[0, :, 1:] * noise[0, :, :-1]) > 0.4 * noise[0].var()


def test_grain_is_gray_and_smooth():
    grain = grainy(GRAY, np.random.default_rng(0)) - GRAY
    np.testing.assert_allclose(grain[0], grain[2], atol=1e-6)
    assert np.mean(grain[0, 1:] * grain[0, :-1]) > 0.2 * grain[0].var()
    assert 3 / 255 < grain.std() < 20 / 255


def test_what_is_compressed_is_in_eight_bits():
    picture = compressed(
        GRAY + 0.1 * np.random.default_rng(0).standard_normal(GRAY.shape).astype(np.float32), np.random.default_rng(1)
    )
    np.testing.assert_allclose(picture * 255, np.rint(picture * 255), atol=1e-4)


def test_more_sensitive_cameras_have_more_noise():
    noises = [np.std(degraded(GRAY, np.random.default_rng(3), shot) - GRAY) for shot in (1e-4, 1e-3, 1e-2)]
    assert noises[0] < noises[1] / 1.5 < noises[2] / 3


def test_a_seed_is_a_picture():
    for channels in (1, 3):
        first, again, other = (degraded(GRAY[:channels], np.random.default_rng(seed)) for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)
        assert first.shape == (channels, 96, 96)
        assert first.dtype == np.float32


def test_softened_pictures_stay_in_range():
    picture = np.random.default_rng(0).random((3, 40, 40)).astype(np.float32)
    drawn = [softened(picture, np.random.default_rng(seed)) for seed in range(8)]
    assert all(one.min() >= 0 and one.max() <= 1 for one in drawn)
    assert 0 < sum(np.array_equal(one, picture) for one in drawn) < 8
