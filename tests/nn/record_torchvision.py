"""Record what other people's networks are called and compute: ``PYTHONPATH=. python tests/nn/record_torchvision.py``.

Needs torch, torchvision, timm, numpy; nothing of csc_cogd is used but the arrays of `cases.py`. chenyaofo's ResNets are
written here once more, on torchvision's blocks, with the names of their parameters.
"""

from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock

from tests.nn.cases import filled, images


def size_of(name):
    """Height and width of images."""
    return 32 if "vgg" in name else 64


class CifarResNet(nn.Module):
    def __init__(self, blocks):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        channels = 16
        for number, width in enumerate((16, 32, 64), start=1):
            stage = []
            for block in range(blocks):
                stride = 2 if number > 1 and block == 0 else 1
                shortcut = None
                if stride > 1:
                    shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))
                stage.append(BasicBlock(channels, width, stride, shortcut))
                channels = width
            setattr(self, f"layer{number}", nn.Sequential(*stage))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return self.fc(self.layer3(self.layer2(self.layer1(y))).mean((2, 3)))


class CifarVgg(nn.Module):
    """chenyaofo's: torchvision's features, and a classifier of one pixel."""

    def __init__(self):
        super().__init__()
        self.features = torchvision.models.vgg11_bn(num_classes=1).features
        layers = (nn.Linear(512, 512), nn.ReLU(), nn.Dropout())
        self.classifier = nn.Sequential(*layers, nn.Linear(512, 512), *layers[1:], nn.Linear(512, 10))

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


NETWORKS = {
    "torchvision resnet18": lambda: torchvision.models.resnet18(num_classes=10),
    "torchvision resnet34": lambda: torchvision.models.resnet34(num_classes=10),
    "torchvision mobilenet_v2": lambda: torchvision.models.mobilenet_v2(num_classes=10),
    "timm resnet18": lambda: timm.create_model("resnet18", num_classes=10),
    "timm mobilenetv2_100": lambda: timm.create_model("mobilenetv2_100", num_classes=10),
    "chenyaofo cifar10_resnet20": lambda: CifarResNet(3),
    "chenyaofo cifar10_vgg11_bn": CifarVgg,
}


def main():
    found = {}
    for name, build in NETWORKS.items():
        network = build().double().eval()
        shapes = {key: tuple(array.shape) for key, array in network.state_dict().items() if "num_batches" not in key}
        state = {key: torch.tensor(array) for key, array in filled(shapes).items()}
        network.load_state_dict(state, strict=False)
        with torch.no_grad():
            found[f"{name}/logits"] = network(torch.tensor(images(2, size_of(name)))).numpy()
        found[f"{name}/state"] = np.array([f"{key} {' '.join(map(str, shape))}" for key, shape in shapes.items()])
    np.savez_compressed(Path(__file__).with_name("torchvision.npz"), **found)


if __name__ == "__main__":
    main()
