"""What the commands share that make an image file of an image file; and kernels by name."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import naming
from csc_cogd.errors import InputError

Restored = tuple[Any, Any, str]  # the colours, a report with lines(), and what to say in any case
KERNELS = {"gaussian": "gaussian:S", "uniform": "uniform:N", "motion": "motion:LEN,ANGLE"}


def read_kernel(text: str, *, even: bool = False) -> Any:
    """The kernel that --kernel names, (h, w): one of KERNELS with its numbers, or an image file.

    With `even`, a Gaussian has even height and width.
    """
    import numpy as np

    from csc_cogd.imagefiles import read_image
    from csc_cogd.restore.operators import check_kernel, gaussian_kernel, motion_kernel, uniform_kernel

    name, _, given = text.partition(":")
    if name in KERNELS and not Path(text).exists():
        try:
            numbers = [float(number) for number in given.split(",")]
        except ValueError:
            numbers = []
        if len(numbers) != KERNELS[name].count(",") + 1 or (name == "uniform" and not numbers[0].is_integer()):
            raise InputError(f"--kernel: {text!r} isn't of the form {KERNELS[name]}: write it with numbers")
        try:
            if name == "gaussian":
                return gaussian_kernel(*numbers, even=even)
            return uniform_kernel(int(numbers[0])) if name == "uniform" else motion_kernel(*numbers)
        except InputError as error:
            raise InputError(f"--kernel: {text!r}: {error}") from None
    pixels = read_image(text).colours
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if pixels.ndim == 3:
        raise InputError(f"{text}: the kernel has {pixels.shape[2]} channels: make it grey")
    if not np.isfinite(pixels).all() or (pixels < 0).any():
        raise InputError(f"{text}: the kernel has NaN, infinite or negative values: set them to zero")
    try:
        return check_kernel(pixels)
    except InputError as error:
        raise InputError(f"{text}: {error}") from None


def restore_by_operator(image_path: Path, operator: Any, ending: str, *, inputs: tuple[Path, ...], **arguments: Any) -> None:
    """Restore the scene that the operator, a Blur or a Decimation, made the image of."""
    given = arguments.pop("noise_sigma")

    def restore(colours: Any, **options: Any) -> Restored:
        from csc_cogd import restore_image

        restored, report = restore_image(colours, operator, **options)
        how = "at the mean" if options["noise"] == "poisson" else None
        h, w = operator.kernel.shape
        return restored, report, f"kernel of {h} x {w}, {noise_text(report.sigmas, given, how)}"

    noise_sigma = None if given == "auto" else given
    restore_file(image_path, restore, ending, inputs=inputs, noise_sigma=noise_sigma, **arguments)


def noise_text(sigmas: list[float], given: float | str, how: str | None = None) -> str:
    """The noise that was assumed, and how it is known."""
    numbers = ", ".join(f"{sigma:.3g}" for sigma in sigmas) or "0"
    return f"noise of {numbers} ({how or ('estimated' if given == 'auto' else 'given')})"


def restore_file(
    image_path: Path,
    restore: Callable[..., Restored],
    ending: str,
    *,
    inputs: tuple[Path, ...] = (),
    needs_mask: bool = False,
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
    iterations: int | None,
    **settings: Any,
) -> None:
    """Restore one image file by `restore`, and say what was done; the default output's name ends in `ending`.

    `restore` is given the colours and options as those of :func:`csc_cogd.inpaint`. Opacity is carried over. With
    `needs_mask`, something must be missing. `inputs` are further files that mustn't be written to.
    """
    import numpy as np

    from csc_cogd import Dictionary
    from csc_cogd.imagefiles import MaskRules, missing_pixels, read_image, write_image
    from csc_cogd.imagefiles.files import check_output

    started = time.perf_counter()
    console = Console(-1 if quiet else verbose)
    console.check_device(settings)
    image = read_image(image_path)
    colours = image.colours
    target = output or image_path.with_name(f"{image_path.stem}_{ending}{image_path.suffix}")
    check_output(target, image, overwrite=overwrite, inputs=(image_path, *inputs, *filter(None, [mask_path])))
    dictionary = None if dictionary_path == "default" else Dictionary.load(dictionary_path)
    rules = MaskRules(mask_path, mask_polarity, mask_threshold, mask_value, mask_from_alpha, mask_dilate)
    gaps = colours.dtype.kind == "f" and bool(np.isnan(colours).any())
    mask = None
    if gaps or needs_mask or rules != MaskRules():
        missing, sources = missing_pixels(image, rules)
        mask = image.with_pixels(missing).colours
        share = float((mask if mask.ndim == 2 else mask.any(axis=2)).mean())
        console.say(f"{image_path}: {share:.1%} of the pixels missing ({'; '.join(sources)})")
        if share > 0.5 and mask_path and mask_polarity == "missing":
            console.warn("more than half is missing: if the mask marks what is known, use --mask-polarity valid")

    chosen = {name: value for name, value in (settings | {"max_iter": iterations}).items() if value is not None}
    names = {"noise_sigma": "--noise-sigma", "gain": "--gain"}
    names |= {what: f"{image_path}: {what}" for what in ("image", "mask", "kernel")}
    with naming((image_path,), **names), console.progress() as progress:
        restored, report, summary = restore(
            colours, mask=mask, dictionary=dictionary, channel_axis=None if colours.ndim == 2 else -1,
            callback=progress, return_report=True, **chosen,
        )  # fmt: skip
    if summary:
        console.say(f"{image_path}: {summary}")
    if "effort" in settings and mask is None and not report.stages:
        console.warn("no noise was found, and nothing was changed: say how much there is, by --noise-sigma, if you see some")
    only_planned = bool(settings.get("dry_run"))
    for line in report.lines():
        console.say(line, level=0 if only_planned else 1)
    if only_planned:
        console.say(f"{target}: not written, as this is a dry run")
        return
    pixels = restored.reshape(*restored.shape[:2], -1)
    if image.has_alpha:
        opacity = image.pixels[..., -1]
        if mask_from_alpha:  # what was transparent has colours now
            opacity = np.where(opacity == 0, 1 if opacity.dtype.kind == "f" else np.iinfo(opacity.dtype).max, opacity)
        opacity = _resized(opacity.astype(pixels.dtype), restored.shape[0] // colours.shape[0])
        pixels = np.concatenate([pixels, opacity[..., None]], axis=2)
    result = image.with_pixels(pixels[..., 0] if image.pixels.ndim == 2 else pixels)
    for note in write_image(result, target, overwrite=overwrite):
        console.warn(note)
    console.say(f"{target}: written after {time.perf_counter() - started:.1f} s")


def _resized(opacity: Any, factor: int) -> Any:
    """Opacity (H, W) on the finer grid, by linear interpolation, in its own type."""
    import numpy as np
    from scipy.ndimage import zoom

    if factor == 1:
        return opacity
    finer = zoom(opacity.astype(np.float64), factor, order=1, mode="nearest", grid_mode=True)
    return (finer if opacity.dtype.kind == "f" else np.rint(finer)).astype(opacity.dtype)
