"""``csc-cogd denoise``."""

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


@click.command("denoise")
@images_argument
@options(
    "noise_to_remove", "noise_sigma", "strength", "gain_or_auto", MASK, "output_denoised", BATCH, "as_json", "fast", "best",
    "dictionary", "prior", "lmbda", "iterations", "tol", TILING, "dry_run", ENGINE, CONSOLE,
)  # fmt: skip
def command(
    images: tuple[str, ...], noise: str, noise_sigma: float | str | tuple[float, ...], strength: float,
    gain: float | str, rules: MaskRules, output: Path | None, batch: BatchOptions, as_json: bool, fast: bool, best: bool,
    dictionary_path: str, prior: str, lmbda: float | None, iterations: int | None, tol: float | None, tiling: Tiling,
    dry_run: bool, engine: Engine, console: Console,
) -> int:  # fmt: skip
    """Remove noise from images.

    PNG, JPEG, TIFF, WebP, BMP, NPY, NPZ; gray or with channels; 8 or 16 bits or float; stacks.

    The result has the type and size of the image. Kind and strength of the noise are estimated unless they are given, and
    printed. In photographs, the estimate includes what JPEG has left of the noise; if noise can't be told from texture,
    nothing is changed. For Poisson noise, that of counted photons or electrons, the gain is estimated. For impulse noise,
    the pixels that look corrupted are filled, and all others stay exactly as they are. Missing pixels (by a mask, NaN or a
    value) are filled as well. Transparency and metadata are kept. For many images at a time, see inpaint --help.

    \b
    Examples:
      csc-cogd denoise photo.png
      csc-cogd denoise phone.jpg --strength 0.7       (leave some of it)
      csc-cogd denoise film.tif --noise grain
      csc-cogd denoise scan.png --noise impulse       (salt and pepper)
      csc-cogd denoise stars.npy --noise impulse      (float, hot pixels)
      csc-cogd denoise micrograph.tif --noise poisson (photons or electrons)
      csc-cogd denoise microscope.tif --noise-sigma 900 --best -o clean.tif
                                                      (16 bits: of 65535)

    \b
    Exit codes: 0 done; 1 at least one of several images failed; 2 wrong usage or
    input, nothing written; 3 device or memory; 130 interrupted. A file name that
    starts with a dash: write ./-name.
    """
    from csc_cogd import Solve
    from csc_cogd.batch.job import Settings

    solve = Solve(effort_of(fast, best), None, lmbda, iterations, tol or 0.0)
    settings = Settings(solve, tiling, engine, noise, noise_sigma, gain, strength, dry_run=dry_run, prior=prior)
    return restore_files(
        "denoise", images, output, batch, settings, console, rules=rules, dictionary=dictionary_path, as_json=as_json
    )
