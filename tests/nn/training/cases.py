"""What PyTorch's SGD was asked for, by `record_pytorch.py`, and ours is: shared by both."""

from pathlib import Path

RECORD = Path(__file__).with_name("sgd.npz")

SETTINGS = {
    "plain": {"momentum": 0.0},
    "momentum": {"momentum": 0.9},
    "decay": {"momentum": 0.8, "weight_decay": 0.05},
    "nesterov": {"momentum": 0.9, "weight_decay": 0.01, "nesterov": True},
}
SHAPES = {"weight": (4, 3), "bias": (4,)}
RATES = (0.1, 0.1, 0.05, 0.2, 0.02)
"""Of each step."""
WITHOUT_BIAS = 2
"""The step in which the bias has no gradient."""
