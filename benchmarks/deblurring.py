"""Deblurring and upscaling beside scikit-image's: ``python benchmarks/deblurring.py [FOLDER]``.

Gray pictures, as in ``restoration.py``, are blurred by three kernels with noise of 2 and of sqrt(2) gray levels, rounded to
8 bits; or reduced by Pillow's bicubic reduction. What lies beyond the picture is blurred into it, too, as in a camera: the
outermost pixels are cut off after blurring. csc-cogd runs with default settings and estimates the noise itself. The peers
get a mirrored border, and the *best of many settings* for each picture, by its PSNR; unsupervised Wiener has none. Prints
PSNR in dB, SSIM and seconds as a markdown table; ``--csv FILE`` writes every figure.
"""

from __future__ import annotations

import argparse
import csv
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
    "Wiener, best balance": wiener,
    "unsupervised Wiener": unsupervised_wiener,
    "Richardson-Lucy, best stop": richardson_lucy,
    "as it is": lambda picture, kernel: iter([picture]),
}
UPSCALING: dict[str, Callable[[np.ndarray, int], Candidates]] = {
    "csc-cogd": lambda picture, factor: iter([upscale(picture, factor)]),
    "bicubic": interpolation(3),
    "quintic": interpolation(5),
}


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
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    pictures = {}
    for name, picture in photographs(arguments.folder, arguments.size):
        if arguments.pictures is None or name in arguments.pictures.split(","):
            pictures[name] = np.rint(picture[..., :3] @ LUMINANCE) if picture.ndim == 3 else picture.astype(float)
    rows: list[dict] = []
    for sigma in SIGMAS:
        for name, kernel in KERNELS.items():
            cases = {title: (*blurred(truth, kernel, sigma), kernel) for title, truth in pictures.items()}
            rows += compare(f"{name}, noise {sigma:.2f}", cases, DEBLURRING)
    for factor in FACTORS:
        cases = {title: (*reduced(truth, factor), factor) for title, truth in pictures.items()}
        rows += compare(f"{factor} x", cases, UPSCALING)
    print("\nCells: PSNR in dB, SSIM, seconds; of the best setting, and of one run.")
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


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
