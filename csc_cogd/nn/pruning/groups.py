"""Channel groups: channels of weights that can only be removed together.

G. Fang, X. Ma, M. Song, M. B. Mi, X. Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from csc_cogd.errors import InputError
from csc_cogd.nn.functions.convolution import is_depthwise
from csc_cogd.nn.layers import PaddedShortcut
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.tracing import Shape, Trace, trace

Role = Literal["output", "own", "input"]

_SAME_CHANNELS = ("relu", "relu6", "multiply", "max_pool2d", "avg_pool2d", "global_avg_pool2d")


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
    """

    layer: str
    array: str
    axis: int
    role: Role

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
        Whether they begin and end in one block, on no residual path, so that no addition joins them.
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
    axes = _follow(traced)
    fixed = {axes[traced.image].root(), axes[traced.output].root()}
    roots = {axis.root() for axis in axes.values()} - fixed
    places = {name: place for place, (name, _) in enumerate(traced.network.named_modules())}
    groups = sorted((axis.group(places) for axis in roots), key=lambda group: places[group.name])
    return {group.name: group for group in groups}


@dataclass(eq=False)
class _Axis:
    """The channels of a tensor; axes that turn out to be the same refer to one of them, their root."""

    channels: int
    members: list[Member] = field(default_factory=list)
    residual: bool = False
    same: _Axis | None = None

    def root(self) -> _Axis:
        return self if self.same is None else self.same.root()

    def add(self, layer: str, arrays: Iterable[str], axis: int, role: Role) -> None:
        self.root().members += [Member(layer, array, axis, role) for array in arrays]

    def join(self, other: _Axis) -> None:
        """Give axes that are added to each other one root."""
        first, second = self.root(), other.root()
        first.residual = True
        if first is not second:
            first.members += second.members
            second.same = first

    def group(self, places: dict[str, int]) -> ChannelGroup:
        """Return the group of this axis, ordered by the places of modules in the network."""
        members = sorted(self.members, key=lambda member: places[member.layer])
        blocks = {member.layer.rpartition(".")[0] for member in members}
        inner = not self.residual and len(blocks) == 1 and blocks != {""}
        name = next(member.layer for member in members if member.role == "output")
        return ChannelGroup(name, self.channels, tuple(members), inner)


def _follow(traced: Trace) -> dict[Tensor, _Axis]:
    """Return the axis of the image and of every result."""
    modules, used = dict(traced.network.named_modules()), set[Tensor]()
    axes = {traced.image: _Axis(traced.image.shape[1])}

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

    for result in traced.results:
        name, settings = result.made_by
        if result.parents[0] not in axes:
            raise unsupported(result, "has an input that isn't computed from the image")
        source = axes[result.parents[0]]
        if name in _SAME_CHANNELS:
            axes[result] = source
        elif name == "add" and result.parents[1] in axes:
            source.join(axes[result.parents[1]])
            axes[result] = source
        elif name == "batch_norm":
            layer = layer_of(result)
            source.add(layer, [*attributes(result), *modules[layer].buffer_names], 0, "own")
            axes[result] = source
        elif name == "soft_mask" or (name == "conv2d" and is_depthwise(result.parents[1], settings["groups"])):
            source.add(layer_of(result), attributes(result), 0, "own")
            axes[result] = source
        elif name == "linear" or (name == "conv2d" and settings["groups"] == 1):
            layer, (kernels, *biases) = layer_of(result), attributes(result)
            source.add(layer, [kernels], 1, "input")
            axes[result] = _Axis(result.shape[1])
            axes[result].add(layer, [kernels], 0, "output")
            axes[result].add(layer, biases, 0, "own")
        elif name == "subsample_and_pad" and isinstance(modules.get(traced.makers.get(result, "")), PaddedShortcut):
            source.add(traced.makers[result], ["sources"], 1, "input")
            axes[result] = _Axis(result.shape[1], residual=True)
            axes[result].add(traced.makers[result], ["sources"], 0, "output")
            source.root().residual = True
        else:
            raise unsupported(result, "isn't supported")
    return axes
