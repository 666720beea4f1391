"""Coarse noise of color, taken off at half the size: what it is worth, and what it leaves alone."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut, coffee

from csc_cogd import denoise, psnr
from csc_cogd.restore import coarse_noise
from csc_cogd.restore.coarse_noise import doubled, halved, without_coarse_color
from csc_cogd.restore.noise_estimation import estimate_camera_noise, mixed


def blotched(clean, rng, blur=2.0):
    """A photograph with fine noise of luminance and blotches of color, uint8."""
    gray, color = (rng.normal(0, 1, clean.shape) for _ in range(2))
    color = gaussian_filter(color - color.mean(axis=2, keepdims=True), (blur, blur, 0))
    noise = 4 * gray.mean(axis=2, keepdims=True) * np.sqrt(3) + 4 * color / color.std()
    return np.clip(np.rint(clean + noise), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def planes():
    clean = coffee()[100:300, 150:361]
    return np.moveaxis(blotched(clean, np.random.default_rng(1)), -1, 0).astype(float)


@pytest.mark.parametrize(
    "clean", [astronaut()[0:208, 150:358], coffee()[100:308, 150:358]], ids=["astronaut", "coffee"]
)  # fmt: skip
def test_blotches_of_color_go_that_stay_at_the_full_size(clean, monkeypatch):
    noisy = blotched(clean, np.random.default_rng(0))
    both = denoise(noisy, channel_axis=-1, noise="camera")
    monkeypatch.setattr(coarse_noise, "LEAST_SIDE", 10_000)
    fine_only = denoise(noisy, channel_axis=-1, noise="camera")
    assert psnr(both, clean, data_range=255) > psnr(fine_only, clean, data_range=255) + 0.3


def test_it_changes_color_alone(planes):
    noise = estimate_camera_noise(planes)
    changed = without_coarse_color(planes, noise, 1.0, lambda small, coarse: gaussian_filter(small, (0, 2, 2)))
    before, after = mixed(planes), mixed(changed)
    np.testing.assert_allclose(after[0], before[0], atol=1e-9)
    assert abs(after[1:] - before[1:]).mean() > 0.5


def test_at_half_the_size_noise_is_as_strong_as_is_asked_for_and_never_stronger_than_at_the_full_size(planes):
    noise, seen = estimate_camera_noise(planes), []

    def remove(small, coarse):
        seen.append(coarse)
        return small

    for strength in (0.5, 1.0, 4.0):
        np.testing.assert_array_equal(without_coarse_color(planes, noise.scaled(strength), strength, remove), planes)
    weak, told, strong = (each.variances for each in seen)
    np.testing.assert_allclose(weak, told / 4)
    assert (told <= noise.variances.max(axis=1)[:, None]).all()
    assert (strong <= 16 * told + 1e-9).all()
    assert strong[1:].mean() > 4 * told[1:].mean()


def test_gray_small_and_colorless_noise_is_left_alone(planes):
    noise = estimate_camera_noise(planes)
    for image, found in [
        (planes[:1], estimate_camera_noise(planes[:1])),
        (planes[:, :191], noise),
        (planes, noise.scaled(1e-3)),
    ]:
        assert without_coarse_color(image, found, 1.0, lambda small, coarse: 0 * small) is image


@pytest.mark.parametrize("shape", [(8, 10), (7, 11), (2, 3)])
def test_halves_and_doubles_lie_on_one_another(shape):
    rows, columns = np.indices(shape).astype(float)
    ramp = np.stack([3 * rows - 2 * columns, np.full(shape, 7.0)])
    small = halved(ramp)
    assert small.shape == (2, shape[0] // 2, shape[1] // 2)
    back = doubled(small, shape)
    inside = (slice(None), slice(1, shape[0] // 2 * 2 - 1), slice(1, shape[1] // 2 * 2 - 1))
    np.testing.assert_allclose(back[inside], ramp[inside])
    np.testing.assert_allclose(back[1], 7)
