"""Convolution on the padded domain: against direct convolution, and against its adjoint."""

import numpy as np
import pytest
from scipy.signal import convolve, correlate

from csc_cogd import Dictionary, InputError, lambda_max, reconstruct_images
from csc_cogd.csc.problem import Domain, filter_spectra


def mixed_dictionary(rng, channels=()):
    filters = np.zeros((3, *channels, 5, 4))
    shapes = np.array([[5, 4], [2, 3], [1, 1]])
    for d, (h, w) in zip(filters, shapes, strict=True):
        d[..., :h, :w] = rng.standard_normal((*channels, h, w))
    return Dictionary(filters, shapes)


@pytest.mark.parametrize("size", [(12, 17), (3, 2), (1, 1), (40, 5)])
def test_reconstruction_is_the_valid_part_of_direct_convolution(rng, size):
    dictionary = mixed_dictionary(rng)
    codes = rng.standard_normal((2, 3, size[0] + 4, size[1] + 3))
    expected = [sum(convolve(x, d, mode="valid") for x, d in zip(image, dictionary.filters, strict=True)) for image in codes]
    np.testing.assert_allclose(reconstruct_images(codes, dictionary), expected, atol=1e-12)


def test_reconstruction_in_color_and_circular(rng):
    dictionary = mixed_dictionary(rng, (3,))
    codes = rng.standard_normal((1, 3, 9, 11))
    expected = [
        sum(convolve(np.pad(x, ((5, 0), (4, 0)), "wrap"), d[c], mode="full")[5:14, 4:15]
            for x, d in zip(codes[0], dictionary.filters, strict=True))
        for c in range(3)
    ]  # fmt: skip
    np.testing.assert_allclose(reconstruct_images(codes, dictionary, boundary="circular")[0], expected, atol=1e-12)


def test_synthesis_and_analysis_are_adjoint_on_every_backend(backend, rng):
    dictionary = mixed_dictionary(rng, (2,))
    H, W = Domain((10, 9), (5, 4)).shape
    operator = filter_spectra(backend, Domain((10, 9), (5, 4)), dictionary)
    maps, images = backend.workspace((1, 3, H, W)), backend.workspace((1, 2, H, W))
    x, y = rng.standard_normal(maps.real.shape), rng.standard_normal(images.real.shape)

    maps.real[...], images.real[...] = backend.asarray(x), backend.asarray(y)
    maps.forward(), images.forward()
    spectrum = images.spectrum.copy()
    backend.kernels.accumulate_forward(operator, maps.spectrum, images.spectrum, False)
    backend.kernels.apply_adjoint(operator, spectrum, maps.spectrum)
    maps.inverse(), images.inverse()
    assert np.vdot(backend.to_host(images.real), y) == pytest.approx(np.vdot(x, backend.to_host(maps.real)))


def test_lambda_max_is_the_largest_correlation_with_the_weighted_image(rng):
    dictionary, images = mixed_dictionary(rng), rng.standard_normal((2, 8, 9))
    weights = rng.random((2, 8, 9))
    responses = [
        abs(correlate(w**2 * b, d[:h, :v], mode="full")).max()
        for b, w in zip(images, weights, strict=True)
        for d, (h, v) in zip(dictionary.filters, dictionary.shapes, strict=True)
    ]
    assert lambda_max(images, dictionary, weights=weights) == pytest.approx(max(responses))
    per_filter = np.max(np.reshape(responses, (2, 3)), axis=0) / (1, 2, 4)
    assert lambda_max(images, dictionary, weights=weights, l1_weights=[1, 2, 4]) == pytest.approx(per_filter.max())


def test_codes_of_a_wrong_shape_are_named(rng):
    for codes, message in [
        (np.zeros((2, 5)), r"codes must be of shape .* got \(2, 5\)"),
        (np.zeros((1, 3, 4, 9)), ">= 5, >= 4"),
        (np.zeros((1, 3, 9, 9), complex), "got complex128"),
    ]:
        with pytest.raises(InputError, match=message):
            reconstruct_images(codes, mixed_dictionary(rng))
    with pytest.raises(InputError, match=r"boundary must be .* got 'x'"):
        reconstruct_images(np.zeros((1, 3, 9, 9)), mixed_dictionary(rng), boundary="x")
    with pytest.raises(InputError, match=r"boundary must be .* got 'x'"):
        lambda_max(np.zeros((1, 9, 9)), mixed_dictionary(rng), boundary="x")
