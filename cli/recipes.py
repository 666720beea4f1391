"""The options of a training, for all commands that train a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.networks import take_options
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
        "--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.9, show_default=True, metavar="M",
        help="Momentum of gradient descent."
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
        "--precision", type=click.Choice(["float32", "mixed"]), default="float32", show_default=True,
        help="On a GPU, mixed rounds factors to TF32, 10 bits, for its tensor cores; sums stay float32.",
    ),
)  # fmt: skip


def recipe_options(**defaults: Any) -> Callable[[Any], Any]:
    """Decorate a command with the options of a recipe except the seed; some may have other defaults."""

    def decorate(function: Any) -> Any:
        for option in reversed(_OPTIONS):
            function = option(function)
        for parameter in function.__click_params__:
            parameter.default = defaults.get(parameter.name, parameter.default)
        return function

    return decorate


def take_recipe(given: dict[str, Any]) -> Recipe:
    """Take the options of a recipe out of those of a command, and return the recipe."""
    from csc_cogd.nn import Augmentation, Recipe

    for name in ("steps", "step_factor"):
        if given[name] is None:
            del given[name]
        elif given["schedule"] != "step":
            raise InputError(name, f"has no effect with schedule {given['schedule']}", "add {schedule} step, or omit it")
    if "steps" in given:
        given["steps"] = _numbers(given["steps"])
    augmentation = take_options(Augmentation, given)
    settings = {field.name: given.pop(field.name) for field in fields(Recipe) if field.name in given}
    return Recipe(augmentation=None if augmentation == Augmentation() else augmentation, **settings)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError("steps", f"must be numbers separated by commas, got {text!r}") from None
