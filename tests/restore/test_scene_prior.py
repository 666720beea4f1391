"""Deblurring and upscaling by a learned prior: better than without, wherever it is cut, and it can't diverge."""

import tracemalloc

import numpy as np
import pytest
from scipy.signal import convolve2d

from csc_cogd import Blur, Dictionary, InputError, Prior, deblur, psnr, upscale
from csc_cogd.restore.nearest_scene import nearest_scene
from csc_cogd.restore.operators import Decimation, gaussian_kernel, motion_kernel, uniform_kernel
from csc_cogd.restore.stages.base_layer import smooth_scene
from csc_cogd.restore.tiling import INTERPRETER_BYTES
from csc_cogd.unrolled.network import Network, Shape

BORDER = 12
KERNEL = gaussian_kernel(1.6)


@pytest.fixture(scope="module")
def scene():
    from skimage.data import camera

    return camera()[60 - BORDER : 220 + BORDER, 150 - BORDER : 290 + BORDER].astype(float)


@pytest.fixture(scope="module")
def truth(scene):
    return scene[BORDER:-BORDER, BORDER:-BORDER]


@pytest.fixture(scope="module")
def color():
    from skimage.data import astronaut

    return astronaut()[60:156, 170:266]


def picture_of(scene, kernel, sigma):
    blurred = convolve2d(scene, kernel, mode="same")[BORDER:-BORDER, BORDER:-BORDER]
    return to_uint8(blurred + sigma * np.random.default_rng(0).standard_normal(blurred.shape))


def to_uint8(image):
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def reduced(image, factor):
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize([n // factor for n in image.shape[1::-1]], Image.Resampling.BICUBIC))


def quality(restored, truth):
    return psnr(np.clip(restored, 0, 255), truth, data_range=255)


def random_prior(channels, gain=1.0):
    shape = Shape(channels=channels, n_filters=4, size=5, stride=2, n_iter=2)
    return Prior(Network(shape, (gain * np.random.default_rng(0).random(shape.n_numbers)).astype(np.float32)))


class Halving:
    """Means over pairs of rows, told by what it does alone."""

    def apply(self, scene):
        return (scene[..., ::2, :] + scene[..., 1::2, :]) / 2

    def adjoint(self, picture):
        return np.repeat(picture, 2, axis=-2) / 2


@pytest.mark.parametrize(
    ("operator", "side"),
    [(Blur(np.ones((2, 3))), None), (Blur(motion_kernel(5, 40)), None), (Decimation(2), None), (Halving(), (10, 6))],
)
def test_the_data_step_is_the_regularized_solution(rng, operator, side):
    picture, known, ratio = rng.random((1, 5, 6)), rng.random((1, 5, 6)) < 0.7, 0.01 + rng.random((1, 5, 6))
    z = rng.random((1, *(side or operator.scene_shape((5, 6)))))
    units = np.eye(z.size).reshape(-1, *z.shape[1:])
    A = operator.apply(units).reshape(z.size, -1).T[known.ravel()] / np.sqrt(ratio[known])[:, None]
    expected = np.linalg.solve(A.T @ A + np.eye(z.size), A.T @ (picture[known] / np.sqrt(ratio[known])) + z.ravel())
    np.testing.assert_allclose(nearest_scene(z, picture, known, ratio, operator).ravel(), expected, atol=3e-3)


@pytest.mark.parametrize(("kernel", "sigma", "margin"), [(KERNEL, 1.5, 0.3), (motion_kernel(13, 40), 2.55, 0.5)])
def test_deblurring_by_the_prior_beats_the_code(scene, truth, kernel, sigma, margin):
    picture = picture_of(scene, kernel, sigma)
    by_prior, by_code = (quality(deblur(picture, kernel, prior=prior), truth) for prior in ("default", "none"))
    assert by_prior > by_code + margin


@pytest.mark.parametrize("factor", [2, 3])
def test_upscaling_by_the_prior_beats_lanczos_by_a_decibel_and_agrees_with_the_picture(color, factor):
    from PIL import Image

    small = reduced(color, factor)
    lanczos = np.asarray(Image.fromarray(small).resize(color.shape[1::-1], Image.Resampling.LANCZOS))
    restored = upscale(small, factor, kernel="bicubic", channel_axis=-1)
    assert quality(restored, color) > quality(lanczos, color) + 1
    inside = np.s_[2:-2, 2:-2]
    assert np.sqrt(np.mean((reduced(restored, factor)[inside].astype(float) - small[inside]) ** 2)) < 1


def test_a_hole_is_filled_from_what_is_around(scene, truth, rng):
    picture = picture_of(scene, KERNEL, 1.0)
    mask = rng.random(truth.shape) < 0.2
    mask[40:46, 50:56] = True
    damaged = deblur(np.where(mask, 0, picture), KERNEL, mask=mask)
    assert quality(damaged, truth) > quality(deblur(picture, KERNEL), truth) - 1


@pytest.mark.parametrize("task", ["deblur", "upscale"])
def test_tiles_leave_no_seam_and_neither_they_nor_threads_change_anything(scene, truth, task):
    picture = picture_of(scene, KERNEL, 2.0) if task == "deblur" else reduced(to_uint8(truth), 2)
    side, edges = (80, (80, 70)) if task == "deblur" else (40, (80, 70))

    def restored(**how):
        if task == "deblur":
            return deblur(picture.astype(float), KERNEL, **how)
        return upscale(picture.astype(float), 2, kernel="bicubic", **how)

    whole, tiled = restored(tile=0), restored(tile=side, threads=1)
    np.testing.assert_array_equal(restored(tile=side, threads=3), tiled)
    error, difference = (whole - truth) ** 2, tiled - whole
    assert (difference**2).mean() < 0.004 * error.mean()
    for axis, edge in enumerate(edges):
        assert abs(np.diff(difference.mean(axis=1 - axis)))[edge - 1] < 0.1


def test_flat_and_noisy_pictures_stay_what_they_are(rng):
    np.testing.assert_array_equal(deblur(np.full((40, 40), 90, np.uint8), KERNEL), 90)
    strong = np.clip(rng.normal(128, 60, (64, 64)), 0, 255)
    assert deblur(strong, KERNEL, noise_sigma=60).std() < 20


def test_noise_that_is_told_too_faint_does_not_diverge(scene, truth):
    kernel = uniform_kernel(9)
    picture = picture_of(scene, kernel, 5.0)
    restored = deblur(picture, kernel, noise_sigma=1)
    assert quality(restored, truth) > quality(deblur(picture, kernel, noise_sigma=1, prior="none"), truth) + 1


@pytest.mark.parametrize("gain", [1.0, 100.0])
def test_a_prior_that_is_no_use_leaves_the_smooth_scene(scene, truth, gain):
    picture = picture_of(scene, KERNEL, 2.0)
    restored, report = deblur(picture, KERNEL, prior=random_prior(1, gain), return_report=True)
    assert report.groups[0].passes < 8
    smooth = smooth_scene(picture[None] / 255, np.ones((1, *picture.shape), bool), Blur(KERNEL))
    assert quality(restored, truth) > quality(Blur(KERNEL).crop(smooth)[0] * 255, truth) - 0.1


def test_a_prior_for_color_sees_all_channels(color):
    small = reduced(color, 2)
    by_gray, by_color = (
        upscale(small, 2, kernel="bicubic", channel_axis=-1, prior=prior, return_report=True)
        for prior in (Prior.default("gray"), random_prior(3, 0.01))
    )
    assert by_color[1].groups[0].prior.kind == "color"
    assert (by_gray[0] != by_color[0]).any()


def test_the_report_names_the_prior_and_where_the_default_does_not_serve(scene):
    picture = picture_of(scene, KERNEL, 2.0)[:48, :48]
    told = deblur(picture, KERNEL, return_report=True)[1]
    assert any("Prior(gray: 8 iterations, 64 filters of 7 x 7, stride 2), 8 times in turn" in line for line in told.lines())
    for other in ({"prior": "none"}, {"lmbda": 0.01}, {"max_iter": 3}, {"dictionary": Dictionary.default("gray")}):
        assert deblur(picture, KERNEL, return_report=True, **other)[1].groups[0].prior is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prior": "best"}, "prior must be a Prior, 'default' or 'none', got 'best'"),
        ({"prior": random_prior(3)}, "prior is for color, but the image isn't"),
        ({"prior": random_prior(1), "lmbda": 0.1}, "lmbda belongs to the sparse code that a prior takes the place of"),
        ({"prior": random_prior(1), "dictionary": Dictionary.default("gray")}, "dictionary belongs to the sparse code"),
    ],
)
def test_what_does_not_go_with_a_prior_is_named(change, message):
    with pytest.raises(InputError, match=message):
        deblur(np.zeros((20, 20)), KERNEL, **change)


def test_a_gpu_finds_the_scene_that_the_cpu_finds(cuda, truth):
    picture = Blur(KERNEL).apply(truth[:40, :44])
    picture = picture + np.random.default_rng(0).normal(0, 2, picture.shape)
    found, expected = (deblur(picture, KERNEL, noise_sigma=2, device=device) for device in ("cuda", "cpu"))
    np.testing.assert_allclose(found, expected, atol=0.05)


@pytest.mark.parametrize("how", [{"prior": "default"}, {"prior": "none", "max_iter": 2}, {"prior": "default", "threads": 1}])
def test_memory_is_planned_for_what_is_taken(color, how):
    small = reduced(color, 3)
    upscale(small, 4, channel_axis=-1, **how)
    tracemalloc.start()
    _, report = upscale(small, 4, channel_axis=-1, return_report=True, tile=0, **how)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    planned = report.groups[0].plan.memory - INTERPRETER_BYTES
    assert peak < planned < 6 * peak
