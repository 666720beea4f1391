"""``csc-cogd inpaint``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.options import ENGINE, MASK, PATH, effort_of, options
from csc_cogd.cli.restoring import Restored, noise_text, restore_file


@click.command("inpaint")
@click.argument("image_path", metavar="IMAGE", type=PATH)
@options(
    *MASK, "output_inpainted", "overwrite", "fast", "best", "known_noise_sigma", "dictionary", "learn", "lmbda",
    "iterations", "tol", "tile", "max_memory", "dry_run", *ENGINE,
)  # fmt: skip
def command(image_path: Path, fast: bool, best: bool, **arguments: Any) -> None:
    """Fill the missing pixels of IMAGE: PNG, JPEG, TIFF or NPY, grey or colour, 8 or 16 bits or float.

    What is missing comes from a mask image, from NaN in float data (always), from a pixel value or from transparency; what
    is given is united. Known pixels come back exactly as they were, or denoised with --noise-sigma; in the same type and
    depth. Transparency is carried over.

    \b
    Examples:
      csc-cogd inpaint photo.png --mask scratches.png
      csc-cogd inpaint scan.tif -m dust.png --mask-dilate 2 -o clean.tif
      csc-cogd inpaint measurement.npy                (NaN is missing)
      csc-cogd inpaint sensor.tif --mask-value 65535  (saturated pixels)
      csc-cogd inpaint night.png -m dust.png --noise-sigma auto
      csc-cogd inpaint large.tif -m dust.png --fast
      csc-cogd inpaint panorama.tif -m scratches.png --dry-run
      csc-cogd inpaint fabric.jpg -m hole.png --best -o fabric.png

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted. A file name that starts with a dash: write ./-name.
    """
    given = arguments["noise_sigma"]

    def restore(colours: Any, **options: Any) -> Restored:
        from csc_cogd import inpaint

        restored, report = inpaint(colours, **options)
        return restored, report, "" if given is None else noise_text(report.noise_sigmas, given)

    restore_file(image_path, restore, "inpainted", needs_mask=True, effort=effort_of(fast, best), **arguments)
