"""The protocol of the paper's Tables 1 and 2: its pictures, normalisation and metrics.

Nothing here is an ordinary figure of merit. The pictures are contrast-normalised, PSNR is taken after *both* pictures
have been stretched to [0, 1] by their own extremes (one extreme pixel moves it by decibels), and SSIM is one window
over the whole picture. Compare these figures with the paper's only.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.ndimage import correlate1d

SETS = ("fruit", "city")
TASKS = ("inpainting", "reconstruction")
LMBDA, OUTER, N_FILTERS, FILTER_SIZE = 1.0, 20, 100, 11
LUMINANCE = (0.298936, 0.587043, 0.114021)

PUBLISHED = {  # dB and SSIM, averages over ten pictures [CoGD, tables 1 and 2]; k is the degree of the kernel
    ("inpainting", "fruit"): {0: (23.65, 0.9000), 1: (25.31, 0.9211), 2: (25.47, 0.9203), 3: (25.76, 0.9168)},
    ("inpainting", "city"): {0: (24.31, 0.9199), 1: (25.58, 0.9314), 2: (25.76, 0.9318), 3: (25.75, 0.9329)},
    ("reconstruction", "fruit"): {0: (26.70, 0.9602), 1: (27.60, 0.9635), 2: (28.12, 0.9679)},
    ("reconstruction", "city"): {0: (26.98, 0.9618), 1: (28.10, 0.9642), 2: (27.79, 0.9631)},
}


class Cell(NamedTuple):
    """A task on a set: pictures (10, 100, 100), which pixels are observed, and the file names in the protocol's order."""

    images: np.ndarray
    observed: np.ndarray
    names: list[str]


class ReferenceRun(NamedTuple):
    """A run of the authors' published code: see the data's README."""

    name: str
    method: str
    psnr: float
    ssim: float
    objective: float
    cpu_seconds: float


def data_folder() -> Path:
    folder = os.environ.get("CSC_COGD_DATA")
    if not folder:
        sys.exit("CSC_COGD_DATA is unset: it names the folder with fruit_100_100, city_100_100 and reference")
    return Path(folder)


def load_cell(task: str, pictures: str, mask_seed: int | None = None) -> Cell:
    """The protocol's pictures; without a `mask_seed`, observed are the pixels that the reference runs had."""
    names = sorted(path.name for path in (data_folder() / f"{pictures}_100_100").glob("*.jpg"))
    images = np.stack([normalise(gray(data_folder() / f"{pictures}_100_100" / name)) for name in names])
    if task == "reconstruction":
        return Cell(images, np.ones(images.shape, bool), names)
    if mask_seed is not None:
        return Cell(images, np.random.default_rng(mask_seed).random(images.shape) < 0.75, names)
    return Cell(images, np.load(data_folder() / "reference" / f"protocol_{pictures}.npz")["observed"], names)


def gray(path: Path) -> np.ndarray:
    """A picture as single-precision luminance in [0, 1]."""
    import imageio.v3 as imageio

    return (imageio.imread(path).astype(np.float32) / 255) @ np.array(LUMINANCE, np.float32)


def normalise(image: np.ndarray) -> np.ndarray:
    """Local contrast normalisation: Gaussian 13 x 13, sigma 4.773; deviations floored at their median; mean zero."""
    x = np.arange(-6, 7)
    window = np.exp(-(x**2) / (2 * 4.773**2))
    window /= window.sum()

    def smooth(a: np.ndarray) -> np.ndarray:
        return correlate1d(correlate1d(a, window, axis=0, mode="mirror"), window, axis=1, mode="mirror")

    image = image.astype(np.float64)
    mean = smooth(image)
    deviation = np.sqrt(np.maximum(smooth(image**2) - mean**2, 0))
    normalised = (image - mean) / np.maximum(deviation, np.median(deviation))
    return normalised - normalised.mean()


def initial_filters(seed: int) -> np.ndarray:
    """Standard normal filters scaled to unit norm; those of seed 1 are the reference runs'."""
    if seed == 1:
        filters = np.load(data_folder() / "reference" / "initial_filters_seed1.npz")["filters"]
    else:
        filters = np.random.default_rng(seed).standard_normal((N_FILTERS, FILTER_SIZE, FILTER_SIZE))
    return filters / np.linalg.norm(filters, axis=(1, 2))[:, None, None]


def protocol_psnr(restored: np.ndarray, reference: np.ndarray) -> float:
    """PSNR after stretching both to [0, 1] by their own extremes."""
    return float(-10 * np.log10(np.mean((stretch(restored) - stretch(reference)) ** 2)))


def protocol_ssim(restored: np.ndarray, reference: np.ndarray) -> float:
    """SSIM with the whole picture as its one window, after stretching both."""
    x, y = stretch(restored), stretch(reference)
    covariance = np.mean((x - x.mean()) * (y - y.mean()))
    c1, c2 = 0.01**2, 0.03**2
    luminance = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
    return float(luminance * (2 * covariance + c2) / (x.var() + y.var() + c2))


def stretch(image: np.ndarray) -> np.ndarray:
    return (image - image.min()) / (image.max() - image.min())


def reference_runs(task: str, pictures: str) -> list[ReferenceRun]:
    import csv

    with open(data_folder() / "reference" / "runs.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == task[:3] and row["dataset"] == pictures]
    return [
        ReferenceRun(
            f"{row['method']}, seed {row['seed']}", row["method"], float(row["psnr_mean"]), float(row["ssim_mean"]),
            float(row["obj_final"]), float(row["cpu_s"]),
        )
        for row in rows
    ]  # fmt: skip
