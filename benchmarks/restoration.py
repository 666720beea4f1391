"""Restoration quality beside scikit-image's and OpenCV's: ``python benchmarks/restoration.py [FOLDER]``.

Each picture is damaged in the same ways for every method, and restored with default settings; known pixels are kept. Without
a folder, photographs are used that installed packages bring along and that the default dictionaries have not seen, cut
to 512 x 512. Prints PSNR, SSIM, PSNR over the missing pixels only, and seconds, as a markdown table; ``--csv FILE`` writes
every figure.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from csc_cogd import inpaint, psnr, ssim
from csc_cogd.restore.damage import random_mask, scratch_and_text_mask

LUMINANCE = (0.299, 0.587, 0.114)
DAMAGES: dict[str, Callable[[tuple[int, int], int], np.ndarray]] = {
    "50 % random": lambda shape, seed: random_mask(shape, 0.5, seed=seed),
    "75 % random": lambda shape, seed: random_mask(shape, 0.75, seed=seed),
    "scratches and text": lambda shape, seed: scratch_and_text_mask(shape, "csc-cogd", seed=seed),
}


def photographs(folder: Path | None, size: int) -> Iterator[tuple[str, np.ndarray]]:
    """Names and pictures, uint8, (H, W) or (H, W, 3)."""
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
        top, left = ((length - min(length, size)) // 2 for length in picture.shape[:2])
        yield name, picture[top : top + size, left : left + size]


def biharmonic(damaged, mask, channel_axis):
    from skimage.restoration import inpaint_biharmonic

    return np.rint(inpaint_biharmonic(damaged / 255.0, mask, channel_axis=channel_axis) * 255)


def opencv(method: str):
    def restore(damaged, mask, channel_axis):
        import cv2

        return cv2.inpaint(damaged, mask.astype(np.uint8), 3, getattr(cv2, f"INPAINT_{method}"))

    return restore


METHODS: dict[str, Callable[..., np.ndarray]] = {
    "csc-cogd": lambda damaged, mask, axis: inpaint(damaged, mask, channel_axis=axis),
    "csc-cogd --learn": lambda damaged, mask, axis: inpaint(damaged, mask, channel_axis=axis, learn=True),
    "biharmonic": biharmonic,
    "OpenCV Telea": opencv("TELEA"),
    "OpenCV NS": opencv("NS"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--color", action="store_true", help="restore colour pictures in colour; default: grey")
    parser.add_argument("--size", type=int, default=512, help="side of the pieces without a folder")
    parser.add_argument("--methods", default="csc-cogd,biharmonic,OpenCV Telea,OpenCV NS", help=", ".join(METHODS))
    parser.add_argument("--damages", default=",".join(DAMAGES), help="which, by name, with commas; default: all")
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    methods = arguments.methods.split(",")
    if unknown := set(methods) - set(METHODS):
        parser.error(f"unknown methods {unknown}: choose from {', '.join(METHODS)}")

    chosen = {kind: damage for kind, damage in DAMAGES.items() if kind in arguments.damages.split(",")}
    if not chosen:
        parser.error(f"unknown damages: choose from {', '.join(DAMAGES)}")

    rows = []
    print(f"| damage | picture | {' | '.join(methods)} |\n|---|---|{'---|' * len(methods)}")
    for kind, damage in chosen.items():
        for name, picture in photographs(arguments.folder, arguments.size):
            if picture.ndim == 3 and not arguments.color:
                picture = np.rint(picture[..., :3] @ LUMINANCE).astype(np.uint8)
            if (picture.ndim == 3) != arguments.color:
                continue
            axis = -1 if picture.ndim == 3 else None
            mask = damage(picture.shape[:2], 0)
            damaged = np.where(mask if axis is None else mask[..., None], 0, picture).astype(np.uint8)
            cells = []
            for method in methods:
                start = time.perf_counter()
                restored = METHODS[method](damaged.copy(), mask, axis)
                seconds = time.perf_counter() - start
                figures = {
                    "psnr": psnr(restored, picture, data_range=255),
                    "ssim": ssim(restored, picture, data_range=255, channel_axis=axis),
                    "psnr_missing": psnr(restored, picture, data_range=255, where=mask),
                    "seconds": seconds,
                }
                rows.append({"damage": kind, "picture": name, "method": method} | figures)
                cells.append("{psnr:.2f} {ssim:.4f} ({psnr_missing:.2f}) {seconds:.1f} s".format(**figures))
            print(f"| {kind} | {name} | {' | '.join(cells)} |", flush=True)
        summarise(kind, methods, rows)
    print("\nCells: PSNR in dB, SSIM (PSNR over the missing pixels only), seconds.")
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def summarise(kind: str, methods: list[str], rows: list[dict]) -> None:
    """Means over the pictures, and the first method's gain over each other one: mean and worst."""
    table = {m: [r for r in rows if r["damage"] == kind and r["method"] == m] for m in methods}
    means = []
    for method, lines in table.items():
        gains = [a["psnr"] - b["psnr"] for a, b in zip(table[methods[0]], lines, strict=True)]
        text = f"{np.mean([r['psnr'] for r in lines]):.2f} {np.mean([r['ssim'] for r in lines]):.4f}"
        if method != methods[0]:
            text += f"; gain {np.mean(gains):+.2f}, worst {np.min(gains):+.2f}"
        means.append(text)
    print(f"| {kind} | **mean** | {' | '.join(means)} |", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
    main()
