"""A problem that is learned in seconds: small pictures of two kinds."""

import numpy as np

from csc_cogd.nn import Module, Recipe
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet
from csc_cogd.nn.functions import global_avg_pool2d, relu
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Linear

RECIPE = Recipe(4, batch_size=7, nesterov=True)
HALF = Normalization((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


class SmallNetwork(Module):
    """A convolution with batch norm, and a linear layer."""

    def __init__(self, seed=0, channels=4):
        rng = np.random.default_rng(seed)
        self.conv = Conv2d(3, channels, 3, rng, padding=1)
        self.bn = BatchNorm2d(channels)
        self.linear = Linear(channels, 2, rng)

    def forward(self, x):
        return self.linear(global_avg_pool2d(relu(self.bn(self.conv(x)))))


def small_images(count=24, seed=0):
    """Stripes, upright where the label is 0 and lying where it is 1, in noise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    upright = np.broadcast_to(np.arange(6) % 2 * 150, (6, 6))
    pictures = np.where(labels[:, None, None] == 0, upright, upright.T)[..., None] + rng.integers(0, 100, (count, 6, 6, 3))
    return ImageSet(pictures.astype(np.uint8), labels, ("upright", "lying"))
