"""The size of a network: its multiply-adds and its parameters."""

from __future__ import annotations

from math import prod

from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.tracing import Shape, trace


def flops_by_layer(network: Module, *, image_shape: Shape = (3, 32, 32)) -> dict[str, int]:
    """Count the multiply-adds of each convolution and linear layer for one image.

    Papers call them FLOPs; biases, batch norm, activations, pooling and additions aren't counted. They are read from the
    tape of one image of zeros: weights (O, ...) are used once at every position of their layer's output (1, O, ...).

    Parameters
    ----------
    network : Module
    image_shape : (C, H, W)

    Returns
    -------
    dict of str to int
        By the names of the layers' weights, in the network's order.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> flops_by_layer(build_network("resnet20"))["conv1.weight"]
    442368
    """
    names: dict[Tensor, str] = {
        parameter: name for name, parameter in network.named_parameters() if parameter.array.ndim > 1
    }
    if not names:
        return {}
    found: dict[str, int] = {}
    for result in trace(network, image_shape).results:
        for parent in result.parents:
            if parent in names:
                positions = prod(result.shape[2:])
                found[names[parent]] = found.get(names[parent], 0) + positions * parent.array.size
    return {name: found[name] for name in names.values() if name in found}


def count_flops(network: Module, *, image_shape: Shape = (3, 32, 32)) -> int:
    """Count the multiply-adds of all convolutions and linear layers for one image; see :func:`flops_by_layer`.

    Parameters
    ----------
    network : Module
    image_shape : (C, H, W)

    Returns
    -------
    int

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> count_flops(build_network("resnet20"))
    40551040
    """
    return sum(flops_by_layer(network, image_shape=image_shape).values())


def count_parameters(network: Module) -> int:
    """Count the numbers that are trained; the running statistics of batch norm aren't.

    Parameters
    ----------
    network : Module

    Returns
    -------
    int

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> count_parameters(build_network("resnet20"))
    269722
    """
    return sum(parameter.array.size for parameter in network.parameters())
