"""Layers: functions with their parameters, which are initialized as in the papers."""

from __future__ import annotations

import numpy as np

from csc_cogd.nn import functions
from csc_cogd.nn.functions.checks import Pair, pair
from csc_cogd.nn.module import Module, Parameter
from csc_cogd.nn.tensor import Tensor

Rng = np.random.Generator | None
"""Generator of the initial weights; None for zeros, where weights will be loaded."""


def kaiming_normal(shape: tuple[int, ...], rng: Rng) -> np.ndarray:
    """Draw normal numbers of variance ``2 / fan_in``, float32, for weights (O, C, ...) in front of a ReLU.

    K. He, X. Zhang, S. Ren, J. Sun, "Delving Deep into Rectifiers", ICCV 2015, eq. 10.
    """
    if rng is None:
        return np.zeros(shape, np.float32)
    return rng.standard_normal(shape, np.float32) * np.float32(np.sqrt(2 / np.prod(shape[1:])))


class Conv2d(Module):
    """Convolve images, see :func:`csc_cogd.nn.functions.conv2d`; each kernel meets `in_channels` / `groups` channels."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Pair, rng: Rng, *,
        stride: Pair = 1, padding: Pair = 0, groups: int = 1, bias: bool = False,
    ):  # fmt: skip
        self.stride, self.padding, self.groups = stride, padding, groups
        self.weight = Parameter(kaiming_normal((out_channels, in_channels // groups, *pair(kernel, "kernel")), rng))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return functions.conv2d(x, self.weight, self.bias, stride=self.stride, padding=self.padding, groups=self.groups)


class Linear(Module):
    """Multiply by a matrix, see :func:`csc_cogd.nn.functions.linear`."""

    def __init__(self, in_features: int, out_features: int, rng: Rng):
        self.weight = Parameter(kaiming_normal((out_features, in_features), rng))
        self.bias = Parameter(np.zeros(out_features, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return functions.linear(x, self.weight, self.bias)


class BatchNorm2d(Module):
    """Normalize, see :func:`csc_cogd.nn.functions.batch_norm`: by the batch in training, by running statistics in inference.

    ``running <- (1 - momentum) running + momentum batch``, with the batch's unbiased variance, as in PyTorch.
    """

    buffer_names = ("running_mean", "running_var")

    def __init__(self, channels: int, *, epsilon: float = 1e-5, momentum: float = 0.1):
        self.epsilon, self.momentum = epsilon, momentum
        self.weight = Parameter(np.ones(channels, np.float32))
        self.bias = Parameter(np.zeros(channels, np.float32))
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)

    def forward(self, x: Tensor) -> Tensor:
        running = functions.BatchStats(self.running_mean, self.running_var)
        statistics = functions.batch_statistics(x.array) if self.training else running
        y = functions.batch_norm(x, self.weight, self.bias, statistics, from_batch=self.training, epsilon=self.epsilon)
        if self.training:
            n = x.array.size // x.shape[1]
            self.running_mean, self.running_var = functions.update_running_stats(running, statistics, self.momentum, n)
        return y


class SoftMask(Module):
    """Scale channels, see :func:`csc_cogd.nn.functions.soft_mask`; initially by 1, which changes nothing."""

    def __init__(self, channels: int):
        self.weight = Parameter(np.ones(channels, np.float32))

    def forward(self, x: Tensor) -> Tensor:
        return functions.soft_mask(x, self.weight)


class Identity(Module):
    """Return the input."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class PaddedShortcut(Module):
    """Subsample and pad, see :func:`csc_cogd.nn.functions.subsample_and_pad`: a shortcut of option A.

    `sources`, which says where channels come from, is a buffer once pruning has set it.
    """

    def __init__(self, channels: int, stride: int):
        self.channels, self.stride = channels, stride
        self.sources: np.ndarray | None = None

    def forward(self, x: Tensor) -> Tensor:
        return functions.subsample_and_pad(x, self.channels, self.stride, self.sources)

    def set_sources(self, sources: np.ndarray) -> None:
        """Use channel ``sources[c]`` of the input as channel c, or zeros where that is -1."""
        self.channels, self.sources, self.buffer_names = len(sources), sources, ("sources",)
