"""Options of how networks are trained, for all commands that train one."""

from __future__ import annotations

from collections.abc import Callable
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
        help="Images to a step, and at a time in a test.",
    ),
    click.option(
        "--learning-rate", type=click.FloatRange(0, 1000), default=0.1, show_default=True, metavar="R", help="The largest."
    ),
    click.option(
        "--schedule", type=click.Choice(["cosine", "step", "constant"]), default="cosine", show_default=True,
        help="How the learning rate falls: along half a cosine to 0, in --steps, or not.",
    ),
    click.option(
        "--steps", metavar="F[,F..]",
        help="With --schedule step: fractions of the epochs from which the rate is --step-factor times what it was. "
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
        "--momentum", type=click.FloatRange(0, 1, max_open=True), default=0.9, show_default=True, metavar="M", help="Of SGD."
    ),
    click.option("--nesterov", is_flag=True, help="Look ahead along the momentum."),
    click.option(
        "--weight-decay", type=click.FloatRange(0, 1000), default=1e-4, show_default=True, metavar="W",
        help="Added to the gradient, times the weight.",
    ),
    click.option(
        "--decay-vectors/--no-decay-vectors", default=True, show_default=True,
        help="Let biases and the scales of batch norm decay as well.",
    ),
    click.option(
        "--label-smoothing", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True, metavar="S",
        help="Share of each label that is spread over all classes.",
    ),
    click.option(
        "--crop", type=_ZERO_OR_MORE, default=0, show_default=True, metavar="N",
        help="Shift images at random by up to N pixels; 4 is usual for CIFAR.",
    ),
    click.option("--flip", is_flag=True, help="Mirror every other image, at random, left to right."),
    click.option(
        "--cutout", type=_ZERO_OR_MORE, default=0, show_default=True, metavar="N",
        help="Blank a square of N pixels at random in each image; 16 is usual for CIFAR-10.",
    ),
    click.option(
        "--area", type=click.FloatRange(0, 1), default=0.0, show_default=True, metavar="A",
        help="Train on pieces of random size, at least this share of each image; 0.08 is usual for ImageNet.",
    ),
    click.option(
        "--precision", type=click.Choice(["float32", "mixed"]), default="float32", show_default=True,
        help="On a GPU, mixed rounds what is multiplied to TF32, 10 bits, for its tensor cores; sums stay float32.",
    ),
)  # fmt: skip
RECIPE = (
    "epochs", "batch_size", "learning_rate", "schedule", "steps", "step_factor", "warm_up", "momentum", "nesterov",
    "weight_decay", "decay_vectors", "label_smoothing", "crop", "flip", "cutout", "area", "precision", "seed",
)  # fmt: skip
"""The names of what :func:`recipe_of` takes."""


def recipe_options(**defaults: Any) -> Callable[[Any], Any]:
    """Decorate a command with the options of a recipe, but for the seed; some may have other defaults."""

    def decorate(function: Any) -> Any:
        for option in reversed(_OPTIONS):
            function = option(function)
        for parameter in function.__click_params__:
            parameter.default = defaults.get(parameter.name, parameter.default)
        return function

    return decorate


def recipe_of(
    *, steps: str | None, step_factor: float | None, crop: int, flip: bool, cutout: int, area: float, **settings: Any
) -> Recipe:
    """The recipe that the options ask for."""
    from csc_cogd.nn import Augmentation, Recipe

    stepwise: dict[str, Any] = {"steps": _numbers(steps), "step_factor": step_factor}
    stepwise = {name: value for name, value in stepwise.items() if value is not None}
    if stepwise and settings["schedule"] != "step":
        raise InputError(f"{option_name(next(iter(stepwise)))}: it belongs to --schedule step: add that, or leave it out")
    augmented = crop or flip or cutout or area
    augmentation = Augmentation(crop=crop, flip=flip, cutout=cutout, area=area) if augmented else None
    return Recipe(augmentation=augmentation, **stepwise, **settings)


def option_name(parameter: str) -> str:
    """The option that sets a parameter."""
    return f"--{parameter.replace('_', '-')}"


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--steps: {text!r} isn't a number, or numbers with commas between them") from None
