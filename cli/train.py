"""``csc-cogd train``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.networks import (
    NETWORKS,
    EpochProgress,
    Start,
    data_options,
    normalization_of,
    start_network,
    told_normalization,
)
from csc_cogd.cli.options import PATH, cogradient_rule, naming, options
from csc_cogd.cli.plots import check_plot, save_plot
from csc_cogd.cli.recipes import RECIPE, option_name, recipe_of, recipe_options
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd.nn import EpochHook, History, ImageSet, Recipe
    from csc_cogd.nn.training.history import Epoch

EVALUATION = {
    "data", "weights", "evaluating", "network_name", "image_size", "holdout", "mean", "std", "batch_size", "device",
    "as_json", "quiet", "verbose",
}  # fmt: skip
"""What may be given with --evaluate."""


@click.command("train")
@click.argument("data", metavar="DATA", type=PATH)
@click.option(
    "-o", "--output", type=PATH, metavar="FILE",
    help="The weights, as .safetensors; replaced after each epoch, and a checkpoint until the last one.",
)  # fmt: skip
@click.option(
    "--network", "network_name", type=click.Choice(NETWORKS),
    help="Default: the one that --weights are of, else resnet20. resnet50 is for larger images, the others for CIFAR's.",
)  # fmt: skip
@click.option("--weights", type=PATH, metavar="FILE", help="Start from these weights, .safetensors.")
@recipe_options()
@options("cogd", "kernel_degree")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Of the first weights, the order of the images, and what is random about them.",
)  # fmt: skip
@data_options
@click.option("--evaluate", "evaluating", is_flag=True, help="Don't train: test the weights.")
@options("resume")
@click.option(
    "--checkpoint-every", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="Save each N epochs.",
)  # fmt: skip
@click.option("--history", "history_path", type=PATH, metavar="FILE", help="Write the epochs' figures: .csv or .json.")
@click.option("--plot", type=PATH, metavar="FILE", help="Draw loss and accuracy by epoch: .png, .pdf or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each epoch, and a summary.")
@options("overwrite", "device", "quiet", "verbose")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    data: Path,
    output: Path | None,
    network_name: str | None,
    weights: Path | None,
    image_size: int | None,
    holdout: float | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    cogd: bool,
    kernel_degree: int | None,
    evaluating: bool,
    resume: bool,
    checkpoint_every: int,
    history_path: Path | None,
    plot: Path | None,
    as_json: bool,
    overwrite: bool,
    device: str,
    quiet: bool,
    verbose: int,
    **settings: Any,
) -> None:
    """Train a network to tell the classes of images apart, or test one.

    DATA is CIFAR-10 or CIFAR-100 in its binary version, a folder of train/CLASS/*.jpg and test/CLASS/*.jpg, or an npz file
    of images and labels. The test counts for nothing in training.

    \b
    Examples:
      csc-cogd train cifar-10-batches-bin -o resnet20.safetensors --crop 4 --flip
      csc-cogd train cifar-10-batches-bin -o resnet20.safetensors --crop 4 --flip --resume
      csc-cogd train cifar-10-batches-bin --weights resnet20.safetensors --evaluate
      csc-cogd train flowers -o flowers.safetensors --image-size 64 --holdout 0.1 --epochs 30 --plot run.png
      csc-cogd train digits.npz -o digits.safetensors --epochs 20 --learning-rate 0.05 --history run.csv

    \b
    Exit codes: 0 done; 2 wrong usage or input, or a loss that isn't finite;
    3 device or memory; 130 interrupted, --resume goes on.
    """
    console = Console(-1 if quiet else verbose)
    console.check_device({"device": device})
    names = {name: option_name(name) for name in ("image_size", "holdout", "mean", "std", *RECIPE)}
    with naming((), weights=weights, state=weights, network=weights, **names):
        if evaluating:
            _check_evaluation(ctx, weights)
        else:
            _check_outputs(output, weights, history_path, plot, resume, overwrite)
            recipe = recipe_of(**settings)
            rule = cogradient_rule(cogd, kernel_degree)
        from csc_cogd.nn import load_images
        from csc_cogd.nn.cogradient import KernelBacktracking, never_acted

        test = load_images(data, "test", image_size=image_size, holdout=holdout)
        start = start_network(test, weights, network_name, normalization_of(mean, std), settings["seed"])
        start.network.to(device)
        if evaluating:
            _evaluate(start, test, settings["batch_size"], as_json)
            return
        images = load_images(data, "train", image_size=image_size, holdout=holdout)
        saving = {"checkpoint": output, "checkpoint_every": checkpoint_every, "resume": resume, "overwrite": overwrite}
        hooks = [KernelBacktracking(rule, image_shape=images.image_shape)] if cogd else []
        history = _train(start, images, test, recipe, hooks, console, as_json, saving)
    if history_path is not None:
        history.save(history_path, overwrite=overwrite)
    if plot is not None:
        from csc_cogd.report.training import draw_history

        save_plot(draw_history(history), plot, overwrite)
    _summarize(output, start.name, history, console, as_json)
    if never_acted(history):
        console.warn("the rule of cogradient descent never acted: the weights are those of training without --cogd")
    if history[-1].loss >= (guessing := math.log(len(images.class_names))):
        console.warn(
            f"the loss, {history[-1].loss:.4g}, isn't below {guessing:.4g}, that of guessing: nothing was learned; try a "
            "smaller --learning-rate, or more --epochs"
        )


def _check_evaluation(ctx: click.Context, weights: Path | None) -> None:
    """Refuse what has no meaning when weights are tested."""
    if weights is None:
        raise InputError("--evaluate: there is nothing to test: add --weights FILE")
    for option in ctx.command.params:
        if ctx.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE and option.name not in EVALUATION:
            raise InputError(f"{option.opts[-1]}: it belongs to training: leave it out, or --evaluate")


def _check_outputs(
    output: Path | None, weights: Path | None, history: Path | None, plot: Path | None, resume: bool, overwrite: bool
) -> None:
    """Refuse now what couldn't be written later."""
    from csc_cogd.nn.training.history import check_history_name
    from csc_cogd.storage import check_distinct, check_writable

    if output is None:
        raise InputError("--output: where are the weights to be written? Add -o FILE.safetensors")
    if output.suffix != ".safetensors":
        raise InputError(f"{output}: weights are written as .safetensors: end the name in it")
    inputs = () if weights is None else (weights,)
    if output.exists() and not (resume or overwrite):
        raise InputError(f"{output}: exists already: use --resume to go on with it, --overwrite, or another name")
    check_writable(output, overwrite=True, inputs=inputs)
    check_distinct(output, history, plot)
    if history is not None:
        check_history_name(history)
        check_writable(history, overwrite=overwrite, inputs=inputs)
    if plot is not None:
        check_plot(plot, overwrite)


def _evaluate(start: Start, test: ImageSet, batch_size: int, as_json: bool) -> None:
    from csc_cogd.nn import evaluate

    assert start.normalization is not None  # as there are weights
    result = evaluate(start.network, test, normalization=start.normalization, batch_size=batch_size)
    if as_json:
        echo(json.dumps({"network": start.name, "images": len(test), **result._asdict()}))
    else:
        echo(f"{start.name}: {100 * result.accuracy:.2f} % of {len(test)} images, loss {result.loss:.4f}")


def _train(
    start: Start, images: ImageSet, test: ImageSet, recipe: Recipe, hooks: Sequence[EpochHook], console: Console,
    as_json: bool, saving: dict[str, Any],
) -> History:  # fmt: skip
    """Train, and tell of it epoch by epoch."""
    from csc_cogd.nn import measure_normalization, train
    from csc_cogd.nn.saving import load_metadata

    output: Path = saving["checkpoint"]
    normalization = start.normalization
    if normalization is None and saving["resume"] and output.exists():
        normalization = told_normalization(load_metadata(output))
    normalization = normalization or measure_normalization(images)
    console.say(
        f"{start.name}, {len(images)} images in {len(images.class_names)} classes, {len(test)} to test with", level=1
    )
    console.say(f"settings: {recipe}, {normalization}", level=1)
    done: list[Epoch] = []
    bar = console.progress()

    def epoch_done(epoch: Epoch) -> None:
        done.append(epoch)
        bar.close()
        console.say(_epoch_line(epoch, recipe.epochs))
        if as_json:
            echo(json.dumps(epoch.row()))

    def saved() -> bool:
        return output.exists() and (saving["resume"] or len(done) >= saving["checkpoint_every"])

    with console.advising(saved, f"{output}: a checkpoint: the same call with --resume goes on from it"), bar:
        return train(
            start.network, images, recipe, normalization=normalization, test=test, hooks=hooks, callback=epoch_done,
            progress=lambda progress: bar(EpochProgress(progress)),
            metadata={"network": start.name, "weights": start.weights}, **saving,
        )  # fmt: skip


def _epoch_line(epoch: Epoch, epochs: int) -> str:
    figures = [f"{name} {value:.4g}" for name, value in epoch.figures.items()]
    parts = [
        f"epoch {epoch.epoch}/{epochs}: loss {epoch.loss:.4f}", f"accuracy {100 * epoch.accuracy:.2f} %",
        f"test {epoch.test_loss:.4f}", f"{100 * (epoch.test_accuracy or 0):.2f} %", *figures, f"{epoch.seconds:.1f} s",
    ]  # fmt: skip
    return ", ".join(parts)


def _summarize(output: Path | None, name: str, history: History, console: Console, as_json: bool) -> None:
    last, seconds = history[-1], sum(epoch.seconds for epoch in history)
    if as_json:
        summary = {"output": str(output), "network": name, "epochs": len(history), "seconds": seconds}
        echo(json.dumps(summary | {"test_loss": last.test_loss, "test_accuracy": last.test_accuracy}))
    right = 100 * (last.test_accuracy or 0)
    console.say(f"{output}: {name}, {len(history)} epochs in {seconds:.0f} s: {right:.2f} % of the test images right")
