"""Prune a trained network by several methods to several budgets: ``CSC_COGD_DATA=FOLDER python benchmarks/pruning.py``.

The pretrained ResNet-56 (or --network resnet20) of `CSC_COGD_DATA` is pruned to fractions of its FLOPs, by

- CoGD: soft masks trained against the network as a teacher, backtracked once an epoch;
- GAL: the same, with the same seeds, without backtracking;
- l1: the same fraction of the first convolutions of all blocks, by the l1 norm of kernels;
- group: all these channels ranked together by the norm of all that belongs to them, relative to those that are left;
- group-first: the same, relative to the mean before any fell, as it was before;
- taylor: all these channels ranked together by the first-order effect on the loss of the training images;
- torch-pruning: the group norm of Torch-Pruning (`pip install torch torch-pruning`), with our fine-tuning.

All are fine-tuned alike; the first two train their masks before that, on the same images. With --teacher, part of the loss
of fine-tuning are the predictions of the network before. Printed are, for each seed as it is done, and then as mean and
standard deviation, the accuracy on test images before and after fine-tuning, with the FLOPs and parameters that are left,
and the network's own accuracy on the same images above them; published figures, from whole CIFAR-10 and 100 epochs on a GPU,
are below. --full takes these epochs and all images. With --results FILE, each row is added to that file, and rows of the
same settings that are in it aren't measured again, so that a run can be stopped and continued.

Without ``CSC_COGD_DATA``, it says so and does nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
from paper_tables import spread

PUBLISHED = """
Published, ResNet-56, all of CIFAR-10, baseline 93.26 %:

| method | pruned | fine-tuned | FLOPs |
| --- | --- | --- | --- |
| CoGD-0.5 | 92.38 | 92.95 | 48.90 M |
| GAL-0.8 | 90.36 | 91.58 | 49.99 M |
| DepGraph | | 93.64 | 2.57 x fewer |"""
OURS = ("cogd", "gal", "l1", "group", "taylor")
METHODS = (*OURS, "group-first", "torch-pruning")
NOT_SETTINGS = ("budgets", "methods", "seeds", "results", "full", "device")
"""What rows that are comparable may differ in."""


class Row(NamedTuple):
    """A network that was pruned and fine-tuned; accuracies in percent."""

    budget: float
    method: str
    seed: int
    pruned: float
    tuned: float
    share: float
    parameters: int
    seconds: float


Fitted = tuple[Any, float]
"""A network that was pruned, and the share of FLOPs that is left."""


def recipes(method: str, args: argparse.Namespace, budget: float, seed: int) -> tuple[Any, Any]:
    """How a method of ours prunes, and how what any leaves is fine-tuned."""
    from csc_cogd.nn import AdversarialLoss, Augmentation, PruningRecipe, Recipe, pruning_rule

    augmentation = Augmentation(crop=4, flip=True)
    common = {"batch_size": args.batch, "weight_decay": 2e-4, "augmentation": augmentation, "seed": seed}
    masked = method in ("cogd", "gal")
    tuning = Recipe(args.epochs, learning_rate=args.learning_rate, schedule="cosine", **common)
    masks = Recipe(args.mask_epochs, learning_rate=args.mask_stage_rate, schedule="constant", **common)
    pruning = PruningRecipe(
        method if method in OURS else "group", budget=budget, masks=masks if masked else None, at_least=args.at_least,
        loss=AdversarialLoss(args.sparsity, label=args.label, mask_learning_rate=args.mask_rate), ranking=args.ranking,
        cogd=pruning_rule(args.keep, args.degree, args.eta) if method == "cogd" else None,
    )  # fmt: skip
    return pruning, tuning


def group_first(network: Any, budget: float, at_least: int) -> Any:
    """Rank by norms over the first mean of their group."""
    from csc_cogd.nn import FlopsModel, channel_groups, keep_within, remove_channels
    from csc_cogd.nn.pruning import importance

    norms = importance.weighed_anew
    importance.weighed_anew = lambda values: values / values.mean()
    try:
        scores = importance.channel_scores(network, channel_groups(network, inner_only=True), "group")
    finally:
        importance.weighed_anew = norms
    kept = keep_within(FlopsModel(network), scores, budget, ranking="global", at_least=at_least)
    return remove_channels(network, kept)


def torch_pruning(network: Any, budget: float, at_least: int) -> Any:
    """Let Torch-Pruning choose the channels inside of blocks of a twin in PyTorch, and remove the same ones from ours."""
    import torch
    import torch_pruning as tp
    from torch_twin import twin

    from csc_cogd.nn import FlopsModel, channel_groups, remove_channels

    theirs = twin(network)
    groups, model = channel_groups(network, inner_only=True), FlopsModel(network)
    layers = dict(theirs.named_modules())
    last = [layer for name, layer in layers.items() if isinstance(layer, torch.nn.Conv2d) and name not in groups]
    kept = {name: np.arange(group.n_channels) for name, group in groups.items()}
    pruner = tp.pruner.MetaPruner(
        theirs, torch.zeros(1, 3, 32, 32), importance=tp.importance.GroupMagnitudeImportance(p=2), global_pruning=True,
        pruning_ratio=1.0, iterative_steps=400, ignored_layers=[*last, layers["linear"]], max_pruning_ratio=1.0,
    )  # fmt: skip
    names = {layer: name for name, layer in layers.items()}
    allowed = budget * model.flops()
    while model.flops({name: len(channels) for name, channels in kept.items()}) > allowed:
        before = sum(map(len, kept.values()))
        for group in pruner.step(interactive=True):
            dep, indices = group[0]
            name = names[dep.target.module]
            indices = indices[: max(len(kept[name]) - at_least, 0)]
            kept[name] = np.delete(kept[name], indices)
            group.prune(idxs=list(indices))
        if sum(map(len, kept.values())) == before:
            break
    return remove_channels(network, kept)


def pruned(method: str, network: Any, images: Any, normalization: Any, recipe: Any) -> Fitted:
    """The smaller network, not yet fine-tuned, and the share of FLOPs that is left."""
    from csc_cogd.nn import count_flops, prune

    if method == "group-first":
        smaller = group_first(network, recipe.budget, recipe.at_least)
    elif method == "torch-pruning":
        smaller = torch_pruning(network, recipe.budget, recipe.at_least)
    else:
        smaller = prune(network, images, recipe, normalization=normalization).network
    return smaller, count_flops(smaller) / count_flops(network)


def compare(args: argparse.Namespace, data: Path) -> None:
    from csc_cogd.nn import Normalization, count_parameters, evaluate, load_checkpoint, load_images, load_network, train
    from csc_cogd.nn.pruning.teaching import taught_by

    weights = next((data / "weights").glob(f"*{args.network}*.safetensors"))
    network, about = load_network(weights, args.network).to(args.device), load_checkpoint(weights)[1]
    normalization = Normalization(about["norm_mean"], about["norm_std"])
    images, test = load_images(data / "cifar10", "train"), load_images(data / "cifar10", "test")
    test = test.first(args.test) if args.test else test

    def right(network: Any) -> float:
        return 100 * evaluate(network, test, normalization=normalization).accuracy

    def measured(budget: float, method: str, seed: int) -> Row:
        start = process_time()
        chosen = np.random.default_rng(seed).permutation(len(images))
        seen = images.take(chosen[: args.images]) if args.images else images
        pruning, tuning = recipes(method, args, budget, seed)
        smaller, share = pruned(method, network, seen, normalization, pruning)
        before = right(smaller)
        loss = taught_by(network, args.teacher) if args.teacher else None
        train(smaller, seen, tuning, normalization=normalization, loss=loss)
        seconds = process_time() - start
        return Row(budget, method, seed, before, right(smaller), share, count_parameters(smaller), seconds)

    print(
        f"{args.network}, {args.images or len(images)} images, {args.epochs} epochs of batches of {args.batch} "
        f"({args.mask_epochs} more for masks), teacher {args.teacher}; {len(test)} test images: {right(network):.2f} % "
        "before pruning"
    )
    print("\n| budget | method | seed | % right, pruned | fine-tuned | FLOPs left | parameters | CPU seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    done = rows_of(args)
    for budget in args.budgets:
        for method in args.methods:
            for seed in range(args.seeds):
                place = (budget, method, seed)
                if place not in done:
                    done[place] = measured(*place)
                    keep(done[place], args)
                row = done[place]
                print(
                    f"| {budget:.0%} | {method} | {seed} | {row.pruned:.2f} | {row.tuned:.2f} | {row.share:.1%} | "
                    f"{row.parameters:,} | {row.seconds:.0f} |",
                    flush=True,
                )
    print("\n| budget | method | % right, pruned | fine-tuned |")
    print("| --- | --- | --- | --- |")
    for budget in args.budgets:
        for method in args.methods:
            ends = [done[budget, method, seed] for seed in range(args.seeds)]
            means = " | ".join(spread(column, 1) for column in zip(*[(row.pruned, row.tuned) for row in ends], strict=True))
            print(f"| {budget:.0%} | {method} | {means} |")
    print(PUBLISHED)


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(args).items() if name not in NOT_SETTINGS}


def rows_of(args: argparse.Namespace) -> dict[tuple[float, str, int], Row]:
    """Read the rows of the same settings that an earlier run has left."""
    if args.results is None or not args.results.exists():
        return {}
    lines = [json.loads(line) for line in args.results.read_text().splitlines()]
    rows = [Row(*line["row"]) for line in lines if line["settings"] == settings_of(args)]
    return {(row.budget, row.method, row.seed): row for row in rows}


def keep(row: Row, args: argparse.Namespace) -> None:
    if args.results is not None:
        with args.results.open("a") as file:
            file.write(json.dumps({"settings": settings_of(args), "row": row}) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("resnet20", "resnet56"), default="resnet56")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=OURS)
    parser.add_argument("--budgets", nargs="+", type=float, default=(0.8, 0.65, 0.5, 0.35), help="shares of the FLOPs")
    parser.add_argument("--teacher", type=float, default=0.0, help="share of the network before in the loss of fine-tuning")
    parser.add_argument("--images", type=int, default=512, help="to train on; 0: all (default: %(default)s)")
    parser.add_argument("--test", type=int, default=1000, help="to test on; 0: all (default: %(default)s)")
    parser.add_argument("--mask-epochs", type=int, default=2, help="of cogd and gal, before fine-tuning")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--mask-stage-rate", type=float, default=0.002, help="learning rate of weights beside masks")
    parser.add_argument("--mask-rate", type=float, default=0.5, help="learning rate of masks")
    parser.add_argument("--sparsity", type=float, default=0.1)
    parser.add_argument("--label", type=float, default=0.0, help="weight of labels while masks are trained")
    parser.add_argument("--ranking", choices=("uniform", "global"), help="default: uniform for l1, else global")
    parser.add_argument("--keep", type=float, default=0.5, help="a of CoGD-a")
    parser.add_argument("--degree", type=int, default=1)
    parser.add_argument("--eta", type=float, default=0.1)
    parser.add_argument("--at-least", type=int, default=2, help="channels that each block keeps")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="all images, 100 + 100 epochs of batches of 128")
    parser.add_argument("--results", type=Path, metavar="FILE", help="rows are added to it, and taken from it")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    if args.full:
        args.images, args.test, args.mask_epochs, args.epochs, args.batch = 0, 0, 100, 100, 128
    data = os.environ.get("CSC_COGD_DATA")
    if not data:
        sys.exit("CSC_COGD_DATA is unset: it names the folder of research data that this benchmark reads")
    compare(args, Path(data))


if __name__ == "__main__":
    main()
