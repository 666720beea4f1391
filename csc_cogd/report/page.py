"""The page of a picture: before and after, settings and findings, figures of merit, and the course of the solve."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from csc_cogd.report import sections
from csc_cogd.report.document import document, plain
from csc_cogd.report.entry import Entry, Planes, Point, planes_of
from csc_cogd.report.figures import compare, data_range_of
from csc_cogd.report.sheet import contact_sheet
from csc_cogd.report.views import maps, residual_of, views
from csc_cogd.storage import check_writable, write_whole

__all__ = ["Entry", "Figures", "Point", "write_page"]
Figures = dict[str, float | str | None]
"""Figures of a picture by their names, as :func:`write_page` returns them."""


@np.errstate(invalid="ignore", over="ignore")  # pictures may hold infinities
def write_page(path: Path, entry: Entry, *, overwrite: bool = False) -> Figures:
    """Write an HTML file that needs no other, and return its figures, which JSON can hold.

    Returns
    -------
    dict
        ``title``, ``page`` (the file's name), ``height``, ``width``, ``channels``, ``dtype``, ``missing`` (fraction of the
        values), ``changed`` (known values that aren't as they were); where there is a history, ``iterations``,
        ``objective`` and ``nonzeros`` at its end; where there is a fit, ``residual``, its root mean square over the known
        pixels; where there is a reference, ``data_range``, ``psnr``, ``ssim``, ``mae`` and ``max_error``, and the same
        over the missing pixels, ``psnr_missing`` and so on. Figures that are infinite or unknown are None.

    Raises
    ------
    InputError
        If the arrays don't fit together, or the file exists or can't be written.
    """
    check_writable(path, overwrite=overwrite)
    planes = planes_of(entry)
    residual, rms = (None, None) if planes.fit is None else residual_of(planes)
    figures = _figures(entry, planes, rms)
    parts = {
        "summary": sections.summary(figures), "tiles": sections.tiles(figures, entry.words),
        "comparison": sections.comparison(figures, entry.words), **views(planes, entry.words),
        "sheet": contact_sheet(planes, entry.found), "maps": maps(planes, residual),
        "charts": sections.charts(entry.history, entry.curve),
        "dictionary": sections.filters(entry.dictionary, entry.usage), "facts": sections.facts(entry.facts),
    }  # fmt: skip
    write_whole(path, document("page", entry.title, parts), overwrite=overwrite, follow_link=False)
    return plain({"title": entry.title, "page": path.name, **figures})


def _figures(entry: Entry, planes: Planes, residual: float | None) -> Figures:
    H, W, C = planes.before.shape
    figures: Figures = {
        "height": H, "width": W, "channels": C, "dtype": str(planes.before.dtype), "missing": float(planes.missing.mean()),
        "changed": int(np.count_nonzero((planes.before != planes.after) & ~planes.missing)),
    }  # fmt: skip
    if entry.history:
        last = entry.history[-1]
        figures |= {"iterations": last.iteration, "objective": last.objective, "nonzeros": last.nonzeros}
    if residual is not None:
        figures["residual"] = residual
    if planes.reference is not None:
        data_range = data_range_of(planes.reference)
        figures["data_range"] = data_range
        figures |= compare(planes.after, planes.reference, planes.missing, data_range=data_range)
    return figures
