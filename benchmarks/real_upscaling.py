"""Upscaling and deblurring of real pictures beside the simple tools: ``python benchmarks/real_upscaling.py [--count N]``.

Upscaling by 2, 3 and 1.5: squares of CBSD68's pictures, and by 2 and 3 also of BSD68's, which are gray, are reduced by
Pillow's mean over blocks or bicubic reduction, kept as PNG or as JPEG of quality 85 with Pillow's defaults (chroma at half
the size). csc-cogd is told nothing, or how the picture was made smaller; the peers are Pillow's Lanczos and bicubic
interpolation.

Deblurring: squares of BSD68's pictures, blurred, with noise of 2 gray levels as PNG, or without as JPEG of quality 85. The
peers are scikit-image's Wiener filter with a mirrored border at the best of 19 balances, and its Richardson-Lucy at the best
of five numbers of iterations, chosen with the truth for each picture.

Cells: mean PSNR in dB; of csc-cogd, also the mean gain over the best peer of each picture, and the least gain of a picture.
The pictures are read from the folder that CSC_COGD_DATA names.
"""

from __future__ import annotations

import argparse
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from deblurring import KERNELS, blurred, richardson_lucy, wiener
from PIL import Image

from csc_cogd import deblur, psnr, upscale

SIDE = 128
REDUCTIONS = {"box": Image.Resampling.BOX, "bicubic": Image.Resampling.BICUBIC}
QUALITIES = {"PNG": None, "JPEG q85": 85}


def squares(folder: str, count: int | None) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the middle squares of `count` of a set's pictures, evenly spread."""
    files = sorted((Path(os.environ["CSC_COGD_DATA"]) / "standard" / folder).glob("*.png"))
    chosen = files if count is None else [files[i] for i in np.linspace(0, len(files) - 1, count).astype(int)]
    for file in chosen:
        picture = np.asarray(Image.open(file))
        top, left = ((length - SIDE) // 2 for length in picture.shape[:2])
        yield file.stem, picture[top : top + SIDE, left : left + SIDE]


def stored(picture: np.ndarray, quality: int | None) -> np.ndarray:
    if quality is None:
        return picture
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def resized(picture: np.ndarray, side: int, how: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(picture).resize((side, side), how))


def quality_of(restored: np.ndarray, truth: np.ndarray) -> float:
    return psnr(np.clip(np.rint(restored), 0, 255), truth, data_range=255)


def upscaling(count: int | None, factor: float = 2, folder: str = "CBSD68") -> None:
    """Print the table of upscaling."""
    print(
        f"\n| {folder}, {factor:g} x | csc-cogd | told the reduction | Lanczos | bicubic |\n|---|---|---|---|---|",
        flush=True,
    )
    for name, how in REDUCTIONS.items():
        for kept, quality in QUALITIES.items():
            rows = []
            for _, truth in squares(folder, count):
                side = int(SIDE / factor)
                truth = truth[: round(factor * side), : round(factor * side)]
                small = stored(resized(truth, side, how), quality)
                peers = [resized(small, len(truth), Image.Resampling[peer]) for peer in ("LANCZOS", "BICUBIC")]
                axis = -1 if truth.ndim == 3 else None
                ours = [upscale(small, factor, kernel=kernel, channel_axis=axis) for kernel in ("auto", name)]
                rows.append([quality_of(restored, truth) for restored in (*ours, *peers)])
            _print_row(f"{name}, {kept}", np.array(rows), n_ours=2)


def deblurring(count: int | None) -> None:
    """Print the table of deblurring."""
    print(
        "\n| deblurring | csc-cogd | Wiener, best balance | Richardson-Lucy, best stop | as it is |\n|---|---|---|---|---|",
        flush=True,
    )
    for name, kernel in KERNELS.items():
        for kept, quality in QUALITIES.items():
            rows = []
            for _, truth in squares("BSD68", count):
                picture, inside = blurred(truth.astype(float), kernel, 0.0 if quality else 2.0)
                picture = stored(picture, quality)
                best = [
                    max(quality_of(estimate, inside) for estimate in peer(picture, kernel))
                    for peer in (wiener, richardson_lucy)
                ]
                rows.append([quality_of(deblur(picture, kernel), inside), *best, quality_of(picture, inside)])
            _print_row(f"{name}, {kept}", np.array(rows), n_ours=1)


def _print_row(title: str, figures: np.ndarray, n_ours: int) -> None:
    """Print means over pictures (n, methods), and the gains of the first methods over the best of the others."""
    best, cells = figures[:, n_ours:].max(axis=1), []
    for number, mean in enumerate(figures.mean(axis=0)):
        gains = figures[:, number] - best
        cells.append(f"{mean:.2f} ({gains.mean():+.2f}, least {gains.min():+.2f})" if number < n_ours else f"{mean:.2f}")
    print(f"| {title} | {' | '.join(cells)} |", flush=True)


TABLES: dict[str, Any] = {
    "2": upscaling,
    "3": lambda count: upscaling(count, 3),
    "1.5": lambda count: upscaling(count, 1.5),
    "gray 2": lambda count: upscaling(count, 2, "BSD68"),
    "gray 3": lambda count: upscaling(count, 3, "BSD68"),
    "deblurring": deblurring,
}


def print_tables(count: int | None = None, only: str | None = None) -> None:
    """Print all tables, of `count` pictures each."""
    warnings.simplefilter("ignore")
    for name, table in TABLES.items():
        if only in (None, name):
            table(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="pictures of each set, evenly spread; default: all")
    parser.add_argument("--only", choices=list(TABLES), help="one of the tables")
    arguments = parser.parse_args()
    print_tables(arguments.count, arguments.only)


if __name__ == "__main__":
    main()
