"""Which network weights are of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from csc_cogd.errors import InputError
from csc_cogd.nn.networks import NETWORKS, build_network


def recognize_network(arrays: Mapping[str, Any]) -> str:
    """The name of the shipped network that has arrays of these names and shapes, for any number of classes.

    Raises
    ------
    InputError
        If there is none.
    """
    head = next((arrays[name] for name in ("linear.weight", "fc.weight") if name in arrays), None)
    given = {name: array.shape for name, array in arrays.items() if not name.endswith("num_batches_tracked")}
    if head is not None and len(head):
        for name in NETWORKS:
            state = build_network(name, len(head)).state_dict()
            if {key: array.shape for key, array in state.items()} == given:
                return name
    raise InputError(f"weights: they fit none of the networks {', '.join(NETWORKS)}: say which one they are of")
