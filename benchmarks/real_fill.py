"""Holes in photographs, beside what is simple: ``python benchmarks/real_fill.py [--count N] [--sheet FILE.png]``.

Holes of 8 x 8 to 24 x 24 pixels, inside, at a border and in a corner of each color picture of CBSD68 (in
``CSC_COGD_DATA``), and of 60 x 60; PSNR over the missing pixels, beside OpenCV's Telea and NS and scikit-image's biharmonic
interpolation. ``--count N`` takes the first N pictures, ``--large`` and ``--small`` one of the tables; ``--sheet`` writes
what is missing, the truth, OpenCV NS, biharmonic and csc-cogd beside each other, for the eye; ``--fill`` is handed on.
Parameters were tuned on other pictures.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from skimage.restoration import inpaint_biharmonic

from csc_cogd import inpaint
from csc_cogd.imagefiles import read_image

SEED, LARGE, SHOWN = 7, 60, 20
KINDS = ("inside", "border", "corner")
PEERS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Telea": lambda image, mask: cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_TELEA),
    "NS": lambda image, mask: cv2.inpaint(image, mask.astype(np.uint8), 3, cv2.INPAINT_NS),
    "biharmonic": lambda image, mask: np.rint(255 * inpaint_biharmonic(image / 255, mask, channel_axis=-1)).clip(0, 255),
}


def pictures(count: int | None = None) -> list[tuple[str, np.ndarray]]:
    """Names and pixels of the color pictures of CBSD68."""
    folder = Path(os.environ["CSC_COGD_DATA"]) / "standard" / "CBSD68"
    return [(path.stem, read_image(path).pixels) for path in sorted(folder.glob("*.png"))[:count]]


def hole(shape: tuple[int, ...], kind: str, size: tuple[int, int], generator: np.random.Generator) -> np.ndarray:
    """A rectangle that is missing, (H, W) bool: inside, at one border, or in a corner."""
    ends = [length - extent for length, extent in zip(shape, size, strict=False)]
    corner = [int(generator.integers(4, end - 3)) for end in ends]
    sides = {"inside": (), "border": (int(generator.integers(2)),), "corner": (0, 1)}[kind]
    for axis in sides:
        corner[axis] = int(generator.choice([0, ends[axis]]))
    mask = np.zeros(shape[:2], bool)
    mask[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = True
    return mask


def psnr(estimate: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    """Over the missing pixels; a mean error of less than half a gray level counts as that."""
    error = float(((estimate.astype(float) - truth)[mask] ** 2).mean())
    return float(10 * np.log10(255**2 / max(error, 0.25)))


def small_holes(count: int | None = None, fill: str = "auto") -> str:
    """The table of 252 holes of 8 x 8 to 24 x 24."""
    generator, rows = np.random.default_rng(SEED), []
    for number, (_, truth) in enumerate(pictures(count)):
        for kind in KINDS + KINDS[number % 3 : number % 3 + 1] * (number < 48):
            size = tuple(int(side) for side in generator.integers(8, 25, 2))
            mask = hole(truth.shape, kind, size, generator)
            damaged = np.where(mask[..., None], 0, truth).astype(np.uint8)
            estimates = {name: peer(damaged.copy(), mask.copy()) for name, peer in PEERS.items()}
            estimates["csc-cogd"] = inpaint(damaged, mask, channel_axis=-1, fill=fill)
            rows.append((kind, *(psnr(estimate, truth, mask) for estimate in estimates.values())))
    kinds, figures = np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])
    best = figures[:, :-1].max(axis=1)
    lines = [
        f"{len(rows)} holes of 8 x 8 to 24 x 24",
        f"{'':12} {'PSNR':>6} {'over it':>8} {'best of 3':>10} {'0.5 dB below':>13} {'3 dB below':>11}"
        + "".join(f"{kind:>9}" for kind in KINDS),
    ]
    for name, column in zip((*PEERS, "csc-cogd"), figures.T, strict=True):
        behind = column - best
        lines.append(
            f"{name:12} {column.mean():6.2f} {(figures[:, -1] - column).mean():+8.2f} {behind.mean():+10.2f} "
            f"{(behind < -0.5).mean():13.1%} {(behind < -3).mean():11.1%}"
            + "".join(f"{behind[kinds == kind].mean():+9.2f}" for kind in KINDS)
        )
    return "\n".join(lines)


def large_holes(count: int | None = None, sheet: Path | None = None, fill: str = "auto") -> str:
    """The table of holes of 60 x 60, one a picture; with a sheet of the first ones."""
    generator, shown = np.random.default_rng(SEED), []
    lines = [
        f"holes of {LARGE} x {LARGE}",
        f"{'':10} {'NS':>7} {'biharm.':>8} {'csc-cogd':>9} {'over NS':>8}  invented  in range",
    ]
    gains = []
    for name, truth in pictures(count):
        mask = hole(truth.shape, "inside", (LARGE, LARGE), generator)
        damaged = np.where(mask[..., None], 0, truth).astype(np.uint8)
        restored, report = inpaint(damaged, mask, channel_axis=-1, fill=fill, return_report=True)
        ns, biharmonic = (PEERS[peer](damaged.copy(), mask.copy()) for peer in ("NS", "biharmonic"))
        figures = [psnr(estimate, truth, mask) for estimate in (ns, biharmonic, restored)]
        gains.append(figures[2] - figures[0])
        lines.append(
            f"{name:10} {figures[0]:7.2f} {figures[1]:8.2f} {figures[2]:9.2f} {gains[-1]:+8.2f} "
            f"{report.invented * mask.size / mask.sum():9.0%}  {'yes' if in_range(restored, mask) else 'NO'}"
        )
        if len(shown) < SHOWN:
            marked = np.where(mask[..., None], np.array([255, 0, 255]), truth)
            shown.append(beside([marked, truth, ns, biharmonic, restored], mask))
    lines.append(
        f"{'mean':10} {np.mean(gains):+35.2f}; worst {min(gains):+.2f}; "
        f"{np.mean(np.array(gains) < -3):.0%} more than 3 dB below NS"
    )
    if sheet is not None:
        cv2.imwrite(str(sheet), np.vstack(shown)[..., ::-1])
    return "\n".join(lines)


def in_range(restored: np.ndarray, mask: np.ndarray) -> bool:
    """Whether the fill keeps to the range of the ten pixels around the hole, channel by channel."""
    around = cv2.dilate(mask.astype(np.uint8), np.ones((21, 21))).astype(bool) & ~mask
    low, high = restored[around].min(axis=0), restored[around].max(axis=0)
    return bool(((restored[mask] >= low) & (restored[mask] <= high)).all())


def beside(images: list[np.ndarray], mask: np.ndarray, side: int = 180) -> np.ndarray:
    """The same piece of all images around the hole, beside each other."""
    at = [
        min(max(int(places.min()) + LARGE // 2 - side // 2, 0), length - side)
        for places, length in zip(np.nonzero(mask), mask.shape, strict=True)
    ]
    return np.hstack([image[at[0] : at[0] + side, at[1] : at[1] + side].astype(np.uint8) for image in images])


def print_tables(count: int | None = None) -> None:
    """Print both."""
    print(small_holes(count), large_holes(count), sep="\n\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, help="pictures; default: all")
    parser.add_argument("--small", action="store_true", help="only the table of small holes")
    parser.add_argument("--large", action="store_true", help="only that of large ones")
    parser.add_argument("--sheet", type=Path, help="write a page of large holes, filled, here")
    parser.add_argument("--fill", default="auto", help="auto, smooth or texture")
    arguments = parser.parse_args()
    if not arguments.large:
        print(small_holes(arguments.count, arguments.fill), flush=True)
    if not arguments.small:
        print(large_holes(arguments.count, arguments.sheet, arguments.fill))


if __name__ == "__main__":
    main()
