"""Paths of optimizers over the contour lines of their objective."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def require_matplotlib() -> None:
    """Raise InputError if matplotlib isn't installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise InputError("", "a plot needs matplotlib", "pip install 'csc-cogd[plot]'") from None


def draw_paths(
    objective: Callable[[Any], Any],
    panels: Mapping[str, Mapping[str, Sequence[np.ndarray]]],
    minimum: np.ndarray,
) -> Figure:
    """Draw a panel for each title: a color for each label's paths, dots where they start, a star for the minimum.

    Parameters
    ----------
    objective : callable
        Takes points (..., 2). Its contour lines are spaced evenly in the logarithm.
    panels : mapping of titles to mappings of labels to lists of paths (T, 2)
    minimum : (2,) array

    Raises
    ------
    InputError
        If matplotlib isn't installed.
    """
    require_matplotlib()
    from matplotlib.figure import Figure

    starts = [path[0] for panel in panels.values() for paths in panel.values() for path in paths]
    corners = np.array([*starts, minimum])
    low, high = corners.min(axis=0) - 0.75, corners.max(axis=0) + 0.75  # where a path leaves this view, it is cut off
    x, y = (np.linspace(low[i], high[i], 200) for i in range(2))
    above = objective(np.stack(np.meshgrid(x, y), axis=-1)) - objective(minimum)
    heights = np.log10(np.maximum(above, 0) + 1e-3)

    figure = Figure(figsize=(5 * len(panels), 4.5), layout="constrained")
    axes = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    for axis, (title, panel) in zip(axes, panels.items(), strict=True):
        axis.contour(x, y, heights, levels=20, colors="0.8", linewidths=0.6, negative_linestyles="solid")
        for number, (label, paths) in enumerate(panel.items()):
            for i, path in enumerate(paths):
                axis.plot(*path.T, color=f"C{number}", linewidth=1.2, alpha=0.8, label=None if i else label)
                axis.plot(*path[0], ".", color="0.2")
        axis.plot(*minimum, "*", color="0.2", markersize=11)
        axis.set(title=title, xlabel="$x_1$", xlim=(low[0], high[0]), ylim=(low[1], high[1]))
        axis.legend(loc="lower right")
    axes[0].set_ylabel("$x_2$")
    return figure
