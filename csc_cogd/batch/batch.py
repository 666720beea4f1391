"""A batch of image files restored: here, by several processes, or on a cluster; resumed where it was cut off."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from csc_cogd.backend import get_backend, usable_devices
from csc_cogd.batch.cluster import check_scheduler, connected, run_on_cluster
from csc_cogd.batch.inputs import Input, expand_inputs, place_outputs, unread_notes
from csc_cogd.batch.jobs import Job, Listener, Result, Silent, attempt, clean_up
from csc_cogd.batch.reporting import check_report, find_reference, page_path, write_report
from csc_cogd.batch.tasks import TASKS, load_dictionary, try_settings
from csc_cogd.batch.workers import run_in_processes
from csc_cogd.errors import InputError
from csc_cogd.imagefiles import MaskRules
from csc_cogd.learning.learn import physical_memory
from csc_cogd.report.totals import Totals
from csc_cogd.restore.report import Progress
from csc_cogd.restore.tiling import MAX_MEMORY

USABLE = 0.8  # of the machine's memory
PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Batch:
    """Jobs that were checked, and how they are done; see :func:`restore_batch`."""

    jobs: list[Job]
    n_processes: int = 1
    devices: list[str] = field(default_factory=list)  # that the processes take in turn, where there are several
    scheduler: Any = None
    fail_fast: bool = False
    report: Path | None = None
    notes: list[str] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)  # of the last run

    def run(self, listener: Listener | None = None) -> Iterator[Result]:
        """Results as they are finished. The `listener` hears of jobs that this process does itself, and of all progress."""
        listener = listener or Silent()
        clean_up(self.jobs)
        self.totals.begin()
        reported = []
        with closing(self._results(listener)) as results:
            for result in results:
                self.totals.add(vars(result))
                if self.report is not None:
                    reported.append(result.row())
                yield result
                if self.fail_fast and result.status == "failed":
                    break
        self.totals.end()
        if self.report is not None:
            write_report(self.report, reported, self.totals)

    def _results(self, listener: Listener) -> Generator[Result, None, None]:
        if self.scheduler is not None:
            with connected(self.scheduler, self.n_processes) as client:
                yield from run_on_cluster(self.jobs, client)
        elif self.n_processes > 1:
            yield from run_in_processes(
                self.jobs, self.n_processes, lambda job, record: listener.progress(record), self.devices
            )
        else:
            yield from (attempt(job, listener) for job in self.jobs)


def restore_batch(
    inputs: PathLike | Iterable[PathLike],
    output: PathLike | None = None,
    *,
    task: str = "inpaint",
    callback: Callable[[Progress], Any] | None = None,
    **options: Any,
) -> Iterator[Result]:
    """Restore many image files, and yield a :class:`csc_cogd.Result` for each as it is finished.

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
    mask_polarity, mask_threshold, mask_value, mask_from_alpha, mask_dilate, mask_color, mask_color_tolerance
        See :class:`csc_cogd.imagefiles.MaskRules`.
    dictionary : path, optional
        Default: the ones that ship.
    axes : str, optional
        What the axes of NPY, NPZ and TIFF files are, such as ``"NYX"``; see :func:`csc_cogd.imagefiles.open_images`.
    suffix : str, optional
        Format of the results, such as ``".png"``; default: each input's own.
    overwrite : bool
        Replace results that are there already.
    skip_existing : bool
        Leave those that were made from the same input with the same settings. With `overwrite`, replace the others.
    fail_fast : bool
        Stop at the first file that can't be restored.
    jobs : int, optional
        Processes, each with one thread unless `threads` says otherwise, and its part of `max_memory`. Scripts must guard
        their main part by ``if __name__ == "__main__"``, as always with processes. Default: 1, or as many as there are GPUs
        for a `device` of ``"cuda"``, or of ``"auto"`` that is one. Processes take the GPUs in turn, ``cuda:0``, ``cuda:1``
        and so on; with ``"cuda:1"``, all have that one. Results don't depend on it.
    scheduler : str or distributed.Client, optional
        A Dask cluster whose workers see the same files, by its address or a client; ``"local"`` starts one of `jobs`
        processes. Its workers don't share GPUs out: each has the first one that ``CUDA_VISIBLE_DEVICES`` lets it see.
    report : path, optional
        Folder for a report: a page ``index.html`` that needs no network, ``report.json`` and ``report.csv``; of several
        images, a page of each in ``pages``.
    reference : path, optional
        What the result is compared with in the report: an image file, or a folder with one of each image's name.
    callback : callable, optional
        Called with the :class:`csc_cogd.Progress` of files that this machine restores. Of those that this
        process restores itself, a true return value ends the present stage early.
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
    listener = None if callback is None else _Callback(callback)
    return plan_batch(inputs, output, task=task, **options).run(listener)


class _Callback(Silent):
    """A listener that tells a function of progress."""

    def __init__(self, callback: Callable[[Progress], Any]):
        self._callback = callback

    def progress(self, record: Progress) -> Any:
        return self._callback(record)


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
    mask_dilate: int | str = 0,
    mask_color: str | None = None,
    mask_color_tolerance: int = 40,
    dictionary: PathLike = "default",
    axes: str | None = None,
    suffix: str | None = None,
    overwrite: bool = False,
    skip_existing: bool = False,
    fail_fast: bool = False,
    jobs: int | None = None,
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
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise InputError(f"jobs: {jobs!r} isn't a number of processes: use 1 or more")
    if scheduler not in (None, "local") and jobs not in (None, 1):
        raise InputError("jobs: the processes are the cluster's, where there is a scheduler: leave it out")
    if scheduler is not None:
        check_scheduler(scheduler)
    _check_report(report, reference, task, overwrite, skip_existing, bool(settings.get("dry_run")))
    rules = MaskRules(
        None if mask is None else Path(mask), mask_polarity, mask_threshold, mask_value, mask_from_alpha, mask_dilate,
        mask_color, mask_color_tolerance,
    )  # fmt: skip
    if rules.path is not None and not os.path.exists(rules.path):
        raise InputError(f"{rules.path}: no such file or folder: check the name of the mask")
    dictionary = os.fspath(dictionary)
    loaded = load_dictionary(dictionary)
    named = [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs
    found, unread = expand_inputs(named, recursive=recursive, files_from=files_from)
    pictures, masks = _without_masks(found, rules)
    images, targets = place_outputs(pictures, None if output is None else Path(output), TASKS[task].ending, suffix)
    settings = {name: value for name, value in settings.items() if value is not None}
    devices = _devices(settings) if scheduler is None else []
    jobs = min(jobs or max(len(devices), 1), len(images))
    settings = _share_of_the_machine(settings, jobs, max(len(devices), 1), scheduler, TASKS[task].plans)
    remote = scheduler not in (None, "local")
    try_settings(task, settings | ({"device": "cpu"} if remote else {}), loaded)  # the workers' device isn't here
    several = len(found) > 1 or found[0].folder is not None
    references = [
        None if reference is None else find_reference(Path(reference), image.path, image.folder or Path())
        for image in images
    ]
    more = (*protected, *([] if dictionary == "default" else [Path(dictionary)]))
    _check_targets(targets, [*(image.path for image in images), *masks, *filter(None, references), *more])
    folder = None if report is None else Path(report)
    make = partial(
        Job, task=task, settings=settings, rules=rules, dictionary=dictionary, axes=axes, overwrite=overwrite,
        run=uuid.uuid4().hex, record_required=several, resume=skip_existing, inputs=more, new_folders=several,
    )  # fmt: skip
    todo = []
    for image, target, compared in zip(images, targets, references, strict=True):
        place = image.folder or Path()
        page = None if folder is None else page_path(folder, image.path, place, len(images))
        todo.append(make(image.path, target, folder=place, page=page, reference=compared))
    notes = [
        f"{number} of {len(found)} images left out: {why}"
        for number, why in (
            (len(found) - len(pictures), "masks of others"), (len(pictures) - len(images), "results of others"),
        )
        if number
    ]  # fmt: skip
    return Batch(
        todo, jobs, devices, scheduler, fail_fast, folder, [*notes, *unread_notes(unread)], Totals(list(map(str, unread)))
    )


def _check_report(
    report: PathLike | None, reference: PathLike | None, task: str, overwrite: bool, resume: bool, dry_run: bool
) -> None:
    if reference is not None and TASKS[task].faithful:
        raise InputError("reference: a reconstruction is compared with its original: leave it out")
    if reference is not None and report is None:
        raise InputError("reference: it belongs to a report: name the folder of one, or leave it out")
    if report is not None and dry_run:
        raise InputError("report: a dry run has none: leave it out")
    if report is not None:
        check_report(Path(report), overwrite, resume)


def _free_on_gpu(settings: dict[str, Any]) -> float | None:
    """Bytes that are free on the GPU that restores here; None where the CPU does."""
    engine = {name: settings[name] for name in ("device", "dtype", "threads", "fft") if name in settings}
    return get_backend(**engine).free_memory()


def _devices(settings: dict[str, Any]) -> list[str]:
    """The GPUs that processes can share out among them: all, where the settings name none of them."""
    if _free_on_gpu(settings) is None or settings.get("device", "auto") not in ("auto", "cuda"):
        return []
    return usable_devices()


def _share_of_the_machine(
    settings: dict[str, Any], n_processes: int, n_devices: int, scheduler: Any, plans: bool
) -> dict[str, Any]:
    """The settings of each of several processes: one thread, and its part of the memory, or of its GPU's."""
    if scheduler in (None, "local"):
        on_gpu = _free_on_gpu(settings)
        on_cpu = on_gpu is None
    else:
        on_gpu = None
        on_cpu = not str(settings.get("device", "auto")).startswith("cuda")  # of the workers' machines, not of this one
    settings = dict(settings)
    if on_cpu and (n_processes > 1 or scheduler is not None):
        settings.setdefault("threads", 1)
    sharing = n_processes if on_cpu else -(-n_processes // n_devices)
    present = physical_memory() if on_cpu else on_gpu
    if plans and sharing > 1:
        if "max_memory" in settings:
            settings["max_memory"] /= sharing
        elif present is not None:
            share = USABLE * present / sharing
            settings["max_memory"] = min(float(MAX_MEMORY), share) if on_cpu else share
    return settings


def _check_targets(targets: list[Path], read: list[Path]) -> None:
    """Raise InputError where a result would be written onto a file that is read."""
    places = {os.path.realpath(path) for path in read}
    for target in targets:
        if os.path.realpath(target) in places:
            raise InputError("", "is an input, which is never overwritten", "choose another {output}", str(target))


def _without_masks(inputs: list[Input], rules: MaskRules) -> tuple[list[Input], list[Path]]:
    """Inputs that aren't the masks of others, as in a folder with both; and the masks.

    Raises
    ------
    InputError
        If all are masks.
    """
    masks: dict[str, Path] = {}
    for image in inputs if rules.path is not None else ():
        try:
            found = rules.for_image(image.path, image.folder or Path()).path
        except InputError:  # is told when its turn comes
            continue
        if found is not None and os.path.abspath(found) != os.path.abspath(image.path):
            masks[os.path.abspath(found)] = found
    if len(inputs) == 1:
        return inputs, list(masks.values())
    kept = [image for image in inputs if os.path.abspath(image.path) not in masks]
    if not kept:
        raise InputError(f"{rules.path}: each image would be the mask of another: put the masks into a folder of their own")
    return kept, list(masks.values())
