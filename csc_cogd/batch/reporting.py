"""The report of a batch: a page for each image, written by whoever restores it, and an index of them at the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from csc_cogd.detect.detection import DustDetection
from csc_cogd.errors import InputError
from csc_cogd.imagefiles import SUFFIXES, open_images
from csc_cogd.report.figures import data_range_of
from csc_cogd.report.index import write_index
from csc_cogd.report.page import Entry, Figures, Point, write_page
from csc_cogd.report.thumbnails import write_thumbnail
from csc_cogd.report.totals import DAMAGED, Totals
from csc_cogd.restore.report import Trace
from csc_cogd.storage import Json, check_own_folder, check_writable, make_folder, parse_json

ONLY, PAGES = "index.html", "pages"


def page_path(folder: Path, source: Path, place: Path, n_images: int) -> Path:
    """Where the page of an image goes: a single one is the whole report, another is named after its place in the tree."""
    if n_images == 1:
        return folder / ONLY
    key = hashlib.sha256(os.fsencode(place / source.name)).hexdigest()[:8]
    return folder / PAGES / f"{source.stem[:80]}-{key}.html"


def _name(path: Path) -> str:
    """Return a page or a thumbnail as the index names it."""
    return path.name if path.name == ONLY else f"{PAGES}/{path.name}"


def _thumbnail(page: Path) -> Path:
    return page.with_suffix(".jpg")


def is_shown(page: Path, figures: Json) -> bool:
    """Return whether what was reported of an image, which would have that page, is in this report."""
    there = {"page": page, "thumbnail": _thumbnail(page)}
    told = {name: figures[name] for name in there if figures.get(name) is not None} if isinstance(figures, dict) else {}
    return bool(told) and all(told[name] == _name(there[name]) and there[name].exists() for name in told)


def write_thumbnail_of(page: Path, colors: np.ndarray) -> Figures:
    """Put an image that needs no page of its own, as nothing was done to it, on the contact sheet."""
    if page.name == ONLY:
        return {}
    _make_folder(page.parent)
    write_thumbnail(_thumbnail(page), colors)
    return {"thumbnail": _name(_thumbnail(page))}


def _make_folder(pages: Path) -> None:
    check_own_folder(pages)
    make_folder(pages)


def check_report(folder: Path, overwrite: bool, resume: bool) -> None:
    """Raise InputError where there are files that aren't to be replaced, or none can be written.

    With `resume`, an earlier report is replaced, but nothing else.
    """
    ours = overwrite or (resume and _is_report(folder))
    for name in (ONLY, "report.json", "report.csv"):
        check_writable(folder / name, overwrite=ours, new_folder=True)


def _is_report(folder: Path) -> bool:
    try:
        return {"version", "totals", "files"} <= parse_json((folder / "report.json").read_bytes()).keys()
    except (OSError, ValueError, AttributeError):
        return False


def find_reference(reference: Path, source: Path, folder: Path) -> Path:
    """The file to compare with: `reference`, or the one of the image's name in that folder.

    Raises
    ------
    InputError
        If there is none.
    """
    if not reference.is_dir():
        return reference
    for place in (reference / folder, reference):
        for suffix in (source.suffix, *SUFFIXES):
            if (found := place / f"{source.stem}{suffix}").is_file():
                return found
    raise InputError("", f"has no reference for {source.name}, which must have the same name", subject=str(reference))


def read_reference(path: Path, page: int, axes: str | None, shape: tuple[int, ...]) -> np.ndarray:
    """The colors (H, W) or (H, W, C) to compare with, of a shape."""
    with open_images(path, axes=axes) as pages:
        colors = pages.read(page if len(pages) > 1 else 0).colors
    if colors.shape != shape:
        raise InputError("", f"the reference is of shape {colors.shape}, the restored image of {shape}", subject=str(path))
    return colors


def write_image_page(
    path: Path,
    title: str,
    before: np.ndarray,
    missing: np.ndarray | None,
    after: np.ndarray,
    reference: np.ndarray | None,
    trace: Trace,
    facts: dict[str, str],
    detection: DustDetection | None = None,
) -> Figures:
    """Write the page of an image, and return its figures; its place is told from the report's folder."""
    if after.shape[:2] != before.shape[:2]:
        shown = [np.arange(fine) * coarse // fine for fine, coarse in zip(after.shape[:2], before.shape[:2], strict=True)]
        facts = {"shown before": f"each pixel as {after.shape[0] / before.shape[0]:.3g} x as many", **facts}
        before = before[np.ix_(*shown)]
        missing = None if missing is None else missing[np.ix_(*shown)]
    fit = None
    if trace.fit is not None and not np.isnan(trace.fit).all():  # else there was no code
        fit = trace.fit[0] if before.ndim == 2 else np.broadcast_to(np.moveaxis(trace.fit, 0, -1), before.shape)
    curve = []
    if reference is not None:
        peak = data_range_of(reference)
        curve = [
            Point(step.stage, step.step, step.seconds, float(10 * np.log10(peak**2 / step.mse)))
            for step in trace.curve()
            if step.mse > 0
        ]
    if path.name == ONLY:
        make_folder(path.parent)
    else:
        _make_folder(path.parent)
    entry = Entry(title, before, missing, after, reference, fit, trace.dictionary, trace.usage, trace.history, curve, facts)
    if detection is not None:
        boxes = [(component.box, f"{component.kind}, {component.confidence:.0%}") for component in detection.components]
        entry = replace(entry, found=boxes, words=DAMAGED)
    figures = write_page(path, entry, overwrite=True) | {"page": _name(path)}
    if path.name == ONLY:
        return figures
    write_thumbnail(_thumbnail(path), before, missing, after)
    return figures | {"thumbnail": _name(_thumbnail(path))}


def write_report(folder: Path, results: Iterable[dict[str, Json]], totals: Totals) -> None:
    """Write the index of all images, for people, programs and spreadsheets; `totals` is what is said of them elsewhere."""
    make_folder(folder)
    rows = []
    for result in results:
        figures = result["figures"]
        row = {**result, "report": figures.get("report") if isinstance(figures, dict) else None}
        rows.append(row)
        if row["status"] == "failed" or totals.missing_range() is None:
            row["missing"] = None  # it isn't known, or nobody asked
    write_index(folder, sorted(rows, key=lambda row: str(row["input"])), totals=totals, overwrite=True)
