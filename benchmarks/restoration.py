"""Restoration quality beside other libraries': ``python benchmarks/restoration.py [FOLDER...] [--task TASK]``.

Each picture is damaged in the same ways for every method, and restored with the settings that the method has by default
or by `peers.py`. Without a folder, photographs are used that installed packages bring along and that the default
dictionaries have not seen, cut to 512 x 512. The tasks:

inpaint  missing pixels, 8 bits in and out; known pixels are kept, for every method
denoise  Gaussian noise of a standard deviation that every method is told; floats in and out, neither rounded nor clipped
         before; estimates are clipped to 0 to 255
impulse  salt and pepper, 8 bits in and out; nobody is told how much

Prints PSNR in dB, SSIM, in inpainting PSNR over the missing pixels only, and seconds, picture by picture, and for each
damage a table of the means and of what csc-cogd gains over each peer, and over each picture's best peer. ``--csv FILE``
writes every figure, ``--markdown FILE`` the tables.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import peers
from peers import Damaged, Method

from csc_cogd import denoise, inpaint, psnr, ssim
from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask

LUMINANCE = (0.299, 0.587, 0.114)
SEED = 0


def photographs(folder: Path | None, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pictures, uint8, (H, W) or (H, W, 3); without a folder the middle, at most `size` high and wide; 0: all."""
    from csc_cogd.imagefiles import read_image

    if folder is not None:
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".tif", ".tiff"):
                yield path.stem, read_image(path).pixels
        return
    import skimage.data

    pictures = {"camera": skimage.data.camera(), "astronaut": skimage.data.astronaut(), "moon": skimage.data.moon()}
    if find_spec("pywt"):
        import pywt.data

        pictures |= {"ascent": pywt.data.ascent().astype(np.uint8), "aero": pywt.data.aero().astype(np.uint8)}
    spec = find_spec("sporco")  # brings test photographs
    for name in ("barbara", "kodim23", "monarch", "sail", "tulips"):
        path = Path(spec.origin).parent / "data" / f"{name}.png" if spec and spec.origin else None
        if path and path.exists():
            pictures[name] = read_image(path).pixels
    for name, picture in pictures.items():
        yield name, middle(picture, size)


def middle(picture: np.ndarray, size: int) -> np.ndarray:
    """At most `size` high and wide; 0: all."""
    top, left = ((length - min(length, size or length)) // 2 for length in picture.shape[:2])
    return picture[top : top + (size or len(picture)), left : left + (size or picture.shape[1])]


def pictures_for(folders: list[Path], size: int | None, color: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Those in color, or all in gray, uint8; of 16 bits the upper 8. Folders' pictures are whole unless `size` is given."""
    for folder in folders or [None]:
        for name, picture in photographs(folder, 512 if size is None else size):
            if folder is not None:
                picture, name = middle(picture, size or 0), f"{folder.name}/{name}" if len(folders) > 1 else name
            if picture.dtype == np.uint16:
                picture = (picture >> 8).astype(np.uint8)
            if picture.dtype != np.uint8 or (picture.ndim == 3 and picture.shape[-1] not in (3, 4)):
                print(f"{name}: skipped, {picture.dtype} of shape {picture.shape}", flush=True)
            elif not color:
                yield name, picture if picture.ndim == 2 else np.rint(picture[..., :3] @ LUMINANCE).astype(np.uint8)
            elif picture.ndim == 3:
                yield name, np.ascontiguousarray(picture[..., :3])


# -- damages -----------------------------------------------------------------------------------------------------------

Shape = tuple[int, ...]


def random_pixels(fraction: float) -> Callable[[Shape, int], np.ndarray]:
    return lambda shape, seed: random_mask(shape[:2], fraction, seed=seed)


def columns(shape: Shape, seed: int) -> np.ndarray:
    """A tenth of the columns, in strips 1 to 4 wide, anywhere."""
    generator, mask = np.random.default_rng(seed), np.zeros(shape[:2], bool)
    while mask[0].mean() < 0.1:
        left = generator.integers(shape[1])
        mask[:, left : left + generator.integers(1, 5)] = True
    return mask


def blocks(shape: Shape, seed: int) -> np.ndarray:
    """Squares of 16 x 16, anywhere, 4 % of the area or a little less."""
    generator, mask = np.random.default_rng(seed), np.zeros(shape[:2], bool)
    for _ in range(max(round(0.04 * mask.size / 256), 1)):
        top, left = (generator.integers(max(length - 15, 1)) for length in mask.shape)
        mask[top : top + 16, left : left + 16] = True
    return mask


MASKS: dict[str, Callable[[Shape, int], np.ndarray]] = {
    "25 % random": random_pixels(0.25),
    "50 % random": random_pixels(0.5),
    "75 % random": random_pixels(0.75),
    "90 % random": random_pixels(0.9),
    "scratches and text": lambda shape, seed: scratch_and_text_mask(shape[:2], "csc-cogd", seed=seed),
    "columns": columns,
    "blocks": blocks,
    "50 % random per channel": lambda shape, seed: random_mask(shape, 0.5, seed=seed),
}
ONLY_COLOR = ("50 % random per channel",)


def masked(mask_of: Callable[[Shape, int], np.ndarray]) -> Callable[[np.ndarray, int], Damaged]:
    def damage(picture: np.ndarray, seed: int) -> Damaged:
        mask = mask_of(picture.shape, seed)
        mask = np.array(np.broadcast_to(mask if mask.ndim == picture.ndim else mask[..., None], picture.shape))
        return Damaged(np.where(mask, 0, picture).astype(np.uint8), mask)

    return damage


def gaussian(sigma: float) -> Callable[[np.ndarray, int], Damaged]:
    def damage(picture: np.ndarray, seed: int) -> Damaged:
        return Damaged(picture + sigma * np.random.default_rng(seed).standard_normal(picture.shape), sigma=sigma)

    return damage


def salt_and_pepper(fraction: float) -> Callable[[np.ndarray, int], Damaged]:
    """Half salt, half pepper; of color pictures in each channel by itself."""

    def damage(picture: np.ndarray, seed: int) -> Damaged:
        chance = np.random.default_rng(seed).random(picture.shape)
        spoilt = np.where(chance < fraction / 2, 0, np.where(chance < fraction, 255, picture))
        return Damaged(spoilt.astype(np.uint8))

    return damage


TASKS: dict[str, dict[str, Callable[[np.ndarray, int], Damaged]]] = {
    "inpaint": {name: masked(mask_of) for name, mask_of in MASKS.items()},
    "denoise": {f"sigma {sigma}": gaussian(sigma) for sigma in (15, 25, 50)},
    "impulse": {f"{percent} % salt and pepper": salt_and_pepper(percent / 100) for percent in (10, 30, 50)},
}

# -- methods -----------------------------------------------------------------------------------------------------------

OURS = "csc-cogd"  # begins the names of our own methods


def our_inpaint(**options) -> Method:
    return lambda d: inpaint(d.pixels, d.mask, channel_axis=d.axis, **options)


def our_denoise(noise: str, **options) -> Method:
    def restore(damaged: Damaged) -> np.ndarray:
        sigma = damaged.sigma if noise == "gaussian" else "auto"  # of which "impulse" takes none
        return denoise(damaged.pixels, sigma, channel_axis=damaged.axis, noise=noise, **options)

    return restore


EFFORTS = {OURS: "default", f"{OURS} --fast": "fast", f"{OURS} --best": "best"}
METHODS: dict[str, dict[str, Method]] = {
    "inpaint": {name: our_inpaint(effort=effort) for name, effort in EFFORTS.items()}
    | {f"{OURS} --learn": our_inpaint(learn=True)}
    | peers.INPAINT,
    "denoise": {name: our_denoise("gaussian", effort=effort) for name, effort in EFFORTS.items()} | peers.DENOISE,
    "impulse": {name: our_denoise("impulse", effort=effort) for name, effort in EFFORTS.items()} | peers.IMPULSE,
}
BY_NAME_ONLY = (f"{OURS} --learn",)


def restore(method: Method, damaged: Damaged, truth: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM, PSNR of the missing pixels where there are, and seconds: of the best estimate, and of one."""
    given = damaged._replace(pixels=damaged.pixels.copy(), mask=None if damaged.mask is None else damaged.mask.copy())
    start = time.perf_counter()
    estimates = method(given)
    seconds = time.perf_counter() - start
    if not isinstance(estimates, list):
        estimates = [estimates]
    best: dict[str, float] = {}
    for estimate in estimates:
        estimate = np.clip(estimate, 0, 255)
        if damaged.pixels.dtype == np.uint8:
            estimate = np.rint(estimate)
        if damaged.mask is not None:
            estimate = np.where(damaged.mask, estimate, damaged.pixels)
        figures = {
            "psnr": psnr(estimate, truth, data_range=255),
            "ssim": ssim(estimate, truth, data_range=255, channel_axis=damaged.axis),
        }
        if damaged.mask is not None:
            figures["psnr_missing"] = psnr(estimate, truth, data_range=255, where=damaged.mask)
        best = figures if not best or figures["psnr"] > best["psnr"] else best
    return best | {"seconds": seconds / len(estimates)}


def installed(task: str, methods: list[str]) -> list[str]:
    """Those whose library is there; says which ones are not."""
    libraries = {"BM3D": "bm3d", "OpenCV Telea": "cv2", "OpenCV NS": "cv2", "OpenCV median": "cv2", "SPORCO": "sporco",
                 "wavelets": "pywt"}  # fmt: skip
    absent = {name: libraries[name] for name in methods if name in libraries and not find_spec(libraries[name])}
    for name, library in absent.items():
        print(f"{name} left out: {library} isn't installed")
    return [name for name in methods if name not in absent]


# -- tables ------------------------------------------------------------------------------------------------------------


def table(title: str, rows: list[dict]) -> str:
    """Markdown: means of every method over the pictures, and the gains of ours."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    values = {m: np.array([row["psnr"] for row in rows if row["method"] == m]) for m in methods}
    reference = next((m for m in methods if m.startswith(OURS)), None)
    rivals = [values[m] for m in methods if not m.startswith(OURS)]
    missing = "psnr_missing" in rows[0]
    pictures = len(rows) // len(methods)
    head = ["method", "PSNR", "SSIM", *(["PSNR of the missing"] if missing else []), "seconds"]
    head += [f"gain of {reference}: mean, worst, best"] if reference else []
    head += ["gain over the best peer of each picture: mean, worst"] if reference and rivals else []
    lines = [f"\n### {title}, {pictures} pictures\n", _line(head), "|" + " --- |" * len(head)]
    for method in methods:
        mean = {key: np.mean([row[key] for row in rows if row["method"] == method]) for key in rows[0] if key in _DIGITS}
        cells = [method, *(f"{value:.{_DIGITS[key]}f}" for key, value in mean.items())]
        if reference:
            gain = values[reference] - values[method]
            cells.append("" if method == reference else f"{gain.mean():+.2f}, {gain.min():+.2f}, {gain.max():+.2f}")
        if reference and rivals:
            gain = values[method] - np.max(rivals, axis=0)
            cells.append(f"{gain.mean():+.2f}, {gain.min():+.2f}" if method.startswith(OURS) else "")
        lines.append(_line(cells))
    return "\n".join(lines) + "\n"


_DIGITS = {"psnr": 2, "ssim": 4, "psnr_missing": 2, "seconds": 1}


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_csv(path: Path, rows: list[dict]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def choose(parser: argparse.ArgumentParser, given: str | None, known: list[str], default: list[str], what: str) -> list[str]:
    names = default if given is None else [name.strip() for name in given.split(",")]
    if unknown := [name for name in names if name not in known]:
        parser.error(f"unknown {what}: {', '.join(unknown)}; choose from {', '.join(known)}")
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--task", choices=TASKS, default="inpaint")
    parser.add_argument("--color", action="store_true", help="restore color pictures in color; default: all in gray")
    parser.add_argument(
        "--size", type=int, help="side of the pieces, from the middle; 0: whole pictures; default: 512, of folders whole"
    )
    every = "; ".join(f"{task}: {', '.join(methods)}" for task, methods in METHODS.items())
    parser.add_argument("--methods", help=f"which, by name, with commas; default: all. {every}".replace("%", "%%"))
    every = "; ".join(f"{task}: {', '.join(damages)}" for task, damages in TASKS.items())
    parser.add_argument("--damages", help=f"which, by name, with commas; default: all. {every}".replace("%", "%%"))
    parser.add_argument("--pictures", help="which, by name, with commas; default: all")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    task, known, damages = arguments.task, METHODS[arguments.task], TASKS[arguments.task]
    methods = choose(parser, arguments.methods, list(known), [m for m in known if m not in BY_NAME_ONLY], "methods")
    possible = [name for name in damages if arguments.color or name not in ONLY_COLOR]
    chosen = choose(parser, arguments.damages, possible, possible, "damages")
    methods = installed(task, methods)
    pictures = dict(pictures_for(arguments.folders, arguments.size, arguments.color))
    if arguments.pictures is not None:
        names = choose(parser, arguments.pictures, list(pictures), [], "pictures")
        pictures = {name: pictures[name] for name in names}
    if not pictures or not methods:
        parser.error("there is no picture" if methods else "there is no method")
    warnings.simplefilter("ignore")

    rows: list[dict] = []
    tables = []
    for kind in chosen:
        for name, picture in pictures.items():
            damaged = damages[kind](picture, SEED)
            for method in methods:
                figures = restore(known[method], damaged, picture)
                rows.append({"task": task, "damage": kind, "picture": name, "method": method} | figures)
                text = " ".join(f"{key} {figures[key]:.{_DIGITS[key]}f}" for key in figures)
                print(f"{kind}, {name}, {method}: {text}", file=sys.stderr, flush=True)
            if arguments.csv:
                write_csv(arguments.csv, rows)
        title = f"{task}, {'color' if arguments.color else 'gray'}: {kind}"
        tables.append(table(title, [row for row in rows if row["damage"] == kind]))
        print(tables[-1], flush=True)
        if arguments.markdown:
            arguments.markdown.write_text("".join(tables))


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    main()
