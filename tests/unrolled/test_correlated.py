"""Noise that isn't white, as a network is told of it."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from csc_cogd.unrolled.correlated import OPPONENT, Correlation
from csc_cogd.unrolled.network import Network, Shape


def network(channels, size=5):
    return Network.random(Shape(channels, 12, size, 2, 2), np.random.default_rng(0))


def correlated_noise(channels, seed=0, side=256):
    white = np.random.default_rng(seed).standard_normal((channels, side, side))
    if channels == 1:
        return gaussian_filter(white, (0, 0.8, 0.8))
    mixed = np.stack([gaussian_filter(plane, 0.6 * c + 0.2) for c, plane in enumerate(white)])
    return np.tensordot(OPPONENT.T, mixed, 1)


@pytest.mark.parametrize("channels", [1, 3])
def test_gains_are_the_noise_behind_each_filter(channels):
    net, noise = network(channels), correlated_noise(channels)
    gains = Correlation.of(noise, 8).gains(net)
    windows = np.lib.stride_tricks.sliding_window_view(noise, (5, 5), axis=(1, 2))[:, ::3, ::3]
    filters = net.weights.A[0].reshape(12, channels, 5, 5)
    behind = np.einsum("chwab,mcab->mhw", windows, filters).std(axis=(1, 2)) / np.linalg.norm(net.weights.A[0], axis=1)
    np.testing.assert_allclose(gains[0], behind / noise.std(), rtol=0.08)
    assert gains[0].max() > 1.2 * gains[0].min()


@pytest.mark.parametrize("size", [5, 11])
def test_white_noise_changes_nothing(size):
    noise = np.random.default_rng(0).standard_normal((3, 256, 256))
    np.testing.assert_allclose(Correlation.of(noise, 8).gains(network(3, size)), 1, atol=0.1)


def test_thresholds_alone_are_changed():
    net = network(1)
    heard = net.with_gains(np.full((2, 12), 2.0, np.float32))
    np.testing.assert_array_equal(heard.weights.t1, 2 * net.weights.t1)
    np.testing.assert_array_equal(heard.vector[:-24], net.vector[:-24])
