"""``csc-cogd reconstruct``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.option_types import PATH, complete_files
from csc_cogd.cli.options import (
    BATCH,
    CONSOLE,
    ENGINE,
    check_alike,
    cogradient_rule,
    filter_numbers,
    images_argument,
    names_here,
    options,
    settings_line,
)
from csc_cogd.cli.restoring import print_quality, restore_files
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd import CogradientRule, Dictionary, Engine
    from csc_cogd.batch.inputs import Input
    from csc_cogd.batch.job import BatchOptions, Settings
    from csc_cogd.imagefiles import ImageFile
    from csc_cogd.learning.reconstruct import Reconstruction
    from csc_cogd.report.totals import Totals


@dataclass(frozen=True)
class Learning:
    """How filters are learned."""

    n_filters: int | list[int]
    filter_shape: int | list[int]
    max_iter: int
    cogd: CogradientRule | None
    seed: int
    checkpoint: Path | None


class Saved(NamedTuple):
    """Where is written what is found."""

    dictionary: Path | None
    codes: Path | None


@click.command("reconstruct")
@images_argument
@click.option(
    "-o", "--output", type=PATH, metavar="FILE|DIR",
    help="Where to write: a file for one image, or a folder. Default: beside each input, as NAME_reconstructed.",
)  # fmt: skip
@options(BATCH, "as_json")
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
@options("seed", "checkpoint", ENGINE, CONSOLE)
def command(
    images: tuple[str, ...], output: Path | None, batch: BatchOptions, as_json: bool, dictionary_path: str | None,
    n_filters: str | None, filter_shape: str | None, lmbda: float, iterations: int | None, cogd: bool,
    kernel_degree: int | None, debias: bool, save_dictionary: Path | None, save_codes: Path | None, seed: int,
    checkpoint: Path | None, engine: Engine, console: Console,
) -> int:  # fmt: skip
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
    from csc_cogd import Solve
    from csc_cogd.batch.job import Settings

    rule = cogradient_rule(cogd, kernel_degree)
    counts, sizes = filter_numbers(n_filters, filter_shape)
    learning = {"n_filters": n_filters, "filter_shape": filter_shape, "max_iter": iterations, "cogd": cogd}
    idle = [name for name, value in (learning | {"checkpoint": checkpoint, "seed": seed}).items() if value]
    if dictionary_path is not None and idle:
        fix = f"leave out {', '.join(f'{{{name}}}' for name in idle)}"
        raise InputError("dictionary", "is given, so nothing is learned", fix)
    settings, saved = Settings(Solve(lmbda=lmbda), engine=engine, debias=debias), Saved(save_dictionary, save_codes)
    if dictionary_path is not None and not any(saved):
        return restore_files(
            "reconstruct", images, output, batch, settings, console, dictionary=dictionary_path, as_json=as_json
        )
    how = Learning(counts, sizes, iterations or 20, rule, seed, checkpoint)
    return _reconstruct_together(images, output, batch, settings, console, dictionary_path, saved, how, as_json)


def _reconstruct_together(
    images: tuple[str, ...], output: Path | None, batch: BatchOptions, settings: Settings, console: Console,
    dictionary_path: str | None, saved: Saved, learning: Learning, as_json: bool,
) -> int:  # fmt: skip
    """Read all images, reconstruct them in one go, and write them."""
    from csc_cogd import reconstruct
    from csc_cogd.batch.inputs import expand_inputs, place_outputs, unread_notes
    from csc_cogd.imagefiles import read_image
    from csc_cogd.report.document import plain
    from csc_cogd.report.totals import Totals

    _refuse_what_is_for_single_images(batch)
    console.check_device(settings.engine)
    named, unread = expand_inputs(images, recursive=batch.recursive, files_from=batch.files_from)
    for note in unread_notes(unread):
        console.say(note)
    totals = Totals(list(map(str, unread)))
    totals.begin()
    found, targets, _ = place_outputs(named, output, "reconstructed", batch.suffix)
    files = [read_image(image.path, axes=batch.axes) for image in found]
    _check_places(files, targets, batch, dictionary_path, saved, learning)
    pictures = [file.observed for file in files]
    advice = "leave out {save_codes}, or save the codes of one image at a time" if saved.codes else None
    if dictionary_path is None:
        advice = "give images of one size, or csc-cogd learn a {dictionary} from them first"
    check_alike(tuple(file.path for file in files), pictures, advice)
    console.say(settings_line(settings.solve, settings.engine, learning), level=1)
    names_here().update({f"images[{number}]": str(file.path) for number, file in enumerate(files)})
    with console.checkpointed(learning.checkpoint), console.progress() as progress:
        result = reconstruct(
            pictures, _dictionary(dictionary_path, pictures[0]), n_filters=learning.n_filters,
            filter_shape=learning.filter_shape, channel_axis=-1 if pictures[0].ndim == 3 else None,
            lmbda=settings.solve.lmbda or 0.0, max_iter=learning.max_iter, debias=settings.debias, seed=learning.seed,
            cogd=learning.cogd, checkpoint=learning.checkpoint, engine=settings.engine, callback=progress,
        )  # fmt: skip
    console.say(_learned(result), level=1)
    _write(files, targets, result, saved, batch.overwrite, console)
    where = output or "beside the originals"
    console.say(f"{targets[0]}: written" if len(targets) == 1 else f"{len(targets)} images written: {where}")
    rows = [
        {"input": str(image.path), "output": str(target), "status": "done", "error": "", "figures": quality._asdict()}
        for image, target, quality in zip(found, targets, result.quality, strict=True)
    ]
    for _ in rows:
        totals.add("done", None, None)
    totals.end()
    if batch.report is not None:
        _write_report(Path(batch.report), rows, found, pictures, result, totals)
    if as_json:
        for row in rows:
            echo(json.dumps(plain(row)))
        echo(json.dumps(plain({"summary": True, **totals.row()})))
    elif not console.quiet:  # last, as a closed stdout must not cost the result
        print_quality(dict(zip((str(image.path) for image in found), result.quality, strict=True)))
    return 0


def _refuse_what_is_for_single_images(batch: BatchOptions) -> None:
    for name in ("skip_existing", "fail_fast", "jobs", "scheduler"):
        if getattr(batch, name):
            fix = "give a {dictionary} and don't save what was found, or leave it out"
            raise InputError(name, "is for images that are coded one by one", fix)
    if batch.reference is not None:
        raise InputError("reference", "can't be chosen, as a reconstruction is compared with its original", "leave it out")


def _check_places(
    files: list[ImageFile], targets: list[Path], batch: BatchOptions, dictionary: str | None, saved: Saved,
    learning: Learning,
) -> None:  # fmt: skip
    """Refuse results that can't be written, or would be written over each other or over an input."""
    from csc_cogd.batch.reporting import check_report
    from csc_cogd.imagefiles import check_output
    from csc_cogd.storage import check_distinct, check_writable

    inputs = (*(file.path for file in files), *([] if dictionary is None else [Path(dictionary)]))
    for file, target in zip(files, targets, strict=True):
        check_output(target, file, overwrite=batch.overwrite, inputs=inputs, new_folder=len(files) > 1)
    for path in filter(None, saved):
        if path.suffix != ".npz":
            raise InputError("", "dictionaries and codes are written as .npz", "end the name in it", str(path))
        check_writable(path, overwrite=batch.overwrite, inputs=inputs)
    check_distinct(*targets, *saved, learning.checkpoint)
    if batch.report is not None:
        check_report(Path(batch.report), batch.overwrite, resume=False)


def _write(
    files: list[ImageFile], targets: list[Path], result: Reconstruction, saved: Saved, overwrite: bool, console: Console
) -> None:
    """Write the reconstructions, and what else was found."""
    import numpy as np

    from csc_cogd.csc.codes_file import save_codes
    from csc_cogd.imagefiles import write_image
    from csc_cogd.storage import make_folder

    for file, target, image in zip(files, targets, result.reconstruction, strict=True):
        if len(files) > 1:
            make_folder(target.parent)
        for note in write_image(file.with_colors(image), target, overwrite=overwrite):
            console.warn(f"{target}: {note}")
    if saved.dictionary is not None:
        result.dictionary.save(saved.dictionary, overwrite=overwrite)
        console.say(f"{saved.dictionary}: {result.dictionary.n_filters} filters")
    if saved.codes is not None:
        save_codes(np.concatenate(result.codes), saved.codes, overwrite=overwrite)
        console.say(f"{saved.codes}: codes of {len(files)} image(s)")


def _write_report(
    report: Path, rows: list[Any], found: list[Input], pictures: list[Any], result: Reconstruction, totals: Totals
) -> None:
    from csc_cogd.batch.reporting import page_path, write_image_page, write_report
    from csc_cogd.restore.report import Trace

    for row, image, before, after, codes in zip(rows, found, pictures, result.reconstruction, result.codes, strict=True):
        trace = Trace()
        trace.history = result.history
        trace.count(result.dictionary, codes)
        page = page_path(report, image.path, image.folder or Path(), len(rows))
        facts = {"how": _learned(result)}
        figures = write_image_page(page, image.path.name, before, None, after, before, trace, facts)
        row["figures"] = row["figures"] | {"report": figures}
    write_report(report, [row | {"seconds": None} for row in rows], totals)  # all were made together


def _dictionary(name: str | None, picture: Any) -> Dictionary | None:
    from csc_cogd import Dictionary

    if name != "default":
        return None if name is None else Dictionary.load(name)
    return Dictionary.default("color" if picture.shape[2:] == (3,) else "gray")


def _learned(result: Reconstruction) -> str:
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
