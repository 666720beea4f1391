"""Prune a trained network by four methods to one budget: ``CSC_COGD_DATA=FOLDER python benchmarks/pruning.py``.

The pretrained ResNet-56 (or --network resnet20) of `CSC_COGD_DATA` is pruned to a fraction of its FLOPs, by

- CoGD: soft masks trained against the network as a teacher, backtracked once an epoch;
- GAL: the same, with the same seeds, without backtracking;
- l1: the same fraction of the first convolutions of all blocks, by the l1 norm of kernels;
- group: all these channels ranked together by the norm of all that belongs to them (as DepGraph does).

All see as many batches of as many images in all: what the first two train masks with, the last two have for fine-tuning on
top. Printed are, for each seed and as mean and standard deviation, the accuracy on test images before and after fine-tuning,
with the FLOPs and parameters that are left, and the network's own accuracy on the same images above them; published figures,
from whole CIFAR-10 and 100 epochs on a GPU, are below. --full takes these epochs and all images.

Without ``CSC_COGD_DATA``, it says so and does nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from paper_tables import spread

PUBLISHED = """
Published, ResNet-56, all of CIFAR-10, baseline 93.26 %:

| method | pruned | fine-tuned | FLOPs |
| --- | --- | --- | --- |
| CoGD-0.5 | 92.38 | 92.95 | 48.90 M |
| GAL-0.8 | 90.36 | 91.58 | 49.99 M |
| DepGraph | | 93.64 | 2.57 x fewer |"""
METHODS = ("cogd", "gal", "l1", "group")


def recipes(method: str, args: argparse.Namespace, seed: int) -> tuple[Any, Any]:
    """How a method prunes, and how what it leaves is fine-tuned: with the same batches in all."""
    from csc_cogd.nn import AdversarialLoss, Augmentation, PruningRecipe, Recipe, pruning_rule

    augmentation = Augmentation(crop=4, flip=True)
    common = {"batch_size": args.batch, "weight_decay": 2e-4, "augmentation": augmentation, "seed": seed}
    masked = method in ("cogd", "gal")
    epochs = args.epochs if masked else args.mask_epochs + args.epochs
    tuning = Recipe(epochs, learning_rate=args.learning_rate, schedule="cosine", **common)
    masks = Recipe(args.mask_epochs, learning_rate=args.mask_stage_rate, schedule="constant", **common)
    pruning = PruningRecipe(
        method, budget=args.budget, masks=masks if masked else None, at_least=args.at_least,
        loss=AdversarialLoss(args.sparsity, label=args.label, mask_learning_rate=args.mask_rate), ranking=args.ranking,
        cogd=pruning_rule(args.keep, args.degree, args.eta) if method == "cogd" else None,
    )  # fmt: skip
    return pruning, tuning


def compare(args: argparse.Namespace, data: Path) -> None:
    from csc_cogd.nn import Normalization, evaluate, load_checkpoint, load_images, load_network, prune, train

    weights = next((data / "weights").glob(f"*{args.network}*.safetensors"))
    network, about = load_network(weights, args.network).to(args.device), load_checkpoint(weights)[1]
    normalization = Normalization(about["norm_mean"], about["norm_std"])
    images, test = load_images(data / "cifar10", "train"), load_images(data / "cifar10", "test")
    test = test.first(args.test) if args.test else test
    own = evaluate(network, test, normalization=normalization).accuracy
    print(
        f"{args.network}, {args.images or len(images)} images, {args.mask_epochs} + {args.epochs} epochs of batches of "
        f"{args.batch}; {len(test)} test images: {100 * own:.2f} % before pruning"
    )
    print("\n| method | seed | % right, pruned | fine-tuned | FLOPs | parameters | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for method in args.methods:
        ends = []
        for seed in range(args.seeds):
            start = perf_counter()
            chosen = np.random.default_rng(seed).permutation(len(images))
            seen = images.take(chosen[: args.images]) if args.images else images
            pruning, tuning = recipes(method, args, seed)
            done = prune(network, seen, pruning, normalization=normalization)
            pruned = evaluate(done.network, test, normalization=normalization).accuracy
            train(done.network, seen, tuning, normalization=normalization)
            ends.append((100 * pruned, 100 * evaluate(done.network, test, normalization=normalization).accuracy))
            left = f"{done.after.flops / 1e6:.2f} M, {done.after.flops / done.before.flops:.1%} | {done.after.parameters:,}"
            accuracies = " | ".join(f"{accuracy:.2f}" for accuracy in ends[-1])
            print(f"| {method} | {seed} | {accuracies} | {left} | {perf_counter() - start:.0f} |", flush=True)
            for epoch in (done.masks or ()) if args.verbose else ():
                print(f"masks, epoch {epoch.epoch}: loss {epoch.loss:.3f}, {dict(epoch.figures)}", file=sys.stderr)
        print(f"| {method} | mean | {' | '.join(spread(column, 1) for column in np.transpose(ends))} | | | |", flush=True)
    print(PUBLISHED)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=("resnet20", "resnet56"), default="resnet56")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS)
    parser.add_argument("--budget", type=float, default=0.5, help="of the FLOPs (default: %(default)s)")
    parser.add_argument("--images", type=int, default=512, help="to train on; 0: all (default: %(default)s)")
    parser.add_argument("--test", type=int, default=500, help="to test on; 0: all (default: %(default)s)")
    parser.add_argument("--mask-epochs", type=int, default=2)
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
    parser.add_argument("--device", default="auto")
    parser.add_argument("-v", "--verbose", action="store_true")
    args = parser.parse_args()
    if args.full:
        args.images, args.test, args.mask_epochs, args.epochs, args.batch = 0, 0, 100, 100, 128
    data = os.environ.get("CSC_COGD_DATA")
    if not data:
        sys.exit("CSC_COGD_DATA is unset: it names the folder of research data that this benchmark reads")
    compare(args, Path(data))


if __name__ == "__main__":
    main()
