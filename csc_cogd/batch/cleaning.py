"""A page of a scan cleaned: its infrared channel looked up, what was found told, and masks kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from csc_cogd.batch.reporting import read_reference, write_image_page
from csc_cogd.cleaning.clean import clean_planes
from csc_cogd.cleaning.frames import clean_frame
from csc_cogd.cleaning.report import CleaningReport
from csc_cogd.errors import CscCogdError
from csc_cogd.imagefiles import ImageFile, ImageReader, write_image
from csc_cogd.imagefiles.infrared import (
    infrared_of_page,
    is_infrared_page,
    read_infrared,
    split_infrared,
    with_cleaned,
)
from csc_cogd.imagefiles.writing import as_written
from csc_cogd.restore.observation import as_planes
from csc_cogd.restore.report import Reporter, Trace
from csc_cogd.storage import make_folder

if TYPE_CHECKING:
    from csc_cogd.batch.jobs import Work

MASK = "mask"
"""What is added to a scan's name for its mask."""


def mask_path(folder: Path, source: Path, place: Path, page: int, n_pages: int) -> Path:
    """Return where the mask of a page goes: under the scan's name, at its place in the tree."""
    number = f"_{page + 1}" if n_pages > 1 else ""
    return folder / place / f"{source.stem}{number}_{MASK}.png"


def clean_page(work: Work, image: ImageFile, page: int) -> ImageFile:
    """Return a page cleaned; as it is, if nothing is found in it, or it is the infrared channel of the one before it."""
    job, settings = work.job, work.job.settings
    where = str(job.source) if work.n_pages == 1 else f"{job.source}, page {page + 1}"
    by_infrared = job.scans.use_infrared and not settings.cleaning.frames
    if by_infrared and page and is_infrared_page(image, work.source.read(page - 1)):
        work.say(f"{where}: the infrared channel of the page before it, kept as it is", "details")
        return image
    colors, infrared = split_infrared(image)
    try:
        if settings.cleaning.frames:
            cleaned, report = clean_frame(page, work.n_pages, lambda number: _planes(work.source, number), settings.cleaning)
        else:
            solve = settings.solve if work.n_pages == 1 else settings.solve.of_science()
            cleaned, report = clean_planes(
                as_planes(colors, None if colors.ndim == 2 else 2), _infrared(work, page, infrared) if by_infrared else None,
                settings.cleaning, solve, settings.tiling, settings.engine,
                reporter=Reporter(work.listener.progress), dry_run=settings.dry_run, coarse_color=image.coarse_color,
            )  # fmt: skip
    except CscCogdError as error:
        raise error.about(where) from error
    mask = report.detection.mask
    work.n_pixels += mask.size
    work.n_missing += int(mask.sum())
    _tell(work, report, where)
    if not settings.dry_run:
        work.masks_found[page] = mask
    if not mask.any() or settings.dry_run:
        return image
    work.say_what_is_lost()
    restored = cleaned[0] if colors.ndim == 2 else np.ascontiguousarray(np.moveaxis(cleaned, 0, 2))
    result = with_cleaned(image, restored)
    written = as_written(job.target, result).colors
    work.compare(image.colors, written, mask if written.ndim == 2 else mask[..., None], where)
    if job.page is not None and work.report is None:
        _write_page(work, colors, written[..., : colors.shape[2]] if colors.ndim == 3 else written, report, page)
    return result


def _planes(source: ImageReader, page: int) -> np.ndarray:
    """Return a page's colors, (C, H, W)."""
    colors, _ = split_infrared(source.read(page))
    return as_planes(colors, None if colors.ndim == 2 else 2)


def _infrared(work: Work, page: int, own: np.ndarray | None) -> np.ndarray | None:
    """Return a page's infrared channel: from a file of its own, if there is one, its fourth channel, or the page behind."""
    if work.job.scans.infrared is not None:
        return read_infrared(work.job.scans.infrared, page, work.n_pages)
    return infrared_of_page(work.source, page) if own is None else own


def _tell(work: Work, report: CleaningReport, where: str) -> None:
    """Say what was found in a page, and count it."""
    found = report.detection
    if found.mask.any():
        work.say(f"{where}: {report.summary()}", "notes")
    else:
        by = " by infrared" if found.transmission is not None else ""
        work.say(f"{where}: nothing found{by}, kept as it is", "notes")
    for kind, count in found.counts().items():
        work.figures[kind] = work.figures.get(kind, 0) + count
    for remark in report.warnings:
        work.warn(remark)
    for line in report.lines():
        work.say(line, "details")


def _write_page(work: Work, before: np.ndarray, after: np.ndarray, report: CleaningReport, page: int) -> None:
    """Write the scan's page of the report."""
    job = work.job
    assert job.page is not None
    title = job.source.name if work.n_pages == 1 else f"{job.source.name}, page {page + 1} of {work.n_pages}"
    reference = None if job.reference is None else read_reference(job.reference, page, job.axes, before.shape)
    facts = {"found": "; ".join(work.lines["notes"]), "how": "; ".join(work.lines["details"])}
    if work.lines["warnings"]:
        facts["warnings"] = "; ".join(work.lines["warnings"])
    facts |= {name: str(value) for name, value in vars(job.settings.cleaning).items()}
    work.report = write_image_page(
        job.page, title, before, report.detection.mask, after, reference, Trace(), facts, report.detection
    )


def write_masks(work: Work, folder: Path) -> None:
    """Write the masks of a scan's pages in which something was found."""
    job = work.job
    for page, mask in work.masks_found.items():
        path = mask_path(folder, job.source, job.folder, page, work.n_pages)
        make_folder(path.parent)
        write_image(ImageFile(mask.astype(np.uint8) * 255, path, "png"), path, overwrite=job.overwrite or job.resume)
