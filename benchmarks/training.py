"""Training here and in PyTorch: ``CSC_COGD_DATA=... python benchmarks/training.py``; needs torch (2.13, CPU).

The same network, ResNet-20, from the same random weights by the same recipe on the same batches, augmented alike: 2,000
images of CIFAR-10 to train on and 2,000 to test with, halved to 16 x 16 pixels. First, how far both are apart after a few
steps in double precision; in single precision, rounding makes them part soon. Then, per seed and side, the accuracy in the
test after the last epoch and the seconds of training, without tests; means, standard deviations, and the ratio of the times.

The budget is 8 epochs for each of three seeds: with both sides, a few minutes a seed. On a machine that others use too,
PyTorch is quickest with one thread.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from paper_tables import spread
from torch.nn.functional import cross_entropy

from csc_cogd.nn import (
    Augmentation,
    ImageSet,
    Module,
    Normalization,
    Recipe,
    batches,
    build_network,
    evaluate,
    load_images,
    measure_normalization,
    train,
)

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.nn.record_pytorch import ResNet


def halved(images: ImageSet, count: int) -> ImageSet:
    """The first images, each pixel the mean of four."""
    pixels = images.first(count).images
    assert isinstance(pixels, np.ndarray)
    n, height, width, channels = pixels.shape
    means = pixels.reshape(n, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))
    return replace(images.first(count), images=np.rint(means).astype(np.uint8))


def ours(
    network: Module, images: ImageSet, test: ImageSet, recipe: Recipe, normalization: Normalization
) -> tuple[float, float]:
    """Accuracy in the test, and seconds of training."""
    history = train(network, images, recipe, normalization=normalization)
    return evaluate(network, test, normalization=normalization).accuracy, sum(epoch.seconds for epoch in history)


def pytorchs(
    state: dict[str, np.ndarray], images: ImageSet, test: ImageSet, recipe: Recipe, normalization: Normalization
) -> tuple[float, float]:
    """As :func:`ours`, by PyTorch from the weights in `state`."""
    started = perf_counter()
    network = trained_by_pytorch(state, images, recipe, normalization).eval()
    seconds = perf_counter() - started
    right = 0
    with torch.no_grad():
        for x, labels in batches(test, 250, normalization=normalization):
            right += int((network(torch.as_tensor(x)).argmax(1).numpy() == labels).sum())
    return right / len(test), seconds


def trained_by_pytorch(
    state: dict[str, np.ndarray], images: ImageSet, recipe: Recipe, normalization: Normalization
) -> torch.nn.Module:
    """The network with the weights in `state`, trained in their dtype."""
    dtype = state["conv1.weight"].dtype
    network = ResNet((3, 3, 3), (16, 32, 64), padded=True).to(torch.as_tensor(state["conv1.weight"]).dtype)
    network.load_state_dict({key: torch.as_tensor(array) for key, array in state.items()}, strict=False)
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, recipe.momentum, nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )  # fmt: skip
    for epoch in range(recipe.epochs):
        fed = batches(
            images, recipe.batch_size, normalization=normalization, rng=np.random.default_rng([recipe.seed, epoch]),
            augmentation=recipe.augmentation, dtype=dtype,
        )  # fmt: skip
        for number, (x, labels) in enumerate(fed):
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate_at(epoch + number / recipe.batches(len(images)))
            logits = network(torch.as_tensor(x))
            loss = cross_entropy(logits, torch.as_tensor(labels), label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def distance(images: ImageSet, recipe: Recipe, normalization: Normalization) -> float:
    """How far both sides' arrays are apart at most, over the largest value of each, after 16 steps in double precision."""
    few, short = images.first(256), replace(recipe, epochs=4, batch_size=64)
    network = build_network("resnet20").to("cpu", "float64")
    state = network.state_dict()
    train(network, few, short, normalization=normalization)
    theirs = trained_by_pytorch(state, few, short, normalization).state_dict()
    found = network.state_dict().items()
    return max(float(np.abs(array - theirs[key].numpy()).max() / np.abs(array).max()) for key, array in found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    folder = Path(os.environ["CSC_COGD_DATA"]) / "cifar10"
    images, test = (halved(load_images(folder, part), 2000) for part in ("train", "test"))
    normalization = measure_normalization(images)
    recipe = Recipe(
        arguments.epochs, learning_rate=0.1, nesterov=True, weight_decay=5e-4, warm_up=1, label_smoothing=0.1,
        augmentation=Augmentation(crop=2, flip=True),
    )  # fmt: skip
    print(f"PyTorch {torch.__version__}, {arguments.threads} threads; {recipe}")
    apart = distance(images, recipe, normalization)
    print(f"In double precision, weights and statistics are within {apart:.0e} of each other after 16 steps.")
    print("| seed | csc-cogd, % right | PyTorch, % right | csc-cogd, s | PyTorch, s | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = []
    for seed in range(arguments.seeds):
        network, of_seed = build_network("resnet20", seed=seed), replace(recipe, seed=seed)
        state = network.state_dict()
        accuracy, seconds = ours(network, images, test, of_seed, normalization)
        other_accuracy, other_seconds = pytorchs(state, images, test, of_seed, normalization)
        rows.append((100 * accuracy, 100 * other_accuracy, seconds, other_seconds, seconds / other_seconds))
        print(f"| {seed} | " + " | ".join(f"{value:.2f}" for value in rows[-1]) + " |", flush=True)
    print("| mean ± standard deviation | " + " | ".join(spread(column, 2) for column in np.transpose(rows)) + " |")


if __name__ == "__main__":
    main()
