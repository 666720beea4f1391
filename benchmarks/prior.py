"""What the priors are worth, beside published figures: ``python benchmarks/prior.py [TABLE...] [--count N]``.

Of denoising, the standard deviation of Gaussian noise is told; floats in, estimates clipped to 0 to 255. Tables:

gray    BSD68 and Set12, sigma 15, 25, 50: the prior alone (effort "fast"), with similar patches (the default), and without
        prior; published figures beside them are means over the whole sets, ours over the first `--count` pictures
color   the same of CBSD68, by the prior for color
fill    BSD68, Set12 and CBSD68 with 50 and 80 % of the pixels missing at random, and below scratches and text: the PSNR of
        what is missing by the prior that fills, without it, and by biharmonic interpolation, and CPU seconds
time    CPU seconds of denoising 512 x 512 pixels in gray and color on one thread, beside BM3D if it is installed, and of a
        step of training beside its matrix products alone

The sets are read from ``$CSC_COGD_DATA/standard``.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from skimage import data

from csc_cogd import Prior, denoise, inpaint, psnr
from csc_cogd.backend import single_threaded_blas
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.imagefiles import read_image
from csc_cogd.restore.synthetic_masks import random_mask, scratch_and_text_mask
from csc_cogd.unrolled.network import Network, Shape
from csc_cogd.unrolled.pieces import Piece
from csc_cogd.unrolled.training import pieces_gradient

SIGMAS = (15, 25, 50)
PUBLISHED = {
    "BSD68": {"BM3D": (31.08, 28.57, 25.60), "CSCNet": (31.57, 29.11, 26.24), "DnCNN": (31.73, 29.23, 26.23)},
    "Set12": {"BM3D": (32.37, 29.97, 26.72), "DnCNN": (32.86, 30.44, 27.18)},
    "CBSD68": {"CBM3D": (33.52, 30.71, 27.38), "CDnCNN": (33.90, 31.24, 27.95)},
}
METHODS: dict[str, dict[str, Any]] = {
    "prior alone": {"effort": "fast"}, "prior and patches": {}, "without prior": {"prior": "none"},
}  # fmt: skip


def quality_table(name: str, count: int | None, methods: list[str]) -> None:
    """Print the PSNR in dB of a set, mean over its first `count` pictures, by sigma; and CPU seconds a picture."""
    folder = Path(os.environ["CSC_COGD_DATA"]) / "standard" / name
    pictures = [read_image(path).colors for path in sorted(folder.iterdir())[:count]]
    print(f"\n### {name}, {len(pictures)} of its {len(list(folder.iterdir()))} pictures\n")
    print(f"| method | sigma {' / '.join(map(str, SIGMAS))} | CPU seconds a picture |\n| --- | --- | --- |")
    for peer, figures in PUBLISHED[name].items():
        print(f"| {peer}, published, all pictures | {_row(figures)} | |")
    for method in methods:
        found, seconds = [], []
        for sigma in SIGMAS:
            results = [_denoised(picture, sigma, number, METHODS[method]) for number, picture in enumerate(pictures)]
            found.append(float(np.mean([quality for quality, _ in results])))
            seconds.append(float(np.mean([spent for _, spent in results])))
        print(f"| {method} | {_row(found)} | {np.mean(seconds):.1f} |", flush=True)


def _denoised(clean: np.ndarray, sigma: int, number: int, options: dict[str, Any]) -> tuple[float, float]:
    """Return PSNR and CPU seconds."""
    noisy = clean + np.random.default_rng((sigma, number)).normal(0, sigma, clean.shape)
    axis, start = (-1 if clean.ndim == 3 else None), time.process_time()
    restored = denoise(noisy, sigma, channel_axis=axis, threads=1, device="cpu", **options)
    return psnr(np.clip(restored, 0, 255), clean, data_range=255), time.process_time() - start


def _row(figures: Any) -> str:
    return " / ".join(f"{figure:.2f}" for figure in figures)


def fill_table(name: str, count: int | None) -> None:
    """Print the PSNR in dB over the missing pixels of a set, mean over its first `count` pictures; and CPU seconds."""
    folder = Path(os.environ["CSC_COGD_DATA"]) / "standard" / name
    pictures = [read_image(path).colors for path in sorted(folder.iterdir())[:count]]
    print(f"\n### {name}, {len(pictures)} of its {len(list(folder.iterdir()))} pictures\n")
    print("PSNR over what was missing; CPU seconds\n")
    print(f"| method | {' | '.join(DAMAGE)} |\n| --- |{' --- |' * len(DAMAGE)}")
    for method, fill in FILLS.items():
        cells = []
        for damage in DAMAGE.values():
            results = [_filled(picture, damage(picture.shape[:2], number), fill) for number, picture in enumerate(pictures)]
            cells.append("{:.2f}; {:.2f} s".format(*np.mean(results, axis=0)))
        print(f"| {method} | {' | '.join(cells)} |", flush=True)


def _filled(
    clean: np.ndarray, mask: np.ndarray, fill: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[float, float]:
    """Return the PSNR over the mask, and CPU seconds."""
    start = time.process_time()
    restored = fill(np.where(mask if clean.ndim == 2 else mask[..., None], 0, clean).astype(np.uint8), mask)
    return psnr(restored, clean, data_range=255, where=mask), time.process_time() - start


def _inpainted(**options: Any) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    return lambda image, mask: inpaint(
        image, mask, channel_axis=-1 if image.ndim == 3 else None, threads=1, device="cpu", **options
    )


def _interpolated(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    planes = np.atleast_3d(image).transpose(2, 0, 1) / 255
    filled = fill_biharmonic(planes, np.broadcast_to(mask, planes.shape)).transpose(1, 2, 0)
    return np.rint(255 * filled).astype(np.uint8).reshape(image.shape)


DAMAGE: dict[str, Callable[[tuple[int, int], int], np.ndarray]] = {
    "50 %": lambda shape, number: random_mask(shape, 0.5, seed=number),
    "80 %": lambda shape, number: random_mask(shape, 0.8, seed=number),
    "scratches and text": lambda shape, number: scratch_and_text_mask(shape, "csc-cogd 2026", seed=number),
}
FILLS = {
    "biharmonic": _interpolated, "without prior": _inpainted(prior="none"), "default": _inpainted(),
    "prior wherever pixels are missing": _inpainted(prior=Prior.default("fill")),
    "without prior, fast": _inpainted(prior="none", effort="fast"), "fast": _inpainted(effort="fast"),
}  # fmt: skip


def time_table(repeats: int = 3) -> None:
    """Print CPU seconds, the least of some repetitions."""
    print("\n512 x 512, one thread, CPU seconds\n\n| method | gray | color |\n| --- | --- | --- |")
    images = [data.camera() / 255, data.astronaut() / 255]
    images = [image + np.random.default_rng(0).normal(0, 0.1, image.shape) for image in images]
    cells = [
        _least(lambda: Prior.default(kind).denoise(image, 0.1, channel_axis=axis, threads=1), repeats)  # noqa: B023
        for kind, image, axis in zip(("gray", "color"), images, (None, -1), strict=True)
    ]
    print(f"| one pass of the prior | {cells[0]:.2f} | {cells[1]:.2f} |")
    for method, options in METHODS.items():
        cells = [
            _least(lambda: denoise(image, 0.1, channel_axis=axis, threads=1, device="cpu", **options), repeats)  # noqa: B023
            for image, axis in zip(images, (None, -1), strict=True)
        ]
        print(f"| denoise, {method} | {cells[0]:.2f} | {cells[1]:.2f} |", flush=True)
    if find_spec("bm3d"):
        import bm3d

        cells = [_least(lambda: bm3d.bm3d(images[0], 0.1), 1), _least(lambda: bm3d.bm3d_rgb(images[1], 0.1), 1)]
        print(f"| BM3D | {cells[0]:.2f} | {cells[1]:.2f} |")
    print("\n| training, CPU seconds | |\n| --- | --- |")
    step, products = training_step()
    with single_threaded_blas():
        whole, alone = _least(step, 5 * repeats), _least(products, 5 * repeats)
    print(f"| a step of 8 pieces of 64 x 64 | {whole:.4f} |\n| its matrix products alone | {alone:.4f} |")
    print(f"| ratio | {whole / alone:.2f} |")


def training_step() -> tuple[Callable[[], Any], Callable[[], Any]]:
    """Return a step's gradients, and the products of matrices in them."""
    shape, rng = Shape(), np.random.default_rng(0)
    network, pieces = Network.random(shape, rng), rng.random((8, 1, 64, 64), np.float32)
    K, M, T, n = shape.n_iter, shape.n_filters, shape.taps, 32 * 32
    filters, columns, codes = (np.ones(size, np.float32) for size in ((M, T), (T, n), (M, n)))
    transposed = np.ascontiguousarray(filters.T)

    def products() -> None:
        for _ in range(8):
            for _ in range(2 * K):  # analysis, forward; of gradients, backward
                filters @ columns
                codes @ columns.T
            for _ in range(2 * K - 1):  # synthesis
                transposed @ codes

    batch = [Piece(piece, piece, np.float32(0.1), piece.mean()) for piece in pieces]
    return lambda: [pieces_gradient(network, [piece]) for piece in batch], products


def _least(work: Callable[[], Any], repeats: int) -> float:
    seconds = []
    for _ in range(repeats + 1):  # the first may compile
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds[1:])


def print_tables(tables: list[str], count: int | None, methods: list[str]) -> None:
    """Print what is asked for."""
    sets = {"gray": ("BSD68", "Set12"), "color": ("CBSD68",)}
    for name in (name for table in tables for name in sets.get(table, ())):
        quality_table(name, count, methods)
    for name in ("BSD68", "Set12", "CBSD68") if "fill" in tables else ():
        fill_table(name, count)
    if "time" in tables:
        time_table()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tables", nargs="*", default=["gray", "color", "fill", "time"], metavar="TABLE")
    parser.add_argument("--count", type=int, metavar="N", help="only the first N pictures of each set")
    parser.add_argument("--methods", nargs="*", default=list(METHODS), choices=list(METHODS))
    arguments = parser.parse_args()
    print_tables(arguments.tables, arguments.count, arguments.methods)
