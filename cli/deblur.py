"""``csc-cogd deblur``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import BATCH, CONSOLE, ENGINE, MASK, TILING, images_argument, options
from csc_cogd.cli.restoring import read_kernel, restore_files

if TYPE_CHECKING:
    from csc_cogd import Engine, Tiling
    from csc_cogd.batch.job import BatchOptions
    from csc_cogd.imagefiles import MaskRules


@click.command("deblur")
@images_argument
@click.option(
    "-k", "--kernel", required=True, metavar="KERNEL",
    help="Picture of a point: an image FILE (PNG, TIFF, NPY, not larger than IMAGE; it is scaled to sum 1), gaussian:S "
    "(standard deviation in pixels), uniform:N (N x N pixels), or motion:LEN,ANGLE (pixels; degrees, 0 is right, 90 up).",
)  # fmt: skip
@options(
    "gaussian_or_poisson", "noise_sigma", "gain", MASK, "output_deblurred", BATCH, "as_json", "dictionary", "scene_prior",
    "lmbda_by_noise", "code_iterations", "tol", TILING, "dry_run", ENGINE, CONSOLE,
)  # fmt: skip
def command(
    images: tuple[str, ...], kernel: str, noise: str, noise_sigma: float | str | tuple[float, ...], gain: float,
    rules: MaskRules, output: Path | None, batch: BatchOptions, as_json: bool, dictionary_path: str, prior: str,
    lmbda: float | None, iterations: int | None, tol: float | None, tiling: Tiling, dry_run: bool, engine: Engine,
    console: Console,
) -> int:  # fmt: skip
    """Sharpen images that were blurred by a known kernel.

    PNG, JPEG, TIFF, WebP, BMP, NPY, NPZ; 8 or 16 bits or float; stacks.

    The result has the type and size of the image. How much is sharpened follows from the noise, which is estimated where it
    isn't given. Pixels that are missing (by a mask, NaN, a value) are left out, and filled. Transparency is carried over.

    \b
    Examples:
      csc-cogd deblur photo.png --kernel gaussian:1.6
      csc-cogd deblur scan.tif -k uniform:9 --noise-sigma 2 -o sharp.tif
      csc-cogd deblur stars.npy -k psf.npy --noise poisson --gain 2.3
      csc-cogd deblur street.jpg -k motion:15,30 -o street.png
      csc-cogd deblur cells.tif -k psf.tif --prior none
      csc-cogd deblur survey.tif -k gaussian:2 --max-memory 8GB --dry-run

    \b
    Exit codes: 0 done; 1 at least one of several images failed; 2 wrong usage or
    input, nothing written; 3 device or memory; 130 interrupted. A file name that
    starts with a dash: write ./-name.
    """
    from csc_cogd import Blur, Solve
    from csc_cogd.batch.job import Settings

    solve = Solve(lmbda=lmbda, max_iter=iterations, tol=tol or 0.0)
    operator = Blur(read_kernel(kernel))
    settings = Settings(
        solve, tiling, engine, noise, noise_sigma, gain, operator=operator, dry_run=dry_run, prior=prior
    )  # fmt: skip
    return restore_files(
        "deblur", images, output, batch, settings, console, rules=rules, dictionary=dictionary_path,
        protected=(Path(kernel),), as_json=as_json,
    )  # fmt: skip
