"""``csc-cogd learn``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import PATH, Memory, check_alike, cogradient_rule, filter_numbers, naming, options, settings_line
from csc_cogd.errors import InputError


@click.command("learn")
@click.argument("paths", metavar="IMAGE...", type=PATH, nargs=-1, required=True)
@click.option("-o", "--output", type=PATH, metavar="FILE", required=True, help="The dictionary, as .npz.")
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
@click.option(
    "--max-memory", type=Memory(), default="2GB", show_default=True, metavar="SIZE",
    help="Learn online where learning from all images together would take more.",
)  # fmt: skip
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=4, show_default=True, metavar="N", help="Crops a batch, online."
)
@click.option(
    "--crop", type=click.IntRange(min=1), default=128, show_default=True, metavar="N", help="Their size in pixels."
)
@click.option("--start", type=PATH, metavar="FILE", help="Go on from this dictionary's filters.")
@options("seed", "checkpoint", "overwrite", "device", "dtype", "threads", "fft", "quiet", "verbose")
def command(
    paths: tuple[Path, ...],
    output: Path,
    n_filters: str | None,
    filter_shape: str | None,
    iterations: int | None,
    cogd: bool,
    kernel_degree: int | None,
    start: Path | None,
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
      csc-cogd inpaint photo.jpg -m dust.png --dictionary photos.npz

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted. A file name that starts with a dash: write ./-name.
    """
    from csc_cogd import Dictionary, learn_from_pictures
    from csc_cogd.imagefiles import read_image
    from csc_cogd.storage import check_distinct, check_writable

    console = Console(-1 if quiet else verbose)
    rule = cogradient_rule(cogd, kernel_degree)
    counts, sizes = filter_numbers(n_filters, filter_shape)
    console.check_device(settings)
    if output.suffix != ".npz":
        raise InputError(f"{output}: dictionaries are written as .npz: end the name in it")
    check_writable(output, overwrite=overwrite, inputs=(*paths, *filter(None, [start])))
    check_distinct(output, settings["checkpoint"])
    initial = None if start is None else Dictionary.load(start)
    if initial is not None and n_filters is None and filter_shape is None:
        counts, sizes = [1] * initial.n_filters, initial.shapes.tolist()
    pictures = [read_image(path).colours for path in paths]
    together = "--cogd" if cogd else "--whole"
    check_alike(paths, pictures, f"leave out {together}" if cogd or settings["online"] is False else None)
    console.say(settings_line(settings, rule), level=1)
    with console.progress() as progress, naming(paths, start=start):
        dictionary, how = learn_from_pictures(
            pictures, counts, sizes,
            channel_axis=-1 if pictures[0].ndim == 3 else None, max_iter=iterations, cogd=rule, start=initial,
            callback=progress, **settings,
        )  # fmt: skip
    dictionary.save(output, overwrite=overwrite)
    console.say(f"{output}: {dictionary.n_filters} filters from {len(paths)} image(s), {how}")
