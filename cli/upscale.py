"""``csc-cogd upscale``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import BATCH, CONSOLE, ENGINE, MASK, TILING, images_argument, options
from csc_cogd.cli.restoring import read_kernel, restore_files
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd import Engine, Tiling
    from csc_cogd.batch.job import BatchOptions
    from csc_cogd.imagefiles import MaskRules


@click.command("upscale")
@images_argument
@click.option(
    "-f", "--factor", type=click.FloatRange(1, 16), default=2, show_default=True,
    help="Times wider and higher, such as 2 or 1.5.",
)  # fmt: skip
@click.option(
    "-k", "--kernel", default="auto", show_default=True, metavar="KERNEL",
    help="How IMAGE was made smaller: bicubic, box (mean over a pixel's area), gaussian:S (in pixels of the result), or an "
    "image FILE of the kernel on the finer grid; auto: between bicubic and box, as the spectrum says.",
)  # fmt: skip
@options(
    "gaussian_or_poisson", "noise_sigma", "gain", MASK, "output_upscaled", BATCH, "as_json", "dictionary", "scene_prior",
    "lmbda_by_noise", "code_iterations", "tol", TILING, "dry_run", ENGINE, CONSOLE,
)  # fmt: skip
def command(
    images: tuple[str, ...], factor: float, kernel: str, noise: str, noise_sigma: float | str | tuple[float, ...],
    gain: float, rules: MaskRules, output: Path | None, batch: BatchOptions, as_json: bool, dictionary_path: str,
    prior: str, lmbda: float | None, iterations: int | None, tol: float | None, tiling: Tiling, dry_run: bool,
    engine: Engine, console: Console,
) -> int:  # fmt: skip
    """Restore images on a finer grid.

    PNG, JPEG, TIFF, WebP, BMP, NPY, NPZ; 8 or 16 bits or float; stacks.

    The result has the type of the image, its width and height times the factor. Pixels that are missing (by a mask, NaN or a
    value) are left out, and filled. Transparency is interpolated.

    \b
    Examples:
      csc-cogd upscale photo.png --factor 2
      csc-cogd upscale thumbnail.jpg -f 3 -o large.png
      csc-cogd upscale scan.png -f 1.5 --kernel box
      csc-cogd upscale sensor.npy -f 2 --kernel box --noise-sigma 0.01
      csc-cogd upscale map.png -f 2 --prior none

    \b
    Exit codes: 0 done; 1 at least one of several images failed; 2 wrong usage or
    input, nothing written; 3 device or memory; 130 interrupted. A file name that
    starts with a dash: write ./-name.
    """
    from csc_cogd import Solve
    from csc_cogd.batch.job import Settings
    from csc_cogd.restore.reduction import NAMES, Reduction

    if kernel.startswith("box:"):
        raise InputError("kernel", f"must be box, without a width, got {kernel!r}", "its width is the {factor}")
    named = kernel in NAMES or (kernel.startswith("gaussian:") and not Path(kernel).exists())
    operator = Reduction(factor, kernel if named else read_kernel(kernel))
    solve = Solve(lmbda=lmbda, max_iter=iterations, tol=tol or 0.0)
    settings = Settings(solve, tiling, engine, noise, noise_sigma, gain, operator=operator, dry_run=dry_run, prior=prior)
    return restore_files(
        "upscale", images, output, batch, settings, console, rules=rules, dictionary=dictionary_path,
        protected=(Path(kernel),), as_json=as_json,
    )  # fmt: skip
