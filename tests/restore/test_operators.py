"""Blur and decimation: against scipy's convolution, against their adjoints, and their kernels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d

from csc_cogd import Blur, Decimation, Dictionary, InputError, psnr, reconstruct_images, restore_image
from csc_cogd.restore.operators import Convolution, bicubic_kernel, gaussian_kernel, motion_kernel, uniform_kernel

sizes = st.tuples(st.integers(1, 6), st.integers(1, 7))


def operators(shape, factor, seed):
    kernel = 0.1 + np.random.default_rng(seed).random(shape)
    return Blur(kernel) if factor == 1 else Decimation(factor, kernel)


@given(sizes, sizes, st.integers(1, 4), st.integers(0, 99))
def test_adjoint_is_that_of_the_operator(shape, kernel_shape, factor, seed):
    operator, rng = operators(kernel_shape, factor, seed), np.random.default_rng(seed)
    scene = rng.standard_normal((2, *operator.scene_shape(shape)))
    picture = rng.standard_normal((2, *shape))
    assert operator.apply(scene).shape == picture.shape
    assert operator.adjoint(picture).shape == scene.shape
    assert np.vdot(operator.apply(scene), picture) == pytest.approx(np.vdot(scene, operator.adjoint(picture)), abs=1e-9)
    assert operator.crop(scene).shape[1:] == operator.restored_shape(shape)


@given(sizes, st.integers(0, 99))
def test_blur_is_the_same_mode_of_scipy_where_the_scene_is_known(kernel_shape, seed):
    operator = operators(kernel_shape, 1, seed)
    scene = np.random.default_rng(seed).standard_normal(operator.scene_shape((5, 8)))
    np.testing.assert_allclose(operator.apply(scene), convolve2d(scene, operator.kernel, mode="valid"), atol=1e-12)
    # the picture lies on the scene as crop says: scipy's "same" mode of the whole scene, cut off likewise
    same = convolve2d(scene, operator.kernel, mode="same")
    np.testing.assert_allclose(operator.crop(same), operator.apply(scene), atol=1e-12)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_decimation_by_a_box_is_the_mean_over_blocks(rng, factor):
    operator = Decimation(factor, np.ones((factor, factor)))
    scene = rng.random((factor * 4, factor * 5))
    assert operator.scene_shape((4, 5)) == scene.shape
    blocks = scene.reshape(4, factor, 5, factor).mean(axis=(1, 3))
    np.testing.assert_allclose(operator.apply(scene), blocks, atol=1e-12)
    np.testing.assert_array_equal(operator.crop(scene), scene)


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_default_decimation_is_bicubic_reduction_as_in_pillow(rng, factor):
    from PIL import Image

    H, W = 12, 14
    picture = rng.random((factor * H, factor * W)).astype(np.float32)
    reduced = np.asarray(Image.fromarray(picture).resize((W, H), Image.Resampling.BICUBIC))
    operator = Decimation(factor)
    h, w = (size - factor for size in operator.kernel.shape)
    scene = np.pad(picture, ((h // 2, h - h // 2), (w // 2, w - w // 2)))
    assert operator.crop(scene).shape == picture.shape
    np.testing.assert_array_equal(operator.crop(scene), picture)
    np.testing.assert_allclose(operator.apply(scene)[2:-2, 2:-2], reduced[2:-2, 2:-2], atol=1e-5)


def test_a_kernel_smaller_than_the_factor_still_leaves_a_whole_picture(rng):
    operator = Decimation(4, np.ones((1, 2)))
    scene = rng.random(operator.scene_shape((3, 5)))
    assert operator.crop(scene).shape == (12, 20)
    expected = (operator.crop(scene)[1::4, 1::4] + operator.crop(scene)[1::4, 2::4]) / 2
    np.testing.assert_allclose(operator.apply(scene), expected, atol=1e-12)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_blurred_filters_make_the_picture_of_what_the_filters_make(rng, channels):
    filters = np.zeros((3, *channels, 4, 5))
    shapes = np.array([[4, 5], [2, 3], [1, 1]])
    for d, (h, w) in zip(filters, shapes, strict=True):
        d[..., :h, :w] = rng.standard_normal((*channels, h, w))
    dictionary, operator = Dictionary(filters, shapes), Decimation(2, 0.1 + rng.random((3, 4)))
    H, W = operator.scene_shape((6, 7))
    codes = rng.standard_normal((1, 3, H + 3, W + 4))
    blurred = operator.through(dictionary)
    np.testing.assert_array_equal(blurred.shapes, shapes + np.array([2, 3]))
    scene = reconstruct_images(codes, dictionary)
    np.testing.assert_allclose(reconstruct_images(codes, blurred)[..., ::2, ::2], operator.apply(scene), atol=1e-12)


def test_kernels_have_sum_one_and_the_stated_width():
    rows, columns = np.mgrid[-8:9, -8:9]
    gaussian = gaussian_kernel(1.6)
    assert gaussian.shape == (15, 15)
    assert gaussian.sum() == pytest.approx(1)
    assert (gaussian * np.arange(-7, 8) ** 2).sum() == pytest.approx(1.6**2, rel=0.01)
    assert gaussian_kernel(1.6, even=True).shape == (14, 14)
    np.testing.assert_array_equal(uniform_kernel(3), np.full((3, 3), 1 / 9))
    assert bicubic_kernel(1).tolist() == [[1]]
    margins = np.pad(np.arange(1, 4), (2, 4))[None].repeat(2, axis=0)
    assert (Blur(margins).kernel * 12).round(9).tolist() == [[1, 2, 3, 0, 0]] * 2
    level, steep, slanted = motion_kernel(5, 0), motion_kernel(5, 90), motion_kernel(9, 30)
    np.testing.assert_allclose(level, np.full((1, 5), 0.2), atol=1e-12)
    np.testing.assert_allclose(steep, np.full((5, 1), 0.2), atol=1e-12)
    h, w = slanted.shape
    rows, columns = np.mgrid[-(h // 2) : h // 2 + 1, -(w // 2) : w // 2 + 1]
    covariance = [[(slanted * a * b).sum() for a in (columns, -rows)] for b in (columns, -rows)]
    _, axes = np.linalg.eigh(covariance)
    assert np.rad2deg(np.arctan2(*axes[::-1, 1])) % 180 == pytest.approx(30, abs=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Blur(np.ones(3)), r"kernel must be of shape \(height, width\), got \(3,\)"),
        (lambda: Blur(np.ones((0, 3))), "kernel must be of shape"),
        (lambda: Blur(np.full((3, 3), np.nan)), "finite"),
        (lambda: Blur(np.ones((3, 3), complex)), "finite real"),
        (lambda: Blur(np.zeros((3, 3))), "must have a sum above zero"),
        (lambda: Blur(np.array([[1, -1.0]])), "must have a sum above zero"),
        (lambda: Decimation(0), "factor must be .* got 0"),
        (lambda: Decimation(2.5), "factor must be .* got 2.5"),
        (lambda: Decimation(99), "1 to 16"),
        (lambda: Decimation(2, np.zeros((2, 2))), "must have a sum above zero"),
        (lambda: gaussian_kernel(0), "sigma must be .* got 0"),
        (lambda: gaussian_kernel(np.inf), "sigma must be .* got inf"),
        (lambda: uniform_kernel(0), "size must be .* got 0"),
        (lambda: motion_kernel(0.5, 0), "length must be .* got 0.5"),
        (lambda: motion_kernel(5, np.nan), "angle must be .* got nan"),
    ],
)
def test_what_is_no_operator_is_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


class Separable(Convolution):
    """Blur down and across by two short kernels: an operator of a user's own."""

    def __init__(self, down, across):
        self.down, self.across, self.kernel = down, across, np.outer(down, across)

    def apply(self, scene):
        below = np.apply_along_axis(np.convolve, -2, scene, self.down, "valid")
        return np.apply_along_axis(np.convolve, -1, below, self.across, "valid")


def test_an_operator_is_added_by_one_class(photo):
    down, across = np.array([1, 2, 3, 2, 1]) / 9, np.array([1, 2, 1]) / 4
    own, built_in = Separable(down, across), Blur(np.outer(down, across))
    scene = photo[:64, :60].astype(float)
    picture = own.apply(scene)
    np.testing.assert_allclose(picture, built_in.apply(scene), atol=1e-9)
    restored = restore_image(picture, own, noise_sigma=0.5)
    np.testing.assert_allclose(restored, restore_image(picture, built_in, noise_sigma=0.5), atol=1e-3)
    truth = own.crop(scene)
    assert psnr(restored, truth, data_range=255) > psnr(picture, truth, data_range=255) + 3


class Incomplete:
    """An operator that forgot most of what one needs."""

    factor = 1

    def apply(self, scene):
        return scene


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (Separable(np.ones(3), np.ones(3)), "operator has a kernel whose sum is 9: divide the kernel by its sum"),
        (Blur, r"operator must be an operator, such as Blur\(kernel\), got the class Blur"),
        (Incomplete(), "operator must be an operator, .* got Incomplete, which lacks adjoint, check, crop, .*through$"),
    ],
)
def test_an_operator_that_cannot_be_used_is_refused_with_the_reason(photo, operator, message):
    with pytest.raises(InputError, match=message):
        restore_image(photo[:40, :40], operator, noise_sigma=1)
