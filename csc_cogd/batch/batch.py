"""A batch of image files restored: here, by several processes, or on a cluster; resumed where it was cut off."""

from __future__ import annotations

import os
import uuid
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from csc_cogd.backend import get_backend
from csc_cogd.batch.cluster import check_scheduler, connected, run_on_cluster
from csc_cogd.batch.inputs import Input, expand_inputs, place_outputs
from csc_cogd.batch.jobs import Job, Listener, Result, Silent, attempt, clean_up, load_dictionary
from csc_cogd.batch.reporting import check_report, find_reference, page_path, write_report
from csc_cogd.batch.tasks import TASKS, try_settings
from csc_cogd.batch.workers import run_in_processes
from csc_cogd.errors import InputError
from csc_cogd.imagefiles import MaskRules
from csc_cogd.restore.tiles import MAX_MEMORY

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Batch:
    """Jobs that were checked, and how they are done; see :func:`restore_batch`."""

    jobs: list[Job]
    n_processes: int = 1
    scheduler: Any = None
    fail_fast: bool = False
    report: Path | None = None

    def run(self, listener: Listener | None = None) -> Iterator[Result]:
        """Results as they are finished. The `listener` hears of jobs that this process does itself, and of all progress."""
        listener = listener or Silent()
        clean_up(self.jobs)
        reported = []
        with closing(self._results(listener)) as results:
            for result in results:
                if self.report is not None:
                    reported.append(result.row())
                yield result
                if self.fail_fast and result.status == "failed":
                    break
        if self.report is not None:
            write_report(self.report, reported)

    def _results(self, listener: Listener) -> Generator[Result, None, None]:
        if self.scheduler is not None:
            with connected(self.scheduler, self.n_processes) as client:
                yield from run_on_cluster(self.jobs, client)
        elif self.n_processes > 1:
            yield from run_in_processes(self.jobs, self.n_processes, lambda job, record: listener.progress(record))
        else:
            yield from (attempt(job, listener) for job in self.jobs)


def restore_batch(
    inputs: PathLike | Iterable[PathLike], output: PathLike | None = None, *, task: str = "inpaint", **options: Any
) -> Iterator[Result]:
    """Restore many image files, and yield a :class:`csc_cogd.batch.Result` for each as it is finished.

    A file that can't be restored has a result that says why; the others are restored all the same. Files are written whole
    or not at all, and nothing is overwritten unless `overwrite` says so.

    Parameters
    ----------
    inputs : path, or iterable of paths
        Files, folders, and patterns such as ``"scans/**/*.tif"``.
    output : path, optional
        Folder for the results, with the folders of the inputs' tree in it; a file for a single file. Default: beside each
        input, as ``<stem>_inpainted`` and so on.
    task : {"inpaint", "denoise", "deblur", "upscale", "reconstruct"}
    recursive : bool
        Take what is in folders below the folders, too.
    files_from : path, optional
        Text file with further inputs, one a line; ``"-"`` is standard input.
    mask : path, optional
        A mask's image file, for all images; or a folder, with a mask ``<stem>`` or ``<stem>_mask`` for each.
    mask_polarity, mask_threshold, mask_value, mask_from_alpha, mask_dilate
        See :class:`csc_cogd.imagefiles.MaskRules`.
    dictionary : path, optional
        Default: the ones that ship.
    axes : str, optional
        What the axes of NPY and NPZ files are, such as ``"NYX"``; see :func:`csc_cogd.imagefiles.open_images`.
    suffix : str, optional
        Format of the results, such as ``".png"``; default: each input's own.
    overwrite : bool
        Replace results that are there already.
    skip_existing : bool
        Leave those that were made from the same input with the same settings. With `overwrite`, replace the others.
    fail_fast : bool
        Stop at the first file that can't be restored.
    jobs : int
        Processes, each with one thread unless `threads` says otherwise. Scripts must guard their main part by
        ``if __name__ == "__main__"``, as always with processes.
    scheduler : str or distributed.Client, optional
        A Dask cluster whose workers see the same files, by its address or a client; ``"local"`` starts one of `jobs`
        processes.
    report : path, optional
        Folder for a report: a page ``index.html`` that needs no network, ``report.json`` and ``report.csv``; of several
        images, a page of each in ``pages``.
    reference : path, optional
        What the result is compared with in the report: an image file, or a folder with one of each image's name.
    settings
        All other arguments are those of :func:`csc_cogd.inpaint`, :func:`csc_cogd.denoise`,
        :func:`csc_cogd.restore_image` or, with a dictionary, :func:`csc_cogd.reconstruct`.

    Returns
    -------
    iterator of Result

    Raises
    ------
    InputError, DeviceError
        At once, for arguments that don't fit, inputs that aren't there, results that would have the same name, or a device
        or cluster that doesn't answer.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     ramp = np.add.outer(np.arange(32.0), np.arange(32))
    ...     np.save(f"{folder}/a.npy", np.where(np.eye(32) > 0, np.nan, ramp))
    ...     [(result.status, round(result.missing, 3)) for result in restore_batch(folder, f"{folder}/restored")]
    [('done', 0.031)]
    """
    return plan_batch(inputs, output, task=task, **options).run()


def plan_batch(
    inputs: PathLike | Iterable[PathLike],
    output: PathLike | None = None,
    *,
    task: str,
    recursive: bool = False,
    files_from: PathLike | None = None,
    mask: PathLike | None = None,
    mask_polarity: str = "missing",
    mask_threshold: float | None = None,
    mask_value: float | None = None,
    mask_from_alpha: bool = False,
    mask_dilate: int = 0,
    dictionary: PathLike = "default",
    axes: str | None = None,
    suffix: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    fail_fast: bool = False,
    jobs: int = 1,
    scheduler: Any = None,
    report: PathLike | None = None,
    reference: PathLike | None = None,
    protected: tuple[Path, ...] = (),
    **settings: Any,
) -> Batch:
    """Check all that can be checked before a batch is begun; see :func:`restore_batch`.

    `protected` are further files that are never written to.
    """
    if task not in TASKS:
        raise InputError(f"task: {task!r} is unknown: choose {', '.join(map(repr, TASKS))}")
    if isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1:
        raise InputError(f"jobs: {jobs!r} isn't a number of processes: use 1 or more")
    if scheduler not in (None, "local") and jobs > 1:
        raise InputError("jobs: the processes are the cluster's, where there is a scheduler: leave it out")
    if scheduler is not None:
        check_scheduler(scheduler)
    several_at_once = jobs > 1 or scheduler is not None
    if several_at_once:
        settings["threads"] = settings.get("threads") or 1
    settings = {name: value for name, value in settings.items() if value is not None}
    engine = {name: settings[name] for name in ("device", "dtype", "threads", "fft") if name in settings}
    backend = get_backend(**engine)
    rules = MaskRules(
        None if mask is None else Path(mask), mask_polarity, mask_threshold, mask_value, mask_from_alpha, mask_dilate
    )
    if rules.path is not None and not os.path.exists(rules.path):
        raise InputError(f"{rules.path}: no such file or folder")
    dictionary = os.fspath(dictionary)
    try_settings(task, settings, load_dictionary(dictionary))
    if jobs > 1 and backend.free_memory() is None:
        settings["max_memory"] = settings.get("max_memory", MAX_MEMORY) / jobs
    named = [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs
    found = expand_inputs(named, recursive=recursive, files_from=files_from)
    images, targets = place_outputs(
        _without_masks(found, rules), None if output is None else Path(output), TASKS[task].ending, suffix
    )
    run = uuid.uuid4().hex if len(images) > 1 or skip_existing else ""
    more = (*protected, *([] if dictionary == "default" else [Path(dictionary)]))
    make = partial(
        Job, task=task, settings=settings, rules=rules, dictionary=dictionary, axes=axes, overwrite=overwrite, run=run,
        resume=skip_existing, inputs=more, new_folders=len(found) > 1 or found[0].folder is not None,
    )  # fmt: skip
    if reference is not None and TASKS[task].faithful:
        raise InputError("reference: a reconstruction is compared with its original: leave it out")
    if reference is not None and report is None:
        raise InputError("reference: it belongs to a report: name the folder of one, or leave it out")
    folder_of_report = None if report is None else Path(report)
    if folder_of_report is not None:
        check_report(folder_of_report, overwrite or skip_existing)
    todo = []
    for number, (image, target) in enumerate(zip(images, targets, strict=True), 1):
        place = image.folder or Path()
        page = None if folder_of_report is None else page_path(folder_of_report, image.path, number, len(images))
        compared = None if reference is None else find_reference(Path(reference), image.path, place)
        todo.append(make(image.path, target, folder=place, page=page, reference=compared))
    return Batch(todo, jobs, scheduler, fail_fast, folder_of_report)


def _without_masks(inputs: list[Input], rules: MaskRules) -> list[Input]:
    """Inputs that aren't the masks of others, as in a folder with both."""
    if rules.path is None or len(inputs) == 1:
        return inputs
    masks = set()
    for image in inputs:
        try:
            found = rules.for_image(image.path, image.folder or Path()).path
        except InputError:
            continue
        if found is not None and os.path.abspath(found) != os.path.abspath(image.path):
            masks.add(os.path.abspath(found))
    return [image for image in inputs if os.path.abspath(image.path) not in masks]
