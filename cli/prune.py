"""``csc-cogd prune``."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.networks import EpochProgress, Start, data_options, normalization_of, start_network
from csc_cogd.cli.options import PATH, naming, options
from csc_cogd.cli.recipes import RECIPE, option_name, recipe_of, recipe_options
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd.nn import ImageSet, Pruned, PruningRecipe, Recipe

_POSITIVE = click.IntRange(min=1)
_MASKS = {
    "mask_epochs": 30, "mask_start": "ones", "sparsity": 0.1, "mask_learning_rate": 0.01, "mask_interval": 1,
    "label_weight": 0.0, "distillation_weight": 0.0,
}  # fmt: skip
"""Options of methods with masks, and their defaults."""
_COSTS = {
    "flops": ("multiply-adds an image", "M", 1e6), "parameters": ("parameters", "k", 1e3), "file_bytes": ("file", "kB", 1e3),
    "seconds": ("time of 64 images", "ms", 1e-3),
}  # fmt: skip
"""What is said of each cost, with its unit."""


@click.command("prune")
@click.argument("weights", metavar="WEIGHTS", type=PATH)
@click.argument("data", metavar="DATA", type=PATH)
@click.option("-o", "--output", type=PATH, metavar="FILE", required=True, help="The smaller network, as .safetensors.")
@click.option(
    "--flops", type=click.FloatRange(0, min_open=True), metavar="F",
    help="Multiply-adds that are left; up to 1, a fraction of all. Default: 0.5, or what --threshold leaves.",
)  # fmt: skip
@click.option(
    "--threshold", type=click.FloatRange(0), metavar="T",
    help="Remove the channels whose masks end at or below T, however many they are; 0 changes no output.",
)  # fmt: skip
@click.option(
    "--method", type=click.Choice(["cogd", "gal", "l1", "group"]), default="group", show_default=True,
    help="Masks by cogradient descent, masks without it, l1 norms of kernels, or norms of all that belongs to a channel, "
    "which serves best unless masks are trained for long.",
)  # fmt: skip
@click.option("--ranking", type=click.Choice(["uniform", "global"]), help="Default: uniform for l1, else global.")
@click.option("--everywhere", is_flag=True, help="With l1 and group: prune residual paths as well as the inside of blocks.")
@click.option("--at-least", type=_POSITIVE, default=1, show_default=True, metavar="N", help="Channels that stay everywhere.")
@click.option("--multiple-of", type=_POSITIVE, default=1, show_default=True, metavar="N", help="Of which widths are.")
@click.option("--mask-epochs", type=_POSITIVE, metavar="N", help="Epochs of training masks. Default: 30.")
@click.option("--mask-start", type=click.Choice(["ones", "uniform", "normal"]), help="What masks start from. Default: ones.")
@click.option("--sparsity", type=click.FloatRange(0), metavar="W", help="Weight of the masks' l1 norm. Default: 0.1.")
@click.option(
    "--mask-learning-rate", type=click.FloatRange(0, min_open=True), metavar="R", help="Of the masks. Default: 0.01."
)
@click.option("--mask-interval", type=_POSITIVE, metavar="N", help="Batches to a step of the masks. Default: 1.")
@click.option(
    "--label-weight", type=click.FloatRange(0), metavar="W", help="Of the labels while masks are trained. Default: 0."
)
@click.option(
    "--distillation-weight", type=click.FloatRange(0), metavar="W",
    help="Of the teacher's softened predictions while masks are trained. Default: 0.",
)  # fmt: skip
@click.option(
    "--keep", type=click.FloatRange(0, 1), metavar="A",
    help="With cogd: share of a layer's kernels that count as large, the paper's CoGD-A. Default: 0.5.",
)  # fmt: skip
@click.option(
    "--kernel-degree", type=click.IntRange(1, 9), metavar="K", help="With cogd: degree of the rule's kernel. Default: 1."
)
@click.option("--no-fine-tuning", is_flag=True, help="Leave the smaller network as it is.")
@recipe_options(epochs=40, learning_rate=0.01, weight_decay=2e-4)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all that is random.")
@data_options
@options("resume")
@click.option("--onnx", type=PATH, metavar="FILE", help="Write the smaller network for other programs, too.")
@click.option("--record", type=PATH, metavar="FILE", help="Write costs, channels and the course of training: .json.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as a line of JSON.")
@options("overwrite", "device", "quiet", "verbose")
def command(
    weights: Path,
    data: Path,
    output: Path,
    flops: float | None,
    threshold: float | None,
    no_fine_tuning: bool,
    image_size: int | None,
    holdout: float | None,
    mean: tuple[float, ...] | None,
    std: tuple[float, ...] | None,
    resume: bool,
    onnx: Path | None,
    record: Path | None,
    as_json: bool,
    overwrite: bool,
    device: str,
    quiet: bool,
    verbose: int,
    **settings: Any,
) -> None:
    """Make a trained network smaller, and fine-tune it.

    WEIGHTS is a network in a .safetensors file, as `csc-cogd train` writes it, or of PyTorch. DATA is what it was trained
    on (see `csc-cogd train --help`). Options of training are those of fine-tuning; batches and augmentation also of masks.

    \b
    Examples:
      csc-cogd prune resnet56.safetensors cifar-10-batches-bin -o half.safetensors --crop 4 --flip
      csc-cogd prune resnet56.safetensors cifar-10-batches-bin -o cogd.safetensors --method cogd --mask-epochs 100
      csc-cogd prune net.safetensors flowers -o small.safetensors --flops 20e6 --onnx small.onnx --record run.json
      csc-cogd prune net.safetensors flowers -o small.safetensors --method gal --threshold 0.05

    \b
    Exit codes: 0 done; 2 wrong usage or input, or a loss that isn't finite;
    3 device or memory; 130 interrupted, --resume goes on.
    """
    console = Console(-1 if quiet else verbose)
    console.check_device({"device": device})
    names = {name: option_name(name) for name in ("image_size", "holdout", "mean", "std", "threshold", *RECIPE, *settings)}
    with naming((), budget="--flops", weights=weights, state=weights, network=weights, **names):
        _check_outputs(output, onnx, record, (weights,), overwrite)
        tuning = recipe_of(**{name: value for name, value in settings.items() if name in RECIPE})
        recipe = _recipe(settings, flops, threshold, tuning, no_fine_tuning)
        from csc_cogd.nn import evaluate, load_images, prune
        from csc_cogd.nn.cogradient import never_acted
        from csc_cogd.nn.pruning.prune import checkpoint_files

        test = load_images(data, "test", image_size=image_size, holdout=holdout)
        start = start_network(test, weights, None, normalization_of(mean, std), tuning.seed)
        start.network.to(device)
        images = load_images(data, "train", image_size=image_size, holdout=holdout)
        assert start.normalization is not None  # as there are weights
        console.say(f"{start.name}, {len(images)} images, {len(test)} to test with, settings: {recipe}", level=1)
        advice = f"{output}: not there yet: the same call with --resume goes on from what is saved beside it"
        saved = checkpoint_files(output.with_suffix("")).values()
        with console.advising(lambda: any(path.exists() for path in saved), advice), console.progress() as bar:
            done = prune(
                start.network, images, recipe, normalization=start.normalization, test=test,
                checkpoint=output.with_suffix(""), resume=resume, overwrite=overwrite,
                progress=lambda progress: bar(EpochProgress(progress)),
            )  # fmt: skip
        before, after = (
            evaluate(network, test, normalization=start.normalization, batch_size=tuning.batch_size)
            for network in (start.network, done.network)
        )
        accuracies = before.accuracy, after.accuracy
        _write(output, onnx, start, images, done, overwrite)
    if record is not None:
        from csc_cogd.storage import write_whole

        text = json.dumps(_figures(done, accuracies), indent=1) + "\n"
        write_whole(record, lambda file: file.write(text.encode()), overwrite=overwrite)
    _summarize(output, done, accuracies, console, as_json)
    if done.masks is not None and never_acted(done.masks):
        console.warn(
            "the rule of cogradient descent never acted, as no mask fell below 0.5 before large kernels: this is what "
            "--method gal gives; try more --mask-epochs, or another --mask-start"
        )


def _recipe(
    settings: dict[str, Any], flops: float | None, threshold: float | None, tuning: Recipe, no_fine_tuning: bool
) -> PruningRecipe:
    """What the options ask for; those of masks and of the rule are refused where there are none."""
    from dataclasses import replace

    from csc_cogd.nn import AdversarialLoss, PruningRecipe, pruning_rule

    method = settings["method"]
    masked, cogd = method in ("cogd", "gal"), method == "cogd"
    for name in (*_MASKS, "keep", "kernel_degree"):
        if settings[name] is not None and not (cogd or (masked and name in _MASKS)):
            raise InputError(f"{option_name(name)}: --method {method} has no use for it: leave it out")
    if flops is None and threshold is None:
        flops = 0.5
    chosen: dict[str, Any] = {
        name: default if settings[name] is None else settings[name] for name, default in _MASKS.items()
    }
    masks = replace(tuning, epochs=chosen["mask_epochs"], schedule="constant", warm_up=0.0) if masked else None
    keep = 0.5 if settings["keep"] is None else settings["keep"]
    return PruningRecipe(
        method, budget=flops, threshold=threshold, masks=masks, fine_tuning=None if no_fine_tuning else tuning,
        loss=AdversarialLoss(
            chosen["sparsity"], label=chosen["label_weight"], distillation=chosen["distillation_weight"],
            mask_learning_rate=chosen["mask_learning_rate"], mask_interval=chosen["mask_interval"],
        ),
        cogd=pruning_rule(keep, settings["kernel_degree"] or 1) if cogd else None,
        mask_start=chosen["mask_start"], ranking=settings["ranking"], everywhere=settings["everywhere"],
        at_least=settings["at_least"], multiple_of=settings["multiple_of"],
    )  # fmt: skip


def _check_outputs(output: Path, onnx: Path | None, record: Path | None, inputs: tuple[Path, ...], overwrite: bool) -> None:
    """Refuse now what couldn't be written later."""
    from csc_cogd.storage import check_distinct, check_writable

    for path, suffix in ((output, ".safetensors"), (onnx, ".onnx"), (record, ".json")):
        if path is not None:
            if path.suffix != suffix:
                raise InputError(f"{path}: it is written as {suffix}: end the name in it")
            check_writable(path, overwrite=overwrite, inputs=inputs)
    check_distinct(output, onnx, record)
    if onnx is not None and find_spec("onnx") is None:
        raise InputError("--onnx: the package is missing: pip install 'csc-cogd[onnx]'")


def _write(output: Path, onnx: Path | None, start: Start, images: ImageSet, done: Pruned, overwrite: bool) -> None:
    """Write the smaller network, and take away what a run that is cut off would have needed."""
    from csc_cogd.nn import export_onnx, save_network
    from csc_cogd.nn.pruning.prune import checkpoint_files

    assert start.normalization is not None
    about: dict[str, Any] = {"class_names": images.class_names}
    about |= {"norm_mean": start.normalization.mean, "norm_std": start.normalization.std}
    save_network(done.network, output, start.name, metadata=about, overwrite=overwrite)
    if onnx is not None:
        about = {"network": start.name, **about}
        export_onnx(done.network, onnx, image_shape=images.image_shape, metadata=about, overwrite=overwrite)
    for path in checkpoint_files(output.with_suffix("")).values():
        path.unlink(missing_ok=True)


def _figures(done: Pruned, accuracies: tuple[float, float]) -> dict[str, Any]:
    return {
        "before": {**asdict(done.before), "test_accuracy": accuracies[0]},
        "after": {**asdict(done.after), "test_accuracy": accuracies[1]},
        "kept": {name: channels.tolist() for name, channels in done.kept.items()},
        "masks": None if done.masks is None else done.masks.as_json(),
        "fine_tuning": None if done.fine_tuning is None else done.fine_tuning.as_json(),
    }


def _summarize(
    output: Path, done: Pruned, accuracies: tuple[float, float], console: Console, as_json: bool
) -> None:  # fmt: skip
    if as_json:
        summary = {name: value for name, value in _figures(done, accuracies).items() if name in ("before", "after")}
        echo(json.dumps({"output": str(output), **summary}))
    console.say(_row("", "before", "after", "left"))
    for what, (said, unit, scale) in _COSTS.items():
        before, after = getattr(done.before, what), getattr(done.after, what)
        console.say(_row(said, f"{before / scale:.2f} {unit}", f"{after / scale:.2f} {unit}", f"{after / before:.1%}"))
    console.say(_row("test images right", *(f"{100 * accuracy:.2f} %" for accuracy in accuracies)))
    console.say(f"{output}: written")


def _row(what: str, *cells: str) -> str:
    return f"{what:<22}" + "".join(f"{cell:>14}" for cell in cells)
