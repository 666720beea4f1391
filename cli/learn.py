"""``csc-cogd learn``."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import (
    ENGINE,
    PATH,
    Memory,
    check_alike,
    cogradient_rule,
    filter_numbers,
    images_argument,
    names_here,
    options,
    settings_line,
)
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd import LearnedDictionary


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
@options("checkpoint", *ENGINE.names, "quiet", "verbose")
def command(
    images: tuple[str, ...],
    output: Path,
    n_filters: str | None,
    filter_shape: str | None,
    iterations: int | None,
    cogd: bool,
    kernel_degree: int | None,
    n_shards: int | None,
    jobs: int | None,
    scheduler: str | None,
    start: Path | None,
    recursive: bool,
    files_from: str | None,
    axes: str | None,
    overwrite: bool,
    quiet: bool,
    verbose: int,
    **settings: Any,
) -> None:
    """Learn a dictionary for pictures like the IMAGEs: all grey, or all in colour. NaN is missing.

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
    from csc_cogd import Dictionary, Engine
    from csc_cogd.batch.inputs import expand_inputs, unread_notes
    from csc_cogd.storage import check_distinct, check_writable

    console = Console(quiet, verbose)
    found = expand_inputs(images, recursive=recursive, files_from=files_from)
    paths = tuple(image.path for image in found.images)
    for note in unread_notes(found.unread):
        console.say(note)
    rule = cogradient_rule(cogd, kernel_degree)
    counts, sizes = filter_numbers(n_filters, filter_shape)
    _check_sharing(n_shards, jobs, scheduler, cogd, settings)
    if scheduler is None:
        console.check_device(Engine(settings["dtype"], settings["device"], settings["threads"], settings["fft"]))
    if output.suffix != ".npz":
        raise InputError("", "dictionaries are written as .npz", "end the name in it", str(output))
    check_writable(output, overwrite=overwrite, inputs=(*paths, *filter(None, [start])))
    check_distinct(output, settings["checkpoint"])
    initial = None if start is None else Dictionary.load(start)
    if initial is not None and n_filters is None and filter_shape is None:
        counts, sizes = [1] * initial.n_filters, initial.shapes.tolist()
    console.say(settings_line(SimpleNamespace(**settings, cogd=rule)), level=1)
    settings |= {"max_iter": iterations, "start": initial, "axes": axes}
    with console.checkpointed(settings["checkpoint"]), console.progress() as progress:
        if n_shards is None:
            learned = _learn(paths, counts, sizes, cogd=rule, callback=progress, **settings)
        else:
            learned = _learn_in_shards(paths, counts, sizes, n_shards, jobs or 1, scheduler, callback=progress, **settings)
    learned.dictionary.save(output, overwrite=overwrite)
    console.say(f"{output}: {learned.dictionary.n_filters} filters from {len(paths)} file(s), {learned.summary()}")


def _check_sharing(
    n_shards: int | None, jobs: int | None, scheduler: str | None, cogd: bool, settings: dict[str, Any]
) -> None:  # fmt: skip
    """Refuse options that don't go together."""
    online = settings["online"]
    if n_shards is None and (jobs or scheduler):
        problem = "says where to work on shards, but there are none"
        raise InputError("jobs" if jobs else "scheduler", problem, "add {n_shards}, or leave it out")
    if jobs and scheduler not in (None, "local"):
        raise InputError("jobs", "can't be chosen, as the workers are the scheduler's", "leave out {jobs} or {scheduler}")
    if n_shards is not None and (cogd or online is not None):
        chosen = "cogd" if cogd else "online" if online else "whole"
        raise InputError(chosen, "can't be combined with shards", "leave out {n_shards}, or it")
    for name in ("max_memory", "batch_size") if n_shards is not None else ("crop", "batch_size") if online is False else ():
        if settings[name] is not None:
            raise InputError(name, "belongs to online learning", "leave it out")


def _learn(
    files: tuple[Path, ...], counts: Any, sizes: Any, *, axes: str | None, **settings: Any
) -> LearnedDictionary:  # fmt: skip
    """Learn from all images, read here; all pages of stacks."""
    from csc_cogd import learn_from_images
    from csc_cogd.imagefiles import open_images

    pictures, paths = [], []
    for path in files:
        with open_images(path, axes=axes) as pages:
            pictures += [image.observed for image in pages]
            paths += [path] * len(pages)
    together = "{cogd}" if settings["cogd"] else "{whole}"
    advice = f"leave out {together}" if settings["cogd"] or settings["online"] is False else None
    check_alike(tuple(paths), pictures, advice)
    axis = -1 if pictures[0].ndim == 3 else None
    for name in ("batch_size", "crop"):
        if settings[name] is None:
            del settings[name]
    names_here().update({f"images[{number}]": str(path) for number, path in enumerate(paths)})  # by page
    return learn_from_images(pictures, counts, sizes, channel_axis=axis, **settings)


def _learn_in_shards(
    paths: tuple[Path, ...], counts: Any, sizes: Any, n_shards: int, jobs: int, scheduler: str | None,
    *, online: None, max_memory: None, batch_size: None, **settings: Any,
) -> LearnedDictionary:  # fmt: skip
    """Learn from files that are read where they are worked on; some settings mean nothing there."""
    from csc_cogd import learn_from_files
    from csc_cogd.backend import get_backend
    from csc_cogd.batch.cluster_learning import shard_mapper

    jobs = min(jobs, n_shards)
    engine = {name: settings[name] for name in ("device", "dtype", "threads", "fft")}
    if jobs > 1 and settings["threads"] is None and get_backend(**engine).free_memory() is None:  # a CPU's are shared out
        settings["threads"] = max(get_backend("cpu").threads // jobs, 1)
    files = paths if scheduler is None else tuple(path.absolute() for path in paths)
    with shard_mapper(jobs, scheduler) as mapper:
        return learn_from_files(
            files, counts, sizes, n_shards=n_shards, mapper=mapper, shards_together=1 if scheduler else n_shards,
            **settings,
        )  # fmt: skip
