"""``csc-cogd learn-prior``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from csc_cogd.cli.console import Console
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import CONSOLE, images_argument, names_here, options
from csc_cogd.cli.plots import check_plot, save_plot
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd import LearningProgress


@click.command("learn-prior")
@images_argument
@click.option("-o", "--output", type=PATH, metavar="FILE", required=True, help="The prior, as .safetensors.")
@options("recursive", "files_from", "axes", "overwrite")
@click.option("--color/--gray", default=False, help="For color images, or for gray ones. Default: gray.")
@click.option(
    "--noise", type=click.Choice(["white", "camera", "missing"]), default="white", show_default=True,
    help="What to take off: Gaussian noise, or that of cameras and film; or fill what is missing. The latter two are best "
    "learned with --start of a prior for the first.",
)  # fmt: skip
@click.option("--filters", "n_filters", type=click.IntRange(min=1), metavar="N", help="Filters to learn. Default: 64.")
@click.option(
    "--filter-size", "filter_size", type=click.IntRange(min=1), metavar="N", help="Their side in pixels. Default: 7."
)
@click.option("--stride", type=click.IntRange(min=1), metavar="N", help="Pixels from one place of them on. Default: 2.")
@click.option("--unrolled", "n_iter", type=click.IntRange(min=1), metavar="N", help="Iterations of coding. Default: 8.")
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="End after N steps. Default: 20000, or --minutes.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), metavar="T", help="End after T minutes.")
@click.option(
    "--hold-out", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
    help="Learn without the last N images, and say how well they are denoised meanwhile.",
)  # fmt: skip
@click.option(
    "--batch", "batch_size", type=click.IntRange(min=1), default=8, show_default=True, metavar="N", help="Pieces a step."
)
@click.option(
    "--rate", "learning_rate", type=click.FloatRange(min=0, min_open=True), default=1e-3, show_default=True, metavar="R",
    help="The highest learning rate; a third of it to go on from a prior for other noise.",
)  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of all that is drawn.")
@click.option("--start", type=PATH, metavar="FILE", help="Go on from this prior's weights.")
@click.option(
    "--plot", type=PATH, metavar="FILE", help="Plot loss, PSNR of images held out, and the filters: .png, .pdf or .svg."
)
@options("checkpoint", "device", "threads", CONSOLE)
def command(
    images: tuple[str, ...], output: Path, recursive: bool, files_from: str | None, axes: str | None, overwrite: bool,
    color: bool, noise: str, n_filters: int | None, filter_size: int | None, stride: int | None, n_iter: int | None,
    steps: int | None, minutes: float | None, hold_out: int, batch_size: int, learning_rate: float, seed: int,
    start: Path | None, plot: Path | None, checkpoint: Path | None, device: str, threads: int | None,
    console: Console,
) -> None:  # fmt: skip
    """Learn a prior, for denoise, from photographs without noise: the IMAGEs, 8 or 16 bits, gray or in color.

    Some ten photographs with much detail and ten minutes give a first one; a hundred and some hours a good one. Photographs
    in which noise or compression can be seen should be reduced to half their size before.

    \b
    Examples:
      csc-cogd learn-prior photos/*.jpg -o prior.safetensors --minutes 10 --plot learning.png
      csc-cogd learn-prior photos -r -o prior.safetensors --steps 50000 --hold-out 4 --checkpoint run.npz
      csc-cogd learn-prior photos -r --color --noise camera --start color.safetensors -o camera.safetensors
      csc-cogd denoise photo.png --prior prior.safetensors

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written; 3 device or
    memory; 130 interrupted. A file name that starts with a dash: write ./-name.
    """
    from csc_cogd import Prior, learn_prior
    from csc_cogd.batch.inputs import expand_inputs, unread_notes
    from csc_cogd.storage import check_distinct, check_writable

    found = expand_inputs(images, recursive=recursive, files_from=files_from)
    paths = tuple(image.path for image in found.images)
    for note in unread_notes(found.unread):
        console.say(note)
    if output.suffix != ".safetensors":
        raise InputError("", "priors are written as .safetensors", "end the name in it", str(output))
    if hold_out >= len(paths):
        raise InputError("hold_out", f"leaves nothing to learn from: there are {len(paths)} images", "hold fewer out")
    check_writable(output, overwrite=overwrite, inputs=(*paths, *filter(None, [start])))
    check_distinct(output, checkpoint, plot)
    if plot is not None:
        check_plot(plot, overwrite)
    pictures = _read(paths, axes)
    learned, held_out = pictures[: len(pictures) - hold_out], pictures[len(pictures) - hold_out :]
    names_here().update({f"images[{number}]": str(path) for number, path in enumerate(paths)})
    names_here().update({f"held_out[{n}]": str(path) for n, path in enumerate(paths[len(learned) :])})
    course: list[LearningProgress] = []

    def tell(record: LearningProgress) -> None:
        course.append(record)
        _tell(console, progress, record)

    with console.checkpointed(checkpoint), console.progress() as progress:
        begun = None if start is None else Prior.load(start)
        prior = learn_prior(
            learned, color=color, noise=noise, n_filters=n_filters, filter_size=filter_size, stride=stride, n_iter=n_iter,
            steps=steps, minutes=minutes, batch_size=batch_size, learning_rate=learning_rate, held_out=held_out, seed=seed,
            start=begun, checkpoint=checkpoint, device=device, threads=threads, callback=tell,
        )  # fmt: skip
    prior.save(output, overwrite=overwrite)
    if plot is not None:
        from csc_cogd.report.training import draw_learning

        save_plot(draw_learning(course, prior), plot, overwrite)
    about = prior.provenance
    psnr = f", {_decibels(*about['psnr'].values())} on those held out" if hold_out else ""
    console.say(f"{output}: {prior}, {about['steps']} steps on {len(learned)} image(s){psnr}")


class _Shown(NamedTuple):
    """What a progress bar shows."""

    stage: str
    done: int
    total: int
    note: str


def _tell(console: Console, progress: Any, record: LearningProgress) -> None:
    psnr = f", {_decibels(record.psnr)}" if record.psnr else ""
    back = f", stepped back {record.setbacks} times" if record.setbacks else ""
    note = f"step {record.step}, loss {record.loss:.5f}{psnr}{back}"
    progress(_Shown("learning", round(1000 * record.done), 1000, note))
    console.say(note, level=1)


def _decibels(psnr: Any) -> str:
    return " / ".join(f"{value:.2f}" for value in psnr) + " dB"


def _read(paths: tuple[Path, ...], axes: str | None) -> list[Any]:
    """Return the pixels of files, of the first page of each, without transparency."""
    from csc_cogd.imagefiles import open_images

    pictures = []
    for path in paths:
        with open_images(path, axes=axes) as pages:
            pictures.append(next(iter(pages)).colors)
    return pictures
