"""Record what PyTorch computes, for the tests: ``CSC_COGD_DATA=... PYTHONPATH=. python tests/nn/record_pytorch.py``.

Needs torch (2.13.0, CPU), numpy, safetensors and pillow; nothing of csc_cogd is used. The networks are written here once
more, on PyTorch's layers, with the names of their parameters in the code that is commonly used.
"""

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file
from torch import nn

from tests.nn.cases import CASES, NETWORKS, RECORD, cifar_test_images, filled, images


def subsample_and_pad(x, channels):
    zeros = (channels - x.shape[1]) // 2
    return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, zeros, zeros))


def distillation(x, teacher_logits, temperature):
    ours, theirs = F.log_softmax(x / temperature, 1), F.softmax(teacher_logits / temperature, 1)
    return F.kl_div(ours, theirs, reduction="batchmean") * temperature**2


FUNCTIONS = {
    "conv2d": F.conv2d,
    "linear": F.linear,
    "relu": F.relu,
    "relu6": F.relu6,
    "soft_mask": lambda x, mask: x * mask[:, None, None],
    "max_pool2d": lambda x, kernel, stride, padding: F.max_pool2d(x, kernel, stride, padding),
    "avg_pool2d": lambda x, kernel, stride=None: F.avg_pool2d(x, kernel, stride),
    "global_avg_pool2d": lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1),
    "subsample_and_pad": subsample_and_pad,
    "cross_entropy": lambda x, labels, label_smoothing=0.0: F.cross_entropy(x, labels, label_smoothing=label_smoothing),
    "mse": F.mse_loss,
    "binary_cross_entropy_with_logits": lambda x, targets: F.binary_cross_entropy_with_logits(x, targets),
    "distillation": distillation,
}


def record_function(name, generator):
    function, shapes, settings = CASES[name]
    scale = 4 if function in ("relu6", "binary_cross_entropy_with_logits") else 1  # so that it bends
    tensors = {key: torch.randn(shape, generator=generator) * scale for key, shape in shapes.items()}
    for tensor in tensors.values():
        tensor.requires_grad = True
    others = {key: torch.as_tensor(value) if isinstance(value, np.ndarray) else value for key, value in settings.items()}
    y = FUNCTIONS[function](*tensors.values(), **others)
    dy = torch.randn(y.shape, generator=generator)
    y.backward(dy)
    found = {**tensors, "y": y, "dy": dy, **{f"d{key}": tensor.grad for key, tensor in tensors.items()}}
    return {f"{name}/{key}": tensor.detach().numpy() for key, tensor in found.items()}


def record_batch_norm(generator):
    """Two steps of training, then inference; of each, the output and the gradients."""
    layer = nn.BatchNorm2d(4)
    layer.load_state_dict(
        {key: torch.rand(4, generator=generator) + 0.5 for key in list(layer.state_dict())[:4]}, strict=False
    )
    found = {f"batch_norm/{key}": value.numpy().copy() for key, value in list(layer.state_dict().items())[:4]}
    for step, training in enumerate((True, True, False)):
        x = torch.randn((3, 4, 5, 5), generator=generator) * 2 + 1
        x.requires_grad = True
        layer.train(training).zero_grad()
        y = layer(x)
        dy = torch.randn(y.shape, generator=generator)
        y.backward(dy)
        arrays = {
            "x": x, "y": y, "dy": dy, "dx": x.grad, "dweight": layer.weight.grad, "dbias": layer.bias.grad,
            "mean": layer.running_mean, "var": layer.running_var,
        }  # fmt: skip
        found |= {f"batch_norm/{step}/{key}": array.detach().numpy().copy() for key, array in arrays.items()}
    return found


class Padded(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.channels = channels

    def forward(self, x):
        return subsample_and_pad(x, self.channels)


def conv(c, o, k, stride=1, groups=1):
    return nn.Conv2d(c, o, k, stride, k // 2, groups=groups, bias=False)


class Block(nn.Module):
    """Of ResNets, and of MobileNetV2: convolutions of these kernels, and a shortcut of that name."""

    def __init__(self, channels, kernels, strides, name, shortcut, depthwise=False, last=True):
        super().__init__()
        self.count, self.name, self.last = len(kernels), name, last
        for i, (c, o, k, s) in enumerate(zip(channels[:-1], channels[1:], kernels, strides, strict=True), start=1):
            setattr(self, f"conv{i}", conv(c, o, k, s, groups=o if depthwise and k == 3 else 1))
            setattr(self, f"bn{i}", nn.BatchNorm2d(o))
        setattr(self, name, shortcut)

    def forward(self, x):
        y, shortcut = x, getattr(self, self.name)
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = F.relu(y) if i < self.count else y
        y = y if shortcut is None else y + shortcut(x)
        return F.relu(y) if self.last else y


def projected(c, o, stride):
    return nn.Sequential(conv(c, o, 1, stride), nn.BatchNorm2d(o))


class ResNet(nn.Module):
    def __init__(self, blocks, widths, bottleneck=False, padded=False, imagenet=False):
        super().__init__()
        c = widths[0]
        self.conv1 = nn.Conv2d(3, c, 7, 2, 3, bias=False) if imagenet else conv(3, c, 3)
        self.bn1 = nn.BatchNorm2d(c)
        self.stages, self.head, self.imagenet = len(widths), "fc" if imagenet else "linear", imagenet
        for number, (width, count) in enumerate(zip(widths, blocks, strict=True), start=1):
            made = []
            for first in [True] + [False] * (count - 1):
                s, o = 2 if first and number > 1 else 1, width * 4 if bottleneck else width
                shortcut = nn.Identity() if (s, c) == (1, o) else Padded(o) if padded else projected(c, o, s)
                if bottleneck:
                    made.append(Block((c, width, width, o), (1, 3, 1), (1, s, 1), "downsample", shortcut))
                else:
                    made.append(Block((c, o, o), (3, 3), (s, 1), "shortcut", shortcut))
                c = o
            setattr(self, f"layer{number}", nn.Sequential(*made))
        setattr(self, self.head, nn.Linear(c, 10))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, 1) if self.imagenet else x
        for number in range(1, self.stages + 1):
            x = getattr(self, f"layer{number}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = conv(3, 32, 3), nn.BatchNorm2d(32)
        made, c = [], 32
        table = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
        for t, o, count, stride in table:
            for s in [stride] + [1] * (count - 1):
                shortcut = None if s == 2 else nn.Identity() if c == o else projected(c, o, 1)
                made.append(Block((c, t * c, t * c, o), (1, 3, 1), (1, s, 1), "shortcut", shortcut, True, False))
                c = o
        self.layers = nn.Sequential(*made)
        self.conv2, self.bn2, self.linear = conv(320, 1280, 1), nn.BatchNorm2d(1280), nn.Linear(1280, 10)

    def forward(self, x):
        x = self.layers(F.relu(self.bn1(self.conv1(x))))
        return self.linear(F.relu(self.bn2(self.conv2(x))).mean((2, 3)))


MAKERS = {
    "resnet20": lambda: ResNet((3, 3, 3), (16, 32, 64), padded=True),
    "resnet18": lambda: ResNet((2, 2, 2, 2), (64, 128, 256, 512)),
    "mobilenetv2": MobileNetV2,
    "resnet50": lambda: ResNet((3, 4, 6, 3), (64, 128, 256, 512), bottleneck=True, imagenet=True),
}


def shapes_of(network):
    return {key: tuple(v.shape) for key, v in network.state_dict().items() if not key.endswith("num_batches_tracked")}


def record_network(name):
    """Names and shapes of the state, logits in inference; loss, some gradients and statistics of a step of training."""
    network = MAKERS[name]().double().eval()
    shapes = shapes_of(network)
    network.load_state_dict({key: torch.as_tensor(v) for key, v in filled(shapes).items()}, strict=False)
    x = torch.as_tensor(images(4, NETWORKS[name]))
    with torch.no_grad():
        logits = network(x)
    loss = F.cross_entropy(network.train()(x), torch.arange(4), label_smoothing=0.1)
    loss.backward()
    gradients = dict(network.named_parameters())
    kept = ("conv1.weight", "bn1.bias", list(gradients)[-1])
    found = {"state": np.array([f"{key} {shape}" for key, shape in shapes.items()]), "logits": logits, "loss": loss.detach()}
    found |= {f"d{key}": gradients[key].grad for key in kept}
    found |= {key: value for key, value in network.state_dict().items() if key == "bn1.running_var"}
    return {f"{name}/{key}": np.asarray(value) for key, value in found.items()}


def record_pretrained(folder):
    found = {}
    for depth, count in ((20, 500), (56, 64)):
        network = ResNet((depth // 6,) * 3, (16, 32, 64), padded=True).eval()
        network.load_state_dict(load_file(folder / "weights" / f"resnet{depth}_cifar10.safetensors"), strict=False)
        x, labels = cifar_test_images(folder, count)
        with torch.no_grad():
            logits = network(torch.as_tensor(x)).numpy()
        found[f"resnet{depth} logits"] = logits[:64]
        found[f"resnet{depth} predictions"] = logits.argmax(1).astype(np.uint8)
        print(f"resnet{depth}: {np.mean(logits.argmax(1) == labels):.2%} of {count} images; "
              f"least margin {np.diff(np.sort(logits, 1)[:, -2:]).min():.4f}")  # fmt: skip
    return found


def main():
    generator = torch.Generator().manual_seed(0)
    found = {"torch": np.array(torch.__version__)}
    for name in CASES:
        found |= record_function(name, generator)
    found |= record_batch_norm(generator)
    for name in NETWORKS:
        found |= record_network(name)
    found |= record_pretrained(Path(os.environ["CSC_COGD_DATA"]))
    np.savez_compressed(
        RECORD, **{key: value.astype(np.float32) if value.dtype == "f8" else value for key, value in found.items()}
    )
    print(RECORD, RECORD.stat().st_size)


if __name__ == "__main__":
    main()
