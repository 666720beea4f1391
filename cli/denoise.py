"""``csc-cogd denoise``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.options import ENGINE, MASK, PATH, effort_of, options
from csc_cogd.cli.restoring import Restored, noise_text, restore_file


@click.command("denoise")
@click.argument("image_path", metavar="IMAGE", type=PATH)
@options(
    "gaussian_or_impulse", "noise_sigma", *MASK, "output_denoised", "overwrite", "fast", "best", "dictionary", "lmbda",
    "iterations", "tol", "tile", "max_memory", "dry_run", *ENGINE,
)  # fmt: skip
def command(image_path: Path, fast: bool, best: bool, **arguments: Any) -> None:
    """Remove noise from IMAGE: PNG, JPEG, TIFF or NPY, grey or colour, 8 or 16 bits or float.

    The result has the type and size of IMAGE. Gaussian noise is estimated where it isn't given. Of impulse noise, the
    pixels that look spoilt are filled, and all others come back exactly as they were. Pixels that are missing (by a mask,
    NaN, a value) are filled as well. Transparency is carried over.

    \b
    Examples:
      csc-cogd denoise photo.png
      csc-cogd denoise scan.png --noise impulse       (salt and pepper)
      csc-cogd denoise stars.npy --noise impulse      (float, hot pixels)
      csc-cogd denoise microscope.tif --noise-sigma 900 --best -o clean.tif
                                                      (16 bits: of 65535)

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted. A file name that starts with a dash: write ./-name.
    """
    given = arguments["noise_sigma"]

    def restore(colours: Any, **options: Any) -> Restored:
        from csc_cogd import denoise

        restored, report = denoise(colours, **options)
        if options["noise"] == "gaussian":
            return restored, report, noise_text(report.noise_sigmas, given)
        mask = options["mask"]
        found = round(report.missing * colours.size) - (0 if mask is None else int(mask.sum()))
        return restored, report, f"impulses found: {found}, {found / colours.size:.2%} of the values"

    restore_file(image_path, restore, "denoised", effort=effort_of(fast, best), **arguments)
