"""Training on a GPU beside PyTorch's on the same card, and beside the card's limits: ``python benchmarks/gpu_training.py``.

A step is forward pass, cross entropy, backward pass and SGD with momentum, on random images of 32 x 32 that are on the card.
In mixed precision both sides round to TF32, in float32 neither does. PyTorch runs with images channels first and last, of
which the faster one counts, and its convolutions are tuned (``torch.backends.cudnn.benchmark``). Before that the losses of
both sides over some steps are compared. Times are the medians of steps that are queued several at a time, as in training.

The limits are multiply-adds, three products for each convolution, at the rate of a large product of matrices in that
precision; and bytes of all feature maps, written and read once in each direction, at the rate of a large copy.

An epoch is one of `csc_cogd.nn.train` on 50,000 random images with shifts and mirroring, data included, when kernels are
compiled.

Needs a GPU and CuPy (``pip install 'csc-cogd[cuda13]'``); for the peer PyTorch with CUDA.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
from gpu import copy_bandwidth, seconds
from training_step import NETWORKS, RATE, peer_step, problem, work

from csc_cogd.nn import SGD, Augmentation, ImageSet, Module, Normalization, Recipe, Tensor, build_network, train
from csc_cogd.nn.functions import cross_entropy

SETTINGS = {"momentum": 0.9, "weight_decay": 1e-4}


def our_step(network: Module, images: Any, labels: Any) -> Callable[[], Any]:
    optimizer = SGD(dict(network.named_parameters()), RATE, **SETTINGS)

    def step() -> Any:
        network.zero_grad()
        loss = cross_entropy(network(Tensor(images)), labels)
        loss.backward()
        optimizer.step()
        return loss.array

    return step


def milliseconds(step: Callable[[], Any], wait: Callable[[], Any], repetitions: int, queued: int = 10) -> float:
    """Of a step: the median over some times of several that are queued before the card is waited for."""
    times = []
    for _ in range(repetitions + 1):
        wait()
        started = time.perf_counter()
        for _ in range(queued):
            step()
        wait()
        times.append(1e3 * (time.perf_counter() - started) / queued)
    return float(np.median(times[1:]))


def peers(name: str, batch: int, mixed: bool) -> dict[str, Callable[[], Any]]:
    """PyTorch's steps, images channels first and last; none where it isn't installed."""
    if find_spec("torch") is None:
        return {}
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = mixed
    torch.backends.cudnn.benchmark = True
    given = problem(name, batch)
    return {
        layout: peer_step(*given, threads=1, device="cuda", channels_last=layout == "last", **SETTINGS)
        for layout in ("first", "last")
    }


def product_rate(cupy: Any) -> float:
    """Multiply-adds a second of a product of matrices, 8192 on a side, by cuBLAS."""
    a = cupy.ones((8192, 8192), np.float32)
    return 8192**3 / min(seconds(cupy, lambda: a @ a) for _ in range(5))


def epoch(network: str, precision: str) -> float:
    """Seconds of training on 50,000 images once."""
    rng = np.random.default_rng(0)
    images = ImageSet(rng.integers(0, 256, (50_000, 32, 32, 3), np.uint8), rng.integers(0, 10, 50_000), tuple("0123456789"))
    recipe = Recipe(2, learning_rate=RATE, augmentation=Augmentation(crop=4, flip=True), precision=precision)
    half = Normalization((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    return train(build_network(network).to("cuda"), images, recipe, normalization=half)[-1].seconds


def main() -> None:
    from csc_cogd import DeviceError
    from csc_cogd.backend import computing_in
    from csc_cogd.backend.cuda.device import describe_device, open_device

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=("mixed", "float32"), default="mixed")
    parser.add_argument("--repetitions", type=int, default=9, help="of ten steps each, that are measured")
    parser.add_argument("--no-epoch", action="store_true", help="leave out the epoch of ResNet-56")
    arguments = parser.parse_args()
    try:
        name = describe_device(open_device("cuda"))
    except DeviceError as error:
        raise SystemExit(str(error)) from None
    mixed = arguments.precision == "mixed"
    os.environ["CUPY_TF32"] = str(int(mixed))  # of the product that is the limit; CuPy reads it at its first product
    import cupy

    bandwidth, rate = copy_bandwidth(cupy), product_rate(cupy)
    wait = cupy.cuda.Device().synchronize
    print(f"{name}; a copy moves {bandwidth / 1e9:.0f} GB/s, a product takes {rate / 1e12:.0f} T multiply-adds/s")
    print(f"batch {arguments.batch}, {arguments.precision}\n")
    print("| network | ours ms | PyTorch ms (channels) | ours / PyTorch | limits ms: products, bytes | share of the limit |")
    print("| --- | --- | --- | --- | --- | --- |")
    for network_name in arguments.network:
        network, images, labels = problem(network_name, arguments.batch)
        products, moved = work(network, arguments.batch)
        network.to("cuda")
        ours = our_step(network, cupy.asarray(images), cupy.asarray(labels))
        steps = peers(network_name, arguments.batch, mixed)
        with computing_in(arguments.precision, network.parameters()[0].array):
            losses = [[float(step()) for _ in range(3)] for step in (ours, *steps.values())]
            if not np.allclose(losses, losses[0], rtol=1e-2):
                raise SystemExit(f"{network_name}: losses differ, so the sides don't do the same: {losses}")
            mine = milliseconds(ours, wait, arguments.repetitions)
        theirs = {layout: milliseconds(step, wait, arguments.repetitions) for layout, step in steps.items()}
        best = min(theirs, key=theirs.__getitem__, default="")
        peer = f"{theirs[best]:.2f} ({best}) | {mine / theirs[best]:.2f}" if theirs else "- | -"
        limits = 1e3 * products / rate, 1e3 * moved / bandwidth
        print(
            f"| {network_name} | {mine:.2f} | {peer} | {limits[0]:.2f}, {limits[1]:.2f} | {max(limits) / mine:.0%} |",
            flush=True,
        )
    if not arguments.no_epoch:
        took = epoch("resnet56", arguments.precision)
        print(f"\nan epoch of resnet56 on 50,000 images: {took:.1f} s, data included")


if __name__ == "__main__":
    main()
