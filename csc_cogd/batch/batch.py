"""A batch of image files restored: here, by several processes, or on a cluster; resumed where it was cut off."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from csc_cogd.backend import usable_devices
from csc_cogd.backend.selection import physical_memory
from csc_cogd.batch.cluster import check_scheduler, connected, run_on_cluster
from csc_cogd.batch.inputs import Input, expand_inputs, place_outputs, unread_notes
from csc_cogd.batch.job import NO_SCANS, BatchOptions, Job, Listener, PathLike, Result, ScanFiles, Settings, Silent
from csc_cogd.batch.jobs import attempt, clean_up
from csc_cogd.batch.reporting import check_report, find_reference, page_path, write_report
from csc_cogd.batch.tasks import TASKS, Task, load_dictionary, prior_file
from csc_cogd.batch.workers import run_in_processes
from csc_cogd.engine import take_fields
from csc_cogd.errors import DiskFullError, InputError
from csc_cogd.imagefiles import MaskRules
from csc_cogd.imagefiles.infrared import infrared_file
from csc_cogd.report.totals import Totals
from csc_cogd.restore.report import Progress
from csc_cogd.restore.tiling import MAX_MEMORY
from csc_cogd.storage import existing_parent

USABLE = 0.8  # of the machine's memory


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
        reported, full = [], False
        with ExitStack() as stack:
            results: Iterable[Result] = map(partial(attempt, listener=listener), self.jobs)
            if self.scheduler is not None or self.n_processes > 1:
                results = stack.enter_context(closing(self._results(listener)))
            try:
                for result in results:
                    self.totals.add(
                        result.status, result.seconds, result.missing, result.changed or 0, result.figure("expected_seconds")
                    )
                    if self.report is not None:
                        reported.append(result.row())
                    yield result
                    full = result.disk_full
                    if full or (self.fail_fast and result.status == "failed"):
                        break
            finally:  # an interrupted batch has a report of what was done
                self.totals.end()
                if self.report is not None and reported:
                    with suppress(DiskFullError) if full else nullcontext():  # which was told already
                        write_report(self.report, reported, self.totals)

    def _results(self, listener: Listener) -> Generator[Result, None, None]:
        """Yield results of other processes."""
        if self.scheduler is not None:
            with connected(self.scheduler, self.n_processes) as client:
                yield from run_on_cluster(self.jobs, client)
        else:
            yield from run_in_processes(
                self.jobs, self.n_processes, lambda job, record: listener.progress(record), self.devices
            )


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
    task : {"inpaint", "denoise", "deblur", "upscale", "clean", "reconstruct"}
    recursive : bool
        Take what is in folders below the folders, too.
    files_from : path, optional
        Text file with further inputs, one a line; ``"-"`` is standard input.
    mask : path, optional
        A mask's image file, for all images; or a folder, with a mask ``<stem>`` or ``<stem>_mask`` for each.
    mask_polarity, mask_threshold, mask_value, mask_from_alpha, mask_dilate, mask_color, mask_color_tolerance : optional
        See :class:`csc_cogd.imagefiles.MaskRules`.
    infrared : path, optional
        With the task "clean": the file with the infrared channel, or a folder with one for each scan, named as it or with
        "_IR" behind. Default: a fourth channel, a gray page behind, or a file ``<stem>_IR.tif`` beside, where there is one.
    use_infrared : bool
        Whether these are used. Default: yes.
    mask_out : path, optional
        With the task "clean": a folder for masks of what was found, ``<stem>_mask.png``.
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
    **options
        All other arguments are those of :func:`csc_cogd.inpaint`, :func:`csc_cogd.denoise`, :func:`csc_cogd.clean`,
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
    dictionary: PathLike = "default",
    names: Mapping[str, str] | None = None,
    mask: PathLike | None = None,
    infrared: PathLike | None = None,
    use_infrared: bool = True,
    mask_out: PathLike | None = None,
    **keywords: Any,
) -> Batch:
    """Check all that can be checked before a batch is begun.

    Parameters
    ----------
    inputs, output, task, dictionary, mask, infrared, use_infrared, mask_out, keywords
        See :func:`restore_batch`.
    names : mapping of str to str, optional
        See :class:`csc_cogd.batch.Job`.
    """
    if task not in TASKS:
        raise InputError("task", f"must be one of {', '.join(map(repr, TASKS))}, got {task!r}")
    if "mask_path" in keywords:
        raise InputError("mask_path", "is no setting of this task", "use mask")
    batch = take_fields(BatchOptions(), keywords)
    rules = take_fields(MaskRules(_path(mask)), keywords, "mask_")
    scans = ScanFiles(_path(infrared), use_infrared, _path(mask_out))
    if scans != NO_SCANS and not TASKS[task].cleans:
        name = next(name for name, value in vars(scans).items() if value != getattr(NO_SCANS, name))
        raise InputError(name, "belongs to the task 'clean'", "leave it out")
    settings = TASKS[task].settings(keywords)
    return plan(task, inputs, output, batch, rules, settings, dictionary=dictionary, scans=scans, names=names)


def _path(name: PathLike | None) -> Path | None:
    return None if name is None else Path(name)


def plan(
    task: str,
    inputs: PathLike | Iterable[PathLike],
    output: PathLike | None,
    batch: BatchOptions,
    rules: MaskRules,
    settings: Settings,
    *,
    dictionary: PathLike = "default",
    protected: tuple[Path, ...] = (),
    scans: ScanFiles = NO_SCANS,
    names: Mapping[str, str] | None = None,
) -> Batch:
    """Check all that can be checked before a batch is begun, of what is asked for by records.

    `protected` are further files that are never written to; for the others, see :func:`plan_batch`.
    """
    TASKS[task].check(settings)
    report = _checked_report(batch, settings, TASKS[task])
    if batch.scheduler is not None:
        check_scheduler(batch.scheduler)
    if rules.path is not None and not os.path.exists(rules.path):
        raise InputError("", "no such file or folder", "check the name of the mask", str(rules.path))
    dictionary = os.fspath(dictionary)
    load_dictionary(dictionary)
    named = [inputs] if isinstance(inputs, (str, os.PathLike)) else inputs
    found, unread = expand_inputs(named, recursive=batch.recursive, files_from=batch.files_from)
    if TASKS[task].cleans and scans.use_infrared:
        pictures, masks = _without_infrared(found, scans)
    else:
        pictures, masks = _without_masks(found, rules)
    output = None if output is None else Path(output)
    images, targets, new_folder = place_outputs(pictures, output, TASKS[task].ending, batch.suffix)
    settings, n_processes, devices = _share_of_the_machine(settings, batch, len(images))
    several = len(found) > 1 or found[0].folder is not None
    into_folder = several or new_folder
    references = [
        None if batch.reference is None else find_reference(Path(batch.reference), image.path, image.folder or Path())
        for image in images
    ]
    more = (*protected, *([] if dictionary == "default" else [Path(dictionary)]))
    more += tuple(filter(None, [prior_file(settings)]))
    if into_folder and output is not None and not batch.skip_existing:
        _check_folder(output)
    _check_targets(targets, [*[image.path for image in images], *masks, *filter(None, references), *more])
    make = partial(
        Job, task=task, settings=settings, rules=rules, dictionary=dictionary, axes=batch.axes, overwrite=batch.overwrite,
        run=uuid.uuid4().hex, record_required=several, resume=batch.skip_existing, inputs=more, new_folders=into_folder,
        names=dict(names or {}),
    )  # fmt: skip
    todo = []
    for image, target, compared in zip(images, targets, references, strict=True):
        place = image.folder or Path()
        page = None if report is None else page_path(report, image.path, place, len(images))
        own = _own(scans, image) if TASKS[task].cleans else scans
        todo.append(make(image.path, target, folder=place, page=page, reference=compared, scans=own))
    why = "infrared channels of others" if TASKS[task].cleans else "masks of others"
    left_out = {why: len(found) - len(pictures), "results of others": len(pictures) - len(images)}
    notes = [f"{number} of {len(found)} images left out: {why}" for why, number in left_out.items() if number]
    totals = Totals(list(map(str, unread)), words=TASKS[task].words)
    return Batch(todo, n_processes, devices, batch.scheduler, batch.fail_fast, report, notes + unread_notes(unread), totals)


def _checked_report(batch: BatchOptions, settings: Settings, task: Task) -> Path | None:
    """Return the report's folder, where one is asked for.

    Raises
    ------
    InputError
        If it, or the reference, isn't for this task, or it can't be written.
    """
    if batch.reference is not None and task.problem is None:
        raise InputError("reference", "can't be chosen, as a reconstruction is compared with its original", "leave it out")
    if batch.report is None:
        return None
    if settings.dry_run:
        raise InputError("report", "isn't written by a dry run", "leave it out")
    check_report(Path(batch.report), batch.overwrite, batch.skip_existing)
    return Path(batch.report)


def _share_of_the_machine(settings: Settings, batch: BatchOptions, n_images: int) -> tuple[Settings, int, list[str]]:
    """Share processors, memory and GPUs out among processes.

    Returns
    -------
    settings : Settings
        Those of each process: where there are several, with one thread, and its part of the memory, or of its GPU's.
    n_processes : int
    devices : list of str
        That the processes take in turn.
    """
    engine, tiling = settings.engine, settings.tiling
    here = replace(engine, device="cpu") if batch.remote else engine
    free = here.backend.free_memory()  # of the GPU that restores here
    shared = free is not None and batch.scheduler is None and here.device in ("auto", "cuda")
    devices = usable_devices() if shared else []
    n_processes = min(batch.jobs or max(len(devices), 1), n_images)
    on_cpu = not engine.device.startswith("cuda") if batch.remote else free is None  # of the workers' machines, or of this
    if on_cpu and engine.threads is None and (n_processes > 1 or batch.scheduler is not None):
        engine = replace(engine, threads=1)
    sharing = n_processes if on_cpu else -(-n_processes // max(len(devices), 1))
    if sharing > 1 and tiling.max_memory is not None:
        tiling = replace(tiling, max_memory=tiling.max_memory / sharing)
    elif sharing > 1 and (present := physical_memory() if on_cpu else free) is not None:
        share = USABLE * present / sharing
        tiling = replace(tiling, max_memory=min(float(MAX_MEMORY), share) if on_cpu else share)
    return replace(settings, engine=engine, tiling=tiling), n_processes, devices


def _check_folder(output: Path) -> None:
    """Raise InputError where nothing can be written to the folder of the results: once, and not for each of them."""
    if (folder := existing_parent(output)).is_dir() and not os.access(folder, os.W_OK):
        raise InputError("", f"the folder {folder} isn't writable", "choose another, or change its permissions", str(output))


def _check_targets(targets: list[Path], read: list[Path]) -> None:
    """Raise InputError where a result would be written onto a file that is read."""
    places = {os.path.realpath(path) for path in read}
    for target in targets:
        if os.path.realpath(target) in places:
            raise InputError("", "is an input, which is never overwritten", "choose another {output}", str(target))


def _own(scans: ScanFiles, image: Input) -> ScanFiles:
    """Return what belongs to one of the scans. What is missing is told when its turn comes."""
    if not scans.use_infrared:
        return scans
    try:
        return replace(scans, infrared=infrared_file(image.path, scans.infrared, image.folder or Path()))
    except InputError:
        return scans


def _without_infrared(inputs: list[Input], scans: ScanFiles) -> tuple[list[Input], list[Path]]:
    """Return inputs that aren't the infrared channels of others, and these channels."""
    channels = {os.path.abspath(found): found for one in inputs if (found := _own(scans, one).infrared) is not None}
    if len(inputs) == 1:
        return inputs, list(channels.values())
    return [one for one in inputs if os.path.abspath(one.path) not in channels], list(channels.values())


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
        raise InputError(
            "", "each image would be the mask of another", "put the masks into a folder of their own", str(rules.path)
        )
    return kept, list(masks.values())
