"""How a picture was made smaller: names, factors between whole numbers, and what the spectrum tells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from csc_cogd import Blur, InputError, psnr, upscale
from csc_cogd.restore.nearest_scene import nearest_scene
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.operators import bicubic_kernel
from csc_cogd.restore.reduction import Reduction, Resampling, estimate_reduction


def resized(image, shape, how):
    from PIL import Image

    return np.asarray(Image.fromarray(image).resize(shape[::-1], Image.Resampling[how]))


def test_a_factor_between_whole_numbers_beats_lanczos_and_agrees_with_the_picture(photo):
    small = resized(photo, (64, 64), "BICUBIC")
    restored = upscale(small, 1.5, kernel="bicubic", noise_sigma=0)
    assert restored.shape == (96, 96)
    assert restored.dtype == np.uint8
    lanczos = resized(small, (96, 96), "LANCZOS")
    assert psnr(restored, photo, data_range=255) > psnr(lanczos, photo, data_range=255) + 0.5
    again = Resampling.between((96, 96), (64, 64), "bicubic", 1.5).apply(restored.astype(float))
    assert np.sqrt(np.mean((again - small) ** 2)) < 0.7  # gray levels


def test_lengths_are_rounded_and_color_and_gaps_are_taken(rng):
    image = rng.random((13, 18, 3))
    image[4:6, 5] = np.nan
    restored, report = upscale(image, 2.5, kernel="box", channel_axis=-1, max_iter=2, return_report=True)
    assert restored.shape == (32, 45, 3)
    assert np.isfinite(restored).all()
    assert report.operator == "kernel of 3 x 3"
    np.testing.assert_allclose(upscale(np.full((9, 9), 7.0), 1.5, max_iter=2), np.full((14, 14), 7.0), rtol=1e-5)


@given(
    st.tuples(st.integers(9, 14), st.integers(9, 14)), st.floats(1.1, 3.9), st.sampled_from(["box", "bicubic", "gaussian:1"])
)
def test_resampling_keeps_constants_and_has_an_adjoint(shape, factor, name):
    finer, rng = tuple(round(factor * n) for n in shape), np.random.default_rng(0)
    sampling = Resampling.between(finer, shape, name, factor)
    np.testing.assert_allclose(sampling.apply(np.ones((2, *finer))), 1, atol=1e-12)
    scene, picture = rng.random((2, *finer)), rng.random((2, *shape))
    assert np.vdot(sampling.apply(scene), picture) == pytest.approx(np.vdot(scene, sampling.adjoint(picture)))


def test_resampling_by_a_box_is_the_mean_over_areas_and_bicubic_is_that_of_pillow(rng):
    scene = rng.random((9, 12))
    halves = scene.repeat(2, axis=0).repeat(2, axis=1).reshape(6, 3, 8, 3).mean(axis=(1, 3))  # 1.5 pixels are three halves
    np.testing.assert_allclose(Resampling.between((9, 12), (6, 8), "box", 1.5).apply(scene), halves, atol=1e-12)
    pillow = resized(scene.astype(np.float32), (6, 8), "BICUBIC")
    np.testing.assert_allclose(Resampling.between((9, 12), (6, 8), "bicubic", 1.5).apply(scene), pillow, atol=1e-5)


def test_a_named_kernel_is_that_of_decimation():
    observation = Observation.of(np.zeros((8, 8)), complete=True)
    np.testing.assert_allclose(Reduction(2, "bicubic").of(observation).kernel, bicubic_kernel(2))
    np.testing.assert_allclose(Reduction(3, "box").of(observation).kernel, np.full((3, 3), 1 / 9))
    assert Reduction(2, "gaussian:1").of(observation).kernel.shape == (8, 8)
    np.testing.assert_allclose(Reduction(2, "auto").of(observation).kernel, bicubic_kernel(2))  # too small to tell


def test_what_is_not_told_lies_between_box_and_bicubic_nearer_to_what_the_spectrum_says(photo):
    photo = photo[:96, :96]
    box = np.pad(np.full((2, 2), 0.25), 3)
    for how in ("BOX", "BICUBIC"):
        small = Observation.of(resized(photo, (48, 48), how), complete=True)
        kernel = Reduction(2, "auto").of(small).kernel
        nearest = "box" if abs(kernel - box).sum() < abs(kernel - bicubic_kernel(2)).sum() else "bicubic"
        assert (nearest == "box") == (estimate_reduction(small.planes[0].astype(float)) > 0)
        assert abs(kernel - box).sum() + abs(kernel - bicubic_kernel(2)).sum() < 1.001 * abs(box - bicubic_kernel(2)).sum()


def test_a_kernel_between_both_costs_less_than_the_wrong_one():
    from skimage.data import camera

    truth = camera()[60:188, 150:278]
    for how, wrong in (("BOX", "bicubic"), ("BICUBIC", "box")):
        small = resized(truth, (64, 64), how)
        told, auto, wrong = (
            psnr(upscale(small, 2, kernel=name), truth, data_range=255) for name in (how.lower(), "auto", wrong)
        )
        assert auto > wrong + 0.3 * (told - wrong)


def test_the_spectrum_of_noise_like_a_photograph_tells_the_reduction(rng):
    """Scenes with a power of f^-2.5 along an axis, the usual one."""
    f = np.hypot(np.fft.fftfreq(512)[:, None], np.fft.fftfreq(512))
    f[0, 0] = 1
    for _ in range(3):
        scene = np.fft.ifft2(np.fft.fft2(rng.standard_normal((512, 512))) * f**-1.4).real
        scene = 128 + 40 * scene / scene.std()
        assert estimate_reduction(scene.reshape(256, 2, 256, 2).mean(axis=(1, 3))) > 0
        assert estimate_reduction(resized(scene.astype(np.float32), (256, 256), "BICUBIC")) < 0
    assert estimate_reduction(np.full((64, 64), 3.0)) is estimate_reduction(scene, gappy=True) is None


def test_the_nearest_scene_is_the_regularized_solution(rng):
    operator = Blur(np.ones((2, 3)))
    picture, known, ratio = rng.random((1, 5, 6)), rng.random((1, 5, 6)) < 0.7, 0.1 + rng.random((1, 5, 6))
    z = rng.random((1, *operator.scene_shape((5, 6))))
    units = np.eye(z.size).reshape(-1, *z.shape[1:])
    A = operator.apply(units).reshape(z.size, -1).T[known.ravel()] / np.sqrt(ratio[known])[:, None]
    expected = np.linalg.solve(A.T @ A + np.eye(z.size), A.T @ (picture[known] / np.sqrt(ratio[known])) + z.ravel())
    np.testing.assert_allclose(nearest_scene(z, picture, known, ratio, operator).ravel(), expected, atol=2e-3)


@pytest.mark.parametrize(
    ("factor", "kernel", "message"),
    [
        (0.5, "auto", "factor must be a number from 1 to 16, got 0.5"),
        (True, "auto", "factor must be a number"),
        (1.5, np.ones((2, 2)), "kernel must have a name for a factor of 1.5"),
        (2, "lanczos", "kernel must be 'auto', .* got 'lanczos'"),
        (2, "gaussian:0", "S above 0"),
        (2, np.zeros((2, 2)), "sum above zero"),
    ],
)
def test_what_is_no_reduction_is_named(factor, kernel, message):
    with pytest.raises(InputError, match=message):
        Reduction(factor, kernel)
