"""Plots of the course of training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from csc_cogd.nn.training.history import History
from csc_cogd.report.paths import require_matplotlib

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
