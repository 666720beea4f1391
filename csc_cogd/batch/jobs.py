"""One image file restored to another: what every worker of a batch does, here or elsewhere."""

from __future__ import annotations

import os
import shutil
import time
import traceback
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np

from csc_cogd.batch.cleaning import clean_page, mask_path, write_masks
from csc_cogd.batch.job import NO_RULES, Job, Listener, Result, Silent
from csc_cogd.batch.reporting import is_shown, read_reference, write_image_page, write_thumbnail_of
from csc_cogd.batch.sidecars import describe, file_digest, read_sidecar, result_of, sidecar_path, write_sidecar
from csc_cogd.batch.tasks import TASKS, Rebuilt, load_dictionary, prior_file, rebuild
from csc_cogd.engine import Engine
from csc_cogd.errors import CscCogdError, DeviceError, DiskFullError, InputError, Message, Remark, library_failure, percent
from csc_cogd.imagefiles import (
    SUFFIXES,
    ImageFile,
    ImageReader,
    MaskRules,
    check_output,
    create_images,
    find_missing,
    open_images,
)
from csc_cogd.imagefiles.masks import alike, erased, in_any_channel
from csc_cogd.imagefiles.reading import sniff_format
from csc_cogd.imagefiles.rims import has_rims
from csc_cogd.imagefiles.writing import as_written, unsupported_features
from csc_cogd.report.page import Figures
from csc_cogd.restore.expected_time import busy_pixels, coarsely, expected_seconds, seconds_a_pixel
from csc_cogd.restore.impulses import ImpulseSearch
from csc_cogd.restore.observation import Observation
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.report import Reporter, RestorationReport, Trace
from csc_cogd.restore.restore import restore
from csc_cogd.storage import Json, check_own_folder, check_writable, make_folder, remove_abandoned, whole_file

BAND_ROWS = 256
"""Of a picture that are compared at once."""
NOT_IN_THE_RECORD = ("threads", "max_memory", "device", "fft", "dry_run")  # with others, a result is about the same


def attempt(job: Job, listener: Listener | None = None) -> Result:
    """Do a job; what goes wrong with its file is in the result, and nothing is left half-written."""
    started = time.perf_counter()
    try:
        return restore_file(job, listener or Silent())
    except Exception as error:  # a batch outlives whatever a file does to a decoder or to the engine
        seconds = time.perf_counter() - started
        full, trace = isinstance(error, DiskFullError), traceback.format_exc()
        return Result(str(job.source), "", "failed", *_explain(job, error), seconds, trace=trace, disk_full=full)


def restore_file(job: Job, listener: Listener) -> Result:
    """Do a job.

    Raises
    ------
    CscCogdError
        If the file can't be restored; then nothing is written.
    """
    started = time.perf_counter()
    task = TASKS[job.task]
    sniff_format(job.source)  # says of what can't be read, as pipes for which one would wait, what is wrong
    rules = job.rules.for_image(job.source, job.folder)
    remembered = job.run and (job.resume or not job.settings.dry_run)
    record = _record(job, rules) if remembered else {}
    if record and (done := _done_before(job, record)) is not None:
        return done
    with open_images(job.source, axes=job.axes) as source, ExitStack() as opened:
        protected = (job.source, *job.inputs, *filter(None, [rules.path, job.reference]))
        only_counted = task.cleans and job.settings.dry_run
        check_output(
            job.target, source, overwrite=job.overwrite or only_counted, inputs=protected, new_folder=job.new_folders
        )
        if job.scans.mask_out is not None and not job.settings.dry_run:
            first = mask_path(job.scans.mask_out, job.source, job.folder, 0, len(source))
            check_writable(first, overwrite=job.overwrite or job.resume, new_folder=True)
        if record:
            check_own_folder(sidecar_path(job.target).parent)
        work = Work(job, rules, source, listener, opened, started)
        if not task.cleans:
            work.say_what_is_lost()
        if job.settings.dry_run:
            for number, image in enumerate(source):
                work.restore(image, number)
            if task.cleans and work.n_missing:
                work.say_what_is_lost()
            work.say(f"{job.target}: not written, as this is a dry run", "notes")
            return work.result("planned")
        make_folder(job.target.parent)

        def remember(finished: Path) -> None:
            if job.scans.mask_out is not None:
                write_masks(work, job.scans.mask_out)
            if job.page is not None and work.report is None:  # it was left as it is, but belongs on the contact sheet
                work.report = write_thumbnail_of(job.page, source.peek().colors)
            if not record:
                return
            try:
                write_sidecar(job.target, finished, record | {"run": job.run, "result": asdict(work.result("done"))})
            except (InputError, OSError) as error:
                if job.record_required:
                    raise
                why = job.text(error) if isinstance(error, Message) else error
                work.warn(Remark("", f"no record is kept ({why})", "{skip_existing} won't know the result"))

        try:
            if task.cleans:
                if _copied_where_clean(work, remember):
                    return work.result("done")
                work.say_what_is_lost()
            with create_images(job.target, source, overwrite=job.overwrite, before=remember) as sink:
                for number, image in enumerate(source):
                    sink.write(work.restore(image, number))
                if task.needs_mask and not work.n_missing:
                    raise InputError("", "no pixel is missing in any page", subject=str(job.source))
                for note in sink.notes:
                    work.say(note, "warnings")
        except InputError:
            if record and (done := _found(job, record)) is not None:  # another run was faster
                return done
            raise
    return work.result("done")


def _copied_where_clean(work: Work, before: Callable[[Path], None]) -> bool:
    """Copy a scan of a single page in which nothing is found as it is; whether that is so.

    What is found elsewhere isn't looked for twice.
    """
    job = work.job
    if work.n_pages > 1 or SUFFIXES[job.target.suffix.lower()] is not work.source.format:
        return False
    image = work.source.peek()
    work.cleaned = work.restore(image, 0)
    if work.cleaned is not image:
        return False
    with whole_file(job.target, overwrite=job.overwrite, before=before) as file, job.source.open("rb") as given:
        shutil.copyfileobj(given, file)
    return True


def clean_up(jobs: Iterable[Job]) -> None:
    """Remove the temporary files that killed processes have left where these jobs write."""
    for folder in set().union(*map(folders_of, jobs)):
        remove_abandoned(folder)


def folders_of(job: Job) -> set[Path]:
    """The folders that a job writes to."""
    behind_link = Path(os.path.realpath(job.target))
    return {file.parent for file in (job.target, behind_link, sidecar_path(job.target), job.page) if file is not None}


class Work:
    """The pages of a file restored one after the other, and what is said of them."""

    def __init__(
        self, job: Job, rules: MaskRules, source: ImageReader, listener: Listener, opened: ExitStack, started: float
    ):
        self.job, self.rules, self.source, self.listener, self.opened = job, rules, source, listener, opened
        self.n_pages = len(source)
        self.started, self.dictionary = started, load_dictionary(job.dictionary)
        self.lines: dict[str, list[str]] = {"notes": [], "warnings": [], "details": []}
        self.n_missing = self.n_pixels = self.n_changed = 0
        self.n_altered: int | None = 0
        self.masks: ImageReader | None = None
        self.masks_found: dict[int, np.ndarray] = {}
        self.cleaned: ImageFile | None = None
        self.figures: dict[str, float] = {}
        self.report: Figures | None = None  # of a page

    def say(self, text: str, kind: str) -> None:
        if kind != "warnings" or text not in self.lines[kind]:
            self.lines[kind].append(text)
            self.listener.say(text, kind)

    def say_what_is_lost(self) -> None:
        """Say what the format of the target can't hold of a single page."""
        for note in unsupported_features(self.job.target, self.source.peek()) if self.n_pages == 1 else ():
            self.say(note, "warnings")

    def warn(self, remark: Remark) -> None:
        """Say what the user should know."""
        self.say(self.job.text(remark), "warnings")

    def restore(self, image: ImageFile, page: int) -> ImageFile:
        """Return a page restored; as it is, if nothing has to be done to it."""
        job, task, settings = self.job, TASKS[self.job.task], self.job.settings
        if self.cleaned is not None:
            if not self.n_missing:  # in another format than it was, it is written again
                self.compare(image.colors, as_written(job.target, image).colors, None, "")
            return self.cleaned
        if task.cleans:
            return clean_page(self, image, page)
        where = str(job.source) if self.n_pages == 1 else f"{job.source}, page {page + 1}"
        given = image.colors
        mask, image, bared = self._missing(image, page, where)
        colors = image.colors if task.problem else image.observed
        if task.needs_mask and mask is not None and not mask.any() and settings.noise_sigma is None:
            return image
        reported = job.page is not None and self.report is None and not settings.dry_run
        trace, reference = Trace() if reported else None, None if task.problem else colors
        reporter = Reporter(self.listener.progress)
        if reported and job.reference is not None:
            factor = settings.operator.factor if settings.operator else 1
            shape = (round(factor * colors.shape[0]), round(factor * colors.shape[1]), *colors.shape[2:])
            reference = read_reference(job.reference, page, job.axes, shape)
            trace = Trace(reference)
        report: RestorationReport | Rebuilt
        try:
            if task.problem is None:
                restored, report = rebuild(colors, self.dictionary, settings, reporter)
                if trace is not None:
                    trace.count(report.dictionary, report.codes)
                self.figures |= report.figures
            else:
                axis = None if colors.ndim == 2 else -1
                observation = Observation.of(colors, mask, channel_axis=axis, complete=True)
                if self.n_pages > 1:
                    settings = replace(settings, solve=settings.solve.of_science())
                problem, engine = task.problem(observation, self.dictionary, settings), settings.engine.without_measuring()
                search = ImpulseSearch(settings.tiling, engine, reporter) if settings.noise == "impulse" else None
                if search and settings.dry_run:  # what is corrupted isn't known before the search: only that is planned
                    restored, report = colors, search.plan_only(observation, self.dictionary)
                else:
                    planes, report = restore(
                        search.mark(problem) if search else problem, settings.solve, settings.tiling, engine,
                        reporter=reporter, trace=None if settings.operator else trace,
                        dry_run=settings.dry_run,
                    )  # fmt: skip
                    restored = observation.to_image(planes)
                if settings.dry_run and search is None:
                    self._say_expected_time(problem, report, engine, where)
                if text := task.found(report, settings, observation):
                    self.say(f"{where}: {text}", "notes")
        except CscCogdError as error:
            raise error.about(where) from error
        for remark in report.warnings:
            self.warn(remark)
        for line in report.lines():
            self.say(line, "notes" if settings.dry_run else "details")
        result = image.with_colors(restored, erased(image, self.rules) if self.rules.from_alpha else None)
        touched = mask
        if mask is not None and bared is not None and bared.any():
            touched = mask | (bared if mask.ndim == 2 else bared[..., None])
        written = restored if settings.dry_run else as_written(job.target, result).colors
        if not settings.dry_run:
            self.compare(given, written, touched if task.needs_mask else None, where)
        if trace is not None:
            title = job.source.name if self.n_pages == 1 else f"{job.source.name}, page {page + 1} of {self.n_pages}"
            facts = {"found": "; ".join(self.lines["notes"]), "how": "; ".join(self.lines["details"])}
            chosen = dict(settings.arguments()) | {"operator": None}
            facts |= {name: str(chosen[name]) for name in task.takes if chosen.get(name) is not None}
            assert job.page is not None
            self.report = write_image_page(job.page, title, given, touched, written, reference, trace, facts)
        return result

    def _say_expected_time(self, problem: Problem, report: RestorationReport, engine: Engine, where: str) -> None:
        """Say about how long it would take."""
        plans, threads = [group.plan for group in report.groups], engine.backend.threads
        if plans and (rate := seconds_a_pixel(problem, self.job.settings.solve, engine)) is not None:
            seconds = expected_seconds(rate, plans, threads, busy_pixels(problem))
            self.figures["expected_seconds"] = self.figures.get("expected_seconds", 0.0) + seconds
            on = f"{threads} threads" if threads > 1 else "1 thread"
            self.say(f"{where}: about {coarsely(seconds)} on {on}", "notes")

    def compare(self, before: np.ndarray, after: np.ndarray, missing: np.ndarray | None, where: str) -> None:
        """Count the values that aren't as they were in the file that is written: all, and the known ones among them."""
        if before.shape != after.shape:
            self.n_altered = None
            return
        changed = 0
        for top in range(0, len(before), BAND_ROWS):
            rows = slice(top, top + BAND_ROWS)
            differs = before[rows] != after[rows]
            if before.dtype.kind == "f":
                differs &= ~(np.isnan(before[rows]) & np.isnan(after[rows]))
            if self.n_altered is not None:
                self.n_altered += int(np.count_nonzero(differs))
            if missing is not None:
                changed += int(np.count_nonzero(differs & ~missing[rows]))
        if missing is None:
            return
        self.n_changed += changed
        if changed and self.job.settings.noise_sigma is None:
            n_known = (missing.size - np.count_nonzero(missing)) * (before.size // missing.size)  # one mask, all channels
            share, kept = changed / n_known, TASKS[self.job.task].words.kept
            self.say(f"{where}: {changed:,} {kept} change ({percent(share)} of them)", "notes")

    def _missing(self, image: ImageFile, page: int, where: str) -> tuple[np.ndarray | None, ImageFile, np.ndarray | None]:
        """What is missing in a page, of its colors' shape; None where nothing says anything of it. The page without paint
        that lets it through and color that compression has smeared, and where these were, (H, W)."""
        self.n_pixels += image.colors.shape[0] * image.colors.shape[1]
        task, colors = TASKS[self.job.task], image.colors
        if task.problem is None:
            return None, image, None
        gaps = (colors.dtype.kind == "f" and bool(np.isnan(colors).any())) or image.without_data is not None
        if not (gaps or task.needs_mask or self.rules != NO_RULES):
            return None, image, None
        if self.masks is None and self.rules.path is not None:
            self.masks = self.opened.enter_context(open_images(self.rules.path, template=image))
        found = find_missing(image, self.rules, page=page, n_pages=self.n_pages, complete=self.n_pages > 1, masks=self.masks)
        mask, sources = image.with_pixels(found.pixels).colors, found.sources
        lost, together = in_any_channel(mask), alike(mask)
        n_lost = int(np.count_nonzero(lost))
        share = n_lost / lost.size if together else float(mask.mean())
        self.n_missing += n_lost
        by = f" ({'; '.join(sources)})" if sources else ""
        self.say(f"{where}: {percent(share)} of the {'pixels' if together else 'values'} missing{by}", "notes")
        if share > 0.5 and self.rules.path and self.rules.polarity == "missing":
            advice = "if the mask marks what is known, use {mask_polarity} valid"
            self.warn(Remark("", "more than half is missing", advice))
        if page == 0 and task.needs_mask and not self.rules.grows_in(image) and has_rims(colors, lost):
            damage = "the pixels beside the missing ones hold some of the damage, too, which will show"
            self.warn(Remark("", damage, "take them in by {mask_dilate} auto, or a number of pixels"))
        return mask, found.image, found.bared | found.cleared

    def result(self, status: str) -> Result:
        output = str(self.job.target)
        share = self.n_missing / max(self.n_pixels, 1)
        return Result(
            str(self.job.source),
            output,
            status,
            seconds=time.perf_counter() - self.started,
            pages=self.n_pages,
            missing=share,
            changed=self.n_changed if status == "done" and TASKS[self.job.task].keeps_the_rest else None,
            altered=self.n_altered if status == "done" else None,
            figures={**self.figures} if self.report is None else {**self.figures, "report": self.report},
            notes=self.lines["notes"],
            warnings=self.lines["warnings"],
            details=self.lines["details"],
        )


def _record(job: Job, rules: MaskRules) -> dict[str, Json]:
    """What a result depends on, for its sidecar."""
    settings = {
        name: described
        for (name, value), (_, default) in zip(job.settings.arguments(), TASKS[job.task].defaults.arguments(), strict=True)
        if name not in NOT_IN_THE_RECORD and (described := describe(value)) != describe(default)
    }
    if rules.path is not None:
        sniff_format(rules.path)
    try:
        files = {"input": file_digest(job.source)}
        if rules.path is not None:
            files["mask"] = file_digest(rules.path)
        if job.dictionary != "default":
            files["dictionary"] = file_digest(Path(job.dictionary))
        if job.scans.infrared is not None:
            files["infrared"] = file_digest(job.scans.infrared)
        if (prior := prior_file(job.settings)) is not None:
            files["prior"] = file_digest(prior)
    except OSError as error:
        raise InputError("", f"can't be read: {error.strerror}", subject=str(error.filename)) from None
    how = {f.name: getattr(rules, f.name) for f in fields(rules) if f.name != "path"}
    made = {"task": job.task, "files": files, "settings": settings, "mask": describe(how), "axes": job.axes}
    return made if job.scans.use_infrared else made | {"infrared": False}


def _done_before(job: Job, record: dict[str, Json]) -> Result | None:
    """The result that an earlier run, or this one by a worker that was lost, has written already.

    Raises
    ------
    InputError
        If another result is there, which isn't to be replaced.
    """
    if (done := _found(job, record)) is not None:
        return done
    if os.path.isfile(job.target) and not job.overwrite:
        if job.resume:
            made = "exists already, made from another input or with other settings"
            raise InputError("", made, "use {overwrite} to replace it", str(job.target))
        if job.record_required:  # of several
            raise InputError(
                "", "exists already", "use {skip_existing} to leave it, or {overwrite} to replace it", str(job.target)
            )
    return None


def _found(job: Job, record: dict[str, Json]) -> Result | None:
    """The result that is there, made as this job would make it."""
    found = read_sidecar(job.target)
    if found is None or any(found.get(name) != value for name, value in record.items()):
        return None
    if found.get("run") != job.run and not job.resume:
        return None
    told = result_of(found, job.source, job.target)
    figures = dict(told.figures)
    if job.page is None or not is_shown(job.page, figures.get("report")):
        figures.pop("report", None)  # it isn't in this report
    return replace(told, status="done" if found.get("run") == job.run else "skipped", figures=figures)


def _explain(job: Job, error: Exception) -> tuple[str, int]:
    """Return an error in one line that names the file, and its exit code."""
    if isinstance(error, MemoryError):
        return f"{job.source}: out of memory: use a smaller image, or a machine with more", 3
    if isinstance(error, ImportError):
        return f"{job.source}: {library_failure(error)}", 3
    if isinstance(error, CscCogdError):
        text = job.text(error)
        named = any(" ".join(str(path).split()) in text for path in (job.source, job.target))
        return text if named else job.text(error.about(str(job.source))), 3 if isinstance(error, DeviceError) else 2
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{job.source}: unexpected {type(error).__name__}: {text}: please report it, with what -vv prints", 1
