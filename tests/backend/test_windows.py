"""Filters over windows: the kernels against SciPy."""

import numpy as np
import pytest
from scipy import ndimage

from csc_cogd.backend.windows import closing, window_maximum, window_mean, window_minimum

KERNELS = ["numba", "numpy"]
SHAPES = [(1, 1), (5, 70), (70, 5), (131, 200)]
SIDES = [1, 3, 17, 41]


@pytest.fixture(params=KERNELS)
def kernels(request, monkeypatch):
    monkeypatch.setenv("CSC_COGD_KERNELS", request.param)


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_extremes_and_closings_are_scipys(rng, shape, side):
    plane = rng.standard_normal(shape).astype(np.float32)
    for turned in (plane, plane.T):
        np.testing.assert_array_equal(window_maximum(turned, side), ndimage.maximum_filter(turned, side))
        np.testing.assert_array_equal(window_minimum(turned, side), ndimage.minimum_filter(turned, side))
        np.testing.assert_array_equal(closing(turned, side), ndimage.grey_closing(turned, (side, side)))


@pytest.mark.usefixtures("kernels")
def test_labels_grow(rng):
    labels = np.where(rng.random((90, 80)) < 0.05, rng.integers(1, 9, (90, 80)), 0).astype(np.int32)
    grown = window_maximum(labels, 5)
    assert grown.dtype == np.int32
    np.testing.assert_array_equal(grown, ndimage.maximum_filter(labels, 5))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("shape", SHAPES)
def test_means_are_scipys(rng, shape, side):
    plane = (1000 + rng.standard_normal(shape)).astype(np.float32)
    means = window_mean(plane, side)
    assert means.dtype == np.float32
    np.testing.assert_allclose(means, ndimage.uniform_filter(plane.astype(np.float64), side), rtol=3e-7)
