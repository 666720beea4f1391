"""Transfer: what a network has learned for some images as a start for others."""

from __future__ import annotations

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.layers import Conv2d, Linear
from csc_cogd.nn.module import Module, Parameter


def replace_head(network: Module, n_classes: int, *, seed: int = 0) -> str:
    """Replace the last linear layer by one with random weights for other classes, in place.

    Parameters
    ----------
    network : Module
        Built by :func:`csc_cogd.nn.build_network`, on the CPU.
    n_classes : int
    seed : int
        Seed for the new weights.

    Returns
    -------
    str
        The name of the layer.

    Raises
    ------
    InputError
        If the network has no linear layer, or there are no classes.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> network = build_network("resnet20", 10)
    >>> replace_head(network, 3), network.linear.weight.shape
    ('linear', (3, 64))
    """
    if n_classes < 1:
        raise InputError("n_classes", f"must be 1 or more, got {n_classes}")
    name, old = _head(network)
    new = Linear(old.weight.shape[1], n_classes, np.random.default_rng(seed))
    old.weight, old.bias = (Parameter(made.array.astype(old.weight.dtype)) for made in (new.weight, new.bias))
    return name


def head_classes(network: Module) -> int:
    """Return for how many classes a network is, whose last layer is linear, or a convolution before the mean."""
    kernels = [module.weight for _, module in network.named_modules() if isinstance(module, (Linear, Conv2d))]
    if not kernels:
        raise InputError("network", "must end in a linear layer or a convolution")
    return len(kernels[-1].array)


def _head(network: Module) -> tuple[str, Linear]:
    heads = [(name, module) for name, module in network.named_modules() if isinstance(module, Linear)]
    if not heads:
        raise InputError("network", "must end in a linear layer")
    return heads[-1]


def freeze(network: Module, up_to: str) -> list[str]:
    """Freeze the beginning of a network, in place: its weights aren't trained, its statistics of batch norm stay.

    Parameters
    ----------
    network : Module
    up_to : str
        Name of the last module that is frozen, such as ``"layer2"``; with it all before it.

    Returns
    -------
    list of str
        The names of the parameters that are still trained.

    Raises
    ------
    InputError
        If there is no such module, or nothing would be left to train.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> freeze(build_network("resnet20"), "layer3")
    ['linear.weight', 'linear.bias']
    """
    modules = list(network.named_modules())
    inside = [place for place, (name, _) in enumerate(modules) if name == up_to or name.startswith(f"{up_to}.")]
    stages = ", ".join(name for name, _ in modules if name and "." not in name)
    if not inside or not up_to:
        raise InputError("freeze", f"must name a part of the network ({stages}), got {up_to!r}")
    frozen = [module for name, module in modules[: inside[-1] + 1] if not up_to.startswith(f"{name}.") and name]
    held = {parameter for module in frozen for parameter in vars(module).values() if isinstance(parameter, Parameter)}
    trained = [name for name, parameter in network.named_parameters() if parameter not in held]
    if not trained:
        raise InputError("freeze", f"must leave something to train, got {up_to!r}, the last part", "name an earlier one")
    for module in frozen:
        module.frozen, module.training = True, False
    for parameter in held:
        parameter.requires_grad = False
    return trained
