"""What a batch is asked for: records, which are made and checked once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from csc_cogd.cleaning.settings import Cleaning
from csc_cogd.engine import Engine
from csc_cogd.errors import InputError
from csc_cogd.restore.settings import Solve, Tiling

PathLike = str | os.PathLike[str]
RECORDS = ("solve", "tiling", "engine", "cleaning")


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
    cleaning: Cleaning = field(default_factory=Cleaning)

    def arguments(self) -> Iterator[tuple[str, Any]]:
        """Yield each value with the name of the argument that it is in Python."""
        for name, value in vars(self).items():
            yield from vars(value).items() if name in RECORDS else [(name, value)]
