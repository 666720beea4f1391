"""The tasks that the page asks for, on a picture or a part, and results kept: by the same jobs as the commands' own."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from csc_cogd.batch.batch import plan
from csc_cogd.batch.job import NO_RULES, BatchOptions, Job, Settings
from csc_cogd.batch.sidecars import read_sidecar, write_sidecar
from csc_cogd.batch.tasks import TASKS
from csc_cogd.batch.workers import run_in_processes
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.imagefiles import MaskRules, read_image
from csc_cogd.page.picture import Box, ConflictError, Event, Picture, Publish, Trial
from csc_cogd.page.pyramid import to_png
from csc_cogd.restore.operators import Blur, gaussian_kernel
from csc_cogd.restore.reduction import Reduction
from csc_cogd.restore.report import Progress
from csc_cogd.restore.settings import Solve
from csc_cogd.storage import whole_file


class _CanceledError(Exception):
    """Nobody wants the result any more."""


class ExistsError(Exception):
    """Files are there already, and nobody said that they may be replaced."""


class Asked(NamedTuple):
    """A task as the page asks for it.

    Attributes
    ----------
    task : {"inpaint", "denoise", "deblur", "upscale"}
    effort : str
        Of filling and denoising.
    amount : float
        Factor on the estimated noise; standard deviation of the Gaussian blur, in pixels; or times wider and higher.
    """

    task: str = "inpaint"
    effort: str = "default"
    amount: float = 1.0

    def settings(self, engine: Engine) -> Settings:
        """Return the settings by which the command of this name does the same.

        Raises
        ------
        InputError
            If there is no such task, or it can't be done so.
        """
        if self.task not in ("inpaint", "denoise", "deblur", "upscale"):
            raise InputError("task", f"must be inpaint, denoise, deblur or upscale, got {self.task!r}")
        settings = replace(TASKS[self.task].defaults, engine=engine)
        if self.task == "deblur":
            return replace(settings, operator=Blur(gaussian_kernel(self.amount)))
        if self.task == "upscale":
            return replace(settings, operator=Reduction(self.amount))
        settings = replace(settings, solve=Solve(self.effort))
        return replace(settings, strength=self.amount) if self.task == "denoise" else settings


class _Task(NamedTuple):
    """Something to be done with a picture as it was marked at a revision."""

    picture: Picture
    revision: int
    version: int
    job: Job
    keep: bool = False
    overwrite: bool = False


class Restorer:
    """Does one task at a time in a process of its own, and keeps results.

    Parameters
    ----------
    folder : Path
        For results that nobody has kept yet.
    root : Path
        The folder outside of which nothing is written.

    Attributes
    ----------
    busy : bool
        A task is going on.
    """

    def __init__(self, folder: Path, root: Path, engine: Engine, publish: Publish):
        self._folder, self._root, self._engine, self._publish = folder, root, engine, publish
        self.busy = False
        self._canceled, self._starting = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._outdated: Picture | None = None  # by a stroke

    def start(self, picture: Picture, asked: Asked, *, keep: bool = False, overwrite: bool = False) -> None:
        """Begin to restore a picture as it is marked now, and to keep the result if `keep` says so.

        Raises
        ------
        ConflictError
            If a task is going on.
        ExistsError
            If the result can't be kept under its name.
        InputError
            If there is nothing to do, or nothing can be written there.
        """
        with self._starting:
            self._check_free()
            picture.view(0)  # which counts the pages
            marked = asked.task == "inpaint" or picture.marked
            settings = asked.settings(self._engine)
            if keep:
                self._check_places((picture.target_of(asked.task), *[picture.mask_path] * marked), overwrite)
            with picture.lock:
                job = self._job(picture, asked.task, settings, marked)
                task = _Task(picture, picture.revision, picture.version, job, keep, overwrite)
            self._begin(picture, lambda: self._attempt(task), outdated_by_strokes=not keep)

    def try_part(self, picture: Picture, page: int, box: Box, asked: Asked) -> None:
        """Begin to do a task on a part of a page, for the eye; see :class:`csc_cogd.page.picture.Trial`.

        Raises
        ------
        ConflictError
            If a task is going on.
        InputError
            If it can't be done.
        """
        with self._starting:
            self._check_free()
            with picture.lock:
                part, marked = picture.view(page).image.colors[box.window], picture.mask(page)[box.window]
                task = _Task(picture, picture.revision, picture.version, self._job_of_part(part, marked, asked))
            self._begin(picture, lambda: self._try(task, page, box), outdated_by_strokes=True)

    def save_mask(self, picture: Picture, overwrite: bool) -> None:
        """Write what is marked beside the picture, without a result.

        Raises
        ------
        ExistsError
            If there is a mask already.
        InputError
            If it can't be written.
        """
        picture.view(0)
        self._check_places((picture.mask_path,), overwrite)
        with picture.lock:
            picture.write_mask(picture.mask_path, overwrite=overwrite)
            picture.saved_revision = picture.revision

    def cancel(self) -> None:
        """End the task that is going on, without a result."""
        self._canceled.set()

    def outdate(self, picture: Picture) -> None:
        """Cancel a task on a picture that is painted on meanwhile, unless it is to be kept."""
        if self._outdated is picture:
            self.cancel()

    def close(self) -> None:
        """Cancel, and wait for the end."""
        self.cancel()
        if self._thread is not None:
            self._thread.join()

    def _check_free(self) -> None:
        if self.busy:
            raise ConflictError("a restoration is going on: wait for it, or cancel it")

    def _job(self, picture: Picture, task: str, settings: Settings, marked: bool) -> Job:
        """Return what the task's command would do with a picture, and what is marked in it, which is written for that."""
        rules = NO_RULES
        if marked:
            rules = MaskRules(self._folder / picture.mask_path.name)
            picture.write_mask(self._folder / picture.mask_path.name, overwrite=True)
        target = self._folder / picture.target_of(task).name
        options = BatchOptions(axes=picture.axes, overwrite=True)
        return plan(task, picture.path, target, options, rules, settings).jobs[0]

    def _job_of_part(self, part: np.ndarray, marked: np.ndarray, asked: Asked) -> Job:
        """Return the same for a part of a page, which is written for that."""
        source, mask = self._folder / "part.npy", self._folder / "part_mask.npy"
        np.save(source, part)
        np.save(mask, marked)
        rules, settings = MaskRules(mask) if marked.any() else NO_RULES, asked.settings(self._engine)
        options = BatchOptions(axes="YX" if part.ndim == 2 else "YXC", overwrite=True)
        return plan(asked.task, source, self._folder / "part_after.npy", options, rules, settings).jobs[0]

    def _begin(self, picture: Picture, attempt: Callable[[], Event], outdated_by_strokes: bool) -> None:
        """Do something in a thread, and tell of the event that ends it, which is returned."""

        def work() -> None:
            try:
                end = attempt()
            except _CanceledError:
                end = Event("canceled", picture)
            except Exception as error:  # windows must not wait for ever
                end = Event("failed", picture, error=str(error) or type(error).__name__)
            self.busy = False  # before that is told: the next may be asked for at once
            self._publish(end)

        self._canceled.clear()
        self.busy = True
        self._outdated = picture if outdated_by_strokes else None
        self._thread = threading.Thread(target=work, name="csc-cogd-restorer", daemon=True)
        self._thread.start()

    def _attempt(self, task: _Task) -> Event:
        """Restore, keep, or both, and return the event that ends it."""
        picture, restored = task.picture, None
        fills = task.job.task == "inpaint"
        is_there = fills and picture.restored_revision == task.revision and picture.restored_by == task.job.settings
        if not (task.keep and is_there):
            restored = self._restore(task)
            with picture.lock:
                if not picture.has_version(task.version):
                    problem = "changed on the disk while it was restored"
                    raise InputError("", problem, "restore it again", picture.path.name)
                if fills:
                    picture.set_restored(task.job.target, task.revision, task.job.settings)
        if restored and not task.keep:
            return restored
        if fills and restored:
            self._publish(restored)
        return Event("kept", picture, files=self._keep(task), warnings=restored.warnings if restored else [])

    def _try(self, task: _Task, page: int, box: Box) -> Event:
        """Do a task on a part of a page, and return the event that ends it."""
        restored = self._restore(task)
        picture, colors = task.picture, read_image(task.job.target, axes=task.job.axes).colors
        with picture.lock:
            if (task.version, task.revision) != (picture.version, picture.revision):
                raise _CanceledError
            picture.trial = Trial(page, box, to_png(picture.view(page).to_bytes(colors)))
        return replace(restored, kind="tried", page=page, box=box)

    def _restore(self, task: _Task) -> Event:
        picture = task.picture
        self._publish(Event("progress", picture, stage="starting", done=0, total=1))
        (result,) = run_in_processes([task.job], 1, lambda _, progress: self._tell(picture, progress))
        if self._canceled.is_set():
            raise _CanceledError
        if result.status == "failed":
            raise InputError("", result.error)
        return Event("restored", picture, seconds=result.seconds, warnings=result.warnings)

    def _tell(self, picture: Picture, progress: Progress) -> None:
        if self._canceled.is_set():
            raise _CanceledError
        self._publish(Event("progress", picture, stage=progress.stage, done=progress.done, total=progress.total))

    def _keep(self, task: _Task) -> list[str]:
        """Copy mask and result to their places, with the record by which ``--skip-existing`` knows the result.

        Returns
        -------
        list of str
            Names of the files.
        """
        picture, job = task.picture, task.job
        target, record = picture.target_of(job.task), read_sidecar(job.target)

        def remember(finished: Path) -> None:
            if record is not None:
                write_sidecar(target, finished, record)

        if job.rules.path is not None:
            _copy(job.rules.path, picture.mask_path, overwrite=task.overwrite)
            picture.saved_revision = task.revision
        _copy(job.target, target, overwrite=task.overwrite, before=remember)
        if job.task == "inpaint":
            picture.kept_revision = task.revision
        return [target.name, *[picture.mask_path.name] * (job.rules.path is not None)]

    def _check_places(self, places: tuple[Path, ...], overwrite: bool) -> None:
        """Raise where nothing may be written."""
        for place in places:
            if self._root not in place.resolve().parents:
                raise InputError("", "leads out of the folder", "remove the link", place.name)
        if not overwrite and (there := [place.name for place in places if place.exists()]):
            raise ExistsError(" and ".join(there))


def _copy(source: Path, target: Path, *, overwrite: bool, before: Callable[[Path], None] | None = None) -> None:
    with source.open("rb") as content, whole_file(target, overwrite=overwrite, before=before) as file:
        shutil.copyfileobj(content, file)
