"""``csc-cogd clean``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cogd.cleaning.settings import GRAINS, POLARITIES, PRESETS
from csc_cogd.cli.console import Console
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import BATCH, CONSOLE, ENGINE, TILING, effort_of, images_argument, options
from csc_cogd.cli.restoring import restore_files
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd import Engine, Tiling
    from csc_cogd.batch.job import BatchOptions


@click.command("clean")
@images_argument
@click.option(
    "--preset", type=click.Choice(list(PRESETS)),
    help="What was scanned: film, negatives that are shown as positives: light dust; slide: dark dust; print: both.",
)  # fmt: skip
@click.option(
    "--polarity", type=click.Choice(POLARITIES), help="Look for dark or light damage only. Default: by --preset; both."
)
@click.option(
    "--sensitivity", type=click.FloatRange(0, 1), default=0.5, show_default=True, metavar="S",
    help="From 0 to 1; more finds fainter damage, and takes more of the picture for it.",
)  # fmt: skip
@click.option(
    "--infrared", type=PATH, metavar="FILE|DIR",
    help="Infrared channel; of a folder: the file of each scan's name, or NAME_IR. Default: a fourth channel, a gray page "
    "behind the picture, or a file NAME_IR.tif beside it.",
)  # fmt: skip
@click.option("--no-infrared", is_flag=True, help="Don't use infrared channels.")
@options("frames")
@click.option(
    "--grain", type=click.Choice(GRAINS), default="auto", show_default=True,
    help="Give what is filled the grain of the picture: in photographs of 8 or 16 bits; not in other data.",
)  # fmt: skip
@options("output_cleaned")
@click.option(
    "--mask-out", type=PATH, metavar="DIR", help="Also write masks of what was found, NAME_mask.png, into a folder."
)
@options(BATCH, "as_json", "fast", "best", TILING, "dry_run")
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Random seed of the grain."
)
@options(ENGINE, CONSOLE)
def command(
    images: tuple[str, ...], preset: str | None, polarity: str | None, sensitivity: float, infrared: Path | None,
    no_infrared: bool, frames: bool, grain: str, seed: int, output: Path | None, mask_out: Path | None, batch: BatchOptions,
    as_json: bool, fast: bool, best: bool, tiling: Tiling, dry_run: bool, engine: Engine, console: Console,
) -> int:  # fmt: skip
    """Find dust, hairs and scratches on scans, and fill them: PNG, JPEG, TIFF, NPY, NPZ; 8 or 16 bits or float.

    With an infrared channel, dust is found by it, whatever the picture; where enough light came through, that is used, and
    nothing is invented. On silver film and Kodachrome infrared shows the picture: that is said, and the picture is searched
    instead. What isn't damaged stays exactly as it is, metadata and the infrared channel too; a scan in which nothing is
    found is copied. --dry-run counts. Pages of a file are cleaned one by one, but for --frames: there neighbors show what is
    below.

    \b
    Examples:
      csc-cogd clean print.jpg -o clean.png
      csc-cogd clean scans -o clean --preset slide --report report
      csc-cogd clean scans -r -o clean --dry-run      (what is found)
      csc-cogd clean negative.tif -o clean.tif        (RGB and infrared)
      csc-cogd clean frame.tif --infrared dust.tif -o clean.tif
      csc-cogd clean shot.tif --frames -o clean.tif   (a page a frame)
      csc-cogd clean scans -o clean --mask-out masks --sensitivity 0.3
      csc-cogd clean scans -o clean --jobs 2 --skip-existing

    \b
    Exit codes: 0 done; 1 at least one of several images failed; 2 wrong usage or
    input, nothing written; 3 device or memory; 130 interrupted. A file name that
    starts with a dash: write ./-name.
    """
    from csc_cogd import Solve
    from csc_cogd.batch.job import ScanFiles, Settings
    from csc_cogd.cleaning.settings import Cleaning

    if preset is not None and polarity is not None:
        raise InputError("polarity", "is chosen by the preset", "leave out {polarity} or {preset}")
    if frames and infrared is not None:
        raise InputError("infrared", "isn't used for frames of a film", "leave out {infrared} or {frames}")
    cleaning = Cleaning(sensitivity, polarity or PRESETS.get(preset or "print", "both"), grain, seed, frames)
    settings = Settings(Solve(effort_of(fast, best)), tiling, engine, dry_run=dry_run, cleaning=cleaning)
    scans = ScanFiles(infrared, not no_infrared, mask_out)
    return restore_files("clean", images, output, batch, settings, console, scans=scans, as_json=as_json)
