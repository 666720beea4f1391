"""Bilinear parts of a network: convolutions whose input channels are scaled."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from csc_cogd.backend import array_module, as_channels_last
from csc_cogd.nn.module import Module, Parameter
from csc_cogd.nn.tracing import Shape, trace

_BETWEEN = ("relu", "relu6", "soft_mask", "avg_pool2d", "max_pool2d")
"""Operations that may come between a scale and the kernels, as they keep the order of channels."""


class ScaledConv(NamedTuple):
    """A convolution whose input channels are scaled: ``y_i = sum_j W_ij * (scale_j x_j)``.

    Attributes
    ----------
    name : str
        Name of the scale.
    scale : (C,) Parameter
    kernels : (O, C, ...) or, depthwise, (C, 1, ...) Parameter
    """

    name: str
    scale: Parameter
    kernels: Parameter

    @property
    def depthwise(self) -> bool:
        """Whether each kernel meets one channel only."""
        return self.kernels.shape[1] == 1 and len(self.kernels.array) == len(self.scale.array)

    def by_channel(self, kernels: Any) -> Any:
        """Return an array of the kernels' shape as (C, O, n), or (C, 1, n): the O kernels of n weights of each channel."""
        channels = kernels if self.depthwise else kernels.swapaxes(0, 1)
        return channels.reshape(*channels.shape[:2], -1)

    def as_kernels(self, channels: Any) -> Any:
        """Undo :meth:`by_channel`."""
        shape = self.kernels.shape
        if self.depthwise:
            return channels.reshape(shape)
        kernels = channels.reshape(shape[1], shape[0], *shape[2:]).swapaxes(0, 1)
        return as_channels_last(array_module(channels).ascontiguousarray(kernels))


def find_scaled_convs(network: Module, kind: str, image_shape: Shape = (3, 32, 32)) -> list[ScaledConv]:
    """Find the scaled convolutions of a network, in its order, on the tape of one image of zeros.

    Parameters
    ----------
    network : Module
    kind : {"batch_norm", "soft_mask"}
        The operation that scales. Between it and the kernels there may be a ReLU, a soft mask and pooling, but no addition.
    image_shape : (C, H, W)

    Returns
    -------
    list of ScaledConv
    """
    traced, found = trace(network, image_shape), []
    for tensor in traced.results:
        if tensor.made_by.name != "conv2d":
            continue
        source, kernels = tensor.parents[:2]
        while source.made_by.name != kind and source.made_by.name in _BETWEEN:
            source = source.parents[0]
        if source.made_by.name == kind:
            scale: Any = source.parents[1]
            found.append(ScaledConv(traced.parameters[scale], scale, cast("Parameter", kernels)))
    return found
