"""``csc-cogd train``."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.networks import (
    RULE,
    DataOptions,
    EpochProgress,
    RuleSettings,
    Start,
    data_options,
    epoch_line,
    network_command,
    start_network,
)  # fmt: skip
from csc_cogd.cli.option_types import PATH, NetworkName
from csc_cogd.cli.options import CONSOLE, cogradient_rule, options, takes
from csc_cogd.cli.plots import check_plot, save_plot
from csc_cogd.cli.recipes import RecipeOptions, recipe_options
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd.nn import EpochHook, History, ImageSet, Normalization, Recipe
    from csc_cogd.nn.training.history import Epoch

EVALUATION = {
    "data", "weights", "evaluating", "network_name", "image_size", "holdout", "mean", "std", "batch_size", "device",
    "threads", "as_json", "quiet", "verbose",
}  # fmt: skip
"""Options that may be given with --evaluate."""


@dataclass(frozen=True)
class TrainOptions:
    """The options of the command, except those about images, recipe and output."""

    output: Path | None
    network_name: str | None
    weights: Path | None
    freeze: str | None
    cogd: bool
    kernel_degree: int | None
    rule: str | None
    evaluating: bool
    resume: bool
    checkpoint_every: int
    history_path: Path | None
    plot: Path | None
    as_json: bool
    device: str
    threads: int | None


@click.command("train")
@click.argument("data", metavar="DATA", type=PATH)
@click.option(
    "-o", "--output", type=PATH, metavar="FILE",
    help="Write the weights, as .safetensors; replaced after each epoch, and a checkpoint until the last one. If --weights "
    "are ONNX, write ONNX; the checkpoint lies beside it.",
)  # fmt: skip
@click.option(
    "--network", "network_name", type=NetworkName(), metavar="NAME",
    help="resnet20, 32, 44, 56, 110, 18, mobilenetv2 or cifar-vgg16-bn for small images; imagenet-resnet18, resnet34, 50, "
    "101, 152, imagenet-mobilenetv2 or vgg16-bn for larger ones. Default: that of --weights, else resnet20.",
)  # fmt: skip
@click.option(
    "--weights", type=PATH, metavar="FILE",
    help="Start from these weights, .safetensors or .onnx. If they are for other classes, the last layer starts anew.",
)  # fmt: skip
@click.option("--freeze", metavar="PART", help="Don't train the network up to this part, such as layer3; needs --weights.")
@recipe_options()
@options("cogd", "kernel_degree")
@RULE
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Seed for the initial weights, and for the order and augmentation of the images.",
)  # fmt: skip
@data_options
@click.option(
    "--evaluate",
    "evaluating",
    is_flag=True,
    help="Test the weights instead of training: on all of DATA, if it has no parts.",
)
@options("resume")
@click.option(
    "--checkpoint-every", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="Save every N epochs.",
)  # fmt: skip
@click.option(
    "--history", "history_path", type=PATH, metavar="FILE", help="Write loss and accuracy by epoch: .csv or .json."
)
@click.option("--plot", type=PATH, metavar="FILE", help="Plot loss and accuracy by epoch: .png, .pdf or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each epoch, and a summary.")
@options("overwrite", "device", "threads", CONSOLE)
@takes("options", TrainOptions)
@takes("data", DataOptions)
@takes("settings", RecipeOptions)
def command(
    options: TrainOptions, data: DataOptions, settings: RecipeOptions, overwrite: bool, console: Console
) -> None:  # fmt: skip
    """Train a small image classifier, or test one.

    DATA is CIFAR-10 or CIFAR-100 in its binary version, a folder of train/CLASS/*.jpg and test/CLASS/*.jpg, or an npz file
    of images and labels. The test images are never used for training or for the choice of an epoch. For --evaluate, DATA
    may be a plain folder of CLASS/*.jpg, and of some of the network's classes.

    \b
    Examples:
      csc-cogd train cifar-10-batches-bin -o resnet20.safetensors --crop 4 --flip
      csc-cogd train cifar-10-batches-bin -o resnet20.safetensors --crop 4 --flip --resume
      csc-cogd train cifar-10-batches-bin --weights resnet20.safetensors --evaluate
      csc-cogd train flowers -o flowers.safetensors --image-size 64 --holdout 0.1 --epochs 30 --plot run.png
      csc-cogd train flowers -o flowers.safetensors --weights resnet50.safetensors --image-size 224 --freeze layer3
        --optimizer adamw --learning-rate 1e-3 --area 0.3 --flip --patience 5 --label-smoothing 0.1
      csc-cogd train digits.npz -o digits.safetensors --epochs 20 --learning-rate 0.05 --history run.csv

    \b
    Exit codes: 0 done; 2 wrong usage or input, or a loss that isn't finite;
    3 device or memory; 130 interrupted, --resume continues.
    """
    with network_command(console, options.device, options.threads, options.weights) as device:
        recipe = settings.recipe()
        if options.evaluating:
            _check_evaluation(options)
        else:
            output, checkpoint, again = _checked_outputs(options, overwrite)
            rule = RuleSettings.parsed(options.rule)
            cogradient_rule(options.cogd, options.kernel_degree)  # refuses a degree without --cogd
            _check_start(options, recipe)
        test = data.load("whole" if options.evaluating else "test")
        start = start_network(
            test, options.weights, options.network_name, data.normalization(), recipe.seed,
            transfer=None if options.evaluating else console.say, testing=options.evaluating,
        )  # fmt: skip
        if options.freeze is not None:
            from csc_cogd.nn import freeze

            freeze(start.network, options.freeze)
        start.network.to(device)
        if options.evaluating:
            console.announce_compiling()
            _evaluate(start, start.images or test, recipe, options.as_json)
            return
        from csc_cogd.nn.cogradient import READINGS, KernelBacktracking, never_acted, training_rule
        from csc_cogd.nn.scaled_convs import SIDES

        images = data.load("train")
        hooks: list[EpochHook] = []
        if options.cogd:
            how = training_rule(options.kernel_degree or 1, rule.eta, rule.sign, rule.bound)
            small, kernels = rule.small or READINGS[0], rule.kernels or SIDES[0]
            hooks = [KernelBacktracking(how, image_shape=images.image_shape, small=small, kernels=kernels)]
        normalization = start.normalization or _normalization(images, checkpoint if options.resume else None)
        start = replace(start, normalization=normalization)
        console.announce_compiling()
        history = _train(start, images, test, recipe, hooks, console, checkpoint, options, overwrite)
        if checkpoint != output:
            _export(start, images, output, checkpoint)
    if options.history_path is not None:
        history.save(options.history_path, overwrite=again)
    if options.plot is not None:
        from csc_cogd.report.training import draw_history

        save_plot(draw_history(history), options.plot, again)
    _summarize(output, start.name, history, console, options.as_json)
    if never_acted(history):
        console.warn("the rule of cogradient descent never acted: the weights are those of training without --cogd")
    if history[-1].loss >= (guessing := math.log(len(images.class_names))):
        console.warn(
            f"the loss, {history[-1].loss:.4g}, isn't below {guessing:.4g}, that of guessing, so nothing was learned: try a "
            "smaller --learning-rate, or more --epochs"
        )


def _check_evaluation(options: TrainOptions) -> None:
    """Refuse options that have no effect when weights are tested."""
    ctx = click.get_current_context()
    if options.weights is None:
        raise InputError("evaluating", "needs weights to test", "add {weights} FILE")
    for option in ctx.command.params:
        name = option.name or ""
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE and name not in EVALUATION:
            raise InputError(name, "has no effect on a test of weights", "omit it, or {evaluating}")


def _check_start(options: TrainOptions, recipe: Recipe) -> None:
    """Refuse combinations of options that have no effect, or none that is known."""
    if options.freeze is not None and options.weights is None:
        raise InputError("freeze", "would keep random weights", "add {weights} FILE, or omit it")
    if options.rule is not None and not options.cogd:
        raise InputError("rule", "belongs to cogradient descent", "add {cogd}, or leave it out")
    if options.cogd and recipe.average:
        problem = "can't be combined with cogradient descent, which compares weights between epochs"
        raise InputError("average", problem, "omit {average}, or {cogd}")


def _checked_outputs(options: TrainOptions, overwrite: bool) -> tuple[Path, Path, bool]:
    """Return the output and the checkpoint, one file unless the output is ONNX, after checking all outputs.

    And whether the others may be there: those of the run that is resumed may.
    """
    from csc_cogd.nn.training.history import check_history_name
    from csc_cogd.storage import check_distinct, check_writable

    output, inputs = options.output, () if options.weights is None else (options.weights,)
    imported = options.weights is not None and options.weights.suffix == ".onnx"
    own, what = (".onnx", "a network from ONNX") if imported else (".safetensors", "a file of weights")
    if output is None:
        raise InputError("output", "is needed", f"add {{output}} FILE{own}")
    if output.suffix != own:
        raise InputError("", f"the name of {what} must end in {own}", subject=str(output))
    checkpoint = output.with_suffix(".training.safetensors") if imported else output
    if checkpoint.exists() and not (options.resume or overwrite):
        fix = "add {resume} to continue, or {overwrite}, or use another name"
        raise InputError("", "exists already", fix, str(checkpoint))
    if imported:
        check_writable(output, overwrite=overwrite, inputs=inputs)
        check_distinct(output, checkpoint)
    again = overwrite or (options.resume and checkpoint.exists())
    check_writable(checkpoint, overwrite=True, inputs=inputs)
    check_distinct(output, options.history_path, options.plot)
    if options.history_path is not None:
        check_history_name(options.history_path)
        check_writable(options.history_path, overwrite=again, inputs=inputs)
    if options.plot is not None:
        check_plot(options.plot, again)
    return output, checkpoint, again


def _evaluate(start: Start, test: ImageSet, recipe: Recipe, as_json: bool) -> None:
    from csc_cogd.nn import evaluate

    assert start.normalization is not None  # as there are weights
    result = evaluate(start.network, test, normalization=start.normalization, batch_size=recipe.batch_size)
    if as_json:
        echo(json.dumps({"network": start.name, "images": len(test), **result._asdict()}))
    else:
        top5 = f", {100 * result.top5_accuracy:.2f} % among the first five" if result.top5_accuracy < 1 else ""
        echo(f"{start.name}: {100 * result.accuracy:.2f} % of {len(test)} images{top5}, loss {result.loss:.4f}")


def _train(
    start: Start, images: ImageSet, test: ImageSet, recipe: Recipe, hooks: Sequence[EpochHook], console: Console,
    checkpoint: Path, options: TrainOptions, overwrite: bool,
) -> History:  # fmt: skip
    """Train, and report each epoch."""
    from csc_cogd.nn import train

    assert start.normalization is not None
    console.say(
        f"{start.name}, {len(images)} images in {len(images.class_names)} classes, {len(test)} to test with", level=1
    )
    console.say(f"settings: {recipe}, {start.normalization}", level=1)
    done: list[Epoch] = []
    bar = console.progress()

    def epoch_done(epoch: Epoch) -> None:
        done.append(epoch)
        bar.close()
        console.say(epoch_line(epoch, recipe.epochs))
        if options.as_json:
            echo(json.dumps(epoch.row()))

    def advice() -> str:
        saved = checkpoint.exists() and (options.resume or len(done) >= options.checkpoint_every)
        return f"{checkpoint}: checkpoint saved; the same call with --resume continues from it" if saved else ""

    with console.advising(advice), bar:
        return train(
            start.network, images, recipe, normalization=start.normalization, test=test, hooks=hooks, callback=epoch_done,
            progress=lambda progress: bar(EpochProgress(progress)), checkpoint=checkpoint,
            checkpoint_every=options.checkpoint_every, resume=options.resume, overwrite=overwrite,
            metadata={"network": start.name, "weights": start.weights},
        )  # fmt: skip


def _normalization(images: ImageSet, checkpoint: Path | None) -> Normalization:
    """Return the normalization that a checkpoint holds, if there is one already, else that of the images."""
    from csc_cogd.nn import load_checkpoint, measure_normalization
    from csc_cogd.nn.saving import stored_normalization

    stored = None if checkpoint is None or not checkpoint.exists() else stored_normalization(load_checkpoint(checkpoint)[1])
    return stored or measure_normalization(images)


def _export(start: Start, images: ImageSet, output: Path, checkpoint: Path) -> None:
    """Write a network of another program, and remove the checkpoint."""
    from csc_cogd.nn import export_onnx
    from csc_cogd.nn.saving import image_metadata

    assert start.normalization is not None
    about = {"network": start.name, **image_metadata(images, start.normalization)}
    export_onnx(start.network, output, image_shape=images.image_shape, metadata=about, overwrite=True)
    checkpoint.unlink()


def _summarize(output: Path, name: str, history: History, console: Console, as_json: bool) -> None:
    seconds = sum(epoch.seconds for epoch in history)
    last = min(history, key=lambda epoch: epoch.figures.get("validation_loss", -epoch.epoch))  # whose weights are kept
    if as_json:
        summary = {"output": str(output), "network": name, "epochs": len(history), "seconds": seconds}
        echo(json.dumps(summary | {"test_loss": last.test_loss, "test_accuracy": last.test_accuracy}))
    accuracy = 100 * (last.test_accuracy or 0)
    kept = f" (epoch {last.epoch})" if last.epoch < len(history) else ""
    console.say(f"{output}: {name}, {len(history)} epochs in {seconds:.0f} s: test accuracy {accuracy:.2f} %{kept}")
