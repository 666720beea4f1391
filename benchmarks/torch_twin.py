"""A twin in PyTorch of a ResNet for CIFAR, of this package's names, for benchmarks. Needs PyTorch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn


class Block(nn.Module):
    """Of two convolutions, with a shortcut of option A."""

    def __init__(self, channels: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.stride, self.zeros = stride, (width - channels) // 2

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride > 1:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.zeros, self.zeros))
        return F.relu(y + x)


class CifarResNet(nn.Module):
    def __init__(self, blocks: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        channels = 16
        for number, width in enumerate((16, 32, 64), start=1):
            stage = []
            for block in range(blocks):
                stage.append(Block(channels, width, 2 if number > 1 and block == 0 else 1))
                channels = width
            setattr(self, f"layer{number}", nn.Sequential(*stage))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Any) -> Any:
        y = F.relu(self.bn1(self.conv1(x)))
        return self.linear(self.layer3(self.layer2(self.layer1(y))).mean((2, 3)))


def twin(network: Any) -> CifarResNet:
    """Return the same network in PyTorch, in inference."""
    made = CifarResNet(len(network.layer1))
    state = {name: torch.tensor(array) for name, array in network.state_dict().items()}
    made.load_state_dict(state, strict=False)
    return made.eval()
