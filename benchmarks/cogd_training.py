"""Training with and without cogradient descent: ``CSC_COGD_DATA=FOLDER python benchmarks/cogd_training.py``.

A network (ResNet-20 here, ResNet-18 in the paper) is trained on some images of CIFAR-10 by one recipe, three ways: SGD,
and SGD with kernels backtracked against batch norm's scales once an epoch, by kernels of degree 1 and 2. For each seed,
which decides weights, order and augmentation, all three start the same. Printed are the accuracy on test images, each
seed's and as mean and standard deviation, how many kernels were moved in an epoch, and the published figures, from all of
CIFAR-10 and long training. --full takes all images and 200 epochs.

Without ``CSC_COGD_DATA``, it says so and does nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from time import perf_counter

import numpy as np
from paper_tables import spread

PUBLISHED = "Published, ResNet-18, all of CIFAR-10: SGD 95.31 %, CoGD k = 1 95.80 %, k = 2 96.10 %"


def compare(args: argparse.Namespace, data: Path) -> None:
    from csc_cogd.nn import (
        Augmentation,
        KernelBacktracking,
        Recipe,
        build_network,
        evaluate,
        load_images,
        measure_normalization,
        train,
        training_rule,
    )  # fmt: skip

    images, test = load_images(data / "cifar10", "train"), load_images(data / "cifar10", "test")
    normalization = measure_normalization(images)
    test = test.first(args.test) if args.test else test
    augmentation = Augmentation(crop=4, flip=True, cutout=8)
    print(
        f"{args.network}, {args.images or len(images)} images, {args.epochs} epochs of batches of {args.batch}, cosine from "
        f"{args.learning_rate}; {len(test)} test images; eta {args.eta}"
    )
    print("\n| method | seed | % right | kernels moved an epoch | seconds |\n| --- | --- | --- | --- | --- |")
    for degree in (0, 1, 2):
        name, ends = f"CoGD k = {degree}" if degree else "SGD", []
        for seed in range(args.seeds):
            start = perf_counter()
            seen = images.take(np.random.default_rng(seed).permutation(len(images))[: args.images or None])
            network = build_network(args.network, seed=seed).to(args.device)
            recipe = Recipe(
                args.epochs, batch_size=args.batch, learning_rate=args.learning_rate, weight_decay=5e-4,
                augmentation=augmentation, seed=seed,
            )  # fmt: skip
            hooks = [KernelBacktracking(training_rule(degree, args.eta))] if degree else []
            history = train(network, seen, recipe, normalization=normalization, hooks=hooks)
            ends.append(100 * evaluate(network, test, normalization=normalization).accuracy)
            moved = np.mean([epoch.figures.get("kernels_backtracked", 0) for epoch in history])
            seconds = perf_counter() - start
            print(f"| {name} | {seed} | {ends[-1]:.2f} | {moved:.0f} | {seconds:.0f} |", flush=True)
        print(f"| {name} | mean | {spread(ends, 1)} | | |", flush=True)
    print(f"\n{PUBLISHED}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--images", type=int, default=2000, help="to train on; 0: all (default: %(default)s)")
    parser.add_argument("--test", type=int, default=2000, help="to test on; 0: all (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--eta", type=float, default=0.1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--full", action="store_true", help="all images, 200 epochs of batches of 128")
    parser.add_argument("--device", default="auto")
    args = parser.parse_args()
    if args.full:
        args.images, args.test, args.epochs, args.batch = 0, 0, 200, 128
    data = os.environ.get("CSC_COGD_DATA")
    if not data:
        sys.exit("CSC_COGD_DATA is unset: it names the folder of research data that this benchmark reads")
    compare(args, Path(data))


if __name__ == "__main__":
    main()
