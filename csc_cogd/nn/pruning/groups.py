"""Channel groups: channels of weights that can only be removed together.

G. Fang, X. Ma, M. Song, M. B. Mi, X. Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.functions.convolution import is_depthwise
from csc_cogd.nn.layers import PaddedShortcut
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.tracing import Shape, Trace, trace

Role = Literal["output", "own", "input"]

_SAME_CHANNELS = (
    "relu", "relu6", "clip", "sigmoid", "hard_sigmoid", "hard_swish", "multiply", "max_pool2d", "avg_pool2d",
    "fake_quantize", "global_avg_pool2d", "pad2d", "upsample",
)  # fmt: skip


class Member(NamedTuple):
    """An axis of an array that belongs to a channel group.

    Attributes
    ----------
    layer : str
        Name of a module.
    array : str
        Name of its parameter or buffer. Of a :class:`~csc_cogd.nn.layers.PaddedShortcut`, it is ``"sources"``, whether or
        not there are any yet.
    axis : int
    role : {"output", "own", "input"}
        Kernels whose output the channels are; arrays that act on each channel by itself, such as batch norm, a soft mask, a
        bias, and depthwise kernels; kernels whose input the channels are.
    offset : int
        Where the group's channels begin along the axis, behind others that were concatenated with them.
    spread : int
        Entries that belong to each channel: as many as it has pixels, behind a layer that makes vectors of images.
    """

    layer: str
    array: str
    axis: int
    role: Role
    offset: int = 0
    spread: int = 1

    def entries(self, channels: np.ndarray) -> np.ndarray:
        """Return the indices along the axis that belong to some channels."""
        return (self.offset + self.spread * channels[:, None] + np.arange(self.spread)).ravel()

    def by_channel(self, array: np.ndarray, n_channels: int) -> np.ndarray:
        """Return the values of an array that belong to each of a group's channels: (C, n)."""
        along = np.moveaxis(array, self.axis, 0)
        return along[self.offset : self.offset + n_channels * self.spread].reshape(n_channels, -1)

    @property
    def key(self) -> str:
        """The array's name in a state dict."""
        return f"{self.layer}.{self.array}" if self.layer else self.array


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are removed together, as :func:`channel_groups` finds them.

    Attributes
    ----------
    name : str
        Name of the first layer that computes them.
    n_channels : int
    members : tuple of Member
        In the network's order.
    inner : bool
        Whether they begin and end in one block, on no residual path, so that no addition joins them. Where a network has no
        blocks, all on no residual path are.
    """

    name: str
    n_channels: int
    members: tuple[Member, ...]
    inner: bool

    def of_role(self, *roles: Role) -> list[Member]:
        """Return the members of these roles."""
        return [member for member in self.members if member.role in roles]


def channel_groups(
    network: Module, *, image_shape: Shape = (3, 32, 32), inner_only: bool = False
) -> dict[str, ChannelGroup]:
    """Find the channel groups of a network.

    The channels of images and of the network's output belong to none. A shortcut of option A may move any channel to any
    place, so the channels before and after it are groups of their own.

    Parameters
    ----------
    network : Module
    image_shape : (C, H, W)
    inner_only : bool
        Whether to return only groups that are inner: in the networks that ship, the outputs of each block's convolutions but
        the last.

    Returns
    -------
    dict of str to ChannelGroup
        By their names, in the network's order.

    Raises
    ------
    InputError
        If channels can't be followed through an operation, which is named.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> groups = channel_groups(build_network("resnet20"))
    >>> list(groups)[:3]
    ['conv1', 'layer1.0.conv1', 'layer1.1.conv1']
    >>> groups["layer1.0.conv1"].n_channels
    16
    """
    found = groups_of_trace(trace(network, image_shape))
    return {name: group for name, group in found.items() if group.inner or not inner_only}


def groups_of_trace(traced: Trace) -> dict[str, ChannelGroup]:
    """Find the channel groups of a network that has been traced; see :func:`channel_groups`."""
    layouts = _follow(traced)
    fixed = {axis.root() for end in (traced.image, traced.output) for axis in layouts[end].axes}
    roots = {axis.root() for layout in layouts.values() for axis in layout.axes} - fixed
    places = {name: place for place, (name, _) in enumerate(traced.network.named_modules())}
    made = [axis.group(places, traced.network.has_blocks) for axis in roots if not axis.fixed]
    return {group.name: group for group in sorted(made, key=lambda group: places[group.name])}


@dataclass(eq=False)
class _Axis:
    """Channels that are computed together; axes that turn out to be the same refer to one of them, their root."""

    channels: int
    members: list[Member] = field(default_factory=list)
    residual: bool = False
    fixed: bool = False
    same: _Axis | None = None

    def root(self) -> _Axis:
        return self if self.same is None else self.same.root()

    def join(self, other: _Axis, residual: bool) -> None:
        """Give axes that are added to, or multiplied by, each other one root."""
        first, second = self.root(), other.root()
        first.residual |= second.residual or residual
        first.fixed |= second.fixed
        if first is not second:
            first.members += second.members
            second.same = first

    def group(self, places: dict[str, int], has_blocks: bool) -> ChannelGroup:
        """Return the group of this axis, ordered by the places of modules in the network."""
        members = sorted(self.members, key=lambda member: places[member.layer])
        blocks = {member.layer.rpartition(".")[0] for member in members}
        inner = not self.residual and (not has_blocks or (len(blocks) == 1 and blocks != {""}))
        name = next(member.layer for member in members if member.role == "output")
        return ChannelGroup(name, self.channels, tuple(members), inner)


class _Layout(NamedTuple):
    """The channels of a tensor: axes one behind the other, each of whose channels has `spread` entries."""

    axes: tuple[_Axis, ...]
    spread: int = 1

    def add(self, layer: str, arrays: Iterable[str], axis: int, role: Role) -> None:
        """Note that arrays of a layer have these channels along an axis."""
        arrays, offset = list(arrays), 0
        for one in self.axes:
            one.root().members += [Member(layer, array, axis, role, offset, self.spread) for array in arrays]
            offset += one.channels * self.spread

    def join(self, other: _Layout, residual: bool) -> bool:
        """Join the axes of two tensors; return whether they fit."""
        sizes, others = ([one.channels for one in layout.axes] for layout in (self, other))
        if sizes != others or self.spread != other.spread:
            return False
        for one, two in zip(self.axes, other.axes, strict=True):
            one.join(two, residual)
        return True


def _follow(traced: Trace) -> dict[Tensor, _Layout]:
    """Return the channels of the image and of every result."""
    modules, used = dict(traced.network.named_modules()), set[Tensor]()
    layouts = {traced.image: _Layout((_Axis(traced.image.shape[1]),))}

    def unsupported(result: Tensor, why: str) -> InputError:
        maker = traced.makers.get(result)
        what = f"{result.made_by.name} in {maker}" if maker else result.made_by.name
        return InputError("network", f"must have channels that can be followed, but {what} {why}")

    def layer_of(result: Tensor) -> str:
        """Return the module whose parameters a result was computed with."""
        parameters = result.parents[1:]
        for parameter in parameters:
            if parameter not in traced.parameters:
                raise unsupported(result, "has weights that aren't parameters of it")
            if parameter in used:
                raise unsupported(result, f"uses {traced.parameters[parameter]}, which is used elsewhere, too")
        used.update(parameters)
        return traced.parameters[parameters[0]].rpartition(".")[0]

    def attributes(result: Tensor) -> list[str]:
        return [traced.parameters[parameter].rpartition(".")[2] for parameter in result.parents[1:]]

    def made(result: Tensor, layer: str, residual: bool = False, fixed: bool = False) -> _Layout:
        """Return the channels that kernels of a layer make."""
        kernels, *biases = attributes(result)
        layout = _Layout((_Axis(result.shape[1], residual=residual, fixed=fixed),))
        layout.add(layer, [kernels], 0, "output")
        layout.add(layer, biases, 0, "own")
        return layout

    for result in traced.results:
        name, settings = result.made_by
        if result.parents[0] not in layouts:
            raise unsupported(result, "has an input that isn't computed from the image")
        source = layouts[result.parents[0]]
        if name in _SAME_CHANNELS:
            layouts[result] = source
        elif name == "select":  # of channels, all are kept
            for axis in source.axes if settings["channels"] is not None else ():
                axis.root().fixed = True
            layouts[result] = source if settings["channels"] is None else _Layout((_Axis(result.shape[1], fixed=True),))
        elif name == "flatten":
            pixels = result.shape[1] // result.parents[0].shape[1]
            layouts[result] = _Layout(source.axes, source.spread * pixels)
        elif name == "concatenate" and all(parent in layouts for parent in result.parents):
            layouts[result] = _Layout(tuple(axis for parent in result.parents for axis in layouts[parent].axes))
        elif name in ("add", "product") and result.parents[1] in layouts:
            if not source.join(layouts[result.parents[1]], residual=name == "add"):
                raise unsupported(result, "joins channels that were concatenated in different ways")
            layouts[result] = source
        elif name == "batch_norm":
            layer = layer_of(result)
            source.add(layer, [*attributes(result), *modules[layer].buffer_names], 0, "own")
            layouts[result] = source
        elif name == "soft_mask" or (name == "conv2d" and is_depthwise(result.parents[1], settings["groups"])):
            source.add(layer_of(result), attributes(result), 0, "own")
            layouts[result] = source
        elif name == "linear" or (name == "conv2d" and settings["groups"] == 1):
            layer = layer_of(result)
            source.add(layer, attributes(result)[:1], 1, "input")
            layouts[result] = made(result, layer)
        elif name == "conv2d" and not traced.network.has_blocks:  # in groups, which keep all channels
            for axis in source.axes:
                axis.root().fixed = True
            layouts[result] = made(result, layer_of(result), fixed=True)
        elif (
            name == "subsample_and_pad"
            and isinstance(modules.get(traced.makers.get(result, "")), PaddedShortcut)
            and len(source.axes) == 1
        ):
            source.add(traced.makers[result], ["sources"], 1, "input")
            layouts[result] = _Layout((_Axis(result.shape[1], residual=True),))
            layouts[result].add(traced.makers[result], ["sources"], 0, "output")
            source.axes[0].root().residual = True
        else:
            raise unsupported(result, "isn't supported")
    return layouts
