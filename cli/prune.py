"""``csc-cogd prune``."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

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
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import CONSOLE, options, takes
from csc_cogd.cli.recipes import RecipeOptions, recipe_options
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd.nn import Evaluation, ImageSet, PruningRecipe, PruningResult, Recipe
    from csc_cogd.nn.training.history import Epoch

_POSITIVE = click.IntRange(min=1)
_MASK_EPOCHS = 30
_TEACHER = 0.5
_OF_MASKS = (
    "mask_epochs", "mask_start", "sparsity", "mask_learning_rate", "mask_interval", "label_weight", "distillation_weight",
)  # fmt: skip
_OF_THE_RULE = ("keep", "kernel_degree", "rule")
"""Options of methods with masks, and of cogradient descent."""
_COSTS = {
    "flops": ("multiply-adds an image", "M", 1e6), "parameters": ("parameters", "k", 1e3), "file_bytes": ("file", "kB", 1e3),
    "seconds": ("time of 64 images", "ms", 1e-3), "onnxruntime_seconds": ("one, by onnxruntime", "ms", 1e-3),
}  # fmt: skip
"""The name of each cost in the summary, with its unit."""


@dataclass(frozen=True)
class PruneOptions:
    """The options of the command, except those about images, recipe and output."""

    weights: Path
    output: Path
    budget: float | None
    threshold: float | None
    method: str
    ranking: str | None
    include_residual: bool
    at_least: int
    multiple_of: int
    mask_epochs: int | None
    mask_start: str | None
    sparsity: float | None
    mask_learning_rate: float | None
    mask_interval: int | None
    label_weight: float | None
    distillation_weight: float | None
    keep: float | None
    kernel_degree: int | None
    rule: str | None
    no_fine_tuning: bool
    teacher: float | None
    resume: bool
    onnx: Path | None
    int8: Path | None
    record: Path | None
    as_json: bool
    device: str
    threads: int | None


class Accuracies(NamedTuple):
    """What the tests have found: before, after, and after in 8-bit integers, where that was asked for."""

    before: Evaluation
    after: Evaluation
    int8: Evaluation | None


@click.command("prune")
@click.argument("weights", metavar="WEIGHTS", type=PATH)
@click.argument("data", metavar="DATA", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    required=True,
    help="Where to write the smaller network, .safetensors; .onnx if WEIGHTS are.",
)
@click.option(
    "--flops", "budget", type=click.FloatRange(0, min_open=True), metavar="F",
    help="Multiply-adds of the smaller network; up to 1, a fraction. Default: 0.5, or what --threshold leaves.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(0), metavar="T",
    help="Remove all channels whose masks end at or below T; 0 changes no output.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["cogd", "gal", "l1", "group", "taylor"]), default="group", show_default=True,
    help="Masks with cogradient descent, masks without it, l1 norms of kernels, norms of all weights of a channel, or the "
    "effect of each channel on the loss.",
)  # fmt: skip
@click.option("--ranking", type=click.Choice(["uniform", "global"]), help="Default: uniform for l1, else global.")
@click.option(
    "--everywhere", "include_residual", is_flag=True,
    help="With l1, group and taylor: prune residual paths as well as the inside of blocks.",
)  # fmt: skip
@click.option("--at-least", type=_POSITIVE, default=1, show_default=True, metavar="N", help="Fewest channels of a layer.")
@click.option(
    "--multiple-of", type=_POSITIVE, default=1, show_default=True, metavar="N", help="Round widths to multiples of N."
)
@click.option("--mask-epochs", type=_POSITIVE, metavar="N", help="Epochs of training masks. Default: 30.")
@click.option("--mask-start", type=click.Choice(["ones", "uniform", "normal"]), help="Initial masks. Default: ones.")
@click.option("--sparsity", type=click.FloatRange(0), metavar="W", help="Weight of the masks' l1 norm. Default: 0.1.")
@click.option(
    "--mask-learning-rate",
    type=click.FloatRange(0, min_open=True),
    metavar="R",
    help="Learning rate of the masks. Default: 0.01.",
)
@click.option("--mask-interval", type=_POSITIVE, metavar="N", help="Batches a step of the masks. Default: 1.")
@click.option(
    "--label-weight", type=click.FloatRange(0), metavar="W", help="Weight of the labels in training masks. Default: 0."
)
@click.option(
    "--distillation-weight", type=click.FloatRange(0), metavar="W",
    help="Weight of the teacher's softened predictions in training masks. Default: 0.",
)  # fmt: skip
@click.option(
    "--keep", type=click.FloatRange(0, 1), metavar="A",
    help="With cogd: share of a layer's kernels that count as large, the paper's CoGD-A. Default: 0.5.",
)  # fmt: skip
@click.option(
    "--kernel-degree", type=click.IntRange(1, 9), metavar="K", help="With cogd: degree of the rule's kernel. Default: 1."
)
@RULE
@click.option("--no-fine-tuning", is_flag=True, help="Don't fine-tune the smaller network.")
@click.option(
    "--teacher", type=click.FloatRange(0, 1), metavar="S",
    help="Fine-tune by WEIGHTS' own predictions as well as by labels: their share of the loss. Default: 0.5.",
)  # fmt: skip
@recipe_options(epochs=40, learning_rate=0.01, weight_decay=2e-4)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Random seed.")
@data_options
@options("resume")
@click.option("--onnx", type=PATH, metavar="FILE", help="Also write the smaller network as ONNX, for other programs.")
@click.option(
    "--int8", type=PATH, metavar="FILE",
    help="Also write it as ONNX in 8-bit integers, calibrated on DATA, and test it: needs onnxruntime.",
)  # fmt: skip
@click.option("--record", type=PATH, metavar="FILE", help="Write costs, channels and the history of training: .json.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as a line of JSON.")
@options("overwrite", "device", "threads", CONSOLE)
@takes("options", PruneOptions)
@takes("data", DataOptions)
@takes("settings", RecipeOptions)
def command(
    options: PruneOptions, data: DataOptions, settings: RecipeOptions, overwrite: bool, console: Console
) -> None:  # fmt: skip
    """Make a trained network smaller, and fine-tune it.

    WEIGHTS is a network in a .safetensors file, of `csc-cogd train` or of PyTorch, or any convolutional network in an .onnx
    file, which is written as ONNX again. DATA is what it was trained on (see
    `csc-cogd train --help`). Options of training apply to fine-tuning; those of batches and augmentation also to masks.

    \b
    Examples:
      csc-cogd prune resnet56.safetensors cifar-10-batches-bin -o half.safetensors --crop 4 --flip
      csc-cogd prune resnet56.safetensors cifar-10-batches-bin -o cogd.safetensors --method cogd --mask-epochs 100
      csc-cogd prune net.safetensors flowers -o small.safetensors --flops 20e6 --onnx small.onnx --record run.json
      csc-cogd prune net.safetensors flowers -o small.safetensors --method taylor --multiple-of 8 --teacher 0.9
      csc-cogd prune net.safetensors flowers -o small.safetensors --int8 small8.onnx
      csc-cogd prune net.safetensors flowers -o small.safetensors --method gal --threshold 0.05
      csc-cogd prune efficientnet.onnx flowers -o small.onnx --flops 0.6 --image-size 224 --learning-rate 0.003

    \b
    Exit codes: 0 done; 2 wrong usage or input, or a loss that isn't finite;
    3 device or memory; 130 interrupted, --resume continues.
    """
    with network_command(console, options.device, options.threads, options.weights) as device:
        tuning = settings.recipe()
        _check_outputs(options, overwrite)
        recipe = _recipe(options, tuning)
        from csc_cogd.nn import evaluate, prune
        from csc_cogd.nn.cogradient import never_acted
        from csc_cogd.nn.pruning.prune import checkpoint_files

        test = data.load("test")
        start = start_network(test, options.weights, None, data.normalization(), tuning.seed)
        start.network.to(device)
        images = data.load("train")
        assert start.normalization is not None  # as there are weights
        console.say(f"{start.name}, {len(images)} images, {len(test)} to test with, settings: {recipe}", level=1)
        console.announce_compiling()
        checkpoint = options.output.with_suffix("")
        saved = checkpoint_files(checkpoint).values()
        advice = f"{options.output}: not written yet; the same call with --resume continues from what is saved beside it"
        with console.advising(lambda: advice if any(path.exists() for path in saved) else ""), console.progress() as bar:
            epochs = {"masks": recipe.masks, "fine-tuning": recipe.fine_tuning}

            def epoch_done(stage: str, epoch: Epoch) -> None:
                bar.close()
                settings = epochs[stage]
                assert settings is not None
                console.say(f"{stage}, {epoch_line(epoch, settings.epochs)}")

            result = prune(
                start.network, images, recipe, normalization=start.normalization, test=test, checkpoint=checkpoint,
                resume=options.resume, overwrite=overwrite,
                progress=lambda progress: bar(EpochProgress(progress)), epoch_done=epoch_done,
            )  # fmt: skip
        before, after = (
            evaluate(network, test, normalization=start.normalization, batch_size=tuning.batch_size)
            for network in (start.network, result.network)
        )
        _write(options, start, images, result, overwrite)
        int8 = _quantize(options, start, images, test, result, overwrite)
        accuracies = Accuracies(before, after, int8)
    if options.record is not None:
        from csc_cogd.storage import write_whole

        content = _record(result, accuracies)
        write_whole(options.record, content, overwrite=overwrite)
    _summarize(options, result, accuracies, console)
    if result.masks is not None and never_acted(result.masks):
        console.warn(
            "the rule of cogradient descent never acted, as no mask fell below 0.5 before large kernels: the result is that "
            "of --method gal; try more --mask-epochs, or another --mask-start"
        )


def _recipe(options: PruneOptions, tuning: Recipe) -> PruningRecipe:
    """Return the recipe that the options ask for; those of masks and of the rule are refused where there are none."""
    from csc_cogd.nn import AdversarialLoss, PruningRecipe, pruning_rule

    method = options.method
    masked, cogd = method in ("cogd", "gal"), method == "cogd"
    for name in (*(() if masked else _OF_MASKS), *(() if cogd else _OF_THE_RULE)):
        if getattr(options, name) is not None:
            raise InputError(name, f"has no effect with method {method}", "omit it, or choose another {method}")
    teacher = (0.0 if options.no_fine_tuning else _TEACHER) if options.teacher is None else options.teacher
    rule = RuleSettings.parsed(options.rule)
    if rule.small is not None:
        raise InputError("rule", "has no setting small for masks, which are the small ones", "omit it")
    epochs, keep = options.mask_epochs or _MASK_EPOCHS, 0.5 if options.keep is None else options.keep
    return PruningRecipe(
        method, budget=0.5 if options.budget is None and options.threshold is None else options.budget,
        threshold=options.threshold,
        masks=replace(tuning, epochs=epochs, schedule="constant", warm_up=0.0, average=0.0, patience=0) if masked else None,
        fine_tuning=None if options.no_fine_tuning else tuning, teacher=teacher,
        loss=AdversarialLoss(
            AdversarialLoss.sparsity if options.sparsity is None else options.sparsity,
            label=options.label_weight or 0.0, distillation=options.distillation_weight or 0.0,
            mask_learning_rate=options.mask_learning_rate or AdversarialLoss.mask_learning_rate,
            mask_interval=options.mask_interval or 1,
        ),
        cogd=pruning_rule(keep, options.kernel_degree or 1, rule.eta, rule.sign, rule.bound) if cogd else None,
        kernels=rule.kernels, mask_start=options.mask_start or "ones", ranking=options.ranking,
        include_residual=options.include_residual,
        at_least=options.at_least, multiple_of=options.multiple_of,
    )  # fmt: skip


def _check_outputs(options: PruneOptions, overwrite: bool) -> None:
    """Check that all outputs can be written."""
    from csc_cogd.storage import check_distinct, check_writable

    imported = options.weights.suffix == ".onnx"
    if imported and options.onnx is not None:
        raise InputError("onnx", "has no effect, as the output itself is ONNX", "omit it")
    own = ".onnx" if imported else ".safetensors"
    outputs = {options.output: own, options.onnx: ".onnx", options.int8: ".onnx", options.record: ".json"}
    for path, suffix in outputs.items():
        if path is not None:
            if path.suffix != suffix:
                raise InputError("", f"the name of this output must end in {suffix}", subject=str(path))
            if options.resume and path == options.output and path.exists() and not overwrite:
                raise InputError(
                    "", "is finished, so there is nothing to resume", "use {overwrite} to begin anew", str(path)
                )
            check_writable(path, overwrite=overwrite, inputs=(options.weights,))
    check_distinct(options.output, options.onnx, options.int8, options.record)
    if options.int8 is not None and not (find_spec("onnx") and find_spec("onnxruntime")):
        raise InputError("int8", "needs the packages onnx and onnxruntime", "pip install 'csc-cogd[onnx]'")
    if options.onnx is not None and find_spec("onnx") is None:
        raise InputError("onnx", "needs the package onnx", "pip install 'csc-cogd[onnx]'")


def _write(options: PruneOptions, start: Start, images: ImageSet, result: PruningResult, overwrite: bool) -> None:
    """Write the smaller network, and remove the checkpoints."""
    from csc_cogd.nn import export_onnx, save_network
    from csc_cogd.nn.pruning.prune import checkpoint_files
    from csc_cogd.nn.saving import ONNX, image_metadata

    assert start.normalization is not None
    about = {"network": start.name, **image_metadata(images, start.normalization)}
    exported = options.output if start.name == ONNX else options.onnx
    if start.name != ONNX:
        save_network(result.network, options.output, start.name, metadata=about, overwrite=overwrite)
    if exported is not None:
        export_onnx(result.network, exported, image_shape=images.image_shape, metadata=about, overwrite=overwrite)
    for path in checkpoint_files(options.output.with_suffix("")).values():
        path.unlink(missing_ok=True)


def _quantize(
    options: PruneOptions, start: Start, images: ImageSet, test: ImageSet, result: PruningResult, overwrite: bool
) -> Evaluation | None:  # fmt: skip
    """Write the smaller network in 8-bit integers, and return what it is right about; None without --int8."""
    from csc_cogd.nn import evaluate_onnx, export_onnx, quantize_onnx
    from csc_cogd.nn.saving import image_metadata

    if options.int8 is None:
        return None
    assert start.normalization is not None
    with tempfile.TemporaryDirectory() as folder:
        exported = Path(folder, "exported.onnx")
        about = image_metadata(images, start.normalization)
        export_onnx(result.network, exported, image_shape=images.image_shape, metadata=about)
        quantize_onnx(exported, options.int8, images, normalization=start.normalization, overwrite=overwrite)
    return evaluate_onnx(options.int8, test, normalization=start.normalization)


def _record(result: PruningResult, accuracies: Accuracies) -> bytes:
    record = _costs(result, accuracies) | {
        "kept": {name: channels.tolist() for name, channels in result.kept.items()},
        "masks": None if result.masks is None else result.masks.as_json(),
        "fine_tuning": None if result.fine_tuning is None else result.fine_tuning.as_json(),
    }
    return (json.dumps(record, indent=1) + "\n").encode()


def _costs(result: PruningResult, accuracies: Accuracies) -> dict[str, dict[str, float]]:
    costs = zip(("before", "after"), (result.before, result.after), accuracies[:2], strict=True)
    rows = {name: {**asdict(cost), **_tested(found)} for name, cost, found in costs}
    return rows if accuracies.int8 is None else rows | {"int8": _tested(accuracies.int8)}


def _tested(found: Evaluation) -> dict[str, float]:
    return {"test_accuracy": found.accuracy, "test_top5_accuracy": found.top5_accuracy}


def _summarize(
    options: PruneOptions, result: PruningResult, accuracies: Accuracies, console: Console
) -> None:  # fmt: skip
    if options.as_json:
        echo(json.dumps({"output": str(options.output), **_costs(result, accuracies)}))
    console.say(_row("", "before", "after", "left"))
    for what, (said, unit, scale) in _COSTS.items():
        before, after = getattr(result.before, what), getattr(result.after, what)
        if before is None or after is None:
            continue
        console.say(_row(said, f"{before / scale:.2f} {unit}", f"{after / scale:.2f} {unit}", f"{after / before:.1%}"))
    both = accuracies[:2]
    console.say(_row("test accuracy", *(f"{100 * found.accuracy:.2f} %" for found in both)))
    if any(found.top5_accuracy < 1 for found in both):
        console.say(_row("top-5 accuracy", *(f"{100 * found.top5_accuracy:.2f} %" for found in both)))
    if accuracies.int8 is not None:
        console.say(_row("in 8-bit integers", "", f"{100 * accuracies.int8.accuracy:.2f} %"))
    console.say(f"{options.output}: written")


def _row(what: str, *cells: str) -> str:
    return f"{what:<22}" + "".join(f"{cell:>14}" for cell in cells)
