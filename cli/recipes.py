"""The options of a training, for all commands that train a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd.nn import Recipe

_POSITIVE = click.IntRange(min=1)
_ZERO_OR_MORE = click.IntRange(min=0)
_OPTIONS = (
    click.option("--epochs", type=_POSITIVE, default=200, show_default=True, metavar="N", help="Passes over the images."),
    click.option(
        "--batch-size", type=_POSITIVE, default=128, show_default=True, metavar="N",
        help="Images a step, and at a time in a test.",
    ),
    click.option(
        "--learning-rate", type=click.FloatRange(0, 1000), default=0.1, show_default=True, metavar="R",
        help="Largest learning rate.",
    ),
    click.option(
        "--schedule", type=click.Choice(["cosine", "step", "constant"]), default="cosine", show_default=True,
        help="How the learning rate decreases: along half a cosine to 0, in --steps, or not at all.",
    ),
    click.option(
        "--steps", metavar="F[,F..]",
        help="With --schedule step: fractions of the epochs at which the rate is multiplied by --step-factor. "
        "Default: 0.5,0.75.",
    ),
    click.option(
        "--step-factor", type=click.FloatRange(0, 1, min_open=True), metavar="F", help="Default: 0.1. Needs --schedule step."
    ),
    click.option(
        "--warm-up", type=click.FloatRange(min=0), default=0.0, show_default=True, metavar="N",
        help="Epochs over which the rate rises from 0.",
    ),
    click.option(
        "--optimizer", type=click.Choice(["sgd", "adamw"]), default="sgd", show_default=True,
        help="adamw wants about a hundredth of the --learning-rate.",
    ),
    click.option(
        "--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.9, show_default=True, metavar="M",
        help="Momentum of gradient descent; b1 of adamw."
    ),
    click.option("--nesterov", is_flag=True, help="Use Nesterov's momentum."),
    click.option(
        "--weight-decay", type=click.FloatRange(0, 1000), default=1e-4, show_default=True, metavar="W",
        help="Multiple of each weight that is added to its gradient.",
    ),
    click.option(
        "--decay-vectors/--no-decay-vectors", default=True, show_default=True,
        help="Let biases and the scales of batch norm decay, too.",
    ),
    click.option(
        "--label-smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True, metavar="S",
        help="Share of each label that is distributed over all classes.",
    ),
    click.option(
        "--crop", type=_ZERO_OR_MORE, default=0, show_default=True, metavar="N",
        help="Shift images at random by up to N pixels; 4 is usual for CIFAR.",
    ),
    click.option("--flip", is_flag=True, help="Mirror images at random, left to right."),
    click.option(
        "--cutout", type=_ZERO_OR_MORE, default=0, show_default=True, metavar="N",
        help="Blank a square of N pixels at random in each image; 16 is usual for CIFAR-10.",
    ),
    click.option(
        "--area", type=click.FloatRange(0, 1), default=0.0, show_default=True, metavar="A",
        help="Train on random crops, resized, of at least this share of each image; 0.08 is usual for ImageNet.",
    ),
    click.option(
        "--average", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True, metavar="D",
        help="Test and keep an average of the weights, of this decay a step; 0.99 to 0.9999 is usual.",
    ),
    click.option(
        "--patience", type=_ZERO_OR_MORE, default=0, show_default=True, metavar="N",
        help="Hold images out of training, stop when their loss hasn't fallen for N epochs, and keep the best epoch.",
    ),
    click.option(
        "--validation", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="S",
        help="Share of each class that --patience holds out. Default: 0.1.",
    ),
    click.option(
        "--precision", type=click.Choice(["float32", "mixed"]), default="float32", show_default=True,
        help="On a GPU, mixed rounds factors to TF32, 10 bits, for its tensor cores; sums stay float32.",
    ),
)  # fmt: skip


def recipe_options(epochs: int = 200, learning_rate: float = 0.1, weight_decay: float = 1e-4) -> Callable[[Any], Any]:
    """Decorate a command with the options of a recipe except the seed; these are their defaults."""
    defaults = {"epochs": epochs, "learning_rate": learning_rate, "weight_decay": weight_decay}

    def decorate(function: Any) -> Any:
        for option in reversed(_OPTIONS):
            function = option(function)
        for parameter in function.__click_params__:
            parameter.default = defaults.get(parameter.name, parameter.default)
        return function

    return decorate


@dataclass(frozen=True)
class RecipeOptions:
    """The options of a recipe."""

    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    steps: str | None
    step_factor: float | None
    warm_up: float
    optimizer: str
    momentum: float
    nesterov: bool
    weight_decay: float
    decay_vectors: bool
    label_smoothing: float
    crop: int
    flip: bool
    cutout: int
    area: float
    average: float
    patience: int
    validation: float | None
    precision: str
    seed: int

    def recipe(self) -> Recipe:
        """Return the recipe that the options describe."""
        from csc_cogd.nn import Augmentation, Recipe

        for name in ("steps", "step_factor"):
            if getattr(self, name) is not None and self.schedule != "step":
                raise InputError(name, f"has no effect with schedule {self.schedule}", "add {schedule} step, or omit it")
        if self.validation is not None and not self.patience:
            raise InputError("validation", "has no effect without an early stop", "add {patience} N, or omit it")
        augmentation = Augmentation(self.crop, self.flip, self.cutout, self.area)
        return Recipe(
            self.epochs, self.batch_size, self.learning_rate, self.momentum, self.nesterov, self.weight_decay,
            self.decay_vectors, self.schedule,
            steps=Recipe.steps if self.steps is None else _numbers(self.steps),
            step_factor=Recipe.step_factor if self.step_factor is None else self.step_factor,
            warm_up=self.warm_up, label_smoothing=self.label_smoothing,
            augmentation=None if augmentation == Augmentation() else augmentation, optimizer=self.optimizer,
            average=self.average, patience=self.patience,
            validation=Recipe.validation if self.validation is None else self.validation,
            precision=self.precision, seed=self.seed,
        )  # fmt: skip


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError("steps", f"must be numbers separated by commas, got {text!r}") from None
