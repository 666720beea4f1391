"""Networks in files: their weights, and what they are; also those that lost channels, and those of PyTorch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.checkpoints import load_checkpoint, save_checkpoint
from csc_cogd.nn.layers import Conv2d, PaddedShortcut
from csc_cogd.nn.module import Module, Parameter
from csc_cogd.nn.networks import build_network
from csc_cogd.nn.networks.recognition import recognize_network
from csc_cogd.nn.tracing import trace
from csc_cogd.nn.training.checkpoint import network_arrays

_HEADS = ("linear.weight", "fc.weight")


def save_network(
    network: Module, path: str | os.PathLike[str], name: str, *, metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a network to a safetensors file, which appears whole.

    Parameters
    ----------
    network : Module
        Made by :func:`csc_cogd.nn.build_network`, with all channels or without some.
    path : path
    name : str
        What :func:`csc_cogd.nn.build_network` knows it by.
    metadata : mapping of str to anything that JSON can hold, optional
        Kept in the file, beside ``"network"``, the name, and ``"n_classes"``.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the network isn't of that name, or the file can't be written, or exists and may not be replaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_network(build_network("resnet20", 4), f"{folder}/a.safetensors", "resnet20")
    ...     load_network(f"{folder}/a.safetensors").linear.weight.shape
    (4, 64)
    """
    state = network.state_dict()
    made = network_of_state(name, state)
    n_classes = next(len(array) for key, array in made.state_dict().items() if key in _HEADS)
    about = {**(metadata or {}), "network": name, "n_classes": n_classes}
    save_checkpoint(state, path, metadata=about, overwrite=overwrite)


def load_network(path: str | os.PathLike[str], name: str | None = None) -> Module:
    """The network in a safetensors file, float32, on the CPU, in training mode.

    Parameters
    ----------
    path : path
        Of :func:`save_network`, a checkpoint of training, or a state dict of PyTorch's with the names of our networks, also
        with what DataParallel (``"module."``) and torch.compile (``"_orig_mod."``) put before them. Any precision; bfloat16,
        too.
    name : str, optional
        What network it is. Default: as its metadata says, or as it is known by the names of its weights.

    Returns
    -------
    Module

    Raises
    ------
    InputError
        If the file can't be read, is of no network that ships, or its weights aren't finite, or don't fit the network that
        it is said to be.

    Examples
    --------
    See :func:`save_network`.
    """
    return read_network(path, name).network


class NetworkFile(NamedTuple):
    """What a file says of a network."""

    network: Module
    name: str
    metadata: dict[str, Any]


def read_network(path: str | os.PathLike[str], name: str | None = None) -> NetworkFile:
    """As :func:`load_network`, with what else the file says."""
    arrays, metadata = load_checkpoint(path)
    state = _unwrapped(arrays)
    try:
        name = str(name or metadata.get("network") or recognize_network(state))
        return NetworkFile(network_of_state(name, state), name, metadata)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _unwrapped(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the arrays in a file those of the network, without what torch.compile and DataParallel put into their names."""
    names = {key: ".".join(part for part in key.split(".") if part != "_orig_mod") for key in network_arrays(arrays)}
    if all(name.startswith("module.") for name in names.values()):
        names = {key: name.removeprefix("module.") for key, name in names.items()}
    return {name: arrays[key] for key, name in names.items()}


def network_of_state(name: str, state: Mapping[str, np.ndarray]) -> Module:
    """A network by its name with weights, buffers and widths from a state dict; see :func:`load_network`.

    Raises
    ------
    InputError
        If they don't fit.
    """
    state = _unwrapped(state)
    heads = [state[key] for key in _HEADS if key in state and state[key].ndim == 2]
    if not heads:
        raise InputError(f"state: neither of {' and '.join(_HEADS)} is a matrix in it: these weights are of another network")
    masked = any(key.endswith(".mask.weight") for key in state)
    network = build_network(name, len(heads[0]), seed=None, masked=masked)
    for key, module in network.named_modules():
        _resize(module, f"{key}." if key else "", state)
    network.load_state_dict(state)
    try:
        trace(network)
    except InputError as error:
        raise InputError(f"state: the shapes of its layers don't fit each other ({error})") from None
    return network


def _resize(module: Module, prefix: str, state: Mapping[str, np.ndarray]) -> None:
    """Give a layer the numbers of channels that its arrays have."""
    if isinstance(module, PaddedShortcut) and f"{prefix}sources" in state:
        module.set_sources(np.zeros(len(state[f"{prefix}sources"]), np.int64))
    for name, value in list(vars(module).items()):
        given = state.get(prefix + name)
        if given is None or not (isinstance(value, Parameter) or name in module.buffer_names):
            continue
        array = value.array if isinstance(value, Parameter) else value
        if array.ndim == given.ndim and array.shape[2:] == given.shape[2:]:  # else load_state_dict says what is wrong
            resized = np.zeros(given.shape, array.dtype)
            setattr(module, name, Parameter(resized) if isinstance(value, Parameter) else resized)
    if isinstance(module, Conv2d) and module.groups > 1:
        module.groups = len(module.weight.array)
