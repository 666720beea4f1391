"""Noise as cameras, film and JPEG make it: estimated from one picture, and removed."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.data import astronaut, chelsea, coffee

from csc_cogd import Dictionary, InputError, Prior, denoise, psnr
from csc_cogd.backend import noise_groups
from csc_cogd.backend.compiled_noise_groups import estimate_groups
from csc_cogd.engine import Engine
from csc_cogd.restore.camera_noise import remove_camera_noise
from csc_cogd.restore.jpeg import LUMINANCE, quality_of, quantization
from csc_cogd.restore.noise_estimation import estimate_camera_noise
from csc_cogd.restore.noise_spectrum import coefficients_of, patch_covariance

FACE = astronaut()[30:190, 150:310].copy()


def quality(image, clean):
    return psnr(image, clean, data_range=255)


def as_jpeg(image, level):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=level)
    return np.asarray(Image.open(file))


def pixels(values):
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def reduced(image, factor):
    """The image with means of squares for pixels, and so with little noise."""
    return pixels(np.asarray(Image.fromarray(image).reduce(factor)))


@pytest.fixture
def grainy(rng):
    field = gaussian_filter(rng.normal(0, 1, FACE.shape[:2]), 0.9)
    return pixels(FACE + 14 * field[..., None] / field.std())


@pytest.fixture
def compressed(rng):
    return as_jpeg(pixels(FACE + rng.normal(0, 15, FACE.shape)), 75)


def test_white_noise_under_jpeg_is_removed_with_nothing_told(compressed):
    restored, report = denoise(compressed, channel_axis=-1, return_report=True)
    assert restored.dtype == np.uint8
    assert quality(restored, FACE) > quality(compressed, FACE) + 1.5
    assert "JPEG of quality 7" in report.found
    assert "in color" in report.found


def test_grain_is_seen_as_gray_and_leaves_color_alone(grainy):
    found, report = denoise(grainy, channel_axis=-1, noise="grain", return_report=True)
    assert quality(found, FACE) > quality(grainy, FACE) + 1.5
    assert report.found.startswith("grain of 1")
    assert quality(denoise(grainy, channel_axis=-1), FACE) > quality(grainy, FACE) + 1.5
    difference = [image[..., 0].astype(float) - image[..., 1] for image in (found, grainy)]
    assert abs(difference[0] - difference[1]).mean() < 1


def test_gray_images_of_16_bits_have_grain_too(grainy):
    gray, clean = grainy[..., 1].astype(np.uint16) * 257, FACE[..., 1] * 257.0
    restored = denoise(gray)
    assert restored.dtype == np.uint16
    assert psnr(restored, clean, data_range=65535) > psnr(gray, clean, data_range=65535) + 1.5


def test_with_a_gpu_the_picture_is_that_of_the_cpu(cuda, grainy):
    found, report = denoise(cuda.asarray(grainy[:100, :104]), channel_axis=-1, return_report=True)
    expected, same = denoise(grainy[:100, :104], channel_axis=-1, device="cpu", return_report=True)
    assert report.found == same.found
    assert "noise of" in report.found
    assert isinstance(found, cuda.ndarray)
    assert abs(found.get().astype(int) - expected).max() <= 1


def test_strength_leaves_more_or_less_of_the_noise(grainy):
    rough = [
        np.diff(denoise(grainy, channel_axis=-1, noise="grain", strength=s).astype(float), axis=0).std()
        for s in (0.4, 1.0, 2.0)
    ]
    assert rough[0] > rough[1] > rough[2]


def test_noise_of_white_pictures_is_called_white(rng):
    noisy = pixels(FACE[:112, :112] + rng.normal(0, 15, (112, 112, 3)))
    found, report = denoise(noisy, channel_axis=-1, effort="fast", return_report=True)
    assert report.found == ""
    assert report.noise_sigmas[0] == pytest.approx(15, rel=0.15)
    np.testing.assert_array_equal(found, denoise(noisy, channel_axis=-1, effort="fast", noise="white"))
    np.testing.assert_array_equal(found, denoise(noisy, channel_axis=-1, effort="fast", noise="gaussian"))


@pytest.mark.parametrize("clean", [reduced(chelsea(), 2), reduced(coffee(), 2)], ids=["cat", "coffee"])
def test_texture_is_not_noise(clean):
    restored = denoise(clean, channel_axis=-1)
    assert np.sqrt(np.mean((restored.astype(float) - clean) ** 2)) < 0.3


@pytest.mark.parametrize(("blur", "sigma", "told"), [(0.7, 2.5, False), (0.7, 6, True), (0.0, 2.5, True)])
def test_weak_correlated_noise_may_be_texture_and_stays(blur, sigma, told, rng):
    """White noise of the same strength is told, as texture is never white."""
    clean = reduced(coffee(), 2)
    field = gaussian_filter(rng.normal(0, 1, clean.shape), (blur, blur, 0))
    noisy = pixels(clean + sigma * field / field.std())
    restored, report = denoise(noisy, channel_axis=-1, effort="fast", return_report=True)
    assert bool(max(report.noise_sigmas)) == told
    assert np.array_equal(restored, noisy) == (not told)


def test_where_no_noise_can_be_told_the_image_comes_back_and_that_is_said():
    stripes = pixels(np.add.outer(np.zeros(128), 100 + 80 * np.sign(np.sin(np.arange(128) * 1.3))))
    restored, report = denoise(stripes, return_report=True)
    np.testing.assert_array_equal(restored, stripes)
    assert report.noise_sigmas == [0.0]
    assert "can be told" in str(report.warnings[0])


def test_blocks_of_jpeg_go():
    blocky = as_jpeg(FACE, 15)
    restored, report = denoise(blocky, channel_axis=-1, noise="jpeg", return_report=True)
    assert quality(restored, FACE) > quality(blocky, FACE) + 0.3
    assert "JPEG of quality 15" in report.found


def test_noise_by_intensity_and_frequency(rng):
    """Noise that is twice as strong in the shadows, and correlated, is found as it is."""
    ramp = np.add.outer(np.linspace(60, 190, 256), np.zeros(256))
    field = gaussian_filter(rng.normal(0, 1, ramp.shape), 0.7)
    field *= np.linspace(10, 5, 256)[:, None] / field.std()
    found = estimate_camera_noise((ramp + field)[None])
    sigmas = np.sqrt(found.variances[0])
    assert sigmas[0] / sigmas[-1] == pytest.approx(2, rel=0.25)
    assert sigmas[[0, -1]] == pytest.approx([10, 5], rel=0.3)
    white = rng.normal(0, 1, ramp.shape)
    truth = (coefficients_of(gaussian_filter(white, 0.7), 4) ** 2).mean(axis=0)
    truth[0, 0] = 0
    ratio = found.spectra[0][1:5, 1:5] / (truth / truth.sum() * 63)[1:5, 1:5]
    assert ratio == pytest.approx(np.ones((4, 4)), rel=0.5)


def test_covariance_of_patches_is_that_of_the_noise(rng):
    noise = gaussian_filter(rng.normal(0, 1, (600, 600)), 0.8)
    covariance = patch_covariance((coefficients_of(noise, 2) ** 2).mean(axis=0), 4)
    patches = np.lib.stride_tricks.sliding_window_view(noise, (4, 4)).reshape(-1, 16)
    assert covariance == pytest.approx(np.cov(patches.T), abs=0.1 * noise.var())


@pytest.mark.parametrize("level", [15, 50, 75, 88])
def test_the_quality_of_jpeg_is_read_from_the_pixels(level):
    found = quality_of(np.moveaxis(as_jpeg(FACE, level), -1, 0).astype(float))
    assert abs(quantization(found, LUMINANCE)[:2, :2] - quantization(level, LUMINANCE)[:2, :2]).max() <= 1
    assert quality_of(np.moveaxis(FACE, -1, 0)[:, 3:, 5:].astype(float)) is None


@pytest.mark.parametrize("axes", [(1, 0), (0, 1)])
@pytest.mark.parametrize("flips", [(1, 1), (-1, 1), (1, -1), (-1, -1)])
def test_jpegs_that_were_turned_are_known_as_well(axes, flips):
    luma = as_jpeg(FACE[:155, :149, 1], 75)
    turned = luma.transpose(axes)[:: flips[0], :: flips[1]]
    assert quality_of(turned[None].astype(float)) == quality_of(luma[None].astype(float)) == 75


@pytest.mark.parametrize(("prior", "effort"), [(None, "fast"), ("color", "fast"), ("color", "default")])
def test_tiles_leave_no_seams(rng, monkeypatch, prior, effort):
    planes = np.moveaxis(pixels(FACE + rng.normal(0, 9, FACE.shape)), -1, 0).astype(float)
    noise, prior = estimate_camera_noise(planes), prior and Prior.default(prior)
    whole = remove_camera_noise(planes, noise, Engine(device="cpu", threads=1), effort, prior=prior)
    monkeypatch.setattr("csc_cogd.restore.camera_noise._TILE", 96)
    tiled = remove_camera_noise(planes, noise, Engine(device="cpu", threads=2), effort, prior=prior)
    assert tiled == pytest.approx(whole, abs=0.01)


@pytest.mark.parametrize("effort", ["fast", "default"])
def test_the_prior_makes_a_better_pilot_than_thresholds(grainy, compressed, effort):
    for noisy in (grainy, compressed):
        by_prior, by_thresholds = (
            quality(denoise(noisy, channel_axis=-1, effort=effort, prior=prior), FACE) for prior in ("default", "none")
        )  # fmt: skip
        assert by_prior > by_thresholds + 0.1


def test_a_gray_picture_has_a_prior_of_its_own(compressed):
    noisy, clean = compressed[..., 1], FACE[..., 1]
    by_prior, by_thresholds = (quality(denoise(noisy, noise="camera", prior=prior), clean) for prior in ("default", "none"))
    assert by_prior > by_thresholds


def test_a_given_prior_is_used_where_it_fits(rng):
    noisy = pixels(gaussian_filter(FACE + rng.normal(0, 25, FACE.shape), (0.6, 0.6, 0)))
    color, gray = Prior.default("color"), Prior.default("gray")
    default = denoise(noisy, channel_axis=-1, noise="camera")
    np.testing.assert_array_equal(denoise(noisy, channel_axis=-1, noise="camera", prior=color), default)
    with pytest.raises(InputError, match="prior is for gray images, and this one, with a camera's noise, is color"):
        denoise(noisy, channel_axis=-1, noise="camera", prior=gray)
    white = denoise(noisy, channel_axis=-1, noise="white", prior=color)
    np.testing.assert_array_equal(denoise(noisy, channel_axis=-1, prior=color), white)
    of_cameras = Prior(color.network, {"noise": "camera"})
    np.testing.assert_array_equal(denoise(noisy, channel_axis=-1, prior=of_cameras), denoise(noisy, channel_axis=-1))


def test_the_compiled_kernel_agrees_with_the_plain_one(rng):
    pilot, observed = rng.normal(100, 5, (2, 30, 28))
    level = rng.uniform(0.5, 2, pilot.shape)
    matches = rng.integers(0, 23, (6, 12, 2)).astype(np.int32)
    matches[2, 7:] = -1
    root = rng.normal(0, 1, (25, 25))
    results = []
    for function in (noise_groups.estimate_groups, estimate_groups):
        total, weight = np.zeros((2, *pilot.shape))
        function(pilot, observed, level, matches, root @ root.T, 0.01, total, weight)
        results.append((total, weight))
    assert results[1][0] == pytest.approx(results[0][0], rel=1e-8)
    np.testing.assert_array_equal(results[0][1], results[1][1])


@pytest.mark.parametrize(
    ("image", "change", "message"),
    [
        (FACE, {"noise": "film"}, "noise must be one of 'auto', 'white'"),
        (FACE, {"noise": "camera", "noise_sigma": 5}, "noise_sigma belongs to white noise"),
        (FACE, {"strength": 0}, "strength must be a positive number"),
        (FACE, {"strength": 2, "noise_sigma": 5}, "strength belongs to noise that is estimated"),
        (FACE[:50, :50], {"noise": "camera"}, "at least 96 pixels"),
        (np.where(FACE.max() == FACE, np.nan, FACE), {"noise": "grain"}, "nothing missing"),
        (np.repeat(FACE, 2, axis=2), {"noise": "jpeg"}, "6 channels"),
    ],
)
def test_what_does_not_fit_is_named(image, change, message):
    with pytest.raises(InputError, match=message):
        denoise(image, channel_axis=-1, **change)


@pytest.mark.parametrize(
    "setting",
    [{"lmbda": 0.1}, {"max_iter": 3}, {"dictionary": Dictionary.default("color")}],
)
def test_what_removes_white_noise_alone_is_refused_or_makes_the_noise_white(rng, setting):
    noisy, (name, _) = pixels(FACE[:96, :96] + rng.normal(0, 10, (96, 96, 3))), *setting.items()
    with pytest.raises(InputError, match=f"{name} has no effect on noise 'camera'"):
        denoise(noisy, channel_axis=-1, noise="camera", **setting)
    image = pixels(noisy + np.roll(noisy, 1, axis=0) / 4.0)
    white = denoise(image, channel_axis=-1, noise="white", effort="fast", **setting)
    np.testing.assert_array_equal(denoise(image, channel_axis=-1, effort="fast", **setting), white)
