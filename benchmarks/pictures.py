"""The pictures of README and guide, each made by the commands beside it: ``python benchmarks/pictures.py [NAME...]``.

Photographs are the one that ships, and some that scikit-image brings along; their damage is made here, with fixed seeds.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path

import numpy as np
from imageio.v3 import imread, imwrite
from scipy.ndimage import gaussian_filter
from skimage import data

GUIDE = Path(__file__).parents[1] / "docs" / "guide"
SIDE, GAP = 256, 8


def csc_cogd(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "csc_cogd", *arguments], check=True)


def save(name: str, pixels: np.ndarray, noise: float = 0.0) -> None:
    pixels = pixels + noise * np.random.default_rng(0).standard_normal(pixels.shape)
    imwrite(name, np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def piece(picture: np.ndarray, top: int, left: int) -> np.ndarray:
    return picture[top : top + SIDE, left : left + SIDE].astype(float)


def demo() -> list[str]:
    csc_cogd("demo", "-o", ".", "--overwrite")
    return ["random_before.png", "random_after.png", "scratches_before.png", "scratches_after.png"]


def denoising() -> list[str]:
    save("noisy.png", piece(data.chelsea(), 20, 60), 25)
    csc_cogd("denoise", "noisy.png")
    return ["noisy.png", "noisy_denoised.png"]


def deblurring() -> list[str]:
    save("blurred.png", gaussian_filter(piece(data.camera(), 60, 160), 1.6), 1)
    csc_cogd("deblur", "blurred.png", "--kernel", "gaussian:1.6")
    return ["blurred.png", "blurred_deblurred.png"]


def upscaling() -> list[str]:
    save("small.png", piece(data.coffee(), 90, 200).reshape(SIDE // 2, 2, SIDE // 2, 2, 3).mean(axis=(1, 3)))
    csc_cogd("upscale", "small.png", "--factor", "2", "--kernel", "box")
    imwrite("pixels.png", imread("small.png").repeat(2, axis=0).repeat(2, axis=1))
    return ["pixels.png", "small_upscaled.png"]


def detection() -> list[str]:
    rng = np.random.default_rng(0)
    frame = 0.8 * piece(data.moon(), 100, 150) + 3 * rng.standard_normal((SIDE, SIDE))
    frame[:, [60, 61, 190]] = 0
    frame[tuple(rng.integers(1, SIDE - 1, (2, 60)))] = 255
    save("frame.png", frame)
    csc_cogd("mask", "detect", "frame.png", "-o", "bad.png", "--preview", "seen.png")
    csc_cogd("inpaint", "frame.png", "-m", "bad.png")
    return ["frame.png", "seen.png", "frame_inpainted.png"]


def cleaning() -> list[str]:
    rng = np.random.default_rng(3)
    photo, opacity = piece(data.astronaut(), 0, 100), np.zeros((SIDE, SIDE))
    for _ in range(40):
        y, x, size = *rng.integers(4, SIDE - 4, 2), rng.integers(1, 4)
        opacity[y : y + size, x : x + rng.integers(1, 4)] = rng.uniform(0.5, 1)
    for _ in range(4):
        bend = np.cumsum(gaussian_filter(rng.normal(0, 0.8, 90), 6)) + rng.uniform(0, 6)
        path = rng.integers(30, SIDE - 60, 2)[:, None] + np.cumsum([np.sin(bend), np.cos(bend)], axis=1)
        rows, columns = np.clip(np.rint(path), 0, SIDE - 1).astype(int)
        opacity[rows, columns] = 1
    opacity = np.clip(1.5 * gaussian_filter(opacity, 0.7), 0, 1)[..., None]
    grain = gaussian_filter(rng.normal(0, 12, photo.shape), (0.7, 0.7, 0))
    save("scan.png", (photo + grain) * (1 - 0.85 * opacity))
    light = (0.8 + 0.04 * photo.mean(axis=2) / 255) * (1 - 0.35 * opacity[..., 0]) + 0.006 * rng.standard_normal(
        (SIDE, SIDE)
    )
    save("infrared.png", 300 * np.roll(light, (1, -1), (0, 1)))
    csc_cogd("clean", "scan.png", "--infrared", "infrared.png")
    return ["scan.png", "infrared.png", "scan_cleaned.png"]


def dictionary() -> list[str]:
    csc_cogd("dictionary", "show", "color", "--scale", "2", "-o", "filters.png")
    return ["filters.png"]


PICTURES: dict[str, Callable[[], list[str]]] = {
    "demo.png": demo, "denoising.jpg": denoising, "deblurring.jpg": deblurring, "upscaling.jpg": upscaling,
    "detection.jpg": detection, "cleaning.jpg": cleaning, "dictionary.png": dictionary,
}  # fmt: skip
"""By the file's name, what makes the panels and names them."""


def strip(names: list[str]) -> np.ndarray:
    """The panels side by side, (H, W, 3)."""
    panels = [np.atleast_3d(imread(name)) for name in names]
    gap = np.full((len(panels[0]), GAP, 3), 255, np.uint8)
    return np.hstack([part for panel in panels for part in (np.broadcast_to(panel, (*panel.shape[:2], 3)), gap)][:-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)}; default: all")
    names = parser.parse_args().names or list(PICTURES)
    if unknown := set(names) - set(PICTURES):
        parser.error(f"unknown: {', '.join(unknown)}; choose from {', '.join(PICTURES)}")
    for name in names:
        with tempfile.TemporaryDirectory() as folder, chdir(folder):
            imwrite(GUIDE / name, strip(PICTURES[name]()), **({"quality": 92} if name.endswith(".jpg") else {}))


if __name__ == "__main__":
    main()
