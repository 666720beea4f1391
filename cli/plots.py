"""Plots in files, for commands with --plot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from csc_cogd.errors import InputError

_FORMATS = {".png": "png", ".pdf": "pdf", ".svg": "svg"}


def check_plot(plot: Path, overwrite: bool) -> None:
    """Raise InputError now for what :func:`save_plot` would refuse later, or if matplotlib isn't installed."""
    from csc_cogd.report.paths import require_matplotlib
    from csc_cogd.storage import check_writable

    if plot.suffix.lower() not in _FORMATS:
        raise InputError("", f"the name of a plot must end in {', '.join(_FORMATS)}", subject=str(plot))
    check_writable(plot, overwrite=overwrite)
    require_matplotlib()


def save_plot(figure: Any, plot: Path, overwrite: bool) -> None:
    """Write a Matplotlib figure in the format of the file's name."""
    from csc_cogd.storage import whole_file

    with whole_file(plot, overwrite=overwrite) as file:
        figure.savefig(file, format=_FORMATS[plot.suffix.lower()], dpi=150)
