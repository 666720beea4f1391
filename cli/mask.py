"""``csc-cogd mask``: make, find and look at masks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.mask_files import check_mask_output, check_preview, mask_image, write_mask, write_preview
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import CONSOLE, MASK, options
from csc_cogd.errors import InputError, percent

if TYPE_CHECKING:
    import numpy as np

    from csc_cogd.imagefiles import ImageFile, MaskRules

KINDS = {  # the options that each takes
    "random": ("fraction", "seed"),
    "text": ("text",),
    "scratches": ("count", "width", "seed"),
    "columns": ("count", "width", "seed"),
    "rows": ("count", "width", "seed"),
    "blocks": ("count", "width", "seed"),
}
COUNTS = {"scratches": 6, "columns": 3, "rows": 3, "blocks": 10}
WIDTHS = {"scratches": 3, "columns": 1, "rows": 1, "blocks": 16}
LARGEST = 10**9  # pixels of a mask

output = click.option(
    "-o", "--output", type=PATH, required=True, metavar="MASK", help="Where to write, losslessly: .png, .tif or .npy.",
)  # fmt: skip
preview_option = click.option(
    "--preview", type=PATH, metavar="FILE", help="Also draw the image with what is missing in magenta.",
)  # fmt: skip


class Size(click.ParamType):
    """Width and height, such as 640x480; stays a text, as it is written into configurations."""

    name = "size"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        match = re.fullmatch(r"(\d{1,9})[xX](\d{1,9})", str(value))
        if match is None or not 0 < int(match[1]) * int(match[2]) <= LARGEST:
            self.fail(f"{value!r} isn't a width and a height such as 640x480", param, ctx)
        return f"{match[1]}x{match[2]}"


@click.group("mask")
def command() -> None:
    """Make, find or look at masks of what is missing: images in which non-zero means missing.

    \b
    Examples:
      csc-cogd mask detect frame.tif -o bad.png
      csc-cogd mask dust scan.tif -o dust.png
      csc-cogd mask from scan.tif --mask-value 0 --mask-dilate 1 -o gaps.png
      csc-cogd mask make scratches --like photo.png -o scratches.png
      csc-cogd mask show scratches.png photo.png
    """


@command.command("make")
@click.argument("kind", metavar="|".join(KINDS), type=click.Choice(list(KINDS)))
@click.option("--like", type=PATH, metavar="IMAGE", help="As high and wide as this image.")
@click.option("--size", type=Size(), metavar="WxH", help="Width and height, such as 640x480.")
@output
@click.option(
    "--fraction", type=click.FloatRange(0, 1, min_open=True, max_open=True), metavar="F", help="Of pixels; random: 0.5."
)
@click.option("--text", metavar="T", help="What is written all over the picture; text: csc-cogd.")
@click.option(
    "--width", type=click.IntRange(1, 10**6), metavar="N", help="In pixels; scratches: 3, columns, rows: 1, blocks: 16."
)
@click.option(
    "--count", type=click.IntRange(1, 10**6), metavar="N", help="How many; scratches: 6, columns, rows: 3, blocks: 10."
)
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Random seed. Default: 0.")
@options("overwrite", CONSOLE)
def make(
    kind: str, like: Path | None, size: str | None, output: Path, fraction: float | None, text: str | None,
    width: int | None, count: int | None, seed: int | None, overwrite: bool, console: Console,
) -> None:  # fmt: skip
    """Make a mask to damage a picture with, or to try an inpainting on.

    \b
    Examples:
      csc-cogd mask make random --like photo.png --fraction 0.3 -o mask.png
      csc-cogd mask make text --text "(c) me" --like photo.png -o mask.png
      csc-cogd mask make columns --size 1024x1024 --count 5 --seed 1 -o mask.tif

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    from csc_cogd.imagefiles import read_image
    from csc_cogd.restore import synthetic_masks

    if (like is None) == (size is None):
        raise InputError("", "the mask needs a size", "give either {like} or {size}")
    given = {"fraction": fraction, "text": text, "width": width, "count": count, "seed": seed}
    for name, value in given.items():
        if value is not None and name not in KINDS[kind]:
            raise InputError(name, f"doesn't belong to {kind}", "leave it out")
    if text is not None and not text.strip():
        raise InputError("text", "must not be blank")
    check_mask_output(output, overwrite, like)
    n_columns, n_rows = map(int, size.split("x")) if size else read_image(like or "").pixels.shape[1::-1]
    shape = (n_rows, n_columns)
    n_marks, broad, seed = count or COUNTS.get(kind, 0), width or WIDTHS.get(kind, 0), seed or 0
    match kind:
        case "random":
            missing = synthetic_masks.random_mask(shape, fraction or 0.5, seed=seed)
        case "text":
            missing = synthetic_masks.text_mask(shape, text or "csc-cogd")
        case "scratches":
            missing = synthetic_masks.scratch_mask(shape, [broad] * n_marks, seed=seed)
        case "columns":
            missing = synthetic_masks.column_mask(shape, n_marks, broad, seed=seed)
        case "rows":
            missing = synthetic_masks.column_mask(shape[::-1], n_marks, broad, seed=seed).T
        case _:
            missing = synthetic_masks.block_mask(shape, n_marks, broad, seed=seed)
    write_mask(missing, output, overwrite, console)


@command.command("from")
@click.argument("image_path", metavar="IMAGE", type=PATH)
@options(MASK)
@output
@click.option("--invert", is_flag=True, help="Write the opposite: non-zero means known.")
@preview_option
@options("axes", "overwrite", CONSOLE)
def from_image(
    image_path: Path, rules: MaskRules, output: Path, invert: bool, preview: Path | None, axes: str | None, overwrite: bool,
    console: Console,
) -> None:  # fmt: skip
    """Write what is missing in IMAGE as a mask: NaN, a value, a painted color, transparency and another mask, combined.

    \b
    Examples:
      csc-cogd mask from measurement.npy -o gaps.png         (NaN)
      csc-cogd mask from scan.tif --mask-value 0 -o gaps.tif
      csc-cogd mask from marked.jpg --mask-color red -o dust.png
      csc-cogd mask from photo.png -m dust.png --mask-dilate 2 -o wider.png
      csc-cogd mask from photo.png -m mask.png --invert -o weights.png
      csc-cogd mask from stack.npy --axes NYX -o gaps.tif    (a page for each)

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    import numpy as np

    from csc_cogd.imagefiles import create_images, find_missing, open_images
    from csc_cogd.imagefiles.masks import in_any_channel

    check_mask_output(output, overwrite, image_path, rules.path)
    check_preview(preview, overwrite, output, image_path, rules.path)
    drawn, shares = None, []
    with open_images(image_path, axes=axes) as pages, create_images(output, pages, overwrite=overwrite) as masks:
        for number, image in enumerate(pages):
            found = find_missing(image, rules, page=number, n_pages=len(pages), complete=len(pages) > 1)
            missing = in_any_channel(found.touched)
            shares.append(missing.mean())
            where = image_path if len(pages) == 1 else f"{image_path}, page {number + 1}"
            console.say(f"{where}: {percent(missing.mean())} of the pixels missing ({'; '.join(found.sources) or 'none'})")
            if preview is not None and (drawn is None or missing.mean() > drawn[1].mean()):
                drawn = (image, missing)
            masks.write(mask_image(~missing if invert else missing, output))
        if not any(shares):
            raise InputError("", "no pixel is missing in any page", subject=str(image_path))
    share = np.mean(shares)
    console.say(
        f"{output}: written, {percent(1 - share if invert else share, 2)} of the pixels {'known' if invert else 'missing'}"
    )
    if drawn is not None:
        write_preview(*drawn, preview, overwrite, console)


@command.command("detect")
@click.argument("image_paths", metavar="IMAGE...", nargs=-1, required=True, type=PATH)
@output
@click.option("--pixels/--no-pixels", default=True, show_default=True, help="Look for single dead and hot pixels.")
@click.option("--columns/--no-columns", default=True, show_default=True, help="Look for columns that are off or stuck.")
@click.option("--rows/--no-rows", default=True, show_default=True, help="Look for such rows.")
@click.option(
    "--impulses/--no-impulses", default=False, show_default=True,
    help="Look for many corrupted pixels, as of salt and pepper; takes longer.",
)  # fmt: skip
@click.option(
    "--sensitivity", type=click.FloatRange(0, 100, min_open=True), default=1.0, show_default=True, metavar="S",
    help="2 finds what stands out half as much, and more that isn't damage.",
)  # fmt: skip
@options("mask_dilate")
@preview_option
@options("axes", "overwrite", CONSOLE)
def detect(
    image_paths: tuple[Path, ...], output: Path, pixels: bool, columns: bool, rows: bool, impulses: bool, sensitivity: float,
    mask_dilate: int | str | None, preview: Path | None, axes: str | None, overwrite: bool, console: Console,
) -> None:  # fmt: skip
    """Find damaged pixels, columns and rows of the camera in IMAGE, and write them as a mask.

    Several images are taken for frames of different scenes by one camera: what is wrong in all of them is found, and
    far weaker damage than in one. What is found in one channel of a color image is marked in the mask for all. Thin
    straight lines of print and drawings can look like bad rows or columns: see --preview, and use --no-rows, --no-columns.
    Dust and scratches on a photograph are found by mask dust; paint over text in any program, see mask from.

    \b
    Examples:
      csc-cogd mask detect frame.tif -o bad.png --preview seen.png
      csc-cogd mask detect night/*.tif -o bad.png     (one camera)
      csc-cogd mask detect scan.png --impulses --no-columns --no-rows -o bad.png
      csc-cogd mask detect stack.tif -o bad.png       (its pages)

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    import numpy as np

    from csc_cogd.detect.detect import detect_in_frames
    from csc_cogd.imagefiles import open_images
    from csc_cogd.imagefiles.masks import grown_mask
    from csc_cogd.restore.report import Progress

    looked_for = {"pixels": pixels, "columns": columns, "rows": rows, "impulses": impulses}
    kinds = [kind for kind, wanted in looked_for.items() if wanted]
    if not kinds:
        raise InputError("", "nothing is left to look for", "leave out {no_pixels}, {no_columns} or {no_rows}")
    with open_images(image_paths[0], axes=axes) as pages:
        first, n_frames = pages.read(0), len(pages) + len(image_paths) - 1
    if impulses and n_frames > 1:
        raise InputError("impulses", "must be looked for in a single image, as they differ from frame to frame")
    check_mask_output(output, overwrite, *image_paths)
    check_preview(preview, overwrite, output, *image_paths)
    frames = _Frames(image_paths, axes)
    with console.progress() as progress:
        progress(Progress("looking", 0, 1, None))
        try:
            found = detect_in_frames(frames, channel_axis=-1, kinds=kinds, sensitivity=sensitivity)
        except InputError as error:
            raise error if error.subject == str(frames.path) else error.about(str(frames.path)) from None
        progress(Progress("looking", 1, 1, None))
    several = "" if len(image_paths) == 1 else f" and {len(image_paths) - 1} more"
    console.say(f"{image_paths[0]}{several}: found {found.summary()}")
    for lines, kind, across in ((found.columns, "column", "rows"), (found.rows, "row", "columns")):
        for line in lines:
            console.say(f"{kind} {line.index}: {line.kind}, {across} {line.start} to {line.stop - 1}", level=1)
    missing = np.asarray(found.mask.any(axis=2))
    if found.texture:
        console.warn(
            f"{image_paths[0]}: {percent(found.texture, 2)} of the values stand out like impulses, but lie together as "
            "texture does and aren't marked: if they are corrupted, paint over them, and see mask from --mask-color"
        )
    if not missing.any():
        console.warn(
            "the mask is empty: a larger --sensitivity finds weaker damage of the camera; for dust and scratches on a "
            "photograph, see mask dust; paint over text in any program, and see mask from --mask-color"
        )
    else:
        missing = grown_mask(first.colors, missing, mask_dilate)
    write_mask(missing, output, overwrite, console)
    if preview is not None:
        write_preview(first, missing, preview, overwrite, console)


@command.command("dust")
@click.argument("image_path", metavar="IMAGE", type=PATH)
@output
@click.option(
    "--polarity", type=click.Choice(["both", "dark", "light"]), default="both", show_default=True,
    help="Dust on slides is dark in their scans; that on negatives and prints is light.",
)  # fmt: skip
@click.option(
    "--sensitivity", type=click.FloatRange(0, 1), default=0.5, show_default=True, metavar="S",
    help="0 to 1: higher finds more of the damage, and more that isn't damage.",
)  # fmt: skip
@options("frames", "mask_dilate")
@preview_option
@options("axes", "threads", "overwrite", CONSOLE)
def dust(
    image_path: Path, output: Path, polarity: str, sensitivity: float, frames: bool, mask_dilate: int | str | None,
    preview: Path | None, axes: str | None, threads: int | None, overwrite: bool, console: Console,
) -> None:  # fmt: skip
    """Find dust, hairs and scratches on a photograph, and write them as a mask.

    What stands out from its surroundings is told from things of the scene by its form, rim, color and surroundings. Look
    at the preview: stars, birds and the catchlights of eyes can look like dust, and dust on grass or hair stays unseen. Add
    what is missing with any brush, see mask from --mask-color. Pages of a file are looked at one by one, but for --frames.

    \b
    Examples:
      csc-cogd mask dust scan.tif -o dust.png --preview seen.png
      csc-cogd mask dust slide.tif -o dust.png --polarity dark --sensitivity 0.7
      csc-cogd mask dust shot.tif -o dust.tif --frames   (a page a frame)
      csc-cogd inpaint scan.tif -m dust.png -o clean.tif

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    from csc_cogd.detect.dust import find_dust
    from csc_cogd.detect.frames import look_at_frame
    from csc_cogd.imagefiles import create_images, open_images
    from csc_cogd.imagefiles.masks import grown_mask

    if frames and threads is not None:
        raise InputError("threads", "has no effect on frames of a film", "leave out {threads} or {frames}")
    check_mask_output(output, overwrite, image_path)
    check_preview(preview, overwrite, output, image_path)
    drawn = None
    with open_images(image_path, axes=axes) as pages, create_images(output, pages, overwrite=overwrite) as masks:
        for number, image in enumerate(pages):
            where = str(image_path if len(pages) == 1 else f"{image_path}, page {number + 1}")
            with console.progress() as progress:
                try:
                    if frames:
                        found = look_at_frame(
                            number, len(pages), lambda page: _planes(pages.read(page)), polarity, sensitivity
                        ).detection
                    else:
                        colors = image.observed
                        found = find_dust(
                            colors, channel_axis=None if colors.ndim == 2 else -1, polarity=polarity,
                            sensitivity=sensitivity, threads=threads, callback=progress,
                        )  # fmt: skip
                except InputError as error:
                    raise error.about(where) from None
            console.say(f"{where}: found {found.summary()}")
            for part in found.components:
                place = f"row {part.box[0]}, column {part.box[1]}"
                console.say(
                    f"{part.polarity} {part.kind} at {place}: {part.area} pixels, {part.confidence:.0%} sure", level=1
                )
            missing = grown_mask(image.colors, found.mask, mask_dilate) if found.components else found.mask
            if not found.components:
                console.warn(f"{where}: the mask is empty: a larger --sensitivity finds more")
            if preview is not None and (drawn is None or missing.mean() > drawn[1].mean()):
                drawn = (image, missing)
            masks.write(mask_image(missing, output))
    console.say(f"{output}: written")
    if drawn is not None:
        write_preview(*drawn, preview, overwrite, console)


@command.command("show")
@click.argument("mask_path", metavar="MASK", type=PATH)
@click.argument("image_path", metavar="[IMAGE]", required=False, type=PATH)
@options(MASK._replace(names=("mask_polarity", "mask_threshold", "mask_dilate")))
@preview_option
@options("overwrite", CONSOLE)
def show(
    mask_path: Path, image_path: Path | None, rules: MaskRules, preview: Path | None, overwrite: bool, console: Console
) -> None:  # fmt: skip
    """Say how a mask is understood: how much is missing, in how many holes, and how large they are.

    With IMAGE, the mask must fit it.

    \b
    Examples:
      csc-cogd mask show dust.png
      csc-cogd mask show dust.png photo.png --preview seen.png
      csc-cogd mask show weights.png --mask-polarity valid

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    import numpy as np
    from scipy.ndimage import find_objects, label

    from csc_cogd.imagefiles import ImageFile, find_missing, read_image
    from csc_cogd.imagefiles.masks import in_any_channel

    if preview is not None and image_path is None:
        raise InputError("preview", "is drawn on the image", "name an IMAGE after the mask")
    check_preview(preview, overwrite, None, mask_path, image_path)
    if image_path is None:
        image = ImageFile(np.zeros(read_image(mask_path).pixels.shape[:2], np.uint8), mask_path, "png")
    else:
        image = read_image(image_path)
    found = find_missing(image, replace(rules, path=mask_path))
    missing = in_any_channel(found.touched)
    holes, n_holes = label(missing, np.ones((3, 3), bool))
    sizes = np.bincount(holes.ravel())[1:]
    largest = int(sizes.argmax())
    high, wide = (part.stop - part.start for part in find_objects(holes)[largest])
    echo(f"size: {missing.shape[1]} x {missing.shape[0]}")
    echo(f"missing: {percent(missing.mean())} of the pixels ({'; '.join(found.sources)})")
    echo(f"holes: {n_holes}")
    echo(f"largest hole: {sizes[largest]} pixels, {wide} wide and {high} high")
    if missing.mean() > 0.5:
        other = "missing" if rules.polarity == "valid" else "valid"
        console.warn(f"more than half is missing, the mask looks inverted: if it is, use --mask-polarity {other}")
    write_preview(image, missing, preview, overwrite, console)


def _planes(image: ImageFile) -> np.ndarray:
    """Return the colors of a page, (C, H, W)."""
    from csc_cogd.restore.observation import as_planes

    return as_planes(image.observed, None if image.observed.ndim == 2 else -1)


class _Frames:
    """The colors of all pages of image files, always (H, W, channels); `path` is that of the last one that was read."""

    def __init__(self, paths: tuple[Path, ...], axes: str | None):
        self._paths, self._axes, self.path = paths, axes, paths[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        from csc_cogd.imagefiles import open_images

        for path in self._paths:
            self.path = path
            with open_images(path, axes=self._axes) as pages:
                for image in pages:
                    colors = image.observed
                    yield colors[..., None] if colors.ndim == 2 else colors
