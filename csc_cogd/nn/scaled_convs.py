"""Bilinear parts of a network: convolutions whose input or output channels are scaled."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from csc_cogd.backend import array_module, as_channels_last
from csc_cogd.errors import InputError
from csc_cogd.nn.module import Module, Parameter
from csc_cogd.nn.tracing import Shape, trace

SIDES = ("following", "preceding")
"""Which kernels a scale is paired with: those that its channel meets next, or those that its channel is made by."""
_BETWEEN = ("relu", "relu6", "soft_mask", "avg_pool2d", "max_pool2d")
"""Operations that may come between a scale and the kernels, as they keep the order of channels."""


class ScaledConv(NamedTuple):
    """A convolution whose input channels are scaled, ``y_i = sum_j W_ij * (scale_j x_j)``, or whose output channels are.

    Attributes
    ----------
    name : str
        Name of the scale.
    scale : (C,) Parameter
    kernels : (O, C, ...) or, depthwise, (C, 1, ...) Parameter
        Where they precede the scale, (C, I, ...).
    preceding : bool
    """

    name: str
    scale: Parameter
    kernels: Parameter
    preceding: bool = False

    @property
    def channel_first(self) -> bool:
        """Whether the first axis of kernels is the channel, as it is where they precede the scale or are depthwise."""
        depthwise = self.kernels.shape[1] == 1 and len(self.kernels.array) == len(self.scale.array)
        return self.preceding or depthwise

    def by_channel(self, kernels: Any) -> Any:
        """Return an array of the kernels' shape as (C, O, n), or (C, 1, n): the O kernels of n weights of each channel."""
        channels = kernels if self.channel_first else kernels.swapaxes(0, 1)
        return channels.reshape(*channels.shape[:2], -1)

    def as_kernels(self, channels: Any) -> Any:
        """Undo :meth:`by_channel`."""
        shape = self.kernels.shape
        if self.channel_first:
            return channels.reshape(shape)
        kernels = channels.reshape(shape[1], shape[0], *shape[2:]).swapaxes(0, 1)
        return as_channels_last(array_module(channels).ascontiguousarray(kernels))


def find_scaled_convs(
    network: Module, kind: str, image_shape: Shape = (3, 32, 32), side: str = SIDES[0]
) -> list[ScaledConv]:  # fmt: skip
    """Find the scaled convolutions of a network, in its order, on the tape of one image of zeros.

    Parameters
    ----------
    network : Module
    kind : {"batch_norm", "soft_mask"}
        The operation that scales. Between it and the kernels there may be a ReLU, a soft mask and pooling, but no addition.
    image_shape : (C, H, W)
    side : {"following", "preceding"}
        Whether the kernels are those after the scale, or those before it, where there may be a batch norm between, too.

    Returns
    -------
    list of ScaledConv

    Raises
    ------
    InputError
        If `side` is neither.
    """
    check_side(side)
    preceding = side == "preceding"
    first, last = (kind, "conv2d") if preceding else ("conv2d", kind)
    passed = (*_BETWEEN, "batch_norm") if preceding else _BETWEEN
    traced, found = trace(network, image_shape), []
    for tensor in traced.results:
        if tensor.made_by.name != first:
            continue
        source = tensor.parents[0]
        while source.made_by.name != last and source.made_by.name in passed:
            source = source.parents[0]
        if source.made_by.name == last:
            scaling, conv = (tensor, source) if preceding else (source, tensor)
            scale: Any = scaling.parents[1]
            found.append(ScaledConv(traced.parameters[scale], scale, cast("Parameter", conv.parents[1]), preceding))
    return found


def check_side(side: str) -> None:
    """Raise InputError unless it is one of :data:`SIDES`."""
    if side not in SIDES:
        raise InputError("kernels", f"must be one of {', '.join(SIDES)}, got {side!r}")
