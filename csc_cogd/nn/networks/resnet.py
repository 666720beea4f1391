"""Residual networks.

K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from csc_cogd.nn.functions import global_avg_pool2d, max_pool2d, relu
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Identity, Linear, PaddedShortcut, Rng, SoftMask
from csc_cogd.nn.module import Module, Sequential
from csc_cogd.nn.tensor import Tensor


class BasicBlock(Module):
    """Two convolutions of 3 x 3: ``relu(bn2(conv2(mask(relu(bn1(conv1(x)))))) + shortcut(x))``."""

    expansion = 1
    shortcut_name = "shortcut"

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Module, rng: Rng, masked: bool):
        self.conv1 = Conv2d(in_channels, channels, 3, rng, stride=stride, padding=1)
        self.bn1 = BatchNorm2d(channels)
        self.mask = SoftMask(channels) if masked else Identity()
        self.conv2 = Conv2d(channels, channels, 3, rng, padding=1)
        self.bn2 = BatchNorm2d(channels)
        setattr(self, self.shortcut_name, shortcut)

    def forward(self, x: Tensor) -> Tensor:
        y = self.mask(relu(self.bn1(self.conv1(x))))
        return relu(self.bn2(self.conv2(y)) + getattr(self, self.shortcut_name)(x))


class DownsampledBlock(BasicBlock):
    """A basic block whose shortcut is named as torchvision names it."""

    shortcut_name = "downsample"


class Bottleneck(Module):
    """Convolutions of 1 x 1, 3 x 3 and 1 x 1, the last one 4 times as wide; the middle one has the stride."""

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int, shortcut: Module, rng: Rng, masked: bool):
        self.conv1 = Conv2d(in_channels, channels, 1, rng)
        self.bn1 = BatchNorm2d(channels)
        self.mask = SoftMask(channels) if masked else Identity()
        self.conv2 = Conv2d(channels, channels, 3, rng, stride=stride, padding=1)
        self.bn2 = BatchNorm2d(channels)
        self.conv3 = Conv2d(channels, channels * self.expansion, 1, rng)
        self.bn3 = BatchNorm2d(channels * self.expansion)
        self.downsample = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.mask(relu(self.bn1(self.conv1(x))))
        y = relu(self.bn2(self.conv2(y)))
        return relu(self.bn3(self.conv3(y)) + self.downsample(x))


Shortcut = Callable[[int, int, int, Rng], Module]
"""Takes input channels, output channels, stride and rng, and returns the shortcut of a block whose shape changes."""


def padded_shortcut(in_channels: int, channels: int, stride: int, rng: Rng) -> Module:
    """Return a shortcut of option A, without parameters."""
    return PaddedShortcut(channels, stride)


def projected_shortcut(in_channels: int, channels: int, stride: int, rng: Rng) -> Module:
    """Return a shortcut of option B, a convolution of 1 x 1."""
    return Sequential(Conv2d(in_channels, channels, 1, rng, stride=stride), BatchNorm2d(channels))


def stage(
    block: type[BasicBlock | Bottleneck], blocks: int, in_channels: int, channels: int, stride: int, shortcut: Shortcut,
    rng: Rng, masked: bool,
) -> Sequential:  # fmt: skip
    """Return blocks of the same shape, of which the first has the stride."""
    out_channels, made = channels * block.expansion, []
    for stride_here in (stride, *[1] * (blocks - 1)):
        same = stride_here == 1 and in_channels == out_channels
        added = Identity() if same else shortcut(in_channels, out_channels, stride_here, rng)
        made.append(block(in_channels, channels, stride_here, added, rng, masked))
        in_channels = out_channels
    return Sequential(*made)


class CifarResNet(Module):
    """A network for small images (N, 3, H, W): a stem of 3 x 3, and stages of basic blocks, which halve the size.

    With blocks of type :class:`DownsampledBlock`, its last layer is named ``fc``, as in torchvision, else ``linear``.
    """

    def __init__(
        self, block: type[BasicBlock], widths: Sequence[int], blocks: Sequence[int], shortcut: Shortcut, n_classes: int,
        rng: Rng, masked: bool,
    ):  # fmt: skip
        self.conv1 = Conv2d(3, widths[0], 3, rng, padding=1)
        self.bn1 = BatchNorm2d(widths[0])
        self.stages = len(widths)
        channels = widths[0]
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
            made = stage(block, count, channels, width, 1 if number == 1 else 2, shortcut, rng, masked)
            setattr(self, f"layer{number}", made)
            channels = width
        self.head = "fc" if block is DownsampledBlock else "linear"
        setattr(self, self.head, Linear(channels, n_classes, rng))

    def forward(self, x: Tensor) -> Tensor:
        y = relu(self.bn1(self.conv1(x)))
        for number in range(1, self.stages + 1):
            y = getattr(self, f"layer{number}")(y)
        return getattr(self, self.head)(global_avg_pool2d(y))


class ImageNetResNet(Module):
    """A network for images of ImageNet (N, 3, 224, 224): a stem of 7 x 7, max pooling, and four stages of blocks."""

    def __init__(
        self, block: type[DownsampledBlock | Bottleneck], blocks: Sequence[int], n_classes: int, rng: Rng, masked: bool
    ):
        self.conv1 = Conv2d(3, 64, 7, rng, stride=2, padding=3)
        self.bn1 = BatchNorm2d(64)
        channels = 64
        for number, count in enumerate(blocks):
            width = 64 << number
            made = stage(block, count, channels, width, 2 if number else 1, projected_shortcut, rng, masked)
            setattr(self, f"layer{number + 1}", made)
            channels = width * block.expansion
        self.fc = Linear(channels, n_classes, rng)

    def forward(self, x: Tensor) -> Tensor:
        y = max_pool2d(relu(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        for number in range(1, 5):
            y = getattr(self, f"layer{number}")(y)
        return self.fc(global_avg_pool2d(y))
