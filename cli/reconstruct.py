"""``csc-cogd reconstruct``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.options import (
    ENGINE,
    FILES,
    PATH,
    check_alike,
    cogradient_rule,
    complete_files,
    filter_numbers,
    images_argument,
    names_here,
    options,
    settings_line,
)
from csc_cogd.cli.restoring import print_quality, restore_files
from csc_cogd.errors import InputError


@click.command("reconstruct")
@images_argument
@click.option(
    "-o", "--output", type=PATH, metavar="FILE|DIR",
    help="Where to write: a file for one image, or a folder. Default: beside each input, as NAME_reconstructed.",
)  # fmt: skip
@options(*FILES)
@click.option(
    "--dictionary", "dictionary_path", metavar="FILE|default", shell_complete=complete_files,
    help="Code with these filters, image by image. Default: learn them from all images together.",
)  # fmt: skip
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
@options("seed", "checkpoint", *ENGINE)
def command(
    images: tuple[str, ...],
    output: Path | None,
    dictionary_path: str | None,
    n_filters: str | None,
    filter_shape: str | None,
    iterations: int | None,
    cogd: bool,
    kernel_degree: int | None,
    save_dictionary: Path | None,
    save_codes: Path | None,
    seed: int,
    checkpoint: Path | None,
    **arguments: Any,
) -> int:
    """Learn filters and sparse codes from images and rebuild the images from them.

    Without --dictionary, filters are learned from all images together, which must be of one size. For each image: PSNR and
    SSIM against the original, the number of codes that aren't zero per value of the image, and an estimate of the bits per
    value that they take (the smooth base layer isn't counted). Transparency is carried over as it is; NaN is filled in.

    \b
    Examples:
      csc-cogd reconstruct photo.png
      csc-cogd reconstruct scans/*.tif -o rebuilt --filters 100 --save-dictionary scans.npz
      csc-cogd reconstruct archive -r -o rebuilt --dictionary scans.npz --jobs 4
      csc-cogd reconstruct photo.png --dictionary scans.npz --lmbda 0.1 --debias
      csc-cogd reconstruct fruit/*.jpg -o rebuilt --cogd --kernel-degree 2 --report fruit.html.d

    \b
    Exit codes: 0 done; 1 at least one of several images failed; 2 wrong usage or
    input, nothing written; 3 device or memory; 130 interrupted. A file name that
    starts with a dash: write ./-name.
    """
    rule = cogradient_rule(cogd, kernel_degree)
    counts, sizes = filter_numbers(n_filters, filter_shape)
    learning = {"n_filters": n_filters, "filter_shape": filter_shape, "max_iter": iterations, "cogd": cogd}
    idle = [name for name, value in (learning | {"checkpoint": checkpoint, "seed": seed}).items() if value]
    if dictionary_path is not None and idle:
        fix = f"leave out {', '.join(f'{{{name}}}' for name in idle)}"
        raise InputError("dictionary", "is given, so nothing is learned", fix)
    if dictionary_path is not None and save_dictionary is None and save_codes is None:
        return restore_files("reconstruct", images, output=output, dictionary_path=dictionary_path, **arguments)
    how = {
        "n_filters": counts, "filter_shape": sizes, "max_iter": iterations or 20, "cogd": rule, "seed": seed,
        "checkpoint": checkpoint,
    }  # fmt: skip
    return _reconstruct_together(images, output, dictionary_path, save_dictionary, save_codes, how, **arguments)


def _reconstruct_together(
    images: tuple[str, ...],
    output: Path | None,
    dictionary_path: str | None,
    save_dictionary: Path | None,
    save_codes: Path | None,
    learning: dict[str, Any],
    *,
    recursive: bool,
    files_from: str | None,
    axes: str | None,
    suffix: str | None,
    overwrite: bool,
    report: Path | None,
    reference: Path | None,
    as_json: bool,
    quiet: bool,
    verbose: int,
    **arguments: Any,
) -> int:
    """Read all images, reconstruct them in one go, and write them."""
    import numpy as np

    from csc_cogd import reconstruct
    from csc_cogd.batch.inputs import expand_inputs, place_outputs, unread_notes
    from csc_cogd.batch.opacity import with_colours
    from csc_cogd.batch.reporting import check_report
    from csc_cogd.csc.codes_file import save_codes as write_codes
    from csc_cogd.imagefiles import read_image, write_image
    from csc_cogd.imagefiles.files import check_output, make_folder
    from csc_cogd.report.document import plain
    from csc_cogd.report.totals import Totals
    from csc_cogd.storage import check_distinct, check_writable

    for name, idle in (("skip_existing", False), ("fail_fast", False), ("jobs", None), ("scheduler", None)):
        if arguments.pop(name) != idle:
            fix = "give a {dictionary} and don't save what was found, or leave it out"
            raise InputError(name, "is for images that are coded one by one", fix)
    if reference is not None:
        raise InputError("reference", "can't be chosen, as a reconstruction is compared with its original", "leave it out")
    console = Console(-1 if quiet else verbose)
    console.check_device(arguments)
    named, unread = expand_inputs(images, recursive=recursive, files_from=files_from)
    for note in unread_notes(unread):
        console.say(note)
    totals = Totals(list(map(str, unread)))
    totals.begin()
    found, targets = place_outputs(named, output, "reconstructed", suffix)
    paths = tuple(image.path for image in found)
    files = [read_image(path, axes=axes) for path in paths]
    inputs = (*paths, *([] if dictionary_path is None else [Path(dictionary_path)]))
    for file, target in zip(files, targets, strict=True):
        check_output(target, file, overwrite=overwrite, inputs=inputs, new_folder=len(paths) > 1)
    for path in filter(None, (save_dictionary, save_codes)):
        if path.suffix != ".npz":
            raise InputError("", "dictionaries and codes are written as .npz", "end the name in it", str(path))
        check_writable(path, overwrite=overwrite, inputs=inputs)
    check_distinct(*targets, save_dictionary, save_codes, learning["checkpoint"])
    if report is not None:
        check_report(report, overwrite, resume=False)
    pictures = [file.observed for file in files]
    advice = "leave out {save_codes}, or save the codes of one image at a time" if save_codes else None
    if dictionary_path is None:
        advice = "give images of one size, or csc-cogd learn a {dictionary} from them first"
    check_alike(paths, pictures, advice)
    dictionary = _dictionary(dictionary_path, pictures[0])

    shown = {name: value for name, value in (arguments | learning).items() if name != "cogd"}
    console.say(settings_line(shown, learning["cogd"]), level=1)
    names_here().update({f"images[{number}]": str(path) for number, path in enumerate(paths)})
    with console.checkpointed(learning["checkpoint"]), console.progress() as progress:
        result = reconstruct(
            pictures, dictionary, channel_axis=-1 if pictures[0].ndim == 3 else None, callback=progress,
            **arguments, **learning,
        )  # fmt: skip
    console.say(_learned(result), level=1)
    for file, target, image in zip(files, targets, result.reconstruction, strict=True):
        if len(paths) > 1:
            make_folder(target.parent)
        for note in write_image(with_colours(file, image), target, overwrite=overwrite):
            console.warn(f"{target}: {note}")
    if save_dictionary is not None:
        result.dictionary.save(save_dictionary, overwrite=overwrite)
        console.say(f"{save_dictionary}: {result.dictionary.n_filters} filters")
    if save_codes is not None:
        write_codes(np.concatenate(result.codes), save_codes, overwrite=overwrite)
        console.say(f"{save_codes}: codes of {len(paths)} image(s)")
    where = output or "beside the originals"
    console.say(f"{targets[0]}: written" if len(targets) == 1 else f"{len(targets)} images written: {where}")
    rows = [
        {"input": str(path), "output": str(target), "status": "done", "error": "", "figures": quality._asdict()}
        for path, target, quality in zip(paths, targets, result.quality, strict=True)
    ]
    for _ in rows:
        totals.add("done", None, None)
    totals.end()
    if report is not None:
        _write_report(report, rows, found, pictures, result, {"how": _learned(result)}, totals)
    if as_json:
        for row in rows:
            echo(json.dumps(plain(row)))
        echo(json.dumps(plain({"summary": True, **totals.row()})))
    elif not quiet:  # last, as a closed stdout must not cost the result
        print_quality(rows)
    return 0


def _write_report(
    report: Path,
    rows: list[dict[str, Any]],
    found: list[Any],
    pictures: list[Any],
    result: Any,
    facts: dict[str, str],
    totals: Any,
) -> None:
    from csc_cogd.batch.reporting import page_path, write_image_page, write_report
    from csc_cogd.restore.report import Trace

    for row, image, before, after, codes in zip(rows, found, pictures, result.reconstruction, result.codes, strict=True):
        source, trace = Path(row["input"]), Trace()
        trace.history = result.history
        trace.count(result.dictionary, codes)
        page = page_path(report, source, image.folder or Path(), len(rows))
        figures = write_image_page(page, source.name, before, None, after, before, trace, facts)
        row["figures"] = row["figures"] | {"report": figures}
    write_report(report, [row | {"seconds": None} for row in rows], totals)  # all were made together


def _dictionary(name: str | None, picture: Any) -> Any:
    from csc_cogd import Dictionary

    if name != "default":
        return None if name is None else Dictionary.load(name)
    return Dictionary.default("color" if picture.shape[2:] == (3,) else "gray")


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
