"""Networks of plain convolutions.

K. Simonyan, A. Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015, table 1, with
batch norm; parameters are named as in torchvision.
"""

from __future__ import annotations

from csc_cogd.errors import InputError
from csc_cogd.nn.functions import avg_pool2d, flatten, max_pool2d, relu, upsample
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Linear, Rng
from csc_cogd.nn.module import Module, Sequential
from csc_cogd.nn.tensor import Tensor

DEPTHS = {"vgg11-bn": (1, 1, 2, 2, 2), "vgg13-bn": (2, 2, 2, 2, 2), "vgg16-bn": (2, 2, 3, 3, 3), "vgg19-bn": (2, 2, 4, 4, 4)}
"""Convolutions before each pooling; their channels are 64, 128, 256, 512 and 512."""
_SIDE = 7  # of what the classifier for ImageNet is given


class Relu(Module):
    """:func:`csc_cogd.nn.functions.relu`."""

    def forward(self, x: Tensor) -> Tensor:
        return relu(x)


class MaxPool(Module):
    """Halve the size by :func:`csc_cogd.nn.functions.max_pool2d`."""

    def forward(self, x: Tensor) -> Tensor:
        return max_pool2d(x, 2)


class Vgg(Module):
    """Convolutions of 3 x 3, each with batch norm and ReLU, pooling, and three matrices.

    Images of ImageNet (N, 3, 224, 224) are reduced to 7 x 7 vectors of 512, and multiples of that size to as many by means;
    small ones (N, 3, 32, 32) to one.
    """

    def __init__(self, blocks: tuple[int, ...], small: bool, n_classes: int, rng: Rng, masked: bool):
        if masked:
            raise InputError("masked", "must be False, as VGG has no blocks with a place for a mask")
        layers: list[Module] = []
        channels = 3
        for number, count in enumerate(blocks):
            for _ in range(count):
                width = min(64 << number, 512)
                layers += [Conv2d(channels, width, 3, rng, padding=1, bias=True), BatchNorm2d(width), Relu()]
                channels = width
            layers.append(MaxPool())
        self.features = Sequential(*layers)
        self.side = 1 if small else _SIDE
        hidden = 512 if small else 4096
        self.classifier = Classifier(channels * self.side**2, hidden, n_classes, rng)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(flatten(_sized(self.features(x), self.side)))


class Classifier(Module):
    """Three matrices with ReLU between them, named ``"0"``, ``"3"`` and ``"6"``, as dropout has numbers of its own."""

    def __init__(self, inputs: int, hidden: int, n_classes: int, rng: Rng):
        for name, size in (("0", (inputs, hidden)), ("3", (hidden, hidden)), ("6", (hidden, n_classes))):
            setattr(self, name, Linear(*size, rng))

    def forward(self, x: Tensor) -> Tensor:
        for name in ("0", "3"):
            x = relu(getattr(self, name)(x))
        last: Linear = getattr(self, "6")
        return last(x)


def _sized(x: Tensor, side: int) -> Tensor:
    """Return images of `side` x `side` pixels, of means over as many parts or of one repeated pixel."""
    height, width = x.shape[2:]
    if height == width == 1:
        return upsample(x, side) if side > 1 else x
    if height % side or width % side:
        problem = f"must be of multiples of {32 * side} pixels, or of 32, got {32 * height} x {32 * width} or a little more"
        raise InputError("x", problem, f"resize them to {32 * side} x {32 * side}")
    return x if (height, width) == (side, side) else avg_pool2d(x, (height // side, width // side))
