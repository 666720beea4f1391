"""Which network weights are of."""

from __future__ import annotations

from collections.abc import Iterable

from csc_cogd.errors import InputError
from csc_cogd.nn.networks import NETWORKS, build_network

_ADDED = (".mask.weight", ".sources", "num_batches_tracked", ".bias")
"""Ends of the names of arrays that a network may have or not: by masks, by pruning, by PyTorch."""


def recognize_network(names: Iterable[str]) -> str:
    """The name of the shipped network whose arrays have these names, whatever their shapes.

    Raises
    ------
    InputError
        If there is none.

    Examples
    --------
    >>> recognize_network(build_network("resnet32").state_dict())
    'resnet32'
    """
    given = {name for name in names if not name.endswith(_ADDED)}
    known = {name: {key for key in build_network(name).state_dict() if not key.endswith(_ADDED)} for name in NETWORKS}
    nearest = min(NETWORKS, key=lambda name: len(known[name] ^ given))
    unknown, lacking = sorted(given - known[nearest]), sorted(known[nearest] - given)
    if not unknown and not lacking:
        return nearest
    differs = f"knows no {unknown[0]!r}" if unknown else f"has {lacking[0]!r} besides"
    raise InputError(
        f"weights: their names are those of none of the networks {', '.join(NETWORKS)}; the nearest, {nearest}, {differs}"
    )
