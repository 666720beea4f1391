"""Recognition of the network that weights belong to."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from csc_cogd.errors import InputError
from csc_cogd.nn.networks import NETWORKS, build_network
from csc_cogd.nn.networks.naming import NAMINGS, translated

_ADDED = (".mask.weight", ".sources", "num_batches_tracked", ".bias")
"""Suffixes of the names of arrays that a network may have or not: added by masks, by pruning, by PyTorch."""


class Recognized(NamedTuple):
    """A network by its name, and our names of arrays by those that were given."""

    network: str
    names: dict[str, str]


def recognize_weights(arrays: Mapping[str, Any], network: str | None = None) -> Recognized:
    """Return which shipped network has arrays of these names, ours or other people's, and of these sizes of kernels.

    Parameters
    ----------
    arrays : mapping of str to array
        Of any numbers of channels.
    network : str, optional
        The only network that counts; its sizes of kernels aren't checked.

    Raises
    ------
    InputError
        If no network has them.

    Examples
    --------
    >>> state = build_network("resnet20", seed=None).state_dict()
    >>> theirs = {name.replace("linear", "fc"): array for name, array in state.items()}
    >>> found = recognize_weights(theirs)
    >>> found.network, found.names["fc.bias"]
    ('resnet20', 'linear.bias')
    """
    for rules in ((), *NAMINGS.values()):
        names = translated(arrays, rules)
        shapes = {ours: arrays[theirs].shape for theirs, ours in names.items() if not ours.endswith(_ADDED)}
        for name in NETWORKS if network is None else (network,):
            wanted = _forms_of(name)
            if wanted.keys() == shapes.keys() and (network or wanted == _forms({key: shapes[key] for key in wanted})):
                return Recognized(name, names)
    if network is not None:
        return Recognized(network, {name: name for name in arrays})  # what doesn't fit is said when it is loaded
    raise _unknown({name for name in arrays if not name.endswith(_ADDED)})


def _unknown(given: set[str]) -> InputError:
    """Return the error for names that no network has, which tells of the most similar one."""
    nearest = min(NETWORKS, key=lambda name: len(_forms_of(name).keys() ^ given))
    unknown, lacking = sorted(given - _forms_of(nearest).keys()), sorted(_forms_of(nearest).keys() - given)
    differs = (
        f"has no {unknown[0]!r}" if unknown else f"also has {lacking[0]!r}" if lacking else "has kernels of other sizes"
    )
    networks = f"must be those of the weights of one of {', '.join(NETWORKS)}"
    fix = "export the network as ONNX, which needn't be one of these"
    return InputError("names", f"{networks}; the most similar one, {nearest}, {differs}", fix)


@cache
def _forms_of(network: str) -> dict[str, tuple[int, ...]]:
    """Return the forms of a network's arrays by their names, in its order."""
    places = build_network(network, seed=None).places()
    return _forms({key: owner.get_array(name).shape for owner, name, key in places if not key.endswith(_ADDED)})


def _forms(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Return what numbers of channels leave alone: sizes of kernels, and the entries of matrices for each channel."""
    forms, channels = dict[str, tuple[int, ...]](), 1
    for name, shape in shapes.items():
        forms[name] = (shape[1] // max(channels, 1),) if len(shape) == 2 else tuple(shape[2:])
        channels = shape[0] if shape else 1
    return forms
