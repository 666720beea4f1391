"""``csc-cogd learn``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import Console, ProgressBar
from csc_cogd.cli.option_types import PATH, Memory
from csc_cogd.cli.options import (
    CONSOLE,
    ENGINE,
    check_alike,
    cogradient_rule,
    filter_numbers,
    images_argument,
    names_here,
    options,
    settings_line,
    takes,
)
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd import CogradientRule, Dictionary, LearnedDictionary
    from csc_cogd.engine import Engine


@dataclass(frozen=True)
class LearnOptions:
    """The options of the command, except those about engine and output."""

    images: tuple[str, ...]
    output: Path
    recursive: bool
    files_from: str | None
    axes: str | None
    n_shards: int | None
    jobs: int | None
    scheduler: str | None
    n_filters: str | None
    filter_shape: str | None
    lmbda: float
    iterations: int | None
    cogd: bool
    kernel_degree: int | None
    online: bool | None
    batch_size: int | None
    crop: int | None
    max_memory: float | None
    seed: int
    start: Path | None
    checkpoint: Path | None


@click.command("learn")
@images_argument
@click.option("-o", "--output", type=PATH, metavar="FILE", required=True, help="The dictionary, as .npz.")
@options("recursive", "files_from", "axes", "overwrite")
@click.option(
    "--shards", "n_shards", type=click.IntRange(min=1), metavar="N",
    help="Divide the images into N shards that agree on their filters: each reads its files, and keeps its codes, where it "
    "is worked on.",
)  # fmt: skip
@click.option("-j", "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes that share the shards. Default: 1.")
@click.option(
    "--scheduler", metavar="ADDRESS|local",
    help="Work on the shards on a Dask cluster instead, such as tcp://host:8786, whose workers find the files, and this "
    "package, as this machine does; local: on one of --jobs processes here.",
)  # fmt: skip
@options("filters", "filter_size")
@click.option(
    "--lmbda", type=click.FloatRange(0, 1000), default=0.02, show_default=True, metavar="L",
    help="Weight of the l1 term for an image in [0, 1]: larger makes coarser, more general filters.",
)  # fmt: skip
@click.option("--iterations", type=click.IntRange(min=1), metavar="N", help="Rounds. Default: 30; online 200 batches.")
@options("cogd", "kernel_degree")
@click.option(
    "--online/--whole", default=None,
    help="From a few crops at a time, or all images together. Default: online where sizes differ or memory is short.",
)  # fmt: skip
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Crops a batch, online. Default: 4.")
@click.option(
    "--crop", type=click.IntRange(min=1), metavar="N",
    help="Their size in pixels, 128 unless given. With --shards: of a piece of each image; default: all of it.",
)  # fmt: skip
@click.option(
    "--max-memory", type=Memory(), metavar="SIZE",
    help="Learn online where learning from all images together would take more. Default: 2GB.",
)  # fmt: skip
@options("seed")
@click.option("--start", type=PATH, metavar="FILE", help="Go on from this dictionary's filters.")
@options("checkpoint", ENGINE, CONSOLE)
@takes("options", LearnOptions)
def command(options: LearnOptions, overwrite: bool, engine: Engine, console: Console) -> None:
    """Learn a dictionary for pictures like the IMAGEs: all gray, or all in color. NaN is missing.

    \b
    Examples:
      csc-cogd learn photos/*.jpg -o photos.npz
      csc-cogd learn micrographs/*.tif -o cells.npz --filters 100 --filter-size 12
      csc-cogd learn photos/*.png -o mixed.npz --filters 16,32,48 --filter-size 8,12,16
      csc-cogd learn archive/*.jpg -o archive.npz --online --iterations 500 --checkpoint run.npz
      csc-cogd learn archive -r -o archive.npz --shards 64 --crop 512 --scheduler tcp://host:8786
      csc-cogd inpaint photo.jpg -m dust.png --dictionary photos.npz

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted. A file name that starts with a dash: write ./-name.
    """
    from csc_cogd import Dictionary
    from csc_cogd.batch.inputs import expand_inputs, unread_notes
    from csc_cogd.storage import check_distinct, check_writable

    output = options.output
    found = expand_inputs(options.images, recursive=options.recursive, files_from=options.files_from)
    paths = tuple(image.path for image in found.images)
    for note in unread_notes(found.unread):
        console.say(note)
    rule = cogradient_rule(options.cogd, options.kernel_degree)
    counts, sizes = filter_numbers(options.n_filters, options.filter_shape)
    _check_sharing(options)
    if options.scheduler is None:
        console.check_device(engine)
    if output.suffix != ".npz":
        raise InputError("", "dictionaries are written as .npz", "end the name in it", str(output))
    check_writable(output, overwrite=overwrite, inputs=(*paths, *filter(None, [options.start])))
    check_distinct(output, options.checkpoint)
    initial = None if options.start is None else Dictionary.load(options.start)
    if initial is not None and options.n_filters is None and options.filter_shape is None:
        counts, sizes = [1] * initial.n_filters, initial.shapes.tolist()
    chosen = SimpleNamespace(
        lmbda=options.lmbda, online=options.online, batch_size=options.batch_size, crop=options.crop,
        max_memory=options.max_memory, seed=options.seed, checkpoint=options.checkpoint, cogd=rule,
    )  # fmt: skip
    console.say(settings_line(chosen, engine), level=1)
    with console.checkpointed(options.checkpoint), console.progress() as progress:
        work = _Learning(paths, counts, sizes, initial, rule, options, engine, progress)
        learned = work.together() if options.n_shards is None else work.in_shards(options.n_shards)
    learned.dictionary.save(output, overwrite=overwrite)
    console.say(f"{output}: {learned.dictionary.n_filters} filters from {len(paths)} file(s), {learned.summary()}")


def _check_sharing(options: LearnOptions) -> None:
    """Refuse options that don't go together."""
    sharded, jobs, online = options.n_shards is not None, options.jobs, options.online
    if not sharded and (jobs or options.scheduler):
        problem = "says where to work on shards, but there are none"
        raise InputError("jobs" if jobs else "scheduler", problem, "add {n_shards}, or leave it out")
    if jobs and options.scheduler not in (None, "local"):
        raise InputError("jobs", "can't be chosen, as the workers are the scheduler's", "leave out {jobs} or {scheduler}")
    if sharded and (options.cogd or online is not None):
        chosen = "cogd" if options.cogd else "online" if online else "whole"
        raise InputError(chosen, "can't be combined with shards", "leave out {n_shards}, or it")
    for name in ("max_memory", "batch_size") if sharded else ("crop", "batch_size") if online is False else ():
        if getattr(options, name) is not None:
            raise InputError(name, "belongs to online learning", "leave it out")


@dataclass(frozen=True)
class _Learning:
    """The input and the settings of learning."""

    paths: tuple[Path, ...]
    counts: Any
    sizes: Any
    start: Dictionary | None
    rule: CogradientRule | None
    options: LearnOptions
    engine: Engine
    progress: ProgressBar

    def together(self) -> LearnedDictionary:
        """Learn from all images, read here; all pages of stacks."""
        from csc_cogd import learn_from_images
        from csc_cogd.imagefiles import open_images
        from csc_cogd.learning.learn import CROP, CROPS

        options, pictures, paths = self.options, [], []
        for path in self.paths:
            with open_images(path, axes=options.axes) as pages:
                pictures += [image.observed for image in pages]
                paths += [path] * len(pages)
        together = "{cogd}" if options.cogd else "{whole}"
        check_alike(tuple(paths), pictures, f"leave out {together}" if options.cogd or options.online is False else None)
        names_here().update({f"images[{number}]": str(path) for number, path in enumerate(paths)})  # by page
        return learn_from_images(
            pictures, self.counts, self.sizes, channel_axis=-1 if pictures[0].ndim == 3 else None, lmbda=options.lmbda,
            max_iter=options.iterations, online=options.online, max_memory=options.max_memory,
            batch_size=options.batch_size or CROPS, crop=options.crop or CROP, seed=options.seed, start=self.start,
            cogd=self.rule, checkpoint=options.checkpoint, engine=self.engine, callback=self.progress,
        )  # fmt: skip

    def in_shards(self, n_shards: int) -> LearnedDictionary:
        """Learn from files that are read where they are worked on."""
        from csc_cogd import learn_from_files
        from csc_cogd.backend import get_backend
        from csc_cogd.batch.cluster_learning import shard_mapper

        options, engine = self.options, self.engine
        jobs = min(options.jobs or 1, n_shards)
        if jobs > 1 and engine.threads is None and engine.backend.free_memory() is None:  # a CPU's are shared out
            engine = replace(engine, threads=max(get_backend("cpu").threads // jobs, 1))
        remote = options.scheduler is not None
        with shard_mapper(jobs, options.scheduler) as mapper:
            return learn_from_files(
                tuple(path.absolute() for path in self.paths) if remote else self.paths, self.counts, self.sizes,
                n_shards=n_shards, lmbda=options.lmbda, mapper=mapper, shards_together=1 if remote else n_shards,
                max_iter=options.iterations, crop=options.crop, axes=options.axes, seed=options.seed, start=self.start,
                checkpoint=options.checkpoint, engine=engine, callback=self.progress,
            )  # fmt: skip
