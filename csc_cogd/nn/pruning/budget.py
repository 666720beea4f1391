"""Choice of the channels that are kept: a share of them, or as many as a budget of FLOPs allows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import NamedTuple

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.flops import flops_by_layer
from csc_cogd.nn.functions.checks import check_positive
from csc_cogd.nn.module import Module
from csc_cogd.nn.pruning.groups import ChannelGroup, channel_groups
from csc_cogd.nn.tracing import Shape

Widths = Mapping[str, int]
"""The number of channels that are kept, by the names of groups; other groups stay whole."""


class Size(NamedTuple):
    """The length of an axis: a number that stays, and the widths of groups, each times its spread."""

    fixed: int
    groups: tuple[tuple[str, int], ...]

    def __call__(self, kept: Widths) -> int:
        return self.fixed + sum(spread * kept[name] for name, spread in self.groups)


class Term(NamedTuple):
    """The FLOPs of a layer: `unit` times the lengths of its axes of channels."""

    unit: int
    axes: tuple[Size, ...]


class FlopsModel:
    """The FLOPs of a network as a function of the widths of its channel groups, without building any.

    Parameters
    ----------
    network : Module
    image_shape : (C, H, W)

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> model = FlopsModel(build_network("resnet20"))
    >>> model.flops(), model.flops({"layer1.0.conv1": 8})
    (40551040, 38191744)
    """

    def __init__(self, network: Module, *, image_shape: Shape = (3, 32, 32)):
        self.groups: dict[str, ChannelGroup] = channel_groups(network, image_shape=image_shape)
        along: dict[tuple[str, int], list[tuple[str, int]]] = {}
        for name, group in self.groups.items():
            for member in group.members:
                along.setdefault((member.key, member.axis), []).append((name, member.spread))
        whole = {name: group.n_channels for name, group in self.groups.items()}
        shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        self.terms = []
        for key, flops in flops_by_layer(network, image_shape=image_shape).items():
            found = [tuple(along.get((key, axis), ())) for axis in (0, 1)]
            axes = tuple(Size(shapes[key][axis] - Size(0, names)(whole), names) for axis, names in enumerate(found))
            self.terms.append(Term(flops // prod(shapes[key][:2]), axes))

    def flops(self, widths: Widths | None = None) -> int:
        """Return the multiply-adds for one image."""
        kept = {name: group.n_channels for name, group in self.groups.items()} | dict(widths or {})
        return sum(term.unit * prod(size(kept) for size in term.axes) for term in self.terms)


def keep_share(
    scores: Mapping[str, np.ndarray], share: float, *, ranking: str = "uniform", at_least: int = 1, multiple_of: int = 1
) -> dict[str, np.ndarray]:  # fmt: skip
    """Choose the channels with the highest scores.

    Parameters
    ----------
    scores : mapping of str to (C,) array
        By the names of groups; see :func:`~csc_cogd.nn.pruning.importance.channel_scores`.
    share : float in [0, 1]
        Share of the channels that are kept.
    ranking : {"uniform", "global"}
        Keep that share of each group, or of all channels together, whose scores are compared with each other.
    at_least : int
        Fewest channels of a group.
    multiple_of : int
        Widths are rounded to its nearest multiple, but not to 0, and never above the group's width.

    Returns
    -------
    kept : dict of str to array of int
        For :func:`~csc_cogd.nn.pruning.removal.remove_channels`.

    Raises
    ------
    InputError
        If an argument is out of range.

    Examples
    --------
    >>> keep_share({"a": np.array([0.1, 3.0, 2.0, 0.2])}, 0.5)
    {'a': array([1, 2])}
    """
    if not 0 <= share <= 1:
        raise InputError("share", f"must be in [0, 1], got {share}")
    widths = _widths_by_share(scores, ranking, at_least, multiple_of)(share)
    return _best(scores, widths)


def keep_within(
    model: FlopsModel, scores: Mapping[str, np.ndarray], budget: float, *, ranking: str = "uniform", at_least: int = 1,
    multiple_of: int = 1,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Choose as many channels as a budget allows, by bisection of the share that is kept.

    The next larger share would widen several groups at once; the first of them are widened as far as the budget allows.

    Parameters
    ----------
    model : FlopsModel
    scores : mapping of str to (C,) array
        By the names of groups; those without scores stay whole.
    budget : float > 0
        Multiply-adds for one image; up to 1, a fraction of those of the whole network.
    ranking : {"uniform", "global"}
        Keep the same share of each group, or of all channels together, whose scores are compared with each other.
    at_least : int
        Fewest channels of a group.
    multiple_of : int
        See :func:`keep_share`.

    Returns
    -------
    kept : dict of str to array of int

    Raises
    ------
    InputError
        If an argument is out of range, or the budget can't be met.

    Examples
    --------
    >>> from csc_cogd.nn import build_network, channel_groups, channel_scores
    >>> network = build_network("resnet20")
    >>> scores = channel_scores(network, channel_groups(network, inner_only=True))
    >>> kept = keep_within(FlopsModel(network), scores, 0.5)
    >>> len(kept["layer1.0.conv1"]) < 16
    True
    """
    allowed = budget * model.flops() if budget <= 1 else budget
    widths_of = _widths_by_share(scores, ranking, at_least, multiple_of)
    if model.flops(widths_of(1)) <= allowed:
        return _best(scores, widths_of(1))
    if (least := model.flops(widths_of(0))) > allowed:
        share = f"{100 * least / model.flops():.1f} %"
        problem = f"must be at least {least} FLOPs ({share}), to which these groups can be pruned, got {budget:.10g}"
        raise InputError("budget", problem, "increase it (up to 1, it is a fraction), or prune more groups")
    low, high = 0.0, 1.0  # the first meets the budget, the second doesn't
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if model.flops(widths_of(middle)) <= allowed else (low, middle)
    widths = widths_of(low)
    for name, wider in widths_of(high).items():
        if model.flops({**widths, name: wider}) <= allowed:
            widths[name] = wider
    return _best(scores, widths)


def _widths_by_share(
    scores: Mapping[str, np.ndarray], ranking: str, at_least: int, multiple_of: int
) -> Callable[[float], dict[str, int]]:  # fmt: skip
    """Return a function from shares to the width of each group, which never decreases."""
    if ranking not in ("uniform", "global"):
        raise InputError("ranking", f"must be 'uniform' or 'global', got {ranking!r}")
    check_positive("at_least", at_least)
    check_positive("multiple_of", multiple_of)
    sizes = {name: len(values) for name, values in scores.items()}
    order = np.argsort(-np.concatenate([*scores.values(), []]), kind="stable")
    owner = np.repeat(np.arange(len(sizes)), list(sizes.values()))[order]

    def widths(share: float) -> dict[str, int]:
        if ranking == "uniform":
            counts = [int(share * size + 0.5) for size in sizes.values()]
        else:
            counts = np.bincount(owner[: int(share * len(owner) + 0.5)], minlength=len(sizes)).tolist()
        return {name: rounded(count, sizes[name]) for name, count in zip(sizes, counts, strict=True)}

    def rounded(count: int, size: int) -> int:
        if count >= size:
            return size
        multiple = max((max(count, at_least) + multiple_of // 2) // multiple_of, 1) * multiple_of
        return min(max(multiple, at_least), size)

    return widths


def _best(scores: Mapping[str, np.ndarray], widths: Widths) -> dict[str, np.ndarray]:
    """Return the indices of the highest scores, in order; of equal ones the first."""
    return {name: np.sort(np.argsort(-scores[name], kind="stable")[:width]) for name, width in widths.items()}
