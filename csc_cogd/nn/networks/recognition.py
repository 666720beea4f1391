"""Which network weights are of."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

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
    for name in NETWORKS:
        if _array_names(name) == given:
            return name
    nearest = min(NETWORKS, key=lambda name: len(_array_names(name) ^ given))
    unknown, lacking = sorted(given - _array_names(nearest)), sorted(_array_names(nearest) - given)
    differs = f"knows no {unknown[0]!r}" if unknown else f"has {lacking[0]!r} besides"
    raise InputError(
        f"weights: their names are those of none of the networks {', '.join(NETWORKS)}; the nearest, {nearest}, {differs}"
    )


@cache
def _array_names(network: str) -> frozenset[str]:
    return frozenset(name for name in build_network(network, seed=None).array_names() if not name.endswith(_ADDED))
