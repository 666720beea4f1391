"""Noise of pictures behind an operator: JPEG's losses and texture."""

import io

import numpy as np
import pytest

from csc_cogd import deblur, psnr
from csc_cogd.restore.operators import gaussian_kernel
from csc_cogd.restore.scene_noise import jpeg_error, noise_beside_texture, two_scale_noise

LARGE = slice(60, 260), slice(150, 350)


def jpeg(image, quality):
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.fixture(scope="module")
def picture():
    from skimage.data import camera

    return camera()[LARGE]


@pytest.mark.parametrize("quality", [50, 75, 85])
def test_what_jpeg_has_lost_is_told_from_the_pixels(picture, quality):
    compressed = jpeg(picture, quality)
    lost = np.sqrt(np.mean((compressed - picture.astype(float)) ** 2))
    assert jpeg_error(compressed) == pytest.approx(lost, rel=0.4)
    assert jpeg_error(compressed[3:, 5:]) == pytest.approx(lost, rel=0.4)  # cut off: blocks begin elsewhere


def test_what_was_not_compressed_has_lost_nothing(picture, rng):
    assert jpeg_error(picture) == 0
    assert jpeg_error(np.clip(picture + 3 * rng.standard_normal(picture.shape), 0, 255).astype(np.uint8)) == 0
    assert jpeg_error(np.full((64, 64), 9)) == 0
    assert jpeg_error(picture[:20, :20]) == 0


@pytest.mark.parametrize("sigma", [3, 10])
def test_white_noise_is_told_from_texture_at_two_scales(rng, sigma):
    noise = sigma * rng.standard_normal((160, 160))
    everywhere = np.ones(noise.shape, bool)
    assert two_scale_noise(noise, everywhere) == pytest.approx(sigma, rel=0.1)
    gaps = rng.random(noise.shape) < 0.02
    assert two_scale_noise(np.where(gaps, 1e6, noise), ~gaps) == pytest.approx(sigma, rel=0.15)
    f = np.hypot(np.fft.fftfreq(160)[:, None], np.fft.fftfreq(160))
    f[0, 0] = 1
    texture = np.fft.ifft2(np.fft.fft2(rng.standard_normal((160, 160))) * f**-1.3).real
    assert two_scale_noise(40 * texture / texture.std(), everywhere) < 0.5
    assert two_scale_noise(noise[:5, :5], everywhere[:5, :5]) == 0


def test_white_noise_is_in_color_differences_and_texture_is_not(rng):
    fine = 20 * rng.standard_normal((96, 96)) * np.ones((3, 1, 1))  # as noise, but the same in all channels
    noise, known = 3 * rng.standard_normal((3, 96, 96)), np.ones((3, 96, 96), bool)
    assert noise_beside_texture(fine, known) < 0.5
    assert noise_beside_texture(fine + noise, known) == pytest.approx(3, rel=0.15)
    assert noise_beside_texture(noise[:2], known[:2]) == pytest.approx(3, rel=0.15)


def test_a_jpeg_is_deblurred_without_amplifying_its_errors(picture):
    from scipy.signal import convolve2d
    from skimage.restoration import wiener

    kernel = gaussian_kernel(1.6)
    blurred = convolve2d(picture[:112, :112], kernel, mode="same")[8:-8, 8:-8]
    truth = picture[8:104, 8:104]
    compressed = jpeg(np.rint(blurred).astype(np.uint8), 85)
    restored, report = deblur(compressed, kernel, max_iter=30, return_report=True)
    assert report.noise_sigmas[0] > 1
    padded = np.pad(compressed / 255, 16, "symmetric")
    peers = [wiener(padded, kernel, balance)[16:-16, 16:-16] * 255 for balance in 10.0 ** np.arange(-4, 0, 0.5)]
    best = max(psnr(np.clip(peer, 0, 255), truth, data_range=255) for peer in peers)
    assert psnr(restored, truth, data_range=255) > best + 0.3
