"""``csc-cogd demo``."""

from __future__ import annotations

import itertools
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import CONSOLE, ENGINE, options

if TYPE_CHECKING:
    from csc_cogd import Engine


@click.command("demo")
@click.option(
    "-o", "--output", type=PATH, default="csc-cogd-demo", metavar="DIR", show_default=True,
    help="Folder for the pictures; created if it doesn't exist.",
)  # fmt: skip
@options("overwrite", ENGINE._replace(names=("device", "threads", "fft")), CONSOLE)
def command(output: Path, overwrite: bool, engine: Engine, console: Console) -> None:
    """Damage a picture that ships with csc-cogd, restore it, and compare with the truth.

    Half of the pixels are taken away at random; in a second copy, scratches and text are. Both are restored by csc-cogd and
    by biharmonic interpolation. Writes the picture, damaged, its mask and restored, as PNG.

    \b
    Examples:
      csc-cogd demo
      csc-cogd demo -o /tmp/pictures --overwrite

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted.
    """
    import numpy as np

    from csc_cogd import inpaint, psnr, ssim
    from csc_cogd.biharmonic import fill_biharmonic
    from csc_cogd.imagefiles import ImageFile, check_output, read_image, write_image
    from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask
    from csc_cogd.storage import make_folder

    console.check_device(engine)
    make_folder(output)
    with resources.as_file(resources.files("csc_cogd.data") / "photo.png") as path:
        photo = read_image(path)
    shape = photo.pixels.shape[:2]
    damages = {"random": random_mask(shape, 0.5, seed=0), "scratches": scratch_and_text_mask(shape, "csc-cogd", seed=0)}
    names = {kind: [output / f"{kind}_{what}.png" for what in ("before", "mask", "after")] for kind in damages}
    for path in (output / "original.png", *itertools.chain(*names.values())):
        check_output(path, photo, overwrite=overwrite)

    echo(f"{'damage':<10} {'missing':>8} {'method':<12} {'PSNR':>8} {'in holes':>9} {'SSIM':>7} {'time':>8}")
    for kind, mask in damages.items():
        damaged = np.where(mask[..., None], 0, photo.pixels).astype(photo.pixels.dtype)
        started = time.perf_counter()
        planes = np.moveaxis(damaged / 255.0, -1, 0)
        pilot = fill_biharmonic(planes, np.broadcast_to(mask, planes.shape))
        biharmonic = np.rint(np.clip(np.moveaxis(pilot, 0, -1), 0, 1) * 255)
        between = time.perf_counter()
        with console.progress() as progress:
            restored = inpaint(damaged, mask, channel_axis=-1, callback=progress, engine=engine)
        seconds = time.perf_counter() - between
        for method, picture, spent in (
            ("biharmonic", biharmonic, between - started), ("csc-cogd", restored, seconds),
        ):  # fmt: skip
            quality = [
                psnr(picture, photo.pixels, data_range=255), psnr(picture, photo.pixels, data_range=255, where=mask),
                ssim(picture, photo.pixels, data_range=255, channel_axis=-1),
            ]  # fmt: skip
            echo(
                f"{kind:<10} {mask.mean():>8.1%} {method:<12} {quality[0]:>5.2f} dB {quality[1]:>6.2f} dB "
                f"{quality[2]:>7.4f} {spent:>6.1f} s"
            )
        pictures = (damaged, mask.astype(np.uint8) * 255, restored)
        for path, pixels in zip(names[kind], pictures, strict=True):
            write_image(ImageFile(pixels, path, "png"), path, overwrite=overwrite)
    write_image(photo, output / "original.png", overwrite=overwrite)
    echo(f"pictures: {output}")
