"""MobileNetV2, for small images and for ImageNet's.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from csc_cogd.nn.functions import global_avg_pool2d, relu, relu6
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Identity, Linear, Rng, SoftMask
from csc_cogd.nn.module import Module, Sequential
from csc_cogd.nn.networks.resnet import projected_shortcut
from csc_cogd.nn.tensor import Tensor

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
"""Expansion, output channels, blocks, and stride of the first block [table 2]; the second stage's is 2 for ImageNet."""


class InvertedResidual(Module):
    """Convolutions of 1 x 1 to more channels, depthwise 3 x 3, and 1 x 1 to fewer, plus the input if the size is the same.

    There is no ReLU after the last one; the others have ReLU, as in code for CIFAR, and not the paper's ReLU6. Where the
    number of channels changes, a convolution of 1 x 1 makes the input fit.
    """

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int, rng: Rng, masked: bool):
        inner = expansion * in_channels
        self.stride = stride
        self.conv1 = Conv2d(in_channels, inner, 1, rng)
        self.bn1 = BatchNorm2d(inner)
        self.mask = SoftMask(inner) if masked else Identity()
        self.conv2 = Conv2d(inner, inner, 3, rng, stride=stride, padding=1, groups=inner)
        self.bn2 = BatchNorm2d(inner)
        self.conv3 = Conv2d(inner, channels, 1, rng)
        self.bn3 = BatchNorm2d(channels)
        projected = stride == 1 and in_channels != channels
        self.shortcut = projected_shortcut(in_channels, channels, 1, rng) if projected else Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.mask(relu(self.bn1(self.conv1(x))))
        y = self.bn3(self.conv3(relu(self.bn2(self.conv2(y)))))
        return y + self.shortcut(x) if self.stride == 1 else y


class _Backbone(Module):
    """A stem, blocks by `STAGES`, whose strides are given, and a head."""

    def __init__(self, block: Callable[..., Module], strides: Sequence[int], n_classes: int, rng: Rng, masked: bool):
        self.conv1 = Conv2d(3, 32, 3, rng, stride=strides[0], padding=1)
        self.bn1 = BatchNorm2d(32)
        blocks: list[Module] = []
        in_channels = 32
        for (expansion, channels, count, _), first in zip(STAGES, strides[1:], strict=True):
            for stride in (first, *[1] * (count - 1)):
                blocks.append(block(in_channels, channels, expansion, stride, rng, masked))
                in_channels = channels
        self.layers = Sequential(*blocks)
        self.conv2 = Conv2d(in_channels, 1280, 1, rng)
        self.bn2 = BatchNorm2d(1280)
        self.linear = Linear(1280, n_classes, rng)


class CifarMobileNetV2(_Backbone):
    """MobileNetV2 for small images (N, 3, H, W), whose size the stem and the second stage keep."""

    def __init__(self, n_classes: int, rng: Rng, masked: bool):
        super().__init__(InvertedResidual, [1, *(stride for *_, stride in STAGES)], n_classes, rng, masked)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(relu(self.bn1(self.conv1(x))))
        return self.linear(global_avg_pool2d(relu(self.bn2(self.conv2(y)))))


class Expanded(Module):
    """An inverted residual as in the paper: with ReLU6, no expansion by 1, and its input added where shapes are equal."""

    def __init__(self, in_channels: int, channels: int, expansion: int, stride: int, rng: Rng, masked: bool):
        inner = expansion * in_channels
        self.added = stride == 1 and in_channels == channels
        self.expanded = expansion > 1
        if self.expanded:
            self.conv1 = Conv2d(in_channels, inner, 1, rng)
            self.bn1 = BatchNorm2d(inner)
            self.mask = SoftMask(inner) if masked else Identity()
        self.conv2 = Conv2d(inner, inner, 3, rng, stride=stride, padding=1, groups=inner)
        self.bn2 = BatchNorm2d(inner)
        self.conv3 = Conv2d(inner, channels, 1, rng)
        self.bn3 = BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mask(relu6(self.bn1(self.conv1(x)))) if self.expanded else x
        y = self.bn3(self.conv3(relu6(self.bn2(self.conv2(y)))))
        return y + x if self.added else y


class MobileNetV2(_Backbone):
    """MobileNetV2 for images of ImageNet (N, 3, 224, 224), which is reduced by 32; by 8, as for CIFAR, if `small`."""

    def __init__(self, small: bool, n_classes: int, rng: Rng, masked: bool):
        strides = [1, *(stride for *_, stride in STAGES)]
        if not small:
            strides[0] = strides[2] = 2
        super().__init__(Expanded, strides, n_classes, rng, masked)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(relu6(self.bn1(self.conv1(x))))
        return self.linear(global_avg_pool2d(relu6(self.bn2(self.conv2(y)))))
