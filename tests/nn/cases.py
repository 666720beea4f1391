"""What PyTorch was asked for, by `record_pytorch.py`, and our functions are: shared by both."""

from pathlib import Path

import numpy as np

from csc_cogd.nn import Normalization, load_images

RECORD = Path(__file__).with_name("pytorch.npz")

CASES = {
    "conv2d": ("conv2d", {"x": (2, 3, 7, 6), "w": (4, 3, 3, 3)}, {"padding": 1}),
    "conv2d with bias and stride": (
        "conv2d", {"x": (2, 3, 9, 8), "w": (4, 3, 3, 2), "bias": (4,)}, {"stride": (2, 3), "padding": (1, 0)},
    ),
    "conv2d of 1 x 1": ("conv2d", {"x": (2, 6, 5, 5), "w": (4, 6, 1, 1)}, {"stride": 2}),
    "conv2d in groups": ("conv2d", {"x": (2, 6, 6, 5), "w": (4, 3, 3, 3)}, {"padding": 1, "groups": 2}),
    "conv2d depthwise": ("conv2d", {"x": (2, 5, 7, 7), "w": (5, 1, 3, 3)}, {"padding": 1, "groups": 5, "stride": 2}),
    "conv2d depthwise, two a channel": ("conv2d", {"x": (2, 3, 5, 5), "w": (6, 1, 3, 3)}, {"groups": 3}),
    "linear": ("linear", {"x": (3, 7), "w": (5, 7), "bias": (5,)}, {}),
    "relu": ("relu", {"x": (3, 4, 5, 5)}, {}),
    "relu6": ("relu6", {"x": (3, 4, 5, 5)}, {}),
    "soft_mask": ("soft_mask", {"x": (2, 4, 3, 3), "mask": (4,)}, {}),
    "max_pool2d": ("max_pool2d", {"x": (2, 3, 9, 8)}, {"kernel": 3, "stride": 2, "padding": 1}),
    "avg_pool2d": ("avg_pool2d", {"x": (2, 3, 9, 8)}, {"kernel": 2}),
    "avg_pool2d overlapping": ("avg_pool2d", {"x": (2, 3, 9, 8)}, {"kernel": (3, 2), "stride": 2}),
    "global_avg_pool2d": ("global_avg_pool2d", {"x": (2, 3, 5, 4)}, {}),
    "subsample_and_pad": ("subsample_and_pad", {"x": (2, 4, 6, 7)}, {"channels": 8}),
    "cross_entropy": ("cross_entropy", {"x": (6, 5)}, {"labels": np.array([0, 4, 2, 2, 1, 3])}),
    "cross_entropy, smoothed": (
        "cross_entropy", {"x": (4, 5)}, {"labels": np.array([0, 4, 2, 2]), "label_smoothing": 0.1},
    ),
    "mse": ("mse", {"x": (4, 5), "target": (4, 5)}, {}),
    "binary_cross_entropy_with_logits": (
        "binary_cross_entropy_with_logits", {"x": (2, 3)}, {"targets": np.array([[0, 1, 0.3], [1, 0.9, 0]], np.float32)},
    ),
    "distillation": (
        "distillation", {"x": (2, 3)},
        {"teacher_logits": np.array([[3, -1, 0.3], [-5, 0.9, 20]], np.float32), "temperature": 4.0},
    ),
}  # fmt: skip
"""By name: a function, the shapes of its tensors, and its other arguments."""

NETWORKS = {"resnet20": 32, "resnet18": 32, "mobilenetv2": 32, "resnet50": 64}
"""Height and width of the images that each network is given."""


def filled(shapes):
    """Arrays for a state dict, the same everywhere: spread evenly, of about the variance that keeps signals alive."""
    state = {}
    for number, (name, shape) in enumerate(shapes.items(), start=1):
        size = int(np.prod(shape))
        spread = (np.arange(size) * 0.6180339887498949 + number * 0.7548776662466927) % 1 - 0.5
        if len(shape) > 1:
            values = spread * np.sqrt(24 / np.prod(shape[1:]))
        else:
            values = spread * 0.5 if name.endswith(("bias", "mean")) else 1 + spread
        state[name] = values.reshape(shape).astype(np.float32)
    return state


def images(count, size):
    """Made up, (count, 3, size, size) float64."""
    x = np.linspace(-1, 1, size)
    phases = np.arange(3 * count).reshape(count, 3, 1, 1)
    return np.sin(5 * x + phases) * np.cos(9 * x[:, None] * x + 0.3 * phases)


def cifar_test_images(folder, count):
    """The first of CIFAR-10's test images, (count, 3, 32, 32) float32, normalized for the recorded weights; their labels."""
    images = load_images(folder / "cifar10", "test").first(count)
    normalization = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return normalization(images.images), images.labels
