"""Options that several commands share: one name, type, default and help each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from csc_cogd.errors import InputError

PATH = click.Path(path_type=Path)

OPTIONS = {
    "output": click.option(
        "-o", "--output", type=PATH, metavar="FILE",
        help="Where to write. Default: beside the input, as NAME_inpainted.",
    ),
    "overwrite": click.option("--overwrite", is_flag=True, help="Replace an existing output file."),
    "mask": click.option(
        "-m", "--mask", "mask_path", type=PATH, metavar="FILE", help="Mask image: non-zero means missing."
    ),
    "mask_value": click.option(
        "--mask-value", type=float, metavar="V", help="Pixels of this value (in every channel) are missing."
    ),
    "mask_from_alpha": click.option(
        "--mask-from-alpha", is_flag=True, help="Fully transparent pixels are missing; restored, they are opaque."
    ),
    "mask_polarity": click.option(
        "--mask-polarity", type=click.Choice(["missing", "valid"]), default="missing", show_default=True,
        help="What non-zero means in the mask file.",
    ),
    "mask_threshold": click.option(
        "--mask-threshold", type=float, metavar="T",
        help="Values above T count as non-zero in the mask file. Default: all but 0; for JPEG masks 127.",
    ),
    "mask_dilate": click.option(
        "--mask-dilate", type=click.IntRange(min=0), default=0, metavar="N", show_default=True,
        help="Grow the missing region by N pixels: the rims of scratches and letters are rarely clean.",
    ),
    "dictionary": click.option(
        "--dictionary", "dictionary_path", default="default", metavar="FILE|default", show_default=True,
        help="Filters to code with.",
    ),
    "learn": click.option(
        "--learn", is_flag=True, help="Adapt the dictionary to this image first: slower, better on repetitive texture."
    ),
    "lmbda": click.option(
        "--lmbda", type=click.FloatRange(0, 1000), metavar="L",
        help="Weight of the l1 term for an image in [0, 1]; larger is smoother. Default: 0.005.",
    ),
    "iterations": click.option(
        "--iterations", type=click.IntRange(min=1), metavar="N",
        help="Iterations of the code solve. Default: 80, or 50 where 25 to 60 % is missing."
    ),
    "tol": click.option(
        "--tol", type=click.FloatRange(min=0), metavar="E",
        help="Stop earlier, where the relative residuals are below E. Default: 0.",
    ),
    "device": click.option(
        "--device", default="auto", metavar="auto|cpu|cuda|cuda:N", show_default=True, help="Where to compute."
    ),
    "dtype": click.option(
        "--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True,
        help="Precision of the computation; the output always has the input's.",
    ),
    "threads": click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Default: all processors."),
    "fft": click.option(
        "--fft", type=click.Choice(["auto", "pyfftw", "scipy"]), help="FFT library. Default: auto, or $CSC_COGD_FFT."
    ),
    "quiet": click.option("-q", "--quiet", is_flag=True, help="Print errors only."),
    "verbose": click.option(
        "-v", "--verbose", count=True, help="Say what was chosen and how it went; -vv adds tracebacks to errors."
    ),
    "filters": click.option(
        "--filters", "n_filters", default="64", show_default=True, metavar="K[,K..]",
        help="Number of filters to learn; or of each size, as 16,32,48."
    ),
    "filter_size": click.option(
        "--filter-size", "filter_shape", default="11", show_default=True, metavar="S[,S..]",
        help="Height and width of the filters; one for each number in --filters, as 8,12,16."
    ),
    "cogd": click.option(
        "--cogd/--no-cogd", default=False, show_default=True,
        help="Learn with cogradient descent. It seldom pays: see the README.",
    ),
    "kernel_degree": click.option(
        "--kernel-degree", type=click.IntRange(1, 9), metavar="K",
        help="Degree of cogradient descent's kernel: 1 linear, 2 and 3 polynomial. Default: 1. Needs --cogd."
    ),
    "seed": click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N", help="Of the initial filters."
    ),
    "checkpoint": click.option(
        "--checkpoint", type=PATH, metavar="FILE",
        help="Save learning here every few rounds; go on from it if it is there already."
    ),
}  # fmt: skip


def filter_numbers(n_filters: str, filter_shape: str) -> tuple[Any, Any]:
    """The values of --filters and --filter-size: two numbers, or two lists of the same length."""
    lists = []
    for option, text in (("--filters", n_filters), ("--filter-size", filter_shape)):
        try:
            lists.append([int(part) for part in text.split(",")])
        except ValueError:
            raise InputError(f"{option}: {text!r} isn't a number, or numbers with commas between them") from None
        if min(lists[-1]) < 1:
            raise InputError(f"{option}: {text!r}: use numbers of 1 or more")
    counts, sizes = lists
    if len(counts) != len(sizes):
        raise InputError(f"--filter-size: one for each number in --filters {n_filters} is needed, not {filter_shape}")
    return (counts[0], sizes[0]) if len(counts) == 1 else (counts, sizes)


def check_alike(paths: tuple[Path, ...], pictures: list[Any], same_size: bool) -> None:
    """Refuse pictures, (H, W) or (H, W, C), that can't be taken together, by the name of their file."""
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape[2:] != pictures[0].shape[2:]:
            raise InputError(f"{path}: it hasn't as many channels as {paths[0]}: give grey and colour images apart")
        if same_size and picture.shape != pictures[0].shape:
            sizes = " x ".join(map(str, picture.shape[:2])), " x ".join(map(str, pictures[0].shape[:2]))
            raise InputError(
                f"{path}: it is {sizes[0]}, {paths[0]} {sizes[1]}: give images of one size, or learn a dictionary from them "
                "first (csc-cogd learn) and give it as --dictionary"
            )


def cogradient_rule(cogd: bool, kernel_degree: int | None) -> Any:
    """The rule that --cogd and --kernel-degree ask for, or None."""
    if not cogd:
        if kernel_degree is not None:
            raise InputError("--kernel-degree: it belongs to cogradient descent: add --cogd, or leave it out")
        return None
    from csc_cogd import CogradientRule

    return CogradientRule(degree=kernel_degree or 1)


def options(*names: str) -> Callable[[Any], Any]:
    """Decorate a command with shared options, shown in this order."""

    def decorate(function: Any) -> Any:
        for name in reversed(names):
            function = OPTIONS[name](function)
        return function

    return decorate
