"""A training run in one file, replaced after an epoch in one step, and taken up again.

It is a file of weights, whose metadata holds all that belongs to them. While the run isn't over, the file holds the state of
the optimiser and of hooks, too, under names that start with ``optimizer.`` and ``hook.``; when it is, these are left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.nn.checkpoints import load_checkpoint, save_checkpoint
from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet
from csc_cogd.nn.module import Module
from csc_cogd.nn.training.history import History
from csc_cogd.nn.training.hooks import EpochHook, StatefulHook
from csc_cogd.nn.training.recipe import Recipe
from csc_cogd.nn.training.sgd import SGD
from csc_cogd.storage import check_writable, digest

_FORMAT = 1
_OPTIMIZER, _HOOK = "optimizer.", "hook."


class TrainingCheckpoint:
    """Where a run is saved.

    Parameters
    ----------
    path : Path
    every : int
        Epochs from one save to the next.
    identity : mapping
        What two runs must share for one to go on with the other's state, as JSON gives it back; see :func:`identity_of`.
    replace : bool
        Whether there may be a file already.

    Raises
    ------
    InputError
        If a file is there and may not be replaced, or none can be written.
    """

    def __init__(self, path: Path, every: int, identity: Mapping[str, Any], *, replace: bool):
        if not isinstance(every, int) or every < 1:
            raise InputError(f"checkpoint_every: {every} isn't a number of epochs: use 1 or more")
        check_writable(path, overwrite=True)
        if path.exists() and not replace:
            raise InputError(f"{path}: exists already: resume its training, or name another file")
        self.path, self.every, self.identity = path, every, dict(identity)

    def load(self, network: Module, optimizer: SGD, hooks: Sequence[EpochHook]) -> History:
        """Take up the run: give everyone their state. An empty history, and nothing else, where there is no file yet.

        Raises
        ------
        InputError
            If the file isn't a checkpoint of training, or is one of another run.
        """
        if not self.path.exists():
            return History()
        arrays, about = load_checkpoint(self.path)
        if about.get("format") != _FORMAT or not isinstance(about.get("run"), dict):
            raise InputError(f"{self.path}: not a checkpoint of training, or of another version: name another file")
        saved = about["run"]
        other = sorted(key for key in saved.keys() | self.identity.keys() if saved.get(key) != self.identity.get(key))
        if other:
            raise InputError(
                f"{self.path}: a checkpoint of another run ({_differences(saved, self.identity, other)}): "
                "repeat its settings, or name another file"
            )
        try:
            history = History.from_json(about.get("history"))
        except InputError:
            raise InputError(
                f"{self.path}: a damaged checkpoint: its history isn't one: delete it, or name another file"
            ) from None
        network.load_state_dict(network_arrays(arrays))
        if len(history) < saved["recipe"]["epochs"]:  # else the weights are all that was kept
            optimizer.load_state_dict(_under(_OPTIMIZER, arrays))
            for number, hook in enumerate(hooks):
                if isinstance(hook, StatefulHook):
                    hook.load_state_dict(_under(f"{_HOOK}{number}.", arrays))
        return history

    def save(self, network: Module, optimizer: SGD, hooks: Sequence[EpochHook], history: History, epochs: int) -> None:
        """Save the run, if it is time or it is over, after `epochs`."""
        over = len(history) == epochs
        if not over and len(history) % self.every:
            return
        arrays: dict[str, Any] = network.state_dict()
        if not over:
            arrays |= {_OPTIMIZER + name: array for name, array in optimizer.state_dict().items()}
            for number, hook in enumerate(hooks):
                if isinstance(hook, StatefulHook):
                    arrays |= {f"{_HOOK}{number}.{name}": array for name, array in hook.state_dict().items()}
        about = {"format": _FORMAT, **self.identity["about"], "run": self.identity}
        about |= {"epoch": len(history), "history": history.as_json()}
        save_checkpoint(arrays, self.path, metadata=about, overwrite=True)


def network_arrays(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of the arrays of a checkpoint those of the network, as :meth:`Module.load_state_dict` takes them."""
    return {name: array for name, array in arrays.items() if not name.startswith((_OPTIMIZER, _HOOK))}


def identity_of(
    network: Module, images: ImageSet, recipe: Recipe, normalization: Normalization, hooks: Sequence[EpochHook],
    about: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """What decides how a run ends, in short, and what is known about the weights, as JSON gives it back."""
    network_shapes = [f"{name} {array.shape} {array.dtype}" for name, array in network.state_dict().items()]
    known = {"norm_mean": normalization.mean, "norm_std": normalization.std, "class_names": images.class_names}
    identity = {
        "recipe": recipe.as_json(),
        "network": digest(np.array(network_shapes)),
        "images": digest(images.labels, images.fetch(np.arange(min(len(images), 100)))),
        "hooks": [_settings_of(hook) for hook in hooks],
        "about": {**about, **known},
    }
    return json.loads(json.dumps(identity))


def _settings_of(hook: EpochHook) -> str:
    """What a hook says of itself, if it was taught to; else what it is."""
    return type(hook).__qualname__ if type(hook).__repr__ is object.__repr__ else repr(hook)


def _under(prefix: str, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _differences(saved: Mapping[str, Any], now: Mapping[str, Any], keys: Sequence[str]) -> str:
    """What differs, for a person: settings by name and value, and digests by what they are of."""
    said = []
    for key in keys:
        old, new = saved.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
            said += [f"its {name} is {old.get(name)}, not {new.get(name)}" for name in names]
        else:
            said.append(f"its {key} {'are' if key.endswith('s') else 'is'} different")
    return ", ".join(said)
