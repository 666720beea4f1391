"""Importance of channels, estimated from their weights alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.errors import InputError
from csc_cogd.nn.layers import BatchNorm2d, PaddedShortcut, SoftMask
from csc_cogd.nn.module import Module, not_finite
from csc_cogd.nn.pruning.groups import ChannelGroup, Member

_TIE = 1e-12
"""Relative difference between the scores of channels that fall at once, which keeps their order."""

Scores = dict[str, np.ndarray]
"""A number (C,) >= 0 for each channel, larger for more important ones, by the names of groups."""


def channel_scores(network: Module, groups: Mapping[str, ChannelGroup], criterion: str = "l1") -> Scores:
    """Score how much the channels of groups matter.

    Parameters
    ----------
    network : Module
    groups : mapping of str to ChannelGroup
        Some of :func:`~csc_cogd.nn.pruning.groups.channel_groups`.
    criterion : {"l1", "group", "scale", "mask"}
        - ``"l1"``: l1 norm of the kernels whose output a channel is, to be compared within a group. H. Li, A. Kadav, I.
          Durdanovic, H. Samet, H. P. Graf, "Pruning Filters for Efficient ConvNets", ICLR 2017.
        - ``"group"``: l2 norm of all weights of a channel (output, scale and input), divided by the mean of its group as it
          is when the channel falls, see :func:`weighed_anew`. G. Fang et al., "DepGraph: Towards Any Structural Pruning",
          CVPR 2023.
        - ``"scale"``: magnitude of its batch norms' scales. Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang, "Learning
          Efficient Convolutional Networks through Network Slimming", ICCV 2017.
        - ``"mask"``: magnitude of its soft mask.

    Returns
    -------
    dict of str to (C,) array
        By the names of groups, a number >= 0 for each channel, larger where it matters more.

    Raises
    ------
    InputError
        If the criterion is unknown, or a group has no weights for it, or weights that are NaN or infinite.

    Examples
    --------
    >>> from csc_cogd.nn import build_network, channel_groups
    >>> network = build_network("resnet20")
    >>> channel_scores(network, channel_groups(network), "group")["conv1"].shape
    (16,)
    """
    if criterion not in _CRITERIA:
        raise InputError("criterion", f"must be one of {', '.join(_CRITERIA)}, got {criterion!r}")
    counts, power = _CRITERIA[criterion]
    modules, scores = dict(network.named_modules()), Scores()
    for name, group in groups.items():
        members = [member for member in group.members if counts(member, modules[member.layer])]
        if not members:
            raise InputError("criterion", f"{criterion!r} has no weights in group {name}", "choose another")
        sizes = np.sum([_sizes(member, modules[member.layer], group.n_channels, power) for member in members], axis=0)
        if not np.isfinite(sizes).all():
            raise not_finite("network", f"group {name}")
        scores[name] = np.sqrt(sizes) if power == 2 else sizes
        if criterion == "group":
            scores[name] = weighed_anew(scores[name])
    return scores


def weighed_anew(norms: np.ndarray) -> np.ndarray:
    """Return norms (C,) of one group relative to the mean of the group, weighed anew after each channel that falls.

    Channels fall in the order of their norms, so the i-th smallest is compared with the mean of those that are left then:
    ``s_i = max_{j <= i} n_j / mean(n_j, ..., n_C)``. The maximum lets a global ranking, which removes the smallest scores of
    all groups, remove the channels in the same order as if it took the smallest ratio again and again. A group that has lost
    much scores higher than by its first mean, so none is emptied for its norms being spread.

    Examples
    --------
    >>> weighed_anew(np.array([4.0, 1.0, 3.0])).round(2)
    array([1.  , 0.38, 0.86])
    """
    order = np.argsort(norms, kind="stable")[::-1]  # the largest first; of equal ones the first falls first
    falling = norms[order]
    left = np.cumsum(falling) / np.arange(1, len(norms) + 1)
    ratios = np.divide(falling, left, out=np.zeros(len(norms)), where=left > 0)[::-1]
    ranked = np.maximum.accumulate(ratios) * (1 + _TIE * np.arange(len(norms)))
    scores = np.empty(len(norms))
    scores[order[::-1]] = ranked
    return scores


def _sizes(member: Member, layer: Any, n_channels: int, power: int) -> np.ndarray:
    """Sum the powers of the values of an array, for each channel."""
    values = member.by_channel(to_numpy(layer.get_array(member.array)), n_channels)
    return (abs(values.astype(float)) ** power).sum(axis=1)


def _is_weight(member: Member, layer: Module) -> bool:
    return member.array == "weight" and not isinstance(layer, PaddedShortcut)


_CRITERIA: dict[str, tuple[Callable[[Member, Module], bool], int]] = {
    "l1": (lambda member, layer: member.role == "output" and _is_weight(member, layer), 1),
    "group": (_is_weight, 2),
    "scale": (lambda member, layer: isinstance(layer, BatchNorm2d) and _is_weight(member, layer), 1),
    "mask": (lambda member, layer: isinstance(layer, SoftMask), 1),
}
"""Criteria, by name: which members of a group count, and the power of their values that is summed."""
