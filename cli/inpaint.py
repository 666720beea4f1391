"""``csc-cogd inpaint``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import BATCH, CONSOLE, ENGINE, MASK, TILING, effort_of, images_argument, options
from csc_cogd.cli.restoring import restore_files

if TYPE_CHECKING:
    from csc_cogd import Engine, Tiling
    from csc_cogd.batch.job import BatchOptions
    from csc_cogd.imagefiles import MaskRules


@click.command("inpaint")
@images_argument
@options(
    MASK, "output_inpainted", BATCH, "as_json", "fast", "best", "known_noise_sigma", "dictionary", "fill_prior", "learn",
    "fill", "lmbda", "iterations", "tol", TILING, "dry_run", ENGINE, CONSOLE,
)  # fmt: skip
def command(
    images: tuple[str, ...], rules: MaskRules, output: Path | None, batch: BatchOptions, as_json: bool, fast: bool,
    best: bool, noise_sigma: float | str | None, dictionary_path: str, prior: str, learn: bool | None, fill: str,
    lmbda: float | None, iterations: int | None, tol: float | None, tiling: Tiling, dry_run: bool, engine: Engine,
    console: Console,
) -> int:  # fmt: skip
    """Fill the missing pixels of images.

    PNG, JPEG, TIFF, WebP, BMP, NPY, NPZ; gray or with channels; 8 or 16 bits or float; stacks.

    What is missing is given by a mask image, NaN in float data (always), a pixel value, a color painted over the damage, or
    transparency; if several are given, they are combined. Known pixels stay exactly as they are, unless --noise-sigma asks
    for them to be denoised. Type, depth, transparency and metadata are kept.

    Several images, folders and patterns are restored one after the other, or --jobs at a time; images that can't be restored
    are listed at the end. If a batch is interrupted, the same call with --skip-existing does what is left.

    \b
    Examples:
      csc-cogd inpaint photo.png --mask scratches.png
      csc-cogd inpaint scan.tif -m dust.png --mask-dilate 2 -o clean.tif
      csc-cogd inpaint marked.png --mask-color red --mask-dilate auto
      csc-cogd inpaint measurement.npy                (NaN is missing)
      csc-cogd inpaint sensor.tif --mask-value 65535  (saturated pixels)
      csc-cogd inpaint night.png -m dust.png --noise-sigma auto
      csc-cogd inpaint large.tif -m dust.png --fast
      csc-cogd inpaint panorama.tif -m scratches.png --dry-run
      csc-cogd inpaint fabric.jpg -m hole.png --best -o fabric.png
      csc-cogd inpaint meadow.jpg -m person.png --fill texture
      csc-cogd inpaint archive -r -m masks -o restored --jobs 4 --skip-existing
      csc-cogd inpaint "scans/**/*.tif" --mask-value 0 -o restored --json
      csc-cogd inpaint stack.npy --axes NYX           (each frame; NaN is missing)
      csc-cogd inpaint photo.png -m dust.png --report report --reference clean.png

    \b
    Exit codes: 0 done; 1 at least one of several images failed; 2 wrong usage or
    input, nothing written; 3 device or memory; 130 interrupted. A file name that
    starts with a dash: write ./-name.
    """
    from csc_cogd import Solve
    from csc_cogd.batch.job import Settings

    solve = Solve(effort_of(fast, best), learn, lmbda, iterations, tol or 0.0, fill)
    settings = Settings(solve, tiling, engine, noise_sigma=noise_sigma, dry_run=dry_run, prior=prior)
    return restore_files(
        "inpaint", images, output, batch, settings, console, rules=rules, dictionary=dictionary_path, as_json=as_json
    )
