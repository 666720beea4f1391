"""Plots of the course of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from csc_cogd.nn.training.history import History
from csc_cogd.report.paths import require_matplotlib
from csc_cogd.unrolled.prior import Prior
from csc_cogd.unrolled.training import TEST_LEVELS, LearningProgress

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_history(history: History) -> Figure:
    """Draw loss, accuracy and learning rate, epoch by epoch.

    Raises
    ------
    InputError
        If matplotlib isn't installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    epochs = [epoch.epoch for epoch in history]
    panels: dict[str, dict[str, list[Any]]] = {
        "loss": {"training": [epoch.loss for epoch in history], "test": [epoch.test_loss for epoch in history]},
        "accuracy in %": {
            "training": [100 * epoch.accuracy for epoch in history],
            "test": [None if epoch.test_accuracy is None else 100 * epoch.test_accuracy for epoch in history],
        },
        "learning rate": {"": [epoch.learning_rate for epoch in history]},
    }
    figure = Figure(figsize=(12, 3.5), layout="constrained")
    for axis, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for label, line in lines.items():
            if None not in line:
                axis.plot(epochs, line, marker="." if len(epochs) < 40 else "", label=label)
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(color="0.9")
        if len(axis.lines) > 1:
            axis.legend()
    return figure


def draw_learning(course: Sequence[LearningProgress], prior: Prior) -> Figure:
    """Draw loss and PSNR of photographs held out while a prior was learned, and the filters that it has.

    Raises
    ------
    InputError
        If matplotlib isn't installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.8), layout="constrained")
    loss, psnr, filters = figure.subplots(1, 3)
    loss.plot([look.step for look in course], [look.loss for look in course])
    loss.set(title="loss", xlabel="step", yscale="log")
    tested = [look for look in course if look.psnr]
    for number, level in enumerate(TEST_LEVELS[prior.noise]):
        label = f"{prior.noise} {level:g}"
        psnr.plot([look.step for look in tested], [look.psnr[number] for look in tested], label=label)
    psnr.set(title="PSNR of images held out, dB", xlabel="step")
    if tested:
        psnr.legend()
    for axis in (loss, psnr):
        axis.grid(color="0.9")
    filters.imshow(_mosaic(prior.dictionary.with_channels()), cmap="gray", interpolation="nearest")
    filters.set(title=f"{prior.dictionary.n_filters} filters")
    filters.set_axis_off()
    return figure


def _mosaic(filters: np.ndarray) -> np.ndarray:
    """Return filters (M, C, h, w) side by side in [0, 1], each stretched so that 0 is in the middle, (H, W) or (H, W, 3)."""
    M, C, h, w = filters.shape
    columns = int(np.ceil(np.sqrt(2 * M)))
    tiles = np.ones((-(-M // columns) * columns, C, h + 1, w + 1), np.float32)
    tiles[:M, :, :h, :w] = 0.5 + filters / np.maximum(2 * abs(filters).max(axis=(1, 2, 3), keepdims=True), 1e-12)
    mosaic = tiles.reshape(-1, columns, C, h + 1, w + 1).transpose(0, 3, 1, 4, 2).reshape(-1, columns * (w + 1), C)
    return mosaic[..., 0] if C == 1 else mosaic
