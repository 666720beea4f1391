"""The networks that csc-cogd ships, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.layers import Rng
from csc_cogd.nn.module import Module
from csc_cogd.nn.networks.mobilenet import CifarMobileNetV2
from csc_cogd.nn.networks.resnet import CifarResNet, ResNet50, padded_shortcut, projected_shortcut

_NARROW = (16, 32, 64)
NETWORKS: dict[str, Callable[[int, Rng, bool], Module]] = {
    **{f"resnet{6 * n + 2}": partial(CifarResNet, _NARROW, (n,) * 3, padded_shortcut) for n in (3, 5, 7, 9, 18)},
    "resnet18": partial(CifarResNet, (64, 128, 256, 512), (2,) * 4, projected_shortcut),
    "mobilenetv2": CifarMobileNetV2,
    "resnet50": ResNet50,
}
"""Functions, by name, that build a network from the number of classes, a generator, and whether to add soft masks."""


def build_network(name: str, n_classes: int = 10, *, seed: int | None = 0, masked: bool = False) -> Module:
    """Build a network with random weights, float32, on the CPU, in training mode.

    Its parameters are named as in the PyTorch code that is commonly used for it, which is torchvision's for ResNet-50.

    Parameters
    ----------
    name : str
        resnet20, 32, 44, 56, 110 (16-32-64 channels, shortcuts of option A), resnet18 (64-128-256-512) and mobilenetv2 are
        for small images such as CIFAR's, resnet50 is for ImageNet's.
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
