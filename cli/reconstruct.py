"""``csc-cogd reconstruct``."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.options import PATH, check_alike, cogradient_rule, filter_numbers, naming, options, settings_line
from csc_cogd.errors import InputError


@click.command("reconstruct")
@click.argument("paths", metavar="IMAGE...", type=PATH, nargs=-1, required=True)
@click.option(
    "-o", "--output", type=PATH, metavar="FILE|DIR",
    help="Where to write: a file for one image, a folder for several. Default: beside the input, as NAME_reconstructed.",
)  # fmt: skip
@click.option(
    "--dictionary", "dictionary_path", metavar="FILE|default", help="Code with these filters. Default: learn them."
)
@options("filters", "filter_size")
@click.option(
    "--lmbda", type=click.FloatRange(0, 1000), default=0.03, show_default=True, metavar="L",
    help="Weight of the l1 term for an image in [0, 1]: larger is sparser, and less faithful.",
)  # fmt: skip
@click.option("--iterations", type=click.IntRange(min=1), metavar="N", help="Rounds of learning. Default: 20.")
@options("cogd", "kernel_degree")
@click.option("--debias", is_flag=True, help="Refit the codes by least squares where they aren't zero: more faithful.")
@click.option("--save-dictionary", type=PATH, metavar="FILE", help="Write the filters, as .npz.")
@click.option("--save-codes", type=PATH, metavar="FILE", help="Write the codes, as .npz; of one image, or of equal sizes.")
@options("seed", "checkpoint", "overwrite", "device", "dtype", "threads", "fft", "quiet", "verbose")
def command(
    paths: tuple[Path, ...],
    output: Path | None,
    dictionary_path: str | None,
    n_filters: str | None,
    filter_shape: str | None,
    iterations: int | None,
    cogd: bool,
    kernel_degree: int | None,
    save_dictionary: Path | None,
    save_codes: Path | None,
    overwrite: bool,
    quiet: bool,
    verbose: int,
    **settings: Any,
) -> None:
    """Learn filters and sparse codes from the IMAGEs and rebuild the images from them.

    Without --dictionary, filters are learned from all images together, which must be of one size. For each image: PSNR and
    SSIM against the original, the number of codes that aren't zero per value of the image, and an estimate of the bits per
    value that they take (the smooth base layer isn't counted). Transparency is carried over as it is; NaN is filled in.

    \b
    Examples:
      csc-cogd reconstruct photo.png
      csc-cogd reconstruct scans/*.tif -o rebuilt --filters 100 --save-dictionary scans.npz
      csc-cogd reconstruct photo.png --dictionary scans.npz --lmbda 0.1 --debias
      csc-cogd reconstruct fruit/*.jpg -o rebuilt --cogd --kernel-degree 2

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted. A file name that starts with a dash: write ./-name.
    """
    import numpy as np

    from csc_cogd import reconstruct
    from csc_cogd.csc.codes_file import save_codes as write_codes
    from csc_cogd.imagefiles import read_image, write_image
    from csc_cogd.imagefiles.files import check_output, make_folder
    from csc_cogd.storage import check_distinct, check_writable

    console = Console(-1 if quiet else verbose)
    rule = cogradient_rule(cogd, kernel_degree)
    counts, sizes = filter_numbers(n_filters, filter_shape)
    console.check_device(settings)
    learning = {"--filters": n_filters, "--filter-size": filter_shape, "--iterations": iterations, "--cogd": cogd}
    idle = [option for option, value in (learning | {"--checkpoint": settings["checkpoint"]}).items() if value]
    if dictionary_path is not None and idle:
        raise InputError(f"--dictionary: nothing is learned then: leave out {', '.join(idle)}")
    files = [read_image(path) for path in paths]
    targets = _targets(paths, output)
    inputs = (*paths, *([] if dictionary_path is None else [Path(dictionary_path)]))
    for file, target in zip(files, targets, strict=True):
        check_output(target, file, overwrite=overwrite, inputs=inputs, new_folder=len(paths) > 1)
    for path in filter(None, (save_dictionary, save_codes)):
        if path.suffix != ".npz":
            raise InputError(f"{path}: dictionaries and codes are written as .npz: end the name in it")
        check_writable(path, overwrite=overwrite, inputs=inputs)
    check_distinct(*targets, save_dictionary, save_codes, settings["checkpoint"])
    pictures = [file.colours for file in files]
    advice = "leave out --save-codes, or save the codes of one image at a time" if save_codes else None
    if dictionary_path is None:
        advice = "give images of one size, or csc-cogd learn a --dictionary from them first"
    check_alike(paths, pictures, advice)
    dictionary = _dictionary(dictionary_path, pictures[0])

    console.say(settings_line(settings, rule), level=1)
    with console.progress() as progress, naming(paths, dictionary=dictionary_path):
        result = reconstruct(
            pictures, dictionary, channel_axis=-1 if pictures[0].ndim == 3 else None,
            n_filters=counts, filter_shape=sizes, max_iter=iterations or 20, cogd=rule, callback=progress, **settings,
        )  # fmt: skip
    console.say(_learned(result), level=1)
    if output is not None and len(paths) > 1:
        make_folder(output)
    for file, target, image in zip(files, targets, result.images, strict=True):
        for note in write_image(file.with_colours(image), target, overwrite=overwrite):
            console.warn(f"{target}: {note}")
    if save_dictionary is not None:
        result.dictionary.save(save_dictionary, overwrite=overwrite)
        console.say(f"{save_dictionary}: {result.dictionary.n_filters} filters")
    if save_codes is not None:
        write_codes(save_codes, np.concatenate(result.codes), overwrite=overwrite)
        console.say(f"{save_codes}: codes of {len(paths)} image(s)")
    where = output or "beside the originals"
    console.say(f"{targets[0]}: written" if len(targets) == 1 else f"{len(targets)} images written: {where}")
    if not quiet:  # last, as a closed stdout must not cost the result
        _print_table(paths, result)


def _targets(paths: tuple[Path, ...], output: Path | None) -> list[Path]:
    if output is not None and len(paths) > 1 and not output.is_dir() and (output.suffix or output.exists()):
        raise InputError(f"{output}: is a file's name, but there are {len(paths)} images: name a folder")
    names = [f"{path.stem}_reconstructed{path.suffix}" for path in paths]
    if output is None:
        return [path.with_name(name) for path, name in zip(paths, names, strict=True)]
    if len(paths) == 1 and not output.is_dir():
        return [output]
    return [output / name for name in names]


def _dictionary(name: str | None, picture: Any) -> Any:
    from csc_cogd import Dictionary

    if name != "default":
        return None if name is None else Dictionary.load(name)
    return Dictionary.default("color" if picture.shape[2:] == (3,) else "gray")


def _print_table(paths: tuple[Path, ...], result: Any) -> None:
    names = [click.format_filename(path) for path in paths]
    width = max(len(name) for name in names)
    click.echo(f"{'image':<{width}} {'PSNR':>9} {'SSIM':>7} {'codes/value':>12} {'bits/value':>11}")
    for name, quality in zip(names, result.quality, strict=True):
        similarity = "-" if math.isnan(quality.ssim) else f"{quality.ssim:.4f}"
        click.echo(
            f"{name:<{width}} {quality.psnr:>6.2f} dB {similarity:>7} "
            f"{quality.nonzeros_per_value:>12.4f} {quality.bits_per_value:>11.3f}"
        )


def _learned(result: Any) -> str:
    if not result.history:
        return f"{result.dictionary.n_filters} given filters"
    end = result.history[-1]
    text = f"learned {result.dictionary.n_filters} filters: {end.iteration} rounds in {end.seconds:.1f} s, "
    text += f"objective {end.objective:.6g}"
    used = [record.backtracking for record in result.history if record.backtracking]
    if used:
        share = sum(statistics.backtracked for statistics in used) / max(sum(statistics.entries for statistics in used), 1)
        text += f"; {share:.2%} of the codes backtracked a round, {sum(s.accepted for s in used)} of {len(used)} accepted"
    return text
