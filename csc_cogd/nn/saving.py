"""Weights in safetensors files, which PyTorch's tools read and write too. Nothing is ever unpickled."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.locks import importing
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet
from csc_cogd.nn.layers import Conv2d, PaddedShortcut
from csc_cogd.nn.module import Module, Parameter
from csc_cogd.nn.networks import build_network
from csc_cogd.nn.networks.recognition import recognize_weights
from csc_cogd.nn.tracing import trace
from csc_cogd.storage import Json, parse_json, write_whole

OPTIMIZER, HOOK = "optimizer.", "hook."
"""Prefixes of the names of arrays that a checkpoint of training holds besides those of the network."""
ONNX = "onnx"
"""What networks of other programs are called, in place of a name."""
_HEADS = ("linear.weight", "fc.weight", "classifier.6.weight")
_READ = re.compile("BOOL|BF16|[FIUC](8|16|32|64)")
"""The types that are read, as safetensors names them."""


def save_checkpoint(
    arrays: Mapping[str, np.ndarray], path: str | os.PathLike[str], *, metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write arrays and metadata to a safetensors file, which appears whole.

    Parameters
    ----------
    arrays : mapping of str to array
        As :meth:`Module.state_dict` returns it.
    path : str or path
    metadata : mapping of str to anything that JSON can hold, optional
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If the file exists and may not be replaced, or can't be written, or the arrays or metadata can't be stored.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_checkpoint({"weight": np.ones(3)}, f"{folder}/a.safetensors", metadata={"epoch": 7})
    ...     load_checkpoint(f"{folder}/a.safetensors")
    ({'weight': array([1., 1., 1.])}, {'epoch': 7})
    """
    with importing:
        from safetensors import SafetensorError
        from safetensors.numpy import save

    if not arrays:
        raise InputError("arrays", "must not be empty", "use those of a network, by Module.state_dict")
    texts = metadata_texts(metadata)
    try:
        content = save({key: np.ascontiguousarray(array) for key, array in arrays.items()}, texts)
    except (SafetensorError, KeyError, TypeError) as error:
        raise InputError("arrays", f"must hold real numbers, for safetensors refuses them ({error})") from None
    write_whole(Path(path), content, overwrite=overwrite)


def load_checkpoint(path: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], dict[str, Json]]:
    """Read a safetensors file.

    Numbers in bfloat16, which NumPy lacks, are returned as float32, unchanged.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    arrays : dict of str to array
    metadata : dict
        Parsed where it is JSON, else text.

    Raises
    ------
    InputError
        If the file is missing, damaged, of another kind, or holds other types that NumPy lacks, such as floats of 8 bits.

    Examples
    --------
    See :func:`save_checkpoint`.
    """
    with _opened(path) as file:
        kinds = {key: file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118  # not a mapping
        if others := [f"{key} is of {kind}" for key, kind in kinds.items() if not _READ.fullmatch(kind)]:
            raise InputError("", f"{others[0]}, which NumPy hasn't", "convert it by PyTorch's tensor.float()", str(path))
        arrays = {key: file.get_tensor(key) for key, kind in kinds.items() if kind != "BF16"}
        if len(arrays) < len(kinds):
            arrays |= _widened(Path(path).read_bytes())
        metadata = file.metadata() or {}
        return {key: arrays[key] for key in kinds}, parsed_metadata(metadata)


def save_network(
    network: Module, path: str | os.PathLike[str], name: str, *, metadata: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> None:  # fmt: skip
    """Write a network to a safetensors file, which appears whole.

    Parameters
    ----------
    network : Module
        Built by :func:`csc_cogd.nn.build_network`, with all channels or without some.
    path : str or path
    name : str
        Its name for :func:`csc_cogd.nn.build_network`.
    metadata : mapping of str to anything that JSON can hold, optional
        Kept in the file, besides ``"network"``, the name, and ``"n_classes"``.
    overwrite : bool
        Whether an existing file may be replaced.

    Raises
    ------
    InputError
        If `name` is of another network, or the file can't be written, or exists and may not be replaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_network(build_network("resnet20", 4), f"{folder}/a.safetensors", "resnet20")
    ...     load_network(f"{folder}/a.safetensors").linear.weight.shape
    (4, 64)
    """
    state = network.state_dict()
    n_classes, masked = _form(state)
    _fill(build_network(name, n_classes, seed=None, masked=masked), state)  # or it couldn't be read
    about = {**(metadata or {}), "network": name, "n_classes": n_classes}
    save_checkpoint(state, path, metadata=about, overwrite=overwrite)


def load_network(path: str | os.PathLike[str], name: str | None = None) -> Module:
    """Read a network from a safetensors or ONNX file: float32, on the CPU, in training mode.

    Parameters
    ----------
    path : str or path
        A file of :func:`save_network`, a checkpoint of training, or a state dict of PyTorch's with the names of our
        networks, of torchvision's, timm's or chenyaofo's (CIFAR) ResNets and MobileNetV2, which DataParallel (``"module."``)
        and torch.compile (``"_orig_mod."``) may have extended. Of any precision, bfloat16 included.
        What ends in ``.onnx`` is read by :func:`csc_cogd.nn.import_onnx`.
    name : str, optional
        Name of the network. Default: as its metadata says, or recognized by the names of its weights.

    Returns
    -------
    Module

    Raises
    ------
    InputError
        If the file can't be read, is of no network that ships, or its weights aren't finite, or don't fit the network.

    Examples
    --------
    See :func:`save_network`.
    """
    return read_network(path, name).network


class NetworkFile(NamedTuple):
    """A network from a file, its name, and the classes, normalization, height and width of its images, if it holds them."""

    network: Module
    name: str
    class_names: list[str] | None
    normalization: Normalization | None
    image_size: tuple[int, int] | None = None


def read_network(path: str | os.PathLike[str], name: str | None = None) -> NetworkFile:
    """Read a network and its metadata; see :func:`load_network`."""
    if Path(path).suffix.lower() == f".{ONNX}":
        return _read_onnx(path)
    arrays, metadata = load_checkpoint(path)
    state = _unwrapped(arrays)
    try:
        stored = metadata.get("network")
        name, names = recognize_weights(state, name or (None if stored is None else str(stored)))
        state = {ours: state[theirs] for theirs, ours in names.items()}
        n_classes, masked = _form(state)
        network = build_network(name, n_classes, seed=None, masked=masked)
        _fill(network, state)
    except InputError as error:
        raise error.about(str(path)) from None
    return NetworkFile(network, name, _stored_names(metadata), stored_normalization(metadata), _stored_size(metadata))


def _read_onnx(path: str | os.PathLike[str]) -> NetworkFile:
    from csc_cogd.nn.export.onnx_import import import_onnx

    network, shape, metadata = import_onnx(path)
    try:
        network.check_finite()
    except InputError as error:
        raise error.about(str(path)) from None
    size = shape[1:] if shape is not None else _stored_size(metadata)
    return NetworkFile(network, ONNX, _stored_names(metadata), stored_normalization(metadata), size)


def _stored_names(metadata: Mapping[str, Any]) -> list[str] | None:
    """Return the names of classes in the metadata of a network, if there are any."""
    names = metadata.get("class_names")
    return [str(name) for name in names] if isinstance(names, list) else None


def image_metadata(images: ImageSet, normalization: Normalization) -> dict[str, tuple[float, ...] | tuple[str, ...]]:
    """Return the metadata of a network about the images that it was trained on."""
    return {
        "class_names": images.class_names, "norm_mean": normalization.mean, "norm_std": normalization.std,
        "image_size": images.image_shape[1:],
    }  # fmt: skip


def _stored_size(metadata: Mapping[str, Any]) -> tuple[int, int] | None:
    """Return the height and width of images in the metadata of a network, if there are valid ones."""
    size = metadata.get("image_size")
    valid = isinstance(size, list) and len(size) == 2 and all(type(side) is int and side > 0 for side in size)
    return (size[0], size[1]) if valid and isinstance(size, list) else None


def stored_normalization(metadata: Mapping[str, Any]) -> Normalization | None:
    """Return the normalization in the metadata of a network, if there is a valid one."""
    try:
        return Normalization(metadata.get("norm_mean"), metadata.get("norm_std"))  # type: ignore[arg-type]
    except InputError:
        return None


def _form(state: Mapping[str, np.ndarray]) -> tuple[int, bool]:
    """Return how many classes a network of a state dict has, and whether it has soft masks."""
    heads = [state[key] for key in _HEADS if key in state and state[key].ndim == 2]
    if not heads:
        raise InputError("state", f"must hold a matrix {' or '.join(_HEADS)}", "use weights of a network that ships")
    return len(heads[0]), any(key.endswith(".mask.weight") for key in state)


def _fill(network: Module, state: Mapping[str, np.ndarray]) -> None:
    """Give a network the weights, buffers and widths of a state dict; InputError if they don't fit."""
    for key, module in network.named_modules():
        _resize(module, f"{key}." if key else "", state)
    network.load_state_dict(state)
    try:
        trace(network)
    except InputError as error:
        raise InputError("state", f"must hold layers whose shapes fit each other ({error})") from None


def network_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of a checkpoint that belong to the network, for :meth:`Module.load_state_dict`."""
    return {name: array for name, array in arrays.items() if not name.startswith((OPTIMIZER, HOOK))}


def metadata_texts(metadata: Mapping[str, Any] | None) -> dict[str, str]:
    """Return each entry as JSON.

    Raises
    ------
    InputError
        If JSON can't hold one.
    """
    try:
        return {key: json.dumps(value) for key, value in (metadata or {}).items()}
    except (TypeError, ValueError) as error:
        problem = f"must be texts, numbers, lists and mappings, which JSON can hold ({error})"
        raise InputError("metadata", problem) from None


def _unwrapped(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays of the network in a file, without the prefixes of torch.compile and DataParallel in their names."""
    names = {key: ".".join(part for part in key.split(".") if part != "_orig_mod") for key in network_arrays(arrays)}
    if all(name.startswith("module.") for name in names.values()):
        names = {key: name.removeprefix("module.") for key, name in names.items()}
    return {name: arrays[key] for key, name in names.items()}


def _resize(module: Module, prefix: str, state: Mapping[str, np.ndarray]) -> None:
    """Give a layer the numbers of channels of its arrays in a state dict."""
    if isinstance(module, PaddedShortcut) and f"{prefix}sources" in state:
        module.set_sources(np.zeros(len(state[f"{prefix}sources"]), np.int64))
    for name, value in list(vars(module).items()):
        given = state.get(prefix + name)
        if given is None or not (isinstance(value, Parameter) or name in module.buffer_names):
            continue
        array = module.get_array(name)
        if array.ndim == given.ndim and array.shape[2:] == given.shape[2:]:  # else load_state_dict says what is wrong
            module.set_array(name, np.zeros(given.shape, array.dtype))
    if isinstance(module, Conv2d) and module.groups > 1:
        module.groups = len(module.weight.array)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Any]:
    """Open a safetensors file; errors in reading it say how to fix it."""
    with importing:
        from safetensors import SafetensorError, safe_open

    if not Path(path).is_file():
        raise InputError("", "no such file of weights", "check its path, and that it ends in .safetensors", str(path))
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except InputError:
        raise
    except (SafetensorError, OSError, AttributeError, KeyError, TypeError, ValueError) as error:
        if _is_pickle(Path(path)):
            why = "it is a pickle, which could run any program"
            fix = "convert it by safetensors.torch.save_file(torch.load(path, weights_only=True), 'name.safetensors')"
        else:
            why = str(error)
            fix = "get the file again if it is damaged; convert PyTorch's .pt and .pth by safetensors.torch"
        raise InputError("", f"can't be read as safetensors ({why})", fix, str(path)) from None


def _widened(content: bytes) -> dict[str, np.ndarray]:
    """Return the arrays in bfloat16, the upper half of float32, as float32."""
    with importing:
        from safetensors import deserialize

    return {
        key: (np.frombuffer(array["data"], "<u2").astype(np.uint32) << 16).view(np.float32).reshape(array["shape"])
        for key, array in deserialize(content)
        if array["dtype"] == "BF16"
    }


def _is_pickle(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05")
    return False


def parsed_metadata(texts: Mapping[str, str]) -> dict[str, Json]:
    """Return entries as :func:`metadata_texts` was given them; as text where they aren't JSON."""
    return {key: _parsed(text) for key, text in texts.items()}


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return text
