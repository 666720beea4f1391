"""Networks that people bring, read, pruned and written again: ``python benchmarks/architectures.py``.

Each network of torchvision, with random weights, and statistics of batch norm that are no longer 0 and 1, is exported as
ONNX by PyTorch and read from there; ResNet, MobileNetV2 and VGG are also read from their state dict, by the table of names.
It is compared with PyTorch; pruned to 60 % of its FLOPs by the group norm, wherever channels can go; written as ONNX; and
that is compared by onnxruntime. Printed are the largest differences of logits, relative to the largest logit; it fails if
one is above 1e-5.

Needs PyTorch and torchvision: ``pip install torch torchvision 'csc-cogd[onnx]'``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torchvision

from csc_cogd.nn import (
    FlopsModel,
    Tensor,
    channel_groups,
    channel_scores,
    export_onnx,
    import_onnx,
    keep_within,
    load_network,
    no_grad,
    remove_channels,
)
from csc_cogd.nn.saving import save_checkpoint

NETWORKS = ("resnet18", "mobilenet_v2", "vgg11_bn", "densenet121", "squeezenet1_1", "efficientnet_b0")
BY_NAMES = ("resnet18", "mobilenet_v2", "vgg11_bn")
SHAPE = (3, 224, 224)
BUDGET, TOLERANCE = 0.6, 1e-5


def peer(name: str, rng: np.random.Generator) -> Any:
    """A network in inference, after some batches of training have moved its statistics."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None, num_classes=1000)
    with torch.no_grad():
        for _ in range(3):
            network(torch.tensor(rng.standard_normal((4, *SHAPE), np.float32)))
    return network.eval()


def computed(network: Any, x: np.ndarray) -> np.ndarray:
    with no_grad(), network.evaluating():
        return network(Tensor(x)).array


def by_onnxruntime(path: Path, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def difference(found: np.ndarray, expected: np.ndarray) -> float:
    return float(abs(found - expected).max() / abs(expected).max())


def by_names(theirs: Any, x: np.ndarray, folder: Path) -> np.ndarray:
    save_checkpoint({name: one.numpy() for name, one in theirs.state_dict().items()}, folder / "a.safetensors")
    return computed(load_network(folder / "a.safetensors"), x)


def differences(name: str, folder: Path) -> tuple[list[float | None], float]:
    """By names, from ONNX, and pruned; and the share of FLOPs that is left then."""
    rng = np.random.default_rng(0)
    theirs, x = peer(name, rng), rng.standard_normal((2, *SHAPE), np.float32)
    with torch.no_grad():
        expected = theirs(torch.tensor(x)).numpy()
    torch.onnx.export(theirs, (torch.tensor(x),), folder / "a.onnx", dynamo=False)
    network = import_onnx(folder / "a.onnx").network
    scores = channel_scores(network, channel_groups(network, image_shape=SHAPE), "group")
    model = FlopsModel(network, image_shape=SHAPE)
    kept = keep_within(model, scores, BUDGET, ranking="global")
    smaller = remove_channels(network, kept, image_shape=SHAPE)
    export_onnx(smaller, folder / "b.onnx", image_shape=SHAPE)
    found = [
        difference(by_names(theirs, x, folder), expected) if name in BY_NAMES else None,
        difference(computed(network, x), expected),
        difference(by_onnxruntime(folder / "b.onnx", x), computed(smaller, x)),
    ]
    return found, model.flops({name: len(channels) for name, channels in kept.items()}) / model.flops()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", nargs="+", choices=NETWORKS, default=NETWORKS)
    failed = []
    print("| network | by names, from PyTorch | from ONNX, from PyTorch | FLOPs left | pruned, from onnxruntime |")
    print("| --- | --- | --- | --- | --- |")
    for name in parser.parse_args().network:
        with tempfile.TemporaryDirectory() as folder:
            found, share = differences(name, Path(folder))
        texts = ["" if one is None else f"{one:.1e}" for one in found]
        print(f"| {name} | {texts[0]} | {texts[1]} | {share:.1%} | {texts[2]} |", flush=True)
        failed += [name] if max(one or 0 for one in found) > TOLERANCE else []
    if failed:
        sys.exit(f"above {TOLERANCE}: {', '.join(failed)}")


if __name__ == "__main__":
    main()
