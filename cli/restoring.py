"""What the commands share that make image files of image files; and kernels by name."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import Console, ProgressBar, echo, printable
from csc_cogd.cli.options import names_here
from csc_cogd.errors import InputError
from csc_cogd.report.totals import Totals, some_of

if TYPE_CHECKING:
    from csc_cogd.batch import Result
    from csc_cogd.batch.job import BatchOptions, ScanFiles, Settings
    from csc_cogd.imagefiles import MaskRules
    from csc_cogd.learning.reconstruct import Quality

KERNELS = {"gaussian": "gaussian:S", "uniform": "uniform:N", "motion": "motion:LEN,ANGLE"}


def read_kernel(text: str) -> Any:
    """The kernel that --kernel names, (h, w): one of KERNELS with its numbers, or an image file."""
    import numpy as np

    from csc_cogd.imagefiles import read_image
    from csc_cogd.restore.operators import check_kernel, gaussian_kernel, motion_kernel, uniform_kernel

    name, _, given = text.partition(":")
    if name in KERNELS and not Path(text).exists():
        try:
            numbers = [float(number) for number in given.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != KERNELS[name].count(",") + 1 or (name == "uniform" and not numbers[0].is_integer()):
            raise InputError("kernel", f"must be of the form {KERNELS[name]}, with numbers, got {text!r}")
        makers: dict[str, Callable[..., Any]] = {
            "gaussian": gaussian_kernel,
            "uniform": lambda size: uniform_kernel(int(size)),
            "motion": motion_kernel,
        }
        try:
            return makers[name](*numbers)
        except InputError as error:
            raise error.about(text) from None
    if given and not Path(text).exists():
        raise InputError("kernel", f"must be {', '.join(KERNELS.values())}, or the file of a picture of it, got {text!r}")
    pixels = read_image(text).colors
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if pixels.ndim == 3:
        raise InputError("", f"the kernel has {pixels.shape[2]} channels", "make it gray", text)
    if not np.isfinite(pixels).all() or (pixels < 0).any():
        raise InputError("", "the kernel has NaN, infinite or negative values", "set them to zero", text)
    try:
        return check_kernel(pixels)
    except InputError as error:
        raise error.about(text) from None


def restore_files(
    task: str,
    images: tuple[str, ...],
    output: Path | None,
    batch: BatchOptions,
    settings: Settings,
    console: Console,
    *,
    rules: MaskRules | None = None,
    dictionary: str = "default",
    protected: tuple[Path, ...] = (),
    scans: ScanFiles | None = None,
    as_json: bool,
) -> int:
    """Restore image files by a task of :data:`csc_cogd.batch.tasks.TASKS`, say what was done, and return the exit code."""
    from csc_cogd.batch.batch import plan
    from csc_cogd.batch.job import NO_RULES, NO_SCANS

    if not images and batch.files_from is None:
        raise click.UsageError("Missing argument 'IMAGE...'.")
    if not batch.remote:
        console.check_device(settings.engine)
    planned = plan(
        task, images, output, batch, rules or NO_RULES, settings, dictionary=dictionary, protected=protected,
        scans=scans or NO_SCANS, names=names_here(),
    )  # fmt: skip
    for note in planned.notes:
        console.say(note)
    single = len(planned.jobs) == len(images) == 1 and planned.jobs[0].source == Path(images[0])
    live = single and planned.n_processes == 1 and planned.scheduler is None
    targets = {str(job.source): str(job.target) for job in planned.jobs}
    tally = _Tally(console, planned.totals, targets, single, live, as_json)
    totals, n_jobs = planned.totals, len(planned.jobs)

    def advice() -> str:
        n_done = totals.counts["done"] + totals.counts["skipped"]
        if single or not totals.counts["done"]:
            return ""
        return f"{n_done} of {n_jobs} are done and stay: the same call with --skip-existing does the rest"

    resumable = console.advising(advice)
    with resumable, console.progress(len(planned.jobs)) as progress:
        for result in planned.run(_Listener(console, progress, images[0] if live else "")):
            progress.file_done(Path(result.input).name)
            tally.add(result)
    code = tally.close()
    if sum(totals.counts.values()) < n_jobs and (text := advice()):
        console.say(text)
    return code


@dataclass
class _Listener:
    """Hears of a job while it runs: says what is said of a `single` file at once, and moves the bar."""

    console: Console
    progress: ProgressBar
    single: str

    def say(self, text: str, kind: str) -> None:
        if self.single:
            say(self.console, text, kind, self.single)


def say(console: Console, text: str, kind: str, name: str, level: int = 0) -> None:
    """Say a line of a result's `notes`, `warnings` or `details`; a warning gets the file's name, which the others have."""
    if kind == "warnings":
        console.warn(f"{name}: {text}")
    else:
        console.say(text, level=level + (kind == "details"))


def alike(errors: Mapping[str, str], targets: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Group errors that say the same of several files, numbers aside.

    Parameters
    ----------
    errors : mapping of str to str
        By the files that they are about, which they name at their beginning, or their targets.
    targets : mapping of str to str
        By the same files.

    Yields
    ------
    file, text : str
        The first of the files of each group, and what is to be said of all of them.
    """
    groups: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for file, error in errors.items():
        either = [" ".join(path.split()) for path in sorted((targets[file], file), key=len, reverse=True)]
        name = next((name for name in either if error.startswith((f"{name}:", f"{name},"))), "")
        what = error.removeprefix(name)
        groups[re.sub(r"\d+", "#", what) if name else error].append((file, name or file, what))
    for (file, name, what), *others in groups.values():
        names = some_of([name, *[other for _, other, _ in others]])
        if not others:
            yield file, errors[file]
        elif all(said == what for _, _, said in others):
            yield file, f"{len(others) + 1} files: {names}: {what[2:] if name else what}"
        else:
            yield file, f"{len(others) + 1} files: {names}: such as {errors[file]}"


def print_quality(qualities: Mapping[str, Quality]) -> None:
    """Print a table of how well images, by their names, were rebuilt, and from how much."""
    width = max(len(printable(name)) for name in qualities)
    echo(f"{'image':<{width}} {'PSNR':>9} {'SSIM':>7} {'codes/value':>12} {'bits/value':>11}")
    for name, quality in qualities.items():
        similarity = "-" if math.isnan(quality.ssim) else f"{quality.ssim:.4f}"
        echo(
            f"{printable(name):<{width}} {quality.psnr:>6.2f} dB {similarity:>7} "
            f"{quality.nonzeros_per_value:>12.4f} {quality.bits_per_value:>11.3f}"
        )


@dataclass
class _Tally:
    """Says what became of each file, and of all of them."""

    console: Console
    totals: Totals
    targets: Mapping[str, str]
    single: bool
    live: bool
    as_json: bool
    warnings: defaultdict[str, list[str]] = field(default_factory=partial(defaultdict, list))
    failed: list[Result] = field(default_factory=list)
    qualities: dict[str, Quality] = field(default_factory=dict)

    def add(self, result: Result) -> None:
        if result.status == "failed":
            self.failed.append(result)
        if self.as_json:
            echo(json.dumps(result.row()))
        if result.status == "done" and "nonzeros_per_value" in result.figures:
            from csc_cogd.learning.reconstruct import Quality

            self.qualities[result.input] = Quality._make(map(result.figure, Quality._fields))
        for kind in ("notes", "details", "warnings") if not self.live else ():
            for text in getattr(result, kind):
                if kind == "warnings" and not self.single:
                    self.warnings[text].append(result.input)
                else:
                    say(self.console, text, kind, result.input, 0 if self.single else 1)
        if result.status == "done":
            text = f"{result.output}: written after {result.seconds:.1f} s"
            self.console.say(text, level=0 if self.single else 1)
        elif result.status == "skipped":
            self.console.say(f"{result.output}: is there already: skipped", level=0 if self.single else 1)

    def close(self) -> int:
        """Say what there is to say at the end; the exit code."""
        for text, files in self.warnings.items():
            self.console.warn(f"{some_of(files)}: {text}")
        errors, traces = ({one.input: getattr(one, name) for one in self.failed} for name in ("error", "trace"))
        for file, text in errors.items() if self.console.verbosity > 0 else alike(errors, self.targets):
            self.console.error(text, traces[file])
        if self.qualities and not self.as_json and not self.console.quiet:
            print_quality(self.qualities)
        if self.as_json:
            echo(json.dumps({"summary": True, **self.totals.row()}))
        if self.single:
            return self.failed[0].code if self.failed else 0
        self.console.say(self.totals.sentence())
        return 1 if self.failed else 0
