"""The end of a training whose validation no longer improves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from csc_cogd.nn.data.batches import Normalization
from csc_cogd.nn.data.image_set import ImageSet
from csc_cogd.nn.module import Module
from csc_cogd.nn.training.evaluate import unchecked_evaluate
from csc_cogd.nn.training.hooks import EpochHook


class EarlyStopping(EpochHook):
    """Stop when the loss of images that aren't trained on hasn't fallen for some epochs, and keep the best epoch's weights.

    Parameters
    ----------
    validation : ImageSet
        Images that serve neither training nor the test.
    patience : int >= 1
        Epochs without an improvement after which training stops.
    normalization : Normalization
    batch_size : int
        Images at a time.
    """

    def __init__(self, validation: ImageSet, patience: int, normalization: Normalization, batch_size: int):
        self.validation, self.patience = validation, patience
        self.normalization, self.batch_size = normalization, batch_size
        self.best, self.waited = np.inf, 0
        self._state: dict[str, np.ndarray] = {}

    def __repr__(self) -> str:
        return f"EarlyStopping({self.patience} epochs, {len(self.validation)} images)"

    def end_epoch(self, network: Module, epoch: int) -> dict[str, float]:
        """Validate the weights, and keep them if they are the best so far."""
        found = unchecked_evaluate(
            network, self.validation, normalization=self.normalization, batch_size=self.batch_size
        )  # fmt: skip
        self.waited += 1
        if found.loss < self.best:
            self.best, self.waited, self._state = found.loss, 0, network.state_dict()
        return {"validation_loss": found.loss, "validation_accuracy": found.accuracy}

    def stops(self) -> bool:
        return self.waited >= self.patience

    def end_training(self, network: Module) -> None:
        """Return to the best weights."""
        if self._state:
            network.load_state_dict(self._state)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return the best weights, their loss, and for how many epochs there were no better ones."""
        kept = {f"best.{name}": array for name, array in self._state.items()}
        return kept | {"loss": np.array(self.best), "waited": np.array(self.waited)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.best, self.waited = float(np.asarray(state["loss"]).item()), int(np.asarray(state["waited"]).item())
        self._state = {name.removeprefix("best."): array for name, array in state.items() if name.startswith("best.")}
