"""Recipes: all settings of a training, apart from the network and the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass

from csc_cogd.backend import check_precision
from csc_cogd.errors import InputError
from csc_cogd.nn.data.augmentation import Augmentation
from csc_cogd.nn.data.batches import count_batches
from csc_cogd.nn.training import schedules
from csc_cogd.nn.training.sgd import check_sgd
from csc_cogd.storage import Json

OPTIMIZERS = ("sgd", "adamw")
SMALLEST_BATCH = 2
"""Fewest images of the last batch of an epoch: from a single value a channel, batch norm can't estimate the variance."""


@dataclass(frozen=True)
class Recipe:
    """The settings of a training.

    Parameters
    ----------
    epochs : int
        Passes over the images.
    batch_size : int
        Images a step, and of the tests after each epoch. An image that would be left over alone for the last step of an
        epoch takes part in the step before it.
    learning_rate : float
        The largest one; schedule and warm-up scale it for each batch.
    optimizer : {"sgd", "adamw"}
        See :class:`csc_cogd.nn.training.adamw.AdamW`; its usual rates are a hundredth of those of SGD.
    momentum : float in [0, 1)
        See :class:`csc_cogd.nn.training.sgd.SGD`.
    nesterov : bool
        Whether to use Nesterov's momentum.
    weight_decay : float >= 0
        Multiple of each parameter that is added to its gradient.
    decay_vectors : bool
        Whether parameters of one dimension decay, too: biases, scales of batch norm, masks.
    schedule : {"cosine", "step", "constant"}
        See :mod:`csc_cogd.nn.training.schedules`.
    steps : tuple of float in (0, 1)
        For the schedule ``"step"``: fractions of the epochs at which the rate is multiplied by `step_factor`.
    step_factor : float in (0, 1]
    warm_up : float
        Epochs over which the rate rises from 0 to that of the schedule.
    label_smoothing : float in [0, 1)
    augmentation : Augmentation, optional
        Random changes of the images in training.
    average : float in [0, 1)
        Decay of an average of the weights, which is tested and kept in their place; 0 is off. See
        :class:`csc_cogd.nn.training.averaging.WeightAveraging`.
    patience : int
        Epochs after which training stops if the loss of images that are held out of training hasn't fallen, when the
        weights of the best epoch are kept; 0 is off, and holds none out.
    validation : float in (0, 1)
        Share of each class that is held out for that.
    precision : {"float32", "mixed"}
        On a GPU, ``"mixed"`` rounds factors to TF32, for tensor cores; see :func:`csc_cogd.backend.precision.computing_in`.
    seed : int
        Seed for the order of the images and their augmentation: epoch e draws from ``default_rng([seed, e])``.

    Raises
    ------
    InputError
        If a setting is out of range.

    Examples
    --------
    >>> recipe = Recipe(epochs=10, learning_rate=0.2, warm_up=1)
    >>> [round(recipe.learning_rate_at(epochs), 3) for epochs in (0.5, 1, 5, 10)]
    [0.099, 0.195, 0.1, 0.0]
    """

    epochs: int
    batch_size: int = 128
    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    decay_vectors: bool = True
    schedule: str = "cosine"
    steps: tuple[float, ...] = (0.5, 0.75)
    step_factor: float = 0.1
    warm_up: float = 0.0
    label_smoothing: float = 0.0
    augmentation: Augmentation | None = None
    optimizer: str = "sgd"
    average: float = 0.0
    patience: int = 0
    validation: float = 0.1
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("epochs", 1), ("batch_size", 1), ("patience", 0), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or value < least:
                raise InputError(name, f"must be an integer >= {least}, got {value}")
        check_sgd(self.learning_rate, self.momentum, self.nesterov, self.weight_decay)
        if self.optimizer not in OPTIMIZERS:
            raise InputError("optimizer", f"must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}")
        if self.nesterov and self.optimizer != "sgd":
            raise InputError("nesterov", f"has no effect with optimizer {self.optimizer!r}", "omit it")
        if not 0 <= self.average < 1:
            raise InputError("average", f"must be in [0, 1) (0 is off), got {self.average}")
        if not 0 < self.validation < 1:
            raise InputError("validation", f"must be between 0 and 1, got {self.validation}")
        if self.schedule not in _FACTORS:
            raise InputError("schedule", f"must be one of {', '.join(_FACTORS)}, got {self.schedule!r}")
        if not all(0 < fraction < 1 for fraction in self.steps):
            raise InputError("steps", f"must be fractions of the epochs, between 0 and 1, got {self.steps}")
        if not 0 < self.step_factor <= 1:
            raise InputError("step_factor", f"must be in (0, 1], got {self.step_factor}")
        if not 0 <= self.warm_up <= self.epochs:
            raise InputError("warm_up", f"must be from 0 to {self.epochs} epochs, got {self.warm_up}")
        if not 0 <= self.label_smoothing < 1:
            raise InputError("label_smoothing", f"must be in [0, 1), got {self.label_smoothing}")
        check_precision(self.precision)

    def batches(self, n_images: int) -> int:
        """Return the number of batches in an epoch."""
        return count_batches(n_images, self.batch_size, SMALLEST_BATCH)

    def learning_rate_at(self, epochs: float) -> float:
        """Return the learning rate after a number of epochs, which needn't be whole."""
        done = epochs / self.epochs
        return self.learning_rate * _FACTORS[self.schedule](self, done) * schedules.warm_up(done, self.warm_up / self.epochs)

    def as_json(self) -> dict[str, Json]:
        """Return the settings as JSON returns them."""
        return json.loads(json.dumps(asdict(self)))


_FACTORS: dict[str, Callable[[Recipe, float], float]] = {
    "cosine": lambda recipe, done: schedules.cosine(done),
    "step": lambda recipe, done: schedules.step(done, recipe.steps, recipe.step_factor),
    "constant": lambda recipe, done: 1.0,
}
"""The factor of the learning rate when a share of the epochs is done, by the names of schedules."""
