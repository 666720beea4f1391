"""A training step beside PyTorch's and beside the machine's limit: ``python benchmarks/training_step.py``.

Forward pass, cross entropy, backward pass and the update of plain SGD, float32, on random images of 32 x 32. Both sides
have the same weights, batch, processors and number of threads, and take turns; the ratio is that of the medians. Before
that their losses over some steps are compared in double precision, so that both are known to do the same. PyTorch's side is
made from our tape.

The floor is the larger of two times: the step's multiply-adds, three products for each convolution (but for the first one's
gradient of the images), at the rate of a large product of matrices on the same threads; and the bytes of all
feature maps, once written and once read in each direction, at the rate of a large copy.

With ``--clock processor`` and ``--threads 1`` it is processor time that is compared: on machines that others use, where
threads that wait for each other, as PyTorch's do, lose more than the time that others take.

Memory is the peak of a process that takes three steps, less what it has when the network is made: a child for each side.

Needs PyTorch: ``pip install torch==2.13.0``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from csc_cogd.nn import Module, Tensor, build_network
from csc_cogd.nn.flops import flops_by_layer
from csc_cogd.nn.functions import cross_entropy
from csc_cogd.nn.tensor import history

NETWORKS = ("resnet20", "resnet56", "resnet18", "mobilenetv2")
RATE = 0.01


def our_step(network: Module, images: np.ndarray, labels: np.ndarray) -> Callable[[], float]:
    parameters = network.parameters()

    def step() -> float:
        network.zero_grad()
        loss = cross_entropy(network(Tensor(images)), labels)
        loss.backward(release=True)
        for parameter in parameters:
            parameter.array -= RATE * parameter.grad
        return float(loss)

    return step


def peer_step(
    network: Module, images: np.ndarray, labels: np.ndarray, threads: int, device: str = "cpu", channels_last: bool = False,
    **settings: float,
) -> Callable[[], Any]:  # fmt: skip
    """PyTorch's step of the same network, on the CPU, whose operations are read from our tape; it returns the loss.

    `settings` are SGD's, beyond the learning rate.
    """
    import torch
    import torch.nn.functional as F  # noqa: N812

    torch.set_num_threads(threads)

    def placed(array: np.ndarray) -> Any:
        tensor = torch.tensor(array, device=device)
        return tensor.to(memory_format=torch.channels_last) if channels_last and tensor.ndim == 4 else tensor

    parameters = {p: placed(p.array).requires_grad_() for p in network.parameters()}
    x, y = placed(images), placed(labels)
    source = Tensor(images[:2], requires_grad=True)
    order = history(network(source))
    optimizer = torch.optim.SGD(parameters.values(), RATE, **settings)
    running = {t: (x.new_zeros(t.shape[1]), x.new_ones(t.shape[1])) for t in order if t.made_by.name == "batch_norm"}

    def call(tensor: Tensor, given: list[Any]) -> Any:
        name, settings = tensor.made_by
        match name:
            case "conv2d":
                return F.conv2d(*given, **settings)
            case "batch_norm":
                return F.batch_norm(given[0], *running[tensor], *given[1:], training=True)
            case "relu":
                return F.relu(given[0])
            case "add":
                return given[0] + given[1]
            case "linear":
                return F.linear(*given)
            case "global_avg_pool2d":
                return given[0].mean((2, 3), keepdim=settings["keep"])
            case "subsample_and_pad":
                more = (settings["channels"] - given[0].shape[1]) // 2
                return F.pad(given[0][:, :, :: settings["stride"], :: settings["stride"]], (0, 0, 0, 0, more, more))
        raise SystemExit(f"operation {name!r} of our tape has no counterpart here: add it to peer_step")

    def step() -> float:
        optimizer.zero_grad()
        values: dict[Tensor, Any] = {source: x, **parameters}
        for tensor in order:
            if tensor.made_by.name:
                values[tensor] = call(tensor, [values[parent] for parent in tensor.parents])
        loss = F.cross_entropy(values[order[-1]], y)
        del values
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def seconds(function: Callable[[], Any], clock: str) -> float:
    start = CLOCKS[clock]()
    function()
    return CLOCKS[clock]() - start


def floor(network: Module, batch: int, threads: int, clock: str) -> tuple[float, float]:
    """Seconds by multiply-adds, and by bytes of feature maps."""
    import torch

    torch.set_num_threads(threads)
    a, b = torch.rand(1536, 1536), torch.rand(1536, 1536)
    rate = 2 * 1536**3 / min(seconds(lambda: a @ b, clock) for _ in range(10))
    large = torch.rand(2**26)
    other = torch.empty_like(large)
    bandwidth = 8 * 2**26 / min(seconds(lambda: other.copy_(large), clock) for _ in range(5))
    products, moved = work(network, batch)
    return 2 * products / rate, moved / bandwidth


def work(network: Module, batch: int) -> tuple[float, float]:
    """Multiply-adds of a step, and bytes of feature maps that are written and read."""
    flops = flops_by_layer(network)
    output = network(Tensor(np.zeros((2, 3, 32, 32), np.float32)))
    maps = sum(np.prod(one.shape) * 4 for one in history(output) if one.made_by.name) * batch / 2
    return (3 * sum(flops.values()) - next(iter(flops.values()))) * batch, 4 * maps


def peak(side: str, arguments: argparse.Namespace, name: str) -> int:
    """Bytes that three steps need, measured in a child."""
    given = ["--child", side, "--network", name, "--batch", str(arguments.batch), "--threads", str(arguments.threads)]
    return int(subprocess.run([sys.executable, __file__, *given], check=True, capture_output=True).stdout)


def highest() -> int:
    """The most memory that this process had."""
    with open("/proc/self/status") as file:
        return 1024 * next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))


def problem(name: str, batch: int) -> tuple[Module, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return build_network(name), rng.standard_normal((batch, 3, 32, 32), np.float32), rng.integers(0, 10, batch)


def compare_losses(name: str, threads: int) -> None:
    """In single precision, rounding grows too fast for it: in MobileNetV2 to 0.4 % in three steps."""
    network, images, labels = problem(name, 8)
    network, images = network.to("cpu", "float64"), images.astype(np.float64)
    ours, peer = our_step(network, images, labels), peer_step(network, images, labels, threads)
    losses = np.array([(ours(), float(peer())) for _ in range(3)])
    if not np.allclose(losses[:, 0], losses[:, 1], rtol=1e-9):
        raise SystemExit(f"{name}: losses differ, so the sides don't do the same: {losses.tolist()}")


def child(side: str, name: str, batch: int, threads: int) -> None:
    network, images, labels = problem(name, batch)
    small = (network, images[:2], labels[:2])
    warm = our_step(*small) if side == "ours" else peer_step(*small, threads)
    warm()
    before = highest()
    step = our_step(network, images, labels) if side == "ours" else peer_step(network, images, labels, threads)
    for _ in range(3):
        step()
    print(highest() - before)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=9, help="of each side that are measured")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="processor: only with one thread")
    parser.add_argument("--child", choices=("ours", "peer"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.clock == "processor" and arguments.threads > 1:
        parser.error("--clock processor: it adds up the threads' times: use --threads 1")
    if arguments.batch < 2 or arguments.steps < 1:
        parser.error("--batch and --steps: at least 2 images, for batch norm, and 1 step are needed")
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.threads])
    if arguments.child:
        child(arguments.child, arguments.network[0], arguments.batch, arguments.threads)
        return
    print("| network | ours ms | PyTorch ms | ratio | floor ms: products, bytes | ours / floor | peak MB: ours, PyTorch |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in arguments.network:
        compare_losses(name, arguments.threads)
        network, images, labels = problem(name, arguments.batch)
        peer = peer_step(network, images, labels, arguments.threads)
        ours = our_step(network, images, labels)
        for step in (ours, peer):
            step()
        times = np.array([(seconds(ours, arguments.clock), seconds(peer, arguments.clock)) for _ in range(arguments.steps)])
        mine, theirs = np.median(times, axis=0)
        products, moved = floor(network, arguments.batch, arguments.threads, arguments.clock)
        memory = [peak(side, arguments, name) / 1e6 for side in ("ours", "peer")]
        print(
            f"| {name} | {1e3 * mine:.0f} | {1e3 * theirs:.0f} | {mine / theirs:.2f} | {1e3 * products:.0f}, "
            f"{1e3 * moved:.0f} | {mine / max(products, moved):.1f} | {memory[0]:.0f}, {memory[1]:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
