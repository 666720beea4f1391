"""Checkpoints of a training run: one file, replaced atomically after an epoch, from which the run is resumed.

It is a file of weights and their metadata. Until the run is over, it also holds the state of the optimizer and of hooks,
under names that start with ``optimizer.`` and ``hook.``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet
from csc_cogd.nn.module import Module
from csc_cogd.nn.saving import HOOK, OPTIMIZER, image_metadata, load_checkpoint, network_arrays, save_checkpoint
from csc_cogd.nn.training.history import History
from csc_cogd.nn.training.hooks import EpochHook, StatefulHook
from csc_cogd.nn.training.recipe import Recipe
from csc_cogd.storage import Json, check_writable, digest

_FORMAT = 1


class Optimizer(Protocol):
    """What updates parameters step by step, and can be resumed."""

    learning_rate: float

    def step(self) -> None:
        """Update every parameter that has a gradient."""

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of what is kept from one step to the next."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from there."""


class TrainingCheckpoint:
    """The file of a run.

    Parameters
    ----------
    path : Path
    every : int
        Epochs from one save to the next.
    identity : mapping
        What two runs must share for one to resume the other, as JSON returns it; see :func:`identity_of`.
    replace : bool
        Whether there may be a file already.

    Raises
    ------
    InputError
        If the file exists and may not be replaced, or can't be written.
    """

    def __init__(self, path: Path, every: int, identity: Mapping[str, Any], *, replace: bool):
        if not isinstance(every, int) or every < 1:
            raise InputError("checkpoint_every", f"must be an integer >= 1, got {every}")
        check_writable(path, overwrite=True)
        if path.exists() and not replace:
            raise InputError("", "exists already", "add {resume}, or name another file", str(path))
        self.path, self.every, self.identity = path, every, dict(identity)
        self.over = False  # as the loaded run is, perhaps before its last epoch

    def load(self, network: Module, optimizer: Optimizer, hooks: Sequence[EpochHook]) -> History:
        """Restore the state of network, optimizer and hooks, and return the history, which is empty if there is no file yet.

        Raises
        ------
        InputError
            If the file isn't a checkpoint of training, is damaged, or is of another run.
        """
        if not self.path.exists():
            return History()
        arrays, about = load_checkpoint(self.path)
        saved = about.get("run")
        if about.get("format") != _FORMAT or not isinstance(saved, dict):
            problem = "isn't a checkpoint of training by this version"
            raise InputError("", problem, "name another file", str(self.path))
        other = sorted(key for key in saved.keys() | self.identity.keys() if saved.get(key) != self.identity.get(key))
        if other:
            problem = f"is a checkpoint of another run ({_differences(saved, self.identity, other)})"
            raise InputError("", problem, "repeat its settings, or name another file", str(self.path))
        try:
            network.load_state_dict(network_arrays(arrays))
            history = History.from_json(about.get("history"))
            self.over = bool(about.get("over", len(history) == self.identity["recipe"]["epochs"]))
            if not self.over:  # else the weights are all that was kept
                optimizer.load_state_dict(_under(OPTIMIZER, arrays))
                for number, hook in enumerate(hooks):
                    if isinstance(hook, StatefulHook):
                        hook.load_state_dict(_under(f"{HOOK}{number}.", arrays))
        except InputError as error:
            raise error.about(str(self.path)) from None
        return history

    def save(self, network: Module, optimizer: Optimizer, hooks: Sequence[EpochHook], history: History, over: bool) -> None:
        """Save the run, if that is due, or the run is over."""
        if not over and len(history) % self.every:
            return
        arrays = network.state_dict()
        if not over:
            arrays |= {OPTIMIZER + name: array for name, array in optimizer.state_dict().items()}
            for number, hook in enumerate(hooks):
                if isinstance(hook, StatefulHook):
                    arrays |= {f"{HOOK}{number}.{name}": array for name, array in hook.state_dict().items()}
        about = {"format": _FORMAT, **self.identity["about"], "run": self.identity}
        about |= {"epoch": len(history), "history": history.as_json(), "over": over}
        save_checkpoint(arrays, self.path, metadata=about, overwrite=True)


def identity_of(
    network: Module, images: ImageSet, recipe: Recipe, normalization: Normalization, hooks: Sequence[EpochHook],
    about: Mapping[str, Any],
) -> dict[str, Json]:  # fmt: skip
    """Return what decides the result of a run, digested, and what is known about the weights, as JSON returns it."""
    network_shapes = [f"{name} {array.shape} {array.dtype}" for name, array in network.state_dict().items()]
    network_shapes += [f"{name} frozen" for name, one in network.named_parameters() if not one.requires_grad]
    identity = {
        "recipe": recipe.as_json(),
        "network": digest(np.array(network_shapes)),
        "images": digest(images.labels, images.fetch(np.arange(min(len(images), 100)))),
        "hooks": [_settings_of(hook) for hook in hooks],
        "about": {**about, **image_metadata(images, normalization)},
    }
    return json.loads(json.dumps(identity))


def _settings_of(hook: EpochHook) -> str:
    """Return the repr of a hook, if its class defines one, else its class."""
    return type(hook).__qualname__ if type(hook).__repr__ is object.__repr__ else repr(hook)


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any], keys: Sequence[str]) -> str:
    """Describe what differs: settings by name and value, and what only digests are known of by name."""
    said = []
    for key in keys:
        old, new = saved.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
            said += [f"its {name} is {old.get(name)}, not {new.get(name)}" for name in names]
        else:
            said.append(f"its {key} {'are' if key.endswith('s') else 'is'} different")
    return ", ".join(said)
