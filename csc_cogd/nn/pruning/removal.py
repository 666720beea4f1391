"""Removal of channels; a network computes the same without channels that contribute nothing."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from csc_cogd.backend import array_module, to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.functions.shortcut import sources_of
from csc_cogd.nn.layers import BatchNorm2d, Conv2d, Identity, PaddedShortcut, SoftMask
from csc_cogd.nn.module import Module, Parameter, not_finite
from csc_cogd.nn.pruning.constants import constant_channels
from csc_cogd.nn.pruning.groups import ChannelGroup, groups_of_trace
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.tracing import Shape, Trace, trace

Kept = Mapping[str, Any]
"""The channels that are kept, by the names of groups: an array or list of different indices."""


def remove_channels(
    network: Module, kept: Kept, *, image_shape: Shape = (3, 32, 32), fold_masks: bool = True
) -> Module:  # fmt: skip
    """Return a smaller network, of the same layers with fewer channels; the given one isn't changed.

    In inference it computes the same as before, up to rounding, if all removed channels are zero where they are used, as
    after a soft mask of 0. It also does if they are constant and are used without padding, such as the results of a
    depthwise convolution and batch norm of zeros: their contribution is moved into the batch norm that follows. The
    contributions of constants to a padded convolution, and of all that isn't constant, are lost.

    Parameters
    ----------
    network : Module
    kept : mapping of str to indices
        By the names of :func:`~csc_cogd.nn.pruning.groups.channel_groups`; others stay whole. Each group keeps at least one
        channel.
    image_shape : (C, H, W)
    fold_masks : bool
        Whether soft masks are multiplied into the kernels after them, exactly, so that none are left.

    Returns
    -------
    Module

    Raises
    ------
    InputError
        If a group is unknown, indices aren't channels of their group, a mask can't be folded, or channels can't be followed.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> smaller = remove_channels(build_network("resnet20"), {"layer1.0.conv1": [0, 2, 5]})
    >>> smaller.state_dict()["layer1.0.conv1.weight"].shape
    (3, 16, 3, 3)
    """
    traced = trace(network, image_shape)
    groups = groups_of_trace(traced)
    if unknown := [name for name in kept if name not in groups]:
        raise InputError("kept", f"must name channel groups ({', '.join(groups)}), got {unknown[0]!r}")
    indices = {name: _checked(groups[name], channels) for name, channels in kept.items()}
    smaller = copy.deepcopy(network)
    smaller.zero_grad()
    modules = dict(smaller.named_modules())
    _fold_constants(traced, groups, indices, modules)
    if fold_masks:
        _fold_masks(traced, modules)
    _write_sources(traced, groups, indices, modules)
    for (layer, array, axis), entries in _left(groups, indices, modules).items():
        _take(modules[layer], array, axis, entries)
    return smaller


def masks_to_kept(network: Module, *, threshold: float = 0.0, image_shape: Shape = (3, 32, 32)) -> dict[str, np.ndarray]:
    """Return the channels whose soft masks are larger in magnitude than a threshold.

    If none is, the channel with the largest mask is kept.

    Parameters
    ----------
    network : Module
    threshold : float >= 0
    image_shape : (C, H, W)

    Returns
    -------
    dict of str to array of int
        By the names of groups, for :func:`remove_channels`.

    Raises
    ------
    InputError
        If channels can't be followed, or a mask is NaN or infinite.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> masks_to_kept(build_network("resnet20", masked=True))["layer1.0.conv1"].size
    16
    """
    modules, kept = dict(network.named_modules()), {}
    for name, group in groups_of_trace(trace(network, image_shape)).items():
        masks = [modules[member.layer] for member in group.members if isinstance(modules[member.layer], SoftMask)]
        if masks:
            size = np.prod([abs(to_numpy(mask.weight.array)) for mask in masks], axis=0)  # type: ignore[attr-defined]
            if not np.isfinite(size).all():
                raise not_finite("network", f"a mask of group {name}")
            kept[name] = np.flatnonzero(size > threshold) if (size > threshold).any() else np.array([size.argmax()])
    return kept


def _checked(group: ChannelGroup, channels: Any) -> np.ndarray:
    """Return sorted indices."""
    indices = np.asarray(to_numpy(channels))
    if indices.ndim != 1 or indices.size == 0 or indices.dtype.kind not in "iu":
        raise InputError(
            "kept", f"must hold a list of one or more indices for {group.name}, got {indices.dtype} of shape {indices.shape}"
        )
    indices = np.sort(indices)
    if indices[0] < 0 or indices[-1] >= group.n_channels or (np.diff(indices) == 0).any():
        raise InputError("kept", f"must hold different indices from 0 to {group.n_channels - 1} for {group.name}")
    return indices


def _fold_constants(
    traced: Trace, groups: Mapping[str, ChannelGroup], kept: Kept, modules: Mapping[str, Any]
) -> None:  # fmt: skip
    """Move the contribution of constant removed channels to unpadded convolutions and linear layers into what follows."""
    constants = constant_channels(traced)
    left = {
        f"{layer}.{array}" if layer else array: entries
        for (layer, array, axis), entries in _left(groups, kept, modules).items()
        if axis == 1
    }
    for result in traced.results:
        entries = left.get(traced.parameters.get(result.parents[1], "")) if len(result.parents) > 1 else None
        if entries is None or result.made_by.settings.get("padding", (0, 0)) != (0, 0):
            continue
        values = constants[result.parents[0]].copy()
        values[entries] = 0
        values = np.nan_to_num(values)
        if values.any():
            kernels = to_numpy(result.parents[1].array)
            contributed = kernels.reshape(*kernels.shape[:2], -1).sum(axis=2) @ values
            _add_constant(traced, result, contributed, modules)


def _add_constant(traced: Trace, result: Tensor, values: np.ndarray, modules: Mapping[str, Any]) -> None:
    """Add values to the output of a layer: to its bias, or by subtraction from the running mean that follows."""
    layer = modules[traced.parameters[result.parents[1]].rpartition(".")[0]]
    users = [user for user in traced.results if result in user.parents]
    array = layer.weight.array
    shift = array_module(array).asarray(values.astype(array.dtype))
    if layer.bias is not None:
        layer.bias.array = layer.bias.array + shift
    elif [user.made_by.name for user in users] == ["batch_norm"]:
        norm: BatchNorm2d = modules[traced.parameters[users[0].parents[1]].rpartition(".")[0]]
        norm.running_mean = norm.running_mean - shift
    else:
        layer.bias = Parameter(shift)


def _fold_masks(traced: Trace, modules: Mapping[str, Any]) -> None:
    """Multiply masks into the kernels after them, and remove them."""
    for result in traced.results:
        name = traced.makers.get(result, "")
        if not isinstance(modules.get(name), SoftMask):
            continue
        mask = result.parents[1].array
        for user in traced.results:
            if result not in user.parents:
                continue
            what, settings = user.made_by
            if what not in ("conv2d", "linear"):
                problem = f"must have kernels after each mask, but {name} is followed by {what}"
                raise InputError("network", problem, "set {fold_masks} to False")
            kernels = modules[traced.parameters[user.parents[1]].rpartition(".")[0]].weight
            along = 0 if settings.get("groups", 1) > 1 else 1
            shape = [-1 if axis == along else 1 for axis in range(kernels.array.ndim)]
            kernels.array = kernels.array * mask.reshape(shape)
        owner, _, attribute = name.rpartition(".")
        setattr(modules[owner], attribute, Identity())


def _write_sources(
    traced: Trace, groups: Mapping[str, ChannelGroup], kept: Kept, modules: Mapping[str, Any]
) -> None:  # fmt: skip
    """Set the sources of shortcuts of option A, if any channels are removed before or after them."""
    for result in traced.results:
        name = traced.makers.get(result, "")
        if not isinstance(modules.get(name), PaddedShortcut):
            continue
        C, channels = result.parents[0].shape[1], result.shape[1]
        before = _kept_by(("input", name), C, groups, kept)
        after = _kept_by(("output", name), channels, groups, kept)
        if len(before) < C or len(after) < channels:
            new = np.full(C + 1, -1)  # the last one for what is -1 already
            new[before] = np.arange(len(before))
            modules[name].set_sources(new[sources_of(result.made_by.settings["sources"], C, channels)][after])


def _kept_by(side: tuple[str, str], channels: int, groups: Mapping[str, ChannelGroup], kept: Kept) -> np.ndarray:
    for name in kept:
        if any((member.role, member.layer) == side for member in groups[name].members):
            return kept[name]
    return np.arange(channels)


def _left(
    groups: Mapping[str, ChannelGroup], kept: Kept, modules: Mapping[str, Any]
) -> dict[tuple[str, str, int], np.ndarray]:  # fmt: skip
    """Return the entries that are left along each axis of an array that loses some, by layer, array and axis."""
    stays: dict[tuple[str, str, int], np.ndarray] = {}
    for name, channels in kept.items():
        removed = np.setdiff1d(np.arange(groups[name].n_channels), channels)
        for member in groups[name].members:
            layer = modules[member.layer]
            if not isinstance(layer, PaddedShortcut):
                length = layer.get_array(member.array).shape[member.axis]
                place = (member.layer, member.array, member.axis)
                stays.setdefault(place, np.ones(length, bool))[member.entries(removed)] = False
    return {place: np.flatnonzero(stay) for place, stay in stays.items()}


def _take(layer: Any, name: str, axis: int, entries: np.ndarray) -> None:
    """Keep only some entries along an axis of an array."""
    if isinstance(layer, Conv2d) and layer.groups > 1:
        layer.groups = len(entries)
    array = layer.get_array(name)
    xp = array_module(array)
    layer.set_array(name, xp.ascontiguousarray(array.take(xp.asarray(entries), axis=axis)))
