"""Networks from files, and images for them, for the commands that train or prune one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd.nn import ImageSet, Module, Normalization, TrainingProgress

NETWORKS = (
    "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet18", "mobilenetv2", "resnet50",
)  # fmt: skip
_DATA = (
    click.option(
        "--image-size", type=click.IntRange(min=1), metavar="N",
        help="Resize and crop the images in folders of classes to N x N pixels. Default: they all have one size.",
    ),
    click.option(
        "--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="S",
        help="Share of each class to test with, where DATA has no part for that; always the same images.",
    ),
    click.option(
        "--mean", type=click.FloatRange(0, 1), nargs=3, metavar="R G B",
        help="Subtract this from pixels in [0, 1]. Default: as the weights say, or measured.",
    ),
    click.option(
        "--std", type=click.FloatRange(0, 1, min_open=True), nargs=3, metavar="R G B",
        help="Divide by this. Needs --mean.",
    ),
)  # fmt: skip


def data_options(function: Any) -> Any:
    """Decorate a command with what it needs to know about images."""
    for option in reversed(_DATA):
        function = option(function)
    return function


@dataclass(frozen=True)
class Start:
    """A network before it is trained or pruned."""

    network: Module
    name: str
    weights: str | None
    """Their digest; None where they are random."""
    normalization: Normalization | None
    """None where it has to be measured."""


def normalization_of(mean: Any, std: Any) -> Normalization | None:
    """What --mean and --std ask for, or None."""
    from csc_cogd.nn import Normalization

    if (mean is None) != (std is None):
        raise InputError("--mean, --std: one needs the other: give both, or neither")
    return None if mean is None else Normalization(mean, std)


def start_network(
    images: ImageSet, weights: Path | None, name: str | None, normalization: Normalization | None, seed: int
) -> Start:
    """A network with random weights, or with those of a file, for the classes of some images."""
    from csc_cogd.nn import build_network
    from csc_cogd.nn.saving import read_network
    from csc_cogd.storage import digest

    n_classes = len(images.class_names)
    if weights is None:
        name = name or "resnet20"
        return Start(build_network(name, n_classes, seed=seed), name, None, normalization)
    network, found, about = read_network(weights)
    state = network.state_dict()
    if name not in (None, found):
        raise InputError(f"--network: {name} is asked for, but {weights} is of {found}: leave it out")
    known_classes = len(next(state[head] for head in ("linear.bias", "fc.bias") if head in state))
    class_names = about.get("class_names")
    if known_classes != n_classes or (isinstance(class_names, list) and class_names != list(images.class_names)):
        raise InputError(f"{weights}: it tells other classes apart than those of the images: train from random weights")
    if normalization is None:
        normalization = told_normalization(about)
        if normalization is None:
            raise InputError(f"{weights}: it doesn't say how pixels are normalised: give --mean and --std")
    return Start(network, found, digest(*(state[key] for key in sorted(state))), normalization)


def told_normalization(metadata: Mapping[str, Any]) -> Normalization | None:
    """That of the images that a network was trained with, where its file says it in numbers, and not in other words."""
    from csc_cogd.nn import Normalization

    try:
        return Normalization(metadata.get("norm_mean"), metadata.get("norm_std"))  # type: ignore[arg-type]
    except InputError:
        return None


class EpochProgress:
    """How far the training is in its epoch, for the bar."""

    def __init__(self, progress: TrainingProgress):
        stage = "" if progress.stage == "training" else f"{progress.stage} "
        self.stage = f"{stage}epoch {progress.epoch}/{progress.epochs}"
        self.done, self.total = progress.batch, progress.batches
        self.note = (
            f"loss {progress.loss:.4f}, {100 * progress.accuracy:.1f} %, rate {progress.learning_rate:.4g}, "
            f"{progress.images_per_second:.0f} images/s"
        )
