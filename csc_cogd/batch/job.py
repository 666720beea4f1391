"""The records of a batch: what it is asked for, its jobs, what is told of them while they run, and what became of them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from csc_cogd.cleaning.settings import Cleaning
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError, Message
from csc_cogd.imagefiles import MaskRules
from csc_cogd.report.document import plain
from csc_cogd.restore.report import Progress
from csc_cogd.restore.settings import Solve, Tiling
from csc_cogd.storage import Json

PathLike = str | os.PathLike[str]
RECORDS = ("solve", "tiling", "engine", "cleaning")
NO_RULES, NO_CLEANING = MaskRules(), Cleaning()


@dataclass(frozen=True)
class BatchOptions:
    """Which files a batch takes, and how it goes about them; see :func:`csc_cogd.restore_batch`.

    Raises
    ------
    InputError
        If they don't go together.
    """

    recursive: bool = False
    files_from: PathLike | None = None
    axes: str | None = None
    suffix: str | None = None
    overwrite: bool = False
    skip_existing: bool = False
    fail_fast: bool = False
    jobs: int | None = None
    scheduler: Any = None
    report: PathLike | None = None
    reference: PathLike | None = None

    def __post_init__(self) -> None:
        jobs = self.jobs
        if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
            raise InputError("jobs", f"must be a number of processes, 1 or more, got {jobs!r}")
        if self.remote and jobs not in (None, 1):
            raise InputError(
                "jobs", "can't be chosen, as the workers are the scheduler's", "leave out {jobs} or {scheduler}"
            )
        if self.reference is not None and self.report is None:
            raise InputError("reference", "belongs to a report", "name the folder of one by {report}, or leave it out")

    @property
    def remote(self) -> bool:
        """Whether workers of other machines restore."""
        return self.scheduler not in (None, "local")


@dataclass(frozen=True)
class ScanFiles:
    """Files that belong to the scans that are cleaned.

    Attributes
    ----------
    infrared : Path, optional
        With the infrared channel, or a folder with one for each scan. Default: in the scan itself, or beside it.
    use_infrared : bool
        Whether infrared channels are looked for at all.
    mask_out : Path, optional
        Folder for masks of what was found.

    Raises
    ------
    InputError
        If they don't go together.
    """

    infrared: Path | None = None
    use_infrared: bool = True
    mask_out: Path | None = None

    def __post_init__(self) -> None:
        if self.infrared is not None and not self.use_infrared:
            raise InputError("infrared", "was given, but isn't to be used", "leave out {infrared} or {no_infrared}")
        if self.infrared is not None and not self.infrared.exists():
            raise InputError("", "no such file or folder", "check the name of the infrared channel", str(self.infrared))


NO_SCANS = ScanFiles()


@dataclass(frozen=True)
class Settings:
    """How each image is restored; what a task doesn't use keeps its default.

    Attributes
    ----------
    solve : Solve
    tiling : Tiling
    engine : Engine
    noise : {"auto", "white", "camera", "grain", "jpeg", "poisson", "impulse", "gaussian"}
    noise_sigma : float, "auto", or sequence of floats, optional
    gain : float or "auto"
    strength : float
        Factor on estimated noise.
    operator : Operator, optional
        What the image shows of the scene.
    keep_known : bool, optional
    debias : bool
        Refit the codes of a reconstruction.
    dry_run : bool
    prior : path
        The file of one, or "default" or "none".
    cleaning : Cleaning
        What is looked for in scans.
    """

    solve: Solve = field(default_factory=Solve)
    tiling: Tiling = field(default_factory=Tiling)
    engine: Engine = field(default_factory=Engine)
    noise: str = "gaussian"
    noise_sigma: Any = None
    gain: Any = "auto"
    strength: Any = 1.0
    operator: Any = None
    keep_known: bool | None = None
    debias: bool = False
    dry_run: bool = False
    prior: PathLike = "default"
    cleaning: Cleaning = NO_CLEANING

    def arguments(self) -> Iterator[tuple[str, Any]]:
        """Yield each value with the name of the argument that it is in Python."""
        for name, value in vars(self).items():
            yield from vars(value).items() if name in RECORDS else [(name, value)]


@dataclass(frozen=True)
class Job:
    """An image file to be restored.

    Attributes
    ----------
    source, target : paths
    task : str
        One of :data:`csc_cogd.batch.tasks.TASKS`.
    settings : Settings
    rules : MaskRules
        Where the mask comes from; a directory of masks has folders like `folder`, the source's place in its tree.
    dictionary : str
        A file's name, or ``"default"``.
    axes : str, optional
        Of NPY, NPZ and TIFF files; see :func:`csc_cogd.imagefiles.open_images`.
    run : str
        Name of the batch, so that its results are told from those of earlier ones; without one, none is remembered.
    record_required : bool
        Fail where a result can't be remembered, as resuming a batch depends on it; else that is a warning.
    resume : bool
        Leave results that are there already.
    new_folders : bool
        Make the target's folder where it isn't there.
    page, reference : paths, optional
        Where to write a page of a report, and the file that the result is compared with there.
    scans : ScanFiles
        What belongs to a scan that is cleaned: its own infrared channel and the folder for its mask.
    inputs : tuple of paths
        Further files that are never written to.
    names : mapping of str to str
        What arguments are called where the messages are shown: options, on the command line. Default: by their own names.
    """

    source: Path
    target: Path
    task: str
    settings: Settings
    rules: MaskRules = NO_RULES
    folder: Path = Path()
    dictionary: str = "default"
    axes: str | None = None
    overwrite: bool = False
    run: str = ""
    record_required: bool = False
    resume: bool = False
    new_folders: bool = False
    page: Path | None = None
    reference: Path | None = None
    scans: ScanFiles = NO_SCANS
    inputs: tuple[Path, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)

    def on(self, device: str) -> Job:
        """Return the same job, for a device."""
        return replace(self, settings=replace(self.settings, engine=replace(self.settings.engine, device=device)))

    def text(self, message: Message) -> str:
        """Return what a message says, in one line."""
        return " ".join(message.render(self.names).split())


@dataclass(frozen=True)
class Result:
    """What became of an image file.

    Attributes
    ----------
    input, output : str
        `output` is where the result is, or would be written by a dry run; empty if it failed.
    status : {"done", "skipped", "failed", "planned"}
    error : str
        In one line, if it failed: ``FILE: what: how to fix it``.
    code : int
        The exit code that the error has where it is the only one: 2 for wrong input, 3 for device or memory, else 1.
    seconds : float
        That it took; of a skipped one, what it took when it was done.
    pages : int
    missing : float
        Fraction of the pixels that were missing in any channel, over all pages.
    changed : int, optional
        How many known values aren't as they were, in the file that was written; None where none was to stay.
    altered : int, optional
        How many values of the file that was written aren't those of the input; None where it has another size, or wasn't
        written.
    notes, warnings, details : lists of str
        What was found, what the user should know, and what was chosen and how it went.
    figures : dict
        Figures of merit, where there are some.
    trace : str
        Traceback of the error.
    disk_full : bool
        It failed because no more can be written, so that others would, too.
    """

    input: str
    output: str = ""
    status: str = "done"
    error: str = ""
    code: int = 0
    seconds: float = 0.0
    pages: int = 0
    missing: float = 0.0
    changed: int | None = None
    altered: int | None = None
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    figures: dict[str, Json] = field(default_factory=dict)
    trace: str = ""
    disk_full: bool = False

    def figure(self, name: str) -> float:
        """Return a number among the figures; 0 where there is none."""
        value = self.figures.get(name)
        return value if isinstance(value, (int, float)) else 0.0

    def row(self) -> dict[str, Json]:
        """What a report and a program want to know of it, as JSON can hold it."""
        return {
            name: plain(value) for name, value in vars(self).items() if name not in ("trace", "code", "details", "disk_full")
        }


class Listener(Protocol):
    """What is told of a job while it runs."""

    def say(self, text: str, kind: str) -> None:
        """A line of the result's `notes`, `warnings` or `details`."""

    def progress(self, record: Progress) -> Any:
        """How far the present stage is; a true return value ends it early."""


class Silent:
    """A listener that doesn't listen."""

    def say(self, text: str, kind: str) -> None:
        pass

    def progress(self, record: Progress) -> Any:
        pass
