"""Deblurring and upscaling beside scikit-image's: ``python benchmarks/deblurring.py [FOLDER] [--count N]``.

Gray pictures, as in ``restoration.py``, are blurred by three kernels with noise of 2 and of sqrt(2) gray levels, rounded to
8 bits; or reduced by Pillow's bicubic reduction. What lies beyond the picture is blurred into it, too, as in a camera: the
outermost pixels are cut off after blurring. csc-cogd runs with default settings and estimates the noise itself. The peers
get a mirrored border, and the *best of many settings* for each picture, by its PSNR; unsupervised Wiener has none. Prints
PSNR in dB, SSIM and seconds as a markdown table; ``--csv FILE`` writes every figure. csc-cogd also runs without its prior.

``--shakes`` blurs Set12, of the folder that CSC_COGD_DATA names, by eight kernels of shaken cameras with noise of 2.55, as
Levin et al. [2009] did by kernels that they had measured: the points of light walk at random, see :func:`shaken_kernel`. The
noise is told, and the Wiener filter gets its best balance.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from restoration import LUMINANCE, photographs
from scipy.signal import fftconvolve

from csc_cogd import deblur, psnr, ssim, upscale
from csc_cogd.restore.operators import gaussian_kernel, motion_kernel, uniform_kernel

BORDER = 16
KERNELS = {"Gaussian 1.6": gaussian_kernel(1.6), "uniform 9": uniform_kernel(9), "motion 15, 30": motion_kernel(15, 30)}
SIGMAS = (2.0, 2**0.5)
FACTORS = (2, 3)
SHAKES, SHAKE_SIZES, SHAKE_SIGMA = 8, (13, 15, 17, 19, 21, 23, 25, 27), 2.55
Candidates = Iterator[np.ndarray]


def wiener(picture: np.ndarray, kernel: np.ndarray) -> Candidates:
    from skimage.restoration import wiener

    return (_mirrored(picture, lambda p, w=w: wiener(p, kernel, w)) for w in 10.0 ** np.arange(-4, 0.6, 0.25))


def unsupervised_wiener(picture: np.ndarray, kernel: np.ndarray) -> Candidates:
    from skimage.restoration import unsupervised_wiener

    yield _mirrored(picture, lambda p: unsupervised_wiener(p, kernel, rng=0)[0])


def richardson_lucy(picture: np.ndarray, kernel: np.ndarray) -> Candidates:
    from skimage.restoration import richardson_lucy

    return (_mirrored(picture, lambda p, n=n: richardson_lucy(p, kernel, num_iter=n)) for n in (5, 10, 20, 40, 80))


def _mirrored(picture: np.ndarray, restore: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    return restore(np.pad(picture / 255, BORDER, "symmetric"))[BORDER:-BORDER, BORDER:-BORDER] * 255


def interpolation(order: int) -> Callable[[np.ndarray, int], Candidates]:
    def restore(picture: np.ndarray, factor: int) -> Candidates:
        from skimage.transform import resize

        yield resize(picture / 255, [factor * length for length in picture.shape], order=order) * 255

    return restore


DEBLURRING: dict[str, Callable[[np.ndarray, np.ndarray], Candidates]] = {
    "csc-cogd": lambda picture, kernel: iter([deblur(picture, kernel)]),
    "without prior": lambda picture, kernel: iter([deblur(picture, kernel, prior="none")]),
    "Wiener, best balance": wiener,
    "unsupervised Wiener": unsupervised_wiener,
    "Richardson-Lucy, best stop": richardson_lucy,
    "as it is": lambda picture, kernel: iter([picture]),
}
UPSCALING: dict[str, Callable[[np.ndarray, int], Candidates]] = {
    "csc-cogd": lambda picture, factor: iter([upscale(picture, factor)]),
    "without prior": lambda picture, factor: iter([upscale(picture, factor, prior="none")]),
    "bicubic": interpolation(3),
    "quintic": interpolation(5),
}


def told(**how: str) -> Callable[[np.ndarray, np.ndarray], Candidates]:
    """Return deblurring with the noise of a shaken camera's picture told."""
    return lambda picture, kernel: iter([deblur(picture, kernel, noise_sigma=SHAKE_SIGMA, **how)])


SHAKEN: dict[str, Callable[[np.ndarray, np.ndarray], Candidates]] = {
    "csc-cogd": told(), "without prior": told(prior="none"), **{name: DEBLURRING[name] for name in list(DEBLURRING)[2:]},
}  # fmt: skip


def shaken_kernel(seed: int, size: int, steps: int = 500) -> np.ndarray:
    """Return a kernel (size, size): where a point of light is while the camera shakes, at random but the same for a seed.

    Its velocity is a random walk that forgets slowly, so that paths are curved and slower in some places than in others; the
    path is scaled to the kernel, less a margin of one pixel, and each step is shared among the four pixels around it.
    """
    rng, path = np.random.default_rng(seed), np.zeros((steps, 2))
    velocity = rng.standard_normal(2)
    for number in range(1, steps):
        velocity = 0.98 * velocity + 0.2 * rng.standard_normal(2)
        path[number] = path[number - 1] + velocity
    path -= (path.min(axis=0) + path.max(axis=0)) / 2
    path = path * (size - 3) / np.ptp(path, axis=0).max() + (size - 1) / 2
    kernel, corner = np.zeros((size, size)), np.floor(path).astype(int)
    share = path - corner
    for down, right in np.ndindex(2, 2):
        weights = abs(1 - down - share[:, 0]) * abs(1 - right - share[:, 1])
        np.add.at(kernel, (corner[:, 0] + down, corner[:, 1] + right), weights)
    return kernel / kernel.sum()


def set12(count: int | None) -> dict[str, np.ndarray]:
    """Return the first `count` pictures of Set12 by name."""
    from PIL import Image

    files = sorted((Path(os.environ["CSC_COGD_DATA"]) / "standard" / "Set12").glob("*.png"))[:count]
    return {file.stem: np.asarray(Image.open(file).convert("L")).astype(float) for file in files}


def blurred(truth: np.ndarray, kernel: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    """The picture, and of the truth what it shows."""
    picture = fftconvolve(truth, kernel, mode="same") + sigma * np.random.default_rng(0).standard_normal(truth.shape)
    inside = (slice(BORDER, -BORDER), slice(BORDER, -BORDER))
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)[inside], truth[inside]


def reduced(truth: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    from PIL import Image

    height, width = (length // factor for length in truth.shape)
    truth = truth[: factor * height, : factor * width]
    small = Image.fromarray(truth.astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(small), truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--size", type=int, default=256, help="side of the pieces without a folder")
    parser.add_argument("--pictures", help="which, by name, with commas; default: all")
    parser.add_argument("--count", type=int, help="pictures, the first ones; default: all")
    parser.add_argument("--shakes", action="store_true", help="the table of shaken cameras, instead of the others")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    rows = shakes(arguments.count) if arguments.shakes else kernels_and_factors(arguments)
    print("\nCells: PSNR in dB, SSIM, seconds; of the best setting, and of one run.")
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def shakes(count: int | None) -> list[dict]:
    """Print the tables of shaken cameras."""
    rows: list[dict] = []
    for seed, size in zip(range(SHAKES), SHAKE_SIZES, strict=True):
        kernel = shaken_kernel(seed, size)
        cases = {title: (*blurred(truth, kernel, SHAKE_SIGMA), kernel) for title, truth in set12(count).items()}
        rows += compare(f"shake {seed}, {size} x {size}, noise {SHAKE_SIGMA}", cases, SHAKEN)
    methods = {row["method"]: [other["psnr"] for other in rows if other["method"] == row["method"]] for row in rows}
    print("\n| all shakes |" + "".join(f" {method} {np.mean(found):.2f} |" for method, found in methods.items()), flush=True)
    return rows


def kernels_and_factors(arguments: argparse.Namespace) -> list[dict]:
    """Print the tables of three kernels and of upscaling."""
    pictures = {}
    for name, picture in photographs(arguments.folder, arguments.size):
        if arguments.pictures is None or name in arguments.pictures.split(","):
            pictures[name] = np.rint(picture[..., :3] @ LUMINANCE) if picture.ndim == 3 else picture.astype(float)
    pictures = dict(list(pictures.items())[: arguments.count])
    rows: list[dict] = []
    for sigma in SIGMAS:
        for name, kernel in KERNELS.items():
            cases = {title: (*blurred(truth, kernel, sigma), kernel) for title, truth in pictures.items()}
            rows += compare(f"{name}, noise {sigma:.2f}", cases, DEBLURRING)
    for factor in FACTORS:
        cases = {title: (*reduced(truth, factor), factor) for title, truth in pictures.items()}
        rows += compare(f"{factor} x", cases, UPSCALING)
    return rows


def compare(damage: str, cases: dict[str, tuple], methods: dict[str, Callable[..., Candidates]]) -> list[dict]:
    """Print a table of the methods over the pictures, and their means; returns every figure."""
    print(f"\n| {damage} | {' | '.join(methods)} |\n|---|{'---|' * len(methods)}", flush=True)
    table: dict[str, list[dict]] = {method: [] for method in methods}
    for title, (picture, truth, how) in cases.items():
        for method, restore in methods.items():
            start, best, count = time.perf_counter(), None, 0
            for candidate in restore(picture, how):
                count += 1
                candidate = np.clip(np.rint(candidate), 0, 255)
                figures = {"psnr": psnr(candidate, truth, data_range=255), "ssim": ssim(candidate, truth, data_range=255)}
                best = figures if best is None or figures["psnr"] > best["psnr"] else best
            seconds = (time.perf_counter() - start) / count
            table[method].append({"damage": damage, "picture": title, "method": method, **(best or {}), "seconds": seconds})
        print(f"| {title} | {' | '.join(_cell(lines[-1:]) for lines in table.values())} |", flush=True)
    print(f"| **mean** | {' | '.join(_cell(lines) for lines in table.values())} |", flush=True)
    return [row for lines in table.values() for row in lines]


def _cell(lines: list[dict]) -> str:
    means = {key: float(np.mean([line[key] for line in lines])) for key in ("psnr", "ssim", "seconds")}
    return "{psnr:.2f} {ssim:.4f} {seconds:.1f} s".format(**means)


if __name__ == "__main__":
    main()
