"""``csc-cogd inpaint``."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import PATH, options
from csc_cogd.errors import InputError


@click.command("inpaint")
@click.argument("image_path", metavar="IMAGE", type=PATH)
@options(
    "mask", "mask_polarity", "mask_threshold", "mask_value", "mask_from_alpha", "mask_dilate",
    "output", "overwrite", "dictionary", "learn", "lmbda", "iterations", "tol",
    "device", "dtype", "threads", "fft", "quiet", "verbose",
)  # fmt: skip
def command(
    image_path: Path,
    mask_path: Path | None,
    mask_polarity: str,
    mask_threshold: float | None,
    mask_value: float | None,
    mask_from_alpha: bool,
    mask_dilate: int,
    output: Path | None,
    overwrite: bool,
    dictionary_path: str,
    quiet: bool,
    verbose: int,
    **settings: Any,
) -> None:
    """Fill the missing pixels of IMAGE: PNG, JPEG, TIFF or NPY, grey or colour, 8 or 16 bits or float.

    What is missing comes from a mask image, from NaN in float data (always), from a pixel value or from transparency; what
    is given is united. Known pixels come back exactly as they were, in the same type and depth.

    \b
    Examples:
      csc-cogd inpaint photo.png --mask scratches.png
      csc-cogd inpaint scan.tif -m dust.png --mask-dilate 2 -o clean.tif
      csc-cogd inpaint measurement.npy                (NaN is missing)
      csc-cogd inpaint sensor.tif --mask-value 65535  (saturated pixels)
      csc-cogd inpaint fabric.jpg -m hole.png --learn -o fabric.png

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted. A file name that starts with a dash: write ./-name.
    """
    import numpy as np

    from csc_cogd import Dictionary, inpaint
    from csc_cogd.backend import get_backend
    from csc_cogd.imagefiles import MaskRules, missing_pixels, read_image, write_image
    from csc_cogd.imagefiles.files import check_output

    started = time.perf_counter()
    console = Console(-1 if quiet else verbose)
    get_backend(**{name: settings[name] for name in ("device", "dtype", "threads", "fft")})  # refuse now, not later
    image = read_image(image_path)
    target = output or image_path.with_name(f"{image_path.stem}_inpainted{image_path.suffix}")
    check_output(target, image, overwrite=overwrite, inputs=(image_path, *filter(None, [mask_path])))
    dictionary = None if dictionary_path == "default" else Dictionary.load(dictionary_path)
    rules = MaskRules(mask_path, mask_polarity, mask_threshold, mask_value, mask_from_alpha, mask_dilate)
    missing, sources = missing_pixels(image, rules)
    share = float((missing if missing.ndim == 2 else missing.any(axis=2)).mean())
    console.say(f"{image_path}: {share:.1%} of the pixels missing ({'; '.join(sources)})")
    if share > 0.5 and mask_path and mask_polarity == "missing":
        console.warn("more than half is missing: if the mask marks what is known, use --mask-polarity valid")

    settings["max_iter"] = settings.pop("iterations")
    chosen = {name: value for name, value in settings.items() if value is not None}
    try:
        with console.progress() as progress:
            restored, report = inpaint(
                image.pixels, missing, dictionary=dictionary, channel_axis=image.channel_axis,
                callback=progress, return_report=True, **chosen,
            )  # fmt: skip
    except InputError as error:
        concerns_file = str(error).startswith(("image", "mask"))
        raise InputError(f"{image_path}: {error}" if concerns_file else str(error)) from error
    if mask_from_alpha:  # what was transparent has colours now
        restored[..., -1][image.pixels[..., -1] == 0] = 1 if restored.dtype.kind == "f" else np.iinfo(restored.dtype).max
    for line in report.lines():
        console.say(line, level=1)
    for note in write_image(image.with_pixels(restored), target, overwrite=overwrite):
        console.warn(note)
    console.say(f"{target}: written after {time.perf_counter() - started:.1f} s")
