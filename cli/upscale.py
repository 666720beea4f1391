"""``csc-cogd upscale``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.options import ENGINE, FILES, MASK, images_argument, options
from csc_cogd.cli.restoring import read_kernel, restore_files
from csc_cogd.errors import InputError


@click.command("upscale")
@images_argument
@click.option(
    "-f", "--factor", type=click.FloatRange(1, 16), default=2, show_default=True,
    help="Times wider and higher, such as 2 or 1.5.",
)  # fmt: skip
@click.option(
    "-k", "--kernel", default="auto", show_default=True, metavar="KERNEL",
    help="How IMAGE was made smaller: bicubic, box (mean over a pixel's area), gaussian:S (in pixels of the result), or an "
    "image FILE of the kernel on the finer grid; auto tells bicubic from box by the spectrum.",
)  # fmt: skip
@options(
    "gaussian_or_poisson", "noise_sigma", "gain", *MASK, "output_upscaled", *FILES,
    "dictionary", "lmbda_by_noise", "code_iterations", "tol", "tile", "max_memory", "dry_run", *ENGINE,
)  # fmt: skip
def command(images: tuple[str, ...], factor: float, kernel: str, **arguments: Any) -> int:
    """Restore images on a finer grid: PNG, JPEG, TIFF, NPY, NPZ; 8 or 16 bits or float; stacks.

    The result has the type of the image, its width and height times the factor. Pixels that are missing (by a mask, NaN or a
    value) are left out, and filled. Transparency is interpolated.

    \b
    Examples:
      csc-cogd upscale photo.png --factor 2
      csc-cogd upscale thumbnail.jpg -f 3 -o large.png
      csc-cogd upscale scan.png -f 1.5 --kernel box
      csc-cogd upscale sensor.npy -f 2 --kernel box --noise-sigma 0.01

    \b
    Exit codes: 0 done; 1 at least one of several images failed; 2 wrong usage or
    input, nothing written; 3 device or memory; 130 interrupted. A file name that
    starts with a dash: write ./-name.
    """

    from csc_cogd.restore.reduction import NAMES, Reduction

    if kernel.startswith("box:"):
        raise InputError("kernel", f"must be box, without a width, got {kernel!r}", "its width is the {factor}")
    named = kernel in NAMES or (kernel.startswith("gaussian:") and not Path(kernel).exists())
    operator = Reduction(factor, kernel if named else read_kernel(kernel))
    return restore_files("upscale", images, operator=operator, protected=(Path(kernel),), **arguments)
