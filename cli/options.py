"""Options that several commands share: one name, type, default and help each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import click

from csc_cogd.cli.option_types import PATH, Memory, NumberOrAuto, PixelsOrAuto, Suffix, complete_devices, complete_files
from csc_cogd.errors import InputError

OPTIONS = {
    **{
        f"output_{ending}": click.option(
            "-o", "--output", type=PATH, metavar="FILE|DIR",
            help=f"Where to write: a file for one image, or a folder. Default: beside each input, as NAME_{ending}.",
        )
        for ending in ("inpainted", "denoised", "deblurred", "upscaled", "cleaned")
    },
    "recursive": click.option("-r", "--recursive", is_flag=True, help="Take images in folders below the folders, too."),
    "files_from": click.option(
        "--files-from", metavar="FILE|-", help="Take further images from a text file, one a line; - is standard input."
    ),
    "suffix": click.option(
        "--suffix", type=Suffix(), metavar=".EXT",
        help="Format of the output, such as .png or .tif. Default: that of each input.",
    ),
    "axes": click.option(
        "--axes", metavar="LETTERS",
        help="Axes of NPY, NPZ and TIFF files: Y, X, C for channels, any other letter for a stack, as in NYX, YXC, CYX.",
    ),
    "skip_existing": click.option(
        "--skip-existing", is_flag=True,
        help="Resume: leave what was restored from the same input with the same settings. With --overwrite, redo the rest.",
    ),
    "fail_fast": click.option("--fail-fast", is_flag=True, help="Stop at the first image that can't be restored."),
    "jobs": click.option(
        "-j", "--jobs", type=click.IntRange(min=1), metavar="N",
        help="Restore N images at a time, each in a process with one thread; they take the GPUs in turn. Default: 1, or as "
        "many as there are GPUs, unless --device names one of them.",
    ),
    "scheduler": click.option(
        "--scheduler", metavar="ADDRESS|local",
        help="Restore on the workers of a Dask cluster, which see the same files; local: one of --jobs processes here.",
    ),
    "report": click.option(
        "--report", type=PATH, metavar="DIR",
        help="Write a report: HTML pages with before and after, for any browser, report.json and report.csv.",
    ),
    "reference": click.option(
        "--reference", type=PATH, metavar="FILE|DIR", help="What the result should be: the report measures against it."
    ),
    "as_json": click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each image, and a summary."),
    "overwrite": click.option("--overwrite", is_flag=True, help="Replace existing output files."),
    "mask": click.option(
        "-m", "--mask", "mask_path", type=PATH, metavar="FILE|DIR",
        help="Mask image: non-zero means missing. Of a folder: the mask of each image's name, or NAME_mask.",
    ),
    "mask_value": click.option(
        "--mask-value", type=float, metavar="V", help="Pixels of this value (in every channel) are missing."
    ),
    "mask_color": click.option(
        "--mask-color", metavar="COLOR",
        help="Pixels of this color, painted over the damage in any program, are missing: red, '#ff0000' or 255,0,0.",
    ),
    "mask_color_tolerance": click.option(
        "--mask-color-tolerance", type=click.IntRange(0, 255), default=40, show_default=True, metavar="N",
        help="How far each channel may be from --mask-color, of 255.",
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
        help="Values above T count as non-zero in the mask file. Default: all but 0; for JPEG masks 63.",
    ),
    "mask_dilate": click.option(
        "--mask-dilate", type=PixelsOrAuto(), metavar="N|auto",
        help="Grow the missing region by N pixels: the rims of scratches and letters are rarely clean; auto: as far as they "
        "are seen to be damaged. Default: auto with --mask-color, and for masks of JPEGs; else 0.",
    ),
    "dictionary": click.option(
        "--dictionary", "dictionary_path", default="default", metavar="FILE|default", show_default=True,
        help="Filters to code with.", shell_complete=complete_files,
    ),
    "prior": click.option(
        "--prior", default="default", metavar="FILE|default|none", show_default=True, shell_complete=complete_files,
        help="What images look like, as learn-prior learns it; none: only what the image itself and a dictionary tell. The "
        "default serves where nothing is missing and no option is given that belongs to the code."
    ),
    "fill_prior": click.option(
        "--prior", default="default", metavar="FILE|default|none", show_default=True, shell_complete=complete_files,
        help="What images look like, as learn-prior --noise missing learns it; none: only what the image itself and a "
        "dictionary tell. The default serves where many pixels are missing one by one, and neither noise nor an option is "
        "given that belongs to the code."
    ),
    "scene_prior": click.option(
        "--prior", default="default", metavar="FILE|default|none", show_default=True, shell_complete=complete_files,
        help="What images look like, as learn-prior learns it; none: only what the image itself and a dictionary tell. The "
        "default serves where no option is given that belongs to the code."
    ),
    "fast": click.option("--fast", is_flag=True, help="Spend less time, for a somewhat worse picture."),
    "best": click.option("--best", is_flag=True, help="Spend several times as much time, for a somewhat better picture."),
    "learn": click.option(
        "--learn/--no-learn", default=None, help="Adapt the dictionary to this image first. Default: with --best, where "
        "most is missing."
    ),
    "fill": click.option(
        "--fill", type=click.Choice(["auto", "smooth", "texture"]), default="auto", show_default=True,
        help="What holes are filled with: smooth, what is most likely; texture, from elsewhere in the picture, which is "
        "invented; auto: texture in large holes of photographs.",
    ),
    "lmbda": click.option(
        "--lmbda", type=click.FloatRange(0, 1000), metavar="L",
        help="Weight of the l1 term for an image in [0, 1]; larger is smoother. Default: 0.015, or the noise's "
        "standard deviation (in color twice that) where that is more.",
    ),
    "iterations": click.option(
        "--iterations", type=click.IntRange(min=1), metavar="N",
        help="Rounds of the code solve; on a GPU, each is 20 iterations. Default: 4; with --best, 8."
    ),
    "gaussian_or_poisson": click.option(
        "--noise", type=click.Choice(["gaussian", "poisson"]), default="gaussian", show_default=True,
        help="Poisson: the values, times --gain, count events such as photons.",
    ),
    "noise_to_remove": click.option(
        "--noise", type=click.Choice(["auto", "white", "camera", "grain", "jpeg", "poisson", "impulse", "gaussian"]),
        default="auto", show_default=True,
        help="White (or gaussian): the same everywhere. Camera: as photographs have it, by brightness, correlated, in "
        "color, under JPEG. Grain: of film, in brightness alone. Jpeg: errors of compression alone. Poisson: the values, "
        "times --gain, count events such as photons. Impulse: some pixels are corrupted, as by salt and pepper or as hot "
        "pixels, and the others are exact. Auto: what is seen in photographs of 8 or 16 bits, white in all else.",
    ),
    "strength": click.option(
        "--strength", type=click.FloatRange(min=0, min_open=True), default=1.0, metavar="F", show_default=True,
        help="Factor on estimated noise: 0.5 leaves more of it, 1.5 smooths more.",
    ),
    "noise_sigma": click.option(
        "--noise-sigma", type=NumberOrAuto(several=True), default="auto", metavar="S[,S..]|auto", show_default=True,
        help="Standard deviation of Gaussian noise in the image's units, 0 to 255 for 8 bits, or one for each channel; auto "
        "estimates it.",
    ),
    "known_noise_sigma": click.option(
        "--noise-sigma", type=NumberOrAuto(), metavar="S|auto",
        help="Denoise the known pixels too: standard deviation of their Gaussian noise in the image's units, 0 to 255 for "
        "8 bits; auto estimates it. Default: known pixels stay as they are.",
    ),
    "gain": click.option(
        "--gain", type=click.FloatRange(min=0, min_open=True), default=1.0, metavar="G", show_default=True,
        help="Counts to one unit of the image, with --noise poisson.",
    ),
    "gain_or_auto": click.option(
        "--gain", type=NumberOrAuto(), default="auto", metavar="G|auto", show_default=True,
        help="With --noise poisson, counts to one unit of the image; auto estimates it. --noise-sigma is that of the read "
        "noise then, by default none.",
    ),
    "lmbda_by_noise": click.option(
        "--lmbda", type=click.FloatRange(0, 1000), metavar="L",
        help="Weight of the l1 term for an image in [0, 1]; larger is smoother. Default: from the noise.",
    ),
    "code_iterations": click.option(
        "--iterations", type=click.IntRange(min=1), metavar="N", help="Iterations of the code solve. Default: 60."
    ),
    "tol": click.option(
        "--tol", type=click.FloatRange(min=0), metavar="E",
        help="Stop earlier, where the relative duality gap is E at most. Default: 0.",
    ),
    "tile": click.option(
        "--tile", type=PixelsOrAuto(), default="auto", metavar="auto|N|0", show_default=True,
        help="Restore in tiles of N pixels square, blended so that no seams show; 0: everything at once. Where nothing is "
        "damaged, nothing is solved.",
    ),
    "max_memory": click.option(
        "--max-memory", type=Memory(), metavar="SIZE",
        help="Choose tiles that fit into SIZE, such as 4GB or 500MB. Default: 2GB; on a GPU, most of what is free there.",
    ),
    "dry_run": click.option(
        "--dry-run", is_flag=True,
        help="Say what would be done, and in how much memory and about what time; write nothing.",
    ),
    "device": click.option(
        "--device", default="auto", metavar="auto|cpu|cuda|cuda:N", show_default=True, help="Where to compute.",
        shell_complete=complete_devices,
    ),
    "dtype": click.option(
        "--dtype", type=click.Choice(["float32", "float64"]), default="float32", show_default=True,
        help="Precision of the computation; the output always has the input's.",
    ),
    "frames": click.option(
        "--frames", is_flag=True,
        help="The pages of each file, three or more, are frames of a film whose scene stands still: what a frame has and "
        "its neighbors lack is dust.",
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
        "--filters", "n_filters", metavar="K[,K..]",
        help="Number of filters to learn; or of each size, as 16,32,48. Default: 64.",
    ),
    "filter_size": click.option(
        "--filter-size", "filter_shape", metavar="S[,S..]",
        help="Height and width of the filters; one for each number in --filters, as 8,12,16. Default: 11."
    ),
    "cogd": click.option(
        "--cogd/--no-cogd", default=False, show_default=True,
        help="Learn with cogradient descent. It seldom pays: see \"What the rule adds\" in the guide.",
    ),
    "kernel_degree": click.option(
        "--kernel-degree", type=click.IntRange(1, 9), metavar="K",
        help="Degree of cogradient descent's kernel: 1 linear, 2 and 3 polynomial. Default: 1. Needs --cogd."
    ),
    "seed": click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N",
        help="Random seed for the initial filters.",
    ),
    "resume": click.option(
        "--resume", is_flag=True, help="Go on where a run of the same settings was cut off, to the same weights."
    ),
    "checkpoint": click.option(
        "--checkpoint", type=PATH, metavar="FILE",
        help="Save learning here every few rounds; go on from it if it is there already."
    ),
}  # fmt: skip

images_argument = click.argument("images", metavar="IMAGE...", nargs=-1, shell_complete=complete_files)


WORDS = {"image": "the image", "images": "the images"}
ARGUMENTS = {"max_iter": "iterations", "operator": "kernel", "mask": "mask_path", "dictionary": "dictionary_path"}
"""Arguments of functions whose options' names in click are others."""


def effort_of(fast: bool, best: bool) -> str:
    """The effort that --fast and --best ask for."""
    if fast and best:
        raise InputError("effort", "can't be both fast and best", "leave out {fast} or {best}")
    return "fast" if fast else "best" if best else "default"


def filter_numbers(n_filters: str | None, filter_shape: str | None) -> tuple[Any, Any]:
    """The values of --filters and --filter-size: two numbers, or two lists of the same length."""
    lists = []
    n_filters, filter_shape = n_filters or "64", filter_shape or "11"
    for name, text in (("n_filters", n_filters), ("filter_shape", filter_shape)):
        try:
            lists.append([int(part) for part in text.split(",")])
        except ValueError:
            raise InputError(name, f"must be a number, or numbers with commas between them, got {text!r}") from None
        if min(lists[-1]) < 1 or max(lists[-1]) > 10**6:
            raise InputError(name, f"must be from 1 to a million, got {text!r}")
    counts, sizes = lists
    if len(counts) != len(sizes):
        raise InputError("filter_shape", f"must have as many numbers as the filters, {n_filters}, got {filter_shape}")
    return (counts[0], sizes[0]) if len(counts) == 1 else (counts, sizes)


def check_alike(paths: tuple[Path, ...], pictures: list[Any], advice: str | None) -> None:
    """Refuse pictures, (H, W) or (H, W, C), that can't be taken together, by the name of their file.

    Different sizes are refused where there is an `advice` what to do then.
    """
    for path, picture in zip(paths, pictures, strict=True):
        if picture.shape[2:] != pictures[0].shape[2:]:
            problem = f"doesn't have as many channels as {paths[0]}"
            raise InputError("", problem, "give gray and color images apart", str(path))
        if advice and picture.shape != pictures[0].shape:
            (h, w), (first_h, first_w) = picture.shape[:2], pictures[0].shape[:2]
            raise InputError("", f"has {w} x {h} pixels, {paths[0]} {first_w} x {first_h}", advice, str(path))


def options_of(command: click.Command) -> dict[str, str]:
    """Return what a command calls the arguments of functions: its options."""
    given = [option for option in command.params if isinstance(option, click.Option)]
    found = {str(option.name): max(option.opts, key=len) for option in given}
    found |= {flag.strip("-").replace("-", "_"): flag for option in given for flag in option.secondary_opts}
    return WORDS | found | {argument: found[name] for argument, name in ARGUMENTS.items() if name in found}


def names_here() -> dict[str, str]:
    """Return what the running command calls the arguments of functions; what is added is known to all its messages."""
    return click.get_current_context().ensure_object(dict)


def cogradient_rule(cogd: bool, kernel_degree: int | None) -> Any:
    """The rule that --cogd and --kernel-degree ask for, or None."""
    if not cogd:
        if kernel_degree is not None:
            raise InputError("kernel_degree", "belongs to cogradient descent", "add {cogd}, or leave it out")
        return None
    from csc_cogd import CogradientRule

    return CogradientRule(degree=kernel_degree or 1)


def settings_line(*records: Any) -> str:
    """What was chosen, for -v: the fields of records that aren't None."""
    chosen = [f"{name} {value}" for record in records for name, value in vars(record).items() if value is not None]
    return "settings: " + ", ".join(chosen)


class Record(NamedTuple):
    """Shared options whose values a command gets as one argument, a record.

    Attributes
    ----------
    argument : str
    kind : str
        Where the record is defined, as ``module:name``: it is imported when the command is run.
    names : tuple of str
        Of :data:`OPTIONS`. Their values are the record's fields of the same names, perhaps without the word before the first
        underscore.
    """

    argument: str
    kind: str
    names: tuple[str, ...]


MASK = Record("rules", "csc_cogd.imagefiles:MaskRules", (
    "mask", "mask_polarity", "mask_threshold", "mask_value", "mask_color", "mask_color_tolerance", "mask_from_alpha",
    "mask_dilate",
))  # fmt: skip
BATCH = Record("batch", "csc_cogd.batch.job:BatchOptions", (
    "recursive", "files_from", "axes", "suffix", "overwrite", "skip_existing", "fail_fast", "jobs", "scheduler", "report",
    "reference",
))  # fmt: skip
TILING = Record("tiling", "csc_cogd.restore.settings:Tiling", ("tile", "max_memory"))
ENGINE = Record("engine", "csc_cogd.engine:Engine", ("device", "dtype", "threads", "fft"))
CONSOLE = Record("console", "csc_cogd.cli.console:Console", ("quiet", "verbose"))


def options(*names: str | Record) -> Callable[[Any], Any]:
    """Decorate a command with shared options, by their names or as records, shown in this order."""

    def decorate(function: Any) -> Any:
        for each in reversed(names):
            several = each.names if isinstance(each, Record) else (each,)
            for name in reversed(several):
                OPTIONS[name](function)
            if isinstance(each, Record):
                parameters = [option.name for option in function.__click_params__[-len(several) :]]
                function.__dict__.setdefault("records", {})[each.argument] = (each.kind, parameters)
        return function

    return decorate


def takes(argument: str, kind: type) -> Callable[[Any], Any]:
    """Decorate a command that gets those of its options that are fields of a dataclass as one argument."""

    def decorate(function: Any) -> Any:
        function.__dict__.setdefault("records", {})[argument] = (kind, list(vars(kind)["__dataclass_fields__"]))
        return function

    return decorate


def make_records(command: click.Command, values: dict[str, Any]) -> None:
    """Put a command's records among the values of its parameters, in place of those that they are made of."""
    records: dict[str, tuple[str | type, list[str]]] = getattr(command.callback, "records", {})
    for argument, (kind, parameters) in records.items():
        if isinstance(kind, str):
            module, _, name = kind.partition(":")
            kind = getattr(import_module(module), name)
        known = vars(kind)["__dataclass_fields__"]
        values[argument] = kind(
            **{name if name in known else name.partition("_")[2]: values.pop(name) for name in parameters}
        )
