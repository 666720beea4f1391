"""``csc-cogd classify``."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from csc_cogd.cli.console import Console, echo
from csc_cogd.cli.networks import image_options, network_command
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import CONSOLE, options, takes
from csc_cogd.errors import InputError

if TYPE_CHECKING:
    from csc_cogd.nn import Normalization
    from csc_cogd.nn.classify import Classified
    from csc_cogd.nn.saving import NetworkFile


@dataclass(frozen=True)
class ClassifyOptions:
    """The options of the command."""

    weights: Path
    images: tuple[Path, ...]
    output: Path | None
    top: int
    image_size: int | None
    batch_size: int
    mean: tuple[float, float, float] | None
    std: tuple[float, float, float] | None
    recursive: bool
    as_json: bool
    device: str
    threads: int | None


@click.command("classify")
@click.argument("weights", metavar="NET", type=PATH)
@click.argument("images", metavar="IMAGES...", nargs=-1, required=True, type=PATH)
@click.option(
    "-o", "--output", type=PATH, metavar="FILE", help="Write the table here, .csv or .json. Default: CSV, printed."
)
@click.option("--top", type=click.IntRange(min=1), default=5, show_default=True, metavar="N", help="Classes of each image.")
@image_options
@click.option(
    "--batch-size", type=click.IntRange(min=1), default=32, show_default=True, metavar="N", help="Images at a time."
)
@options("recursive")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each image, and a summary.")
@options("overwrite", "device", "threads", CONSOLE)
@takes("options", ClassifyOptions)
def command(options: ClassifyOptions, overwrite: bool, console: Console) -> int:
    """Say of what classes images are, by a network.

    NET is a file of weights, of `csc-cogd train` or `prune`, or of PyTorch (see `csc-cogd train --help`). IMAGES are files,
    or folders of them.

    \b
    Examples:
      csc-cogd classify flowers.safetensors garden/*.jpg
      csc-cogd classify flowers.safetensors garden -r -o garden.csv --top 1
      csc-cogd classify resnet50.safetensors cat.jpg --image-size 224 --mean .485 .456 .406 --std .229 .224 .225 --json

    \b
    Exit codes: 0 all done; 1 at least one file can't be read; 2 wrong usage or input, nothing written;
    3 device or memory; 130 interrupted.
    """
    with network_command(console, options.device, options.threads, options.weights) as device:
        paths = _expanded(options)
        _check_output(options, overwrite)
        from csc_cogd.nn.classify import classify_files
        from csc_cogd.nn.saving import read_network
        from csc_cogd.nn.transfer import head_classes

        file = read_network(options.weights)
        names = file.class_names or [str(number) for number in range(head_classes(file.network))]
        found: list[Classified] = []
        file.network.to(device)
        console.announce_compiling()
        each = classify_files(
            file.network, paths, class_names=names, size=_size(options, file),
            normalization=_normalization(options, file), top=options.top, batch_size=options.batch_size,
        )  # fmt: skip
        for one in each:
            found.append(one)
            if one.error is not None:
                console.error(str(one.error))
            elif options.as_json:
                echo(json.dumps(_row(one)))
    readable = [one for one in found if one.error is None]
    _write(options, readable, min(options.top, len(names)), overwrite, console)
    failed = len(found) - len(readable)
    if options.as_json:
        echo(json.dumps({"images": len(found), "failed": failed}))
    return 1 if failed else 0


def _expanded(options: ClassifyOptions) -> list[Path]:
    """Return the files that are meant, those of folders in the order of their names."""
    from csc_cogd.nn.data.files import SUFFIXES

    found: list[Path] = []
    for path in options.images:
        if not path.is_dir():
            found.append(path)
            continue
        inside = sorted(path.rglob("*") if options.recursive else path.glob("*"))
        images = [file for file in inside if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
        if not images:
            fix = "name another folder" + ("" if options.recursive else ", or add {recursive} to look below it")
            raise InputError("", f"the folder has no image ({', '.join(SUFFIXES)})", fix, str(path))
        found += images
    return list(dict.fromkeys(found))


def _check_output(options: ClassifyOptions, overwrite: bool) -> None:
    from csc_cogd.storage import check_writable

    if options.output is None:
        return
    if options.output.suffix.lower() not in (".csv", ".json"):
        raise InputError("", "the name of a table must end in .csv or .json", subject=str(options.output))
    check_writable(options.output, overwrite=overwrite, inputs=(options.weights, *options.images))


def _size(options: ClassifyOptions, file: NetworkFile) -> tuple[int, int]:
    if options.image_size is not None:
        return options.image_size, options.image_size
    if file.image_size is None:
        fix = "add {image_size}, such as 32 for networks of CIFAR, and 224 for those of ImageNet"
        raise InputError("", "doesn't say for what size of images the network is", fix, str(options.weights))
    return file.image_size


def _normalization(options: ClassifyOptions, file: NetworkFile) -> Normalization:
    from csc_cogd.cli.networks import given_normalization

    normalization = given_normalization(options.mean, options.std) or file.normalization
    if normalization is None:
        raise InputError("", "holds no mean and standard deviation of pixels", "add {mean} and {std}", str(options.weights))
    return normalization


def _row(one: Classified) -> dict[str, str | list[dict[str, str | float]]]:
    classes: list[dict[str, str | float]] = [{"class": name, "probability": share} for name, share in one.classes]
    return {"image": one.path, "classes": classes}


def _write(
    options: ClassifyOptions, found: list[Classified], top: int, overwrite: bool, console: Console
) -> None:  # fmt: skip
    """Write the table, or print it."""
    from csc_cogd.storage import write_whole

    if options.output is not None:
        as_json = options.output.suffix.lower() == ".json"
        text = json.dumps([_row(one) for one in found], indent=1) + "\n" if as_json else _csv(found, top)
        write_whole(options.output, text.encode(), overwrite=overwrite)
        console.say(f"{options.output}: {len(found)} images")
    elif not options.as_json:
        for line in _csv(found, top).splitlines():
            echo(line)


def _csv(found: Iterable[Classified], top: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *(f"{what}{place}" for place in range(1, top + 1) for what in ("class", "probability"))])
    for one in found:
        writer.writerow([one.path, *(cell for name, share in one.classes for cell in (name, f"{share:.4f}"))])
    return text.getvalue()
