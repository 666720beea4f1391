"""Recognition of the network that weights belong to."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from csc_cogd.errors import InputError
from csc_cogd.nn.networks import NETWORKS, build_network

_ADDED = (".mask.weight", ".sources", "num_batches_tracked", ".bias")
"""Suffixes of the names of arrays that a network may have or not: added by masks, by pruning, by PyTorch."""


def recognize_network(names: Iterable[str]) -> str:
    """Return the name of the shipped network whose arrays have these names, whatever their shapes.

    Raises
    ------
    InputError
        If no network has them.

    Examples
    --------
    >>> recognize_network(build_network("resnet32").state_dict())
    'resnet32'
    """
    given = {name for name in names if not name.endswith(_ADDED)}
    for name in NETWORKS:
        if _array_names(name) == given:
            return name
    nearest = min(NETWORKS, key=lambda name: len(_array_names(name) ^ given))
    unknown, lacking = sorted(given - _array_names(nearest)), sorted(_array_names(nearest) - given)
    differs = f"has no {unknown[0]!r}" if unknown else f"also has {lacking[0]!r}"
    networks = f"must be those of the weights of one of {', '.join(NETWORKS)}"
    raise InputError("names", f"{networks}; the most similar one, {nearest}, {differs}")


@cache
def _array_names(network: str) -> frozenset[str]:
    return frozenset(name for name in build_network(network, seed=None).array_names() if not name.endswith(_ADDED))
