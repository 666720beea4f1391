"""Which channels of which weights stand or fall together.

G. Fang, X. Ma, M. Song, M. B. Mi, X. Wang, "DepGraph: Towards Any Structural Pruning", CVPR 2023.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from csc_cogd.errors import InputError
from csc_cogd.nn.layers import PaddedShortcut
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.tracing import Shape, Trace, trace

Role = Literal["output", "own", "input"]

_SAME_CHANNELS = ("relu", "relu6", "multiply", "max_pool2d", "avg_pool2d", "global_avg_pool2d")


class Member(NamedTuple):
    """One axis of an array that a channel group runs along.

    Attributes
    ----------
    layer, array : str
        Names of a module and of its parameter or buffer.
    axis : int
    role : {"output", "own", "input"}
        Kernels that make the channels; what is done to each channel by itself, such as batch norm, a soft mask, a bias, and
        depthwise kernels; kernels that meet the channels. Of a :class:`~csc_cogd.nn.layers.PaddedShortcut`, `array` is
        ``"sources"``, whether or not it has them yet.
    """

    layer: str
    array: str
    axis: int
    role: Role

    @property
    def key(self) -> str:
        """Its name in a state dict."""
        return f"{self.layer}.{self.array}" if self.layer else self.array


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are removed together, as :func:`channel_groups` finds them.

    Attributes
    ----------
    name : str
        Of the layer that makes them first.
    n_channels : int
    members : tuple of Member
        In the network's order.
    inner : bool
        Whether they begin and end in one block, on no residual path: no addition joins them.
    """

    name: str
    n_channels: int
    members: tuple[Member, ...]
    inner: bool

    def of_role(self, *roles: Role) -> list[Member]:
        """The members of these roles."""
        return [member for member in self.members if member.role in roles]


def channel_groups(
    network: Module, *, image_shape: Shape = (3, 32, 32), inner_only: bool = False
) -> dict[str, ChannelGroup]:
    """The channel groups of a network by their names, in its order.

    The channels of images and of the network's output belong to none. A shortcut of option A may take any channels to any
    places, so those in front of it and behind it are groups of their own.

    Parameters
    ----------
    network : Module
    image_shape : (C, H, W)
    inner_only : bool
        Whether only those are wanted that are inner: in the networks that ship, the outputs of each block's convolutions but
        the last.

    Returns
    -------
    dict of str to ChannelGroup

    Raises
    ------
    InputError
        If an operation's channels can't be followed: it is named.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> groups = channel_groups(build_network("resnet20"))
    >>> list(groups)[:3]
    ['conv1', 'layer1.0.conv1', 'layer1.1.conv1']
    >>> groups["layer1.0.conv1"].n_channels
    16
    """
    found = groups_of_trace(network, trace(network, image_shape))
    return {name: group for name, group in found.items() if group.inner or not inner_only}


def groups_of_trace(network: Module, traced: Trace) -> dict[str, ChannelGroup]:
    """See :func:`channel_groups`."""
    axes = _follow(network, traced)
    fixed = {axes[traced.image].root(), axes[traced.output].root()}
    roots = {axis.root() for axis in axes.values()} - fixed
    places = {name: place for place, (name, _) in enumerate(network.named_modules())}
    groups = sorted((axis.group(places) for axis in roots), key=lambda group: places[group.name])
    return {group.name: group for group in groups}


@dataclass(eq=False)
class _Axis:
    """The channels of a tensor; those that turn out to be the same point to one of them, their root."""

    channels: int
    members: list[Member] = field(default_factory=list)
    residual: bool = False
    same: _Axis | None = None

    def root(self) -> _Axis:
        return self if self.same is None else self.same.root()

    def add(self, layer: str, arrays: Iterable[str], axis: int, role: Role) -> None:
        self.root().members += [Member(layer, array, axis, role) for array in arrays]

    def join(self, other: _Axis) -> None:
        """They are added: one root from now on."""
        first, second = self.root(), other.root()
        first.residual = True
        if first is not second:
            first.members += second.members
            second.same = first

    def group(self, places: dict[str, int]) -> ChannelGroup:
        """What was found, ordered by the places of modules in the network."""
        members = sorted(self.members, key=lambda member: places[member.layer])
        blocks = {member.layer.rpartition(".")[0] for member in members}
        inner = not self.residual and len(blocks) == 1 and blocks != {""}
        name = next(member.layer for member in members if member.role == "output")
        return ChannelGroup(name, self.channels, tuple(members), inner)


def _follow(network: Module, traced: Trace) -> dict[Tensor, _Axis]:
    """The axis of the image and of every result."""
    modules, used = dict(network.named_modules()), set[Tensor]()
    axes = {traced.image: _Axis(traced.image.shape[1])}

    def layer_of(result: Tensor) -> str:
        """The module whose parameters made a result."""
        parameters = result.parents[1:]
        for parameter in parameters:
            if parameter not in traced.parameters:
                raise InputError(f"network: {_described(result, traced)} has weights that are no parameters of it")
            if parameter in used:
                raise InputError(f"network: {traced.parameters[parameter]} is used twice: its channels can't be followed")
        used.update(parameters)
        return traced.parameters[parameters[0]].rpartition(".")[0]

    def attributes(result: Tensor) -> list[str]:
        return [traced.parameters[parameter].rpartition(".")[2] for parameter in result.parents[1:]]

    for result in traced.results:
        name, settings = result.made_by or ("", {})
        if result.parents[0] not in axes:
            raise InputError(f"network: {_described(result, traced)} has an input that isn't computed from the image")
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
        elif name == "soft_mask" or (name == "conv2d" and _is_depthwise(result)):
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
            raise InputError(f"network: channels can't be followed through {_described(result, traced)}")
    return axes


def _is_depthwise(convolved: Tensor) -> bool:
    """Whether each channel has a kernel of its own, one."""
    groups = convolved.made_by.settings["groups"] if convolved.made_by else 1
    return groups > 1 and convolved.parents[1].shape[:2] == (groups, 1)


def _described(result: Tensor, traced: Trace) -> str:
    name = result.made_by.name if result.made_by else "a leaf"
    maker = traced.makers.get(result)
    return f"{name} in {maker}" if maker else name
