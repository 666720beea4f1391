"""The restoration at full quality, and its result kept: by the same job as ``csc-cogd inpaint`` does."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any, NamedTuple

from csc_cogd.batch.batch import plan
from csc_cogd.batch.job import Job
from csc_cogd.batch.settings import BatchOptions, Settings
from csc_cogd.batch.sidecars import read_sidecar, write_sidecar
from csc_cogd.batch.workers import run_in_processes
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.imagefiles import MaskRules
from csc_cogd.page.picture import ConflictError, Picture, Publish
from csc_cogd.restore.report import Progress
from csc_cogd.restore.settings import Solve
from csc_cogd.storage import whole_file


class _CanceledError(Exception):
    """Nobody wants the result any more."""


class ExistsError(Exception):
    """Files are there already, and nobody said that they may be replaced."""


class _Task(NamedTuple):
    """A restoration of a picture as it was marked at a revision."""

    picture: Picture
    revision: int
    version: int
    job: Job
    keep: bool
    overwrite: bool


class Restorer:
    """Restores one picture at a time in a process of its own, and keeps results.

    Parameters
    ----------
    folder : Path
        For results that nobody has kept yet.
    root : Path
        The folder outside of which nothing is written.

    Attributes
    ----------
    busy : bool
        A restoration is going on.
    """

    def __init__(self, folder: Path, root: Path, engine: Engine, publish: Publish):
        self._folder, self._root, self._engine, self._publish = folder, root, engine, publish
        self.busy = False
        self._canceled, self._starting = threading.Event(), threading.Lock()
        self._thread: threading.Thread | None = None
        self._outdated: Picture | None = None  # by a stroke

    def start(self, picture: Picture, effort: str, *, keep: bool = False, overwrite: bool = False) -> None:
        """Begin to restore a picture as it is marked now, and to keep the result if `keep` says so.

        Raises
        ------
        ConflictError
            If a restoration is going on.
        ExistsError
            If the result can't be kept under its name.
        InputError
            If nothing is marked, or nothing can be written there.
        """
        with self._starting:
            if self.busy:
                raise ConflictError("a restoration is going on: wait for it, or cancel it")
            picture.view(0)  # which counts the pages
            if keep:
                self._check_places((picture.target, picture.mask_path), overwrite)
            with picture.lock:
                job = self._job(picture, effort)
                task = _Task(picture, picture.revision, picture.version, job, keep, overwrite)
            self._canceled.clear()
            self.busy = True
            self._outdated = None if keep else picture
            self._thread = threading.Thread(target=self._work, args=(task,), name="csc-cogd-restorer", daemon=True)
            self._thread.start()

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
        """End the restoration that is going on, without a result."""
        self._canceled.set()

    def outdate(self, picture: Picture) -> None:
        """Cancel a restoration of a picture that is painted on meanwhile, unless it is to be kept."""
        if self._outdated is picture:
            self.cancel()

    def close(self) -> None:
        """Cancel, and wait for the end."""
        self.cancel()
        if self._thread is not None:
            self._thread.join()

    def _job(self, picture: Picture, effort: str) -> Job:
        """Write the mask, and return what ``csc-cogd inpaint`` would do with it."""
        mask, target = self._folder / picture.mask_path.name, self._folder / picture.target.name
        picture.write_mask(mask, overwrite=True)
        return plan(
            "inpaint", picture.path, target, BatchOptions(axes=picture.axes, overwrite=True), MaskRules(mask),
            Settings(Solve(effort), engine=self._engine),
        ).jobs[0]  # fmt: skip

    def _work(self, task: _Task) -> None:
        kind, about = self._attempt(task)
        self.busy = False  # before that is told: the next may be asked for at once
        self._publish(kind, task.picture, **about)

    def _attempt(self, task: _Task) -> tuple[str, dict[str, Any]]:
        """Do a task, and return the event that ends it."""
        picture, about = task.picture, dict[str, Any]()
        try:
            if not (task.keep and picture.restored_revision == task.revision and picture.restored_by == task.job.settings):
                about = self._restore(task)
            if task.keep and about:
                self._publish("restored", picture, **about)
            return ("kept", self._keep(task) | {"warnings": about.get("warnings", [])}) if task.keep else ("restored", about)
        except _CanceledError:
            return "canceled", {}
        except Exception as error:  # windows must not wait for ever
            return "failed", {"error": str(error) or type(error).__name__}

    def _restore(self, task: _Task) -> dict[str, Any]:
        picture = task.picture
        self._publish("progress", picture, stage="starting", done=0, total=1)
        (result,) = run_in_processes([task.job], 1, lambda _, progress: self._tell(picture, progress))
        if self._canceled.is_set():
            raise _CanceledError
        if result.status == "failed":
            raise InputError("", result.error)
        if not picture.set_restored(task.job.target, task.revision, task.version, task.job.settings):
            raise InputError("", "changed on the disk while it was restored", "restore it again", picture.path.name)
        return {"seconds": result.seconds, "warnings": result.warnings}

    def _tell(self, picture: Picture, progress: Progress) -> None:
        if self._canceled.is_set():
            raise _CanceledError
        self._publish("progress", picture, stage=progress.stage, done=progress.done, total=progress.total)

    def _keep(self, task: _Task) -> dict[str, Any]:
        """Copy mask and result to their places, with the record by which ``--skip-existing`` knows the result."""
        picture, job = task.picture, task.job
        assert job.rules.path is not None
        record = read_sidecar(job.target)

        def remember(finished: Path) -> None:
            if record is not None:
                write_sidecar(picture.target, finished, record)

        _copy(job.rules.path, picture.mask_path, overwrite=task.overwrite)
        _copy(job.target, picture.target, overwrite=task.overwrite, before=remember)
        picture.kept_revision = task.revision
        return {"files": [picture.target.name, picture.mask_path.name]}

    def _check_places(self, places: tuple[Path, ...], overwrite: bool) -> None:
        """Raise where nothing may be written."""
        for place in places:
            if self._root not in place.resolve().parents:
                raise InputError("", "leads out of the folder", "remove the link", place.name)
        if not overwrite and (there := [place.name for place in places if place.exists()]):
            raise ExistsError(" and ".join(there))


def _copy(source: Path, target: Path, **options: Any) -> None:
    with source.open("rb") as content, whole_file(target, **options) as file:
        shutil.copyfileobj(content, file)
