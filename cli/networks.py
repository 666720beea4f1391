"""Options, images and networks from files, for the commands that train or prune a network."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import Console
from csc_cogd.errors import CscCogdError, InputError

if TYPE_CHECKING:
    from csc_cogd.nn import ImageSet, Module, Normalization, TrainingProgress
    from csc_cogd.nn.training.history import Epoch

_HOLDOUT = click.option(
    "--holdout", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="S",
    help="Share of each class to test with, if DATA has no test images; always the same images.",
)  # fmt: skip
_IMAGES = (
    click.option(
        "--image-size", type=click.IntRange(min=1), metavar="N",
        help="Resize and crop images in files to N x N pixels. Default: the size that all have, or that NET's file says.",
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


RULE = click.option(
    "--rule", "rule", metavar="NAME=VALUE[,..]",
    help="Settings of cogradient descent: eta (step, 0.1), bound (most of an earlier value that is added, 0.1), sign (-1 "
    "descends, 1 pulls back), kernels (following or preceding the scale or mask), small (train only: kernels or scales, "
    "whichever is out of step).",
)  # fmt: skip


@dataclass(frozen=True)
class RuleSettings:
    """What --rule says."""

    eta: float = 0.1
    bound: float = 0.1
    sign: int | None = None
    kernels: str | None = None
    small: str | None = None

    @classmethod
    def parsed(cls, text: str | None) -> RuleSettings:
        """Return the settings of a text such as ``"eta=0.2,sign=1"``."""
        kinds = {"eta": float, "bound": float, "sign": int, "kernels": str, "small": str}
        found = vars(cls()).copy()
        for part in text.split(",") if text else ():
            name, _, value = part.partition("=")
            try:
                found[name] = kinds[name](value)
            except (KeyError, ValueError):
                problem = f"must be NAME=VALUE, separated by commas, with names {', '.join(kinds)}, got {part!r}"
                raise InputError("rule", problem) from None
        return cls(*found.values())


def data_options(function: Any) -> Any:
    """Decorate a command with the options about a set of images."""
    return image_options(_HOLDOUT(function))


def image_options(function: Any) -> Any:
    """Decorate a command with the options about size and normalization of images."""
    for option in reversed(_IMAGES):
        function = option(function)
    return function


@contextlib.contextmanager
def network_command(console: Console, device: str, threads: int | None, weights: Path | None) -> Iterator[str]:
    """Yield the device of a command that runs on so many threads, and whose errors name options in place of arguments."""
    from csc_cogd.backend.parallel import limited_threads
    from csc_cogd.engine import Engine

    console.check_device(Engine(device=device, threads=threads))
    options = [option for option in click.get_current_context().command.params if isinstance(option, click.Option)]
    names = {option.name: max(option.opts, key=len) for option in options}
    names |= {"state": "its state dict", "names": "the names of its weights"}
    names |= {"network": str(weights)} if weights else {}
    try:
        with limited_threads(threads):
            yield "cpu" if device == "auto" and threads is not None else device
    except CscCogdError as error:
        raise type(error)("", error.render(names)) from error


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
        return given_normalization(self.mean, self.std)


def given_normalization(
    mean: tuple[float, float, float] | None, std: tuple[float, float, float] | None
) -> Normalization | None:
    """Return the normalization of two options; None without them."""
    from csc_cogd.nn import Normalization

    if mean is None and std is None:
        return None
    if mean is None or std is None:
        fix = "give both {mean} and {std}, or neither"
        raise InputError("", "images are normalized by mean and standard deviation together", fix)
    return Normalization(mean, std)


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
    images : ImageSet, optional
        Those that it is tested with, as it numbers the classes.
    """

    network: Module
    name: str
    weights: str | None
    normalization: Normalization | None
    images: ImageSet | None = None


def start_network(
    images: ImageSet, weights: Path | None, name: str | None, normalization: Normalization | None, seed: int, *,
    transfer: Callable[[str], Any] | None = None, testing: bool = False,
) -> Start:  # fmt: skip
    """Return a network with random weights, or with those of a file, for the classes of some images.

    Where the file is of other classes, its last layer is replaced if there is a function `transfer`, which is told so. Where
    it is only tested, the images may be of some of its classes.
    """
    from csc_cogd.nn import build_network
    from csc_cogd.nn.saving import ONNX, read_network
    from csc_cogd.nn.transfer import head_classes, replace_head
    from csc_cogd.storage import digest

    n_classes = len(images.class_names)
    if weights is None:
        name = name or "resnet20"
        return Start(build_network(name, n_classes, seed=seed), name, None, normalization)
    file = read_network(weights)
    if name not in (None, file.name):
        other = InputError("network_name", f"must be {file.name}, which {weights} is of, got {name}", "omit it")
        if file.name == ONNX:
            raise other
        try:
            file = read_network(weights, name)
        except InputError:
            raise other from None
    if file.name == ONNX and file.image_size not in (None, images.image_shape[1:]):
        given = " x ".join(map(str, file.image_size or ()))
        found = " x ".join(map(str, images.image_shape[1:]))
        fix = "use {image_size}, or other images"
        raise InputError("", f"takes images of {given} pixels, got {found}", fix, str(weights))
    state = file.network.state_dict()
    known_classes = head_classes(file.network)
    if testing and known_classes is not None:
        images = _in_classes(images, file.class_names, known_classes)
        n_classes = len(images.class_names)
    if known_classes != n_classes or file.class_names not in (None, list(images.class_names)):
        if transfer is None:
            problem = "this network is for other classes than those of the images"
            raise InputError("", problem, "train it for these first, by csc-cogd train --weights", str(weights))
        layer = replace_head(file.network, n_classes, seed=seed)
        transfer(f"{weights}: is for {known_classes} other classes, so {layer} starts anew for these {n_classes}")
    normalization = normalization or file.normalization
    if normalization is None:
        raise InputError("", "holds no mean and standard deviation of pixels", "add {mean} and {std}", str(weights))
    return Start(file.network, file.name, digest(*(state[key] for key in sorted(state))), normalization, images)


def _in_classes(images: ImageSet, names: list[str] | None, n_classes: int) -> ImageSet:
    """Return images with the labels of a network, where their classes are some of its: by name, or by number if unnamed."""
    import numpy as np

    own, numbers = list(images.class_names), [str(number) for number in range(n_classes)]
    if own == numbers[: len(own)]:
        labels = list(range(len(own)))
    elif names is not None and set(own) <= set(names):
        labels = [names.index(name) for name in own]
    else:
        return images
    return replace(images, labels=np.array(labels)[images.labels], class_names=tuple(names or numbers))


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


def epoch_line(epoch: Epoch, epochs: int) -> str:
    """Return what is said of an epoch that is done, of so many."""
    figures = [f"{name} {value:.4g}" for name, value in epoch.figures.items()]
    parts = [
        f"epoch {epoch.epoch}/{epochs}: loss {epoch.loss:.4f}", f"accuracy {100 * epoch.accuracy:.2f} %",
        f"test {epoch.test_loss:.4f}", f"{100 * (epoch.test_accuracy or 0):.2f} %", *figures, f"{epoch.seconds:.1f} s",
    ]  # fmt: skip
    return ", ".join(parts)
