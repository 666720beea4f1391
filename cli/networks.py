"""Options, images and networks from files, for the commands that train or prune a network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import Console
from csc_cogd.errors import CscCogdError, InputError

if TYPE_CHECKING:
    from csc_cogd.nn import ImageSet, Module, Normalization, TrainingProgress

NETWORKS = (
    "resnet20", "resnet32", "resnet44", "resnet56", "resnet110", "resnet18", "mobilenetv2", "resnet50",
)  # fmt: skip
_DATA = (
    click.option(
        "--image-size", type=click.IntRange(min=1), metavar="N",
        help="Resize and crop the images in folders of classes to N x N pixels. Default: they must have one size.",
    ),
    click.option(
        "--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="S",
        help="Share of each class to test with, if DATA has no test images; always the same images.",
    ),
    click.option(
        "--mean", type=click.FloatRange(0, 1), nargs=3, metavar="R G B",
        help="Subtract this from pixels in [0, 1]. Default: as stored with the weights, or measured.",
    ),
    click.option(
        "--std", type=click.FloatRange(0, 1, min_open=True), nargs=3, metavar="R G B",
        help="Divide by this. Needs --mean.",
    ),
)  # fmt: skip


def data_options(function: Any) -> Any:
    """Decorate a command with the options about its images."""
    for option in reversed(_DATA):
        function = option(function)
    return function


@contextlib.contextmanager
def network_command(console: Console, device: str, weights: Path | None) -> Iterator[None]:
    """Check the device of a command whose errors name options in place of arguments."""
    from csc_cogd.engine import Engine

    console.check_device(Engine(device=device))
    options = [option for option in click.get_current_context().command.params if isinstance(option, click.Option)]
    names = {option.name: max(option.opts, key=len) for option in options}
    names |= {"state": "its state dict", "names": "the names of its weights"}
    names |= {"network": str(weights)} if weights else {}
    try:
        yield
    except CscCogdError as error:
        raise type(error)("", error.render(lambda name: names.get(name, name))) from error


@dataclass(frozen=True)
class DataOptions:
    """The options about images."""

    data: Path
    image_size: int | None
    holdout: float | None
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None

    def load(self, part: str) -> ImageSet:
        """Load the images to train on, or to test with."""
        from csc_cogd.nn import load_images

        return load_images(self.data, part, image_size=self.image_size, holdout=self.holdout)

    def normalization(self) -> Normalization | None:
        """Return the normalization that the options ask for, if any."""
        from csc_cogd.nn import Normalization

        if self.mean is None and self.std is None:
            return None
        if self.mean is None or self.std is None:
            fix = "give both {mean} and {std}, or neither"
            raise InputError("", "images are normalized by mean and standard deviation together", fix)
        return Normalization(self.mean, self.std)


@dataclass(frozen=True)
class Start:
    """A network before it is trained or pruned.

    Attributes
    ----------
    network : Module
    name : str
    weights : str or None
        Digest of the weights; None where they are random.
    normalization : Normalization or None
        None where it has to be measured.
    """

    network: Module
    name: str
    weights: str | None
    normalization: Normalization | None


def start_network(
    images: ImageSet, weights: Path | None, name: str | None, normalization: Normalization | None, seed: int
) -> Start:
    """Return a network with random weights, or with those of a file, for the classes of some images."""
    from csc_cogd.nn import build_network
    from csc_cogd.nn.saving import read_network
    from csc_cogd.storage import digest

    n_classes = len(images.class_names)
    if weights is None:
        name = name or "resnet20"
        return Start(build_network(name, n_classes, seed=seed), name, None, normalization)
    file = read_network(weights)
    state = file.network.state_dict()
    if name not in (None, file.name):
        raise InputError("network_name", f"must be {file.name}, which {weights} is of, got {name}", "omit it")
    known_classes = len(next(state[head] for head in ("linear.bias", "fc.bias") if head in state))
    if known_classes != n_classes or file.class_names not in (None, list(images.class_names)):
        problem = "this network is for other classes than those of the images"
        raise InputError("", problem, "train from random weights", str(weights))
    normalization = normalization or file.normalization
    if normalization is None:
        raise InputError("", "holds no mean and standard deviation of pixels", "add {mean} and {std}", str(weights))
    return Start(file.network, file.name, digest(*(state[key] for key in sorted(state))), normalization)


class EpochProgress:
    """Progress of a training in its epoch, for the bar."""

    def __init__(self, progress: TrainingProgress):
        stage = "" if progress.stage == "training" else f"{progress.stage} "
        self.stage = f"{stage}epoch {progress.epoch}/{progress.epochs}"
        self.done, self.total = progress.batch, progress.batches
        self.note = (
            f"loss {progress.loss:.4f}, {100 * progress.accuracy:.1f} %, rate {progress.learning_rate:.4g}, "
            f"{progress.images_per_second:.0f} images/s"
        )
