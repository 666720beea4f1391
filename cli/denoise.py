"""``csc-cogd denoise``."""

from __future__ import annotations

from typing import Any

import click

from csc_cogd.cli.options import ENGINE, FILES, MASK, effort_of, images_argument, options
from csc_cogd.cli.restoring import restore_files


@click.command("denoise")
@images_argument
@options(
    "noise_to_remove", "noise_sigma", "strength", "gain_or_auto", *MASK, "output_denoised", *FILES, "fast", "best", "dictionary",
    "lmbda", "iterations", "tol", "tile", "max_memory", "dry_run", *ENGINE,
)  # fmt: skip
def command(images: tuple[str, ...], fast: bool, best: bool, **arguments: Any) -> int:
    """Remove noise from images: PNG, JPEG, TIFF, NPY, NPZ; grey or with channels; 8 or 16 bits or float; stacks.

    The result has the type and size of the image. Noise is estimated where it isn't given, and what was found is said: in
    photographs, also what JPEG has left of it, and nothing is done where it can't be told from texture. So is the gain of
    Poisson noise, that of counted photons or electrons. Of impulse noise, the pixels that look spoilt are filled, and all
    others come back exactly as they were. Pixels that are missing (by a mask, NaN, a value) are filled as well. Transparency
    and metadata are carried over. Many images at a time: see inpaint --help.

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
    return restore_files("denoise", images, effort=effort_of(fast, best), **arguments)
