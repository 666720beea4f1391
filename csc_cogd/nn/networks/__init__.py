"""The networks that csc-cogd ships, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.layers import Rng
from csc_cogd.nn.module import Module
from csc_cogd.nn.networks.mobilenet import CifarMobileNetV2, MobileNetV2
from csc_cogd.nn.networks.resnet import (
    BasicBlock,
    Bottleneck,
    CifarResNet,
    DownsampledBlock,
    ImageNetResNet,
    padded_shortcut,
    projected_shortcut,
)  # fmt: skip
from csc_cogd.nn.networks.vgg import DEPTHS, Vgg

_NARROW = (16, 32, 64)
_DEPTHS = {f"resnet{6 * n + 2}": (n,) * 3 for n in (3, 5, 7, 9, 18)}
_IMAGENET: dict[str, tuple[type[DownsampledBlock | Bottleneck], tuple[int, ...]]] = {
    "imagenet-resnet18": (DownsampledBlock, (2, 2, 2, 2)), "resnet34": (DownsampledBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)), "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}  # fmt: skip

NETWORKS: dict[str, Callable[[int, Rng, bool], Module]] = {
    **{name: partial(CifarResNet, BasicBlock, _NARROW, blocks, padded_shortcut) for name, blocks in _DEPTHS.items()},
    "resnet18": partial(CifarResNet, BasicBlock, (64, 128, 256, 512), (2,) * 4, projected_shortcut),
    "mobilenetv2": CifarMobileNetV2,
    **{
        f"{name}-b": partial(CifarResNet, DownsampledBlock, _NARROW, blocks, projected_shortcut)
        for name, blocks in _DEPTHS.items()
    },
    **{name: partial(ImageNetResNet, *form) for name, form in _IMAGENET.items()},
    "imagenet-mobilenetv2": partial(MobileNetV2, False),
    "cifar-mobilenetv2": partial(MobileNetV2, True),
    **{name: partial(Vgg, blocks, False) for name, blocks in DEPTHS.items()},
    **{f"cifar-{name}": partial(Vgg, blocks, True) for name, blocks in DEPTHS.items()},
}
"""Functions, by name, that build a network from the number of classes, a generator, and whether to add soft masks."""


def build_network(name: str, n_classes: int = 10, *, seed: int | None = 0, masked: bool = False) -> Module:
    """Build a network with random weights, float32, on the CPU, in training mode.

    Its parameters are named as in the PyTorch code that is commonly used for it, which is torchvision's for the ResNets of
    ImageNet. Files with other names are read by :func:`csc_cogd.nn.load_network`.

    Parameters
    ----------
    name : str
        For small images such as CIFAR's: resnet20, 32, 44, 56, 110 (16-32-64 channels, shortcuts of option A), the same with
        shortcuts of option B (resnet20-b), resnet18 (64-128-256-512), mobilenetv2, and cifar-mobilenetv2, which has ReLU6
        and no convolutions in its shortcuts. For ImageNet's: imagenet-resnet18, resnet34, 50, 101, 152, and
        imagenet-mobilenetv2. For either: cifar-vgg11-bn, 13, 16, 19, and vgg11-bn, 13, 16, 19.
    n_classes : int
    seed : int, optional
        Seed for the weights; None for zeros, which take no time, where others will be loaded.
    masked : bool
        Whether each block has a :class:`~csc_cogd.nn.layers.SoftMask`, named ``mask``, after its first convolution, batch
        norm and ReLU, for pruning.

    Returns
    -------
    Module

    Raises
    ------
    InputError
        If the name is unknown, or there are no classes.

    Examples
    --------
    >>> sum(parameter.array.size for parameter in build_network("resnet20").parameters())
    269722
    """
    if name not in NETWORKS:
        raise InputError("name", f"must be one of {', '.join(NETWORKS)}, got {name!r}")
    if n_classes < 1:
        raise InputError("n_classes", f"must be 1 or more, got {n_classes}")
    return NETWORKS[name](n_classes, None if seed is None else np.random.default_rng(seed), masked)
