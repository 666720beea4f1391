"""Old photographs whose damage is marked as people mark it: ``python benchmarks/real_masks.py [--count N] [--threads N]``.

Five pictures of CBSD68, in ``CSC_COGD_DATA``, are scratched, sprinkled with dust, folded, torn and dated, saved as JPEG, and
marked in four ways: by a generous brush; by a tight one, that covers what is plainly seen; in red by a soft brush, as PNG
and JPEG. Peers are Telea's and Navier-Stokes inpainting of OpenCV, and biharmonic interpolation of scikit-image; of red,
they are given what is taken for red, grown by 2 pixels. The PSNR is that of the damage and of 3 pixels around it.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, gaussian_filter

from csc_cogd import restore_batch
from csc_cogd.imagefiles import MaskRules, find_missing, read_image

PICTURES = ("102061", "119082", "148026", "296059", "302008")
FINER = 4  # how much finer damage is drawn than the picture
RED = np.array([255.0, 0.0, 0.0])
MARKS = ("generous", "tight", "red, PNG", "red, JPEG")


class Old(NamedTuple):
    """An old photograph: what it was, what it is, and how opaque its damage is, (H, W)."""

    clean: np.ndarray
    damaged: np.ndarray
    opacity: np.ndarray

    @property
    def region(self) -> np.ndarray:
        return binary_dilation(self.opacity > 0.02, iterations=3)


class Pencil:
    """Draws one kind of damage, in pixels of the picture."""

    def __init__(self, height: int, width: int):
        self._plane = Image.new("L", (width * FINER, height * FINER))
        self.draw = ImageDraw.Draw(self._plane)

    def line(self, points: np.ndarray, width: float, strength: float) -> None:
        places = [tuple(point) for point in points * FINER]
        self.draw.line(places, fill=round(255 * strength), width=max(round(width * FINER), 1), joint="curve")

    def opacity(self) -> np.ndarray:
        fine = np.asarray(self._plane, np.float64) / 255
        height, width = (side // FINER for side in fine.shape)
        return gaussian_filter(fine.reshape(height, FINER, width, FINER).mean(axis=(1, 3)), 0.7)


def scratches(pencil: Pencil, rng: np.random.Generator, height: int, width: int) -> None:
    for _ in range(6):
        length = rng.uniform(0.2, 0.9) * height
        steps = np.linspace(0, length, 40)
        drift = np.cumsum(rng.normal(0, 0.5, 40)) + rng.uniform(-0.3, 0.3) * steps
        start = rng.uniform(0, width), rng.uniform(0, height - length)
        pencil.line(np.stack([start[0] + drift, start[1] + steps], axis=1), rng.uniform(0.8, 2.4), rng.uniform(0.6, 1))


def dust(pencil: Pencil, rng: np.random.Generator, height: int, width: int) -> None:
    for x, y, radius in zip(rng.uniform(0, width, 110), rng.uniform(0, height, 110), rng.gamma(2.2, 0.65, 110), strict=True):
        box = np.array([x - radius, y - 0.8 * radius, x + radius, y + 0.8 * radius]) * FINER
        pencil.draw.ellipse(box.tolist(), fill=int(rng.uniform(130, 255)))


def fold(pencil: Pencil, rng: np.random.Generator, height: int, width: int) -> None:
    down = np.arange(-6.0, height + 6, 6)
    pencil.line(np.stack([0.44 * width + 0.02 * down + rng.normal(0, 0.5, len(down)), down], axis=1), 3, 0.92)


def torn_corner(pencil: Pencil, rng: np.random.Generator, height: int, width: int) -> None:
    along = np.linspace(0, 1, 20)
    edge = np.stack([width - 105 * (1 - along), 100 * along], axis=1) + rng.normal(0, 2.5, (20, 2))
    edge[0, 1], edge[-1, 0] = 0, width
    pencil.draw.polygon([tuple(point) for point in np.vstack([edge, [[width, 0]]]) * FINER], fill=255)


def date(pencil: Pencil, rng: np.random.Generator, height: int, width: int) -> None:
    place = ((width - 150) * FINER, (height - 40) * FINER)
    pencil.draw.text(place, "14. 7. '98", fill=255, font=ImageFont.load_default(22 * FINER), stroke_width=FINER // 2)


DAMAGE = {
    scratches: (236, 235, 230), dust: (22, 19, 17), fold: (226, 221, 208), torn_corner: (250, 249, 246),
    date: (255, 142, 32),
}  # fmt: skip
"""Kinds of damage, one over the other, and their colors."""


def age(clean: np.ndarray, seed: int) -> Old:
    """Damage a picture (H, W, 3), as a JPEG shows it."""
    rng, (height, width) = np.random.default_rng(seed), clean.shape[:2]
    damaged, opacity = clean.astype(np.float64), np.zeros((height, width))
    for draw, color in DAMAGE.items():
        pencil = Pencil(height, width)
        draw(pencil, rng, height, width)
        layer = pencil.opacity()
        damaged += layer[..., None] * (color - damaged)
        opacity = np.maximum(opacity, layer)
    return Old(clean, to_bytes(damaged), opacity)


def to_bytes(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def written(old: Old, mark: str, folder: Path) -> tuple[Path, dict[str, object]]:
    """Write a picture with its marks as a person would; its file, and what says what is missing in it."""
    Image.fromarray(old.damaged).save(folder / "old.jpg", quality=85)
    if not mark.startswith("red"):
        marked = old.opacity > 0.5 if mark == "tight" else binary_dilation(old.opacity > 0.02, iterations=2)
        Image.fromarray(marked.astype(np.uint8) * 255).save(folder / "mask.png")
        return folder / "old.jpg", {"path": folder / "mask.png"}
    brush = gaussian_filter(binary_dilation(old.opacity > 0.1, iterations=2).astype(np.float64), 0.6)[..., None]
    seen = np.asarray(Image.open(folder / "old.jpg"), np.float64)
    path = folder / ("red.png" if mark.endswith("PNG") else "red.jpg")
    Image.fromarray(to_bytes(seen + brush * (RED - seen))).save(path, quality=90)
    return path, {"color": "red"}


def peers(path: Path, rules: dict[str, object]) -> Iterator[np.ndarray]:
    """What other programs make of a file."""
    import cv2
    from skimage.restoration import inpaint_biharmonic

    image = read_image(path)
    growth = 2 if "color" in rules else 0
    mask = np.array(find_missing(image, MaskRules(**rules, dilate=growth)).touched[..., 0])  # type: ignore[arg-type]
    for method in (cv2.INPAINT_TELEA, cv2.INPAINT_NS):
        yield cv2.inpaint(image.pixels, mask.astype(np.uint8), 5, method)
    yield to_bytes(255 * np.asarray(inpaint_biharmonic(image.pixels, mask, channel_axis=-1)))


def ours(path: Path, rules: dict[str, object], threads: int | None) -> np.ndarray:
    """What a batch makes of a file, with default settings."""
    options = {"mask" if name == "path" else f"mask_{name}": value for name, value in rules.items()}
    (result,) = restore_batch(path, path.with_name("restored.png"), threads=threads, device="cpu", **options)
    if result.status != "done":
        raise RuntimeError(result.error)
    return read_image(result.output).pixels


def psnr(restored: np.ndarray, clean: np.ndarray, where: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((restored[where].astype(np.float64) - clean[where]) ** 2)))


def mask_table(count: int, threads: int | None = None, save: Path | None = None) -> None:
    """Print the PSNR over the damage of each picture and marking, beside the best peer's."""
    folder = Path(os.environ["CSC_COGD_DATA"]) / "standard" / "CBSD68"
    print("| picture | marks | csc-cogd, dB | best peer, dB | gain |\n| --- | --- | --- | --- | --- |")
    for seed, name in enumerate(PICTURES[:count]):
        old = age(np.asarray(Image.open(folder / f"{name}.png").convert("RGB")), seed)
        for mark in MARKS:
            with tempfile.TemporaryDirectory() as place:
                path, rules = written(old, mark, Path(place))
                restored = ours(path, rules, threads)
                best = max(psnr(each, old.clean, old.region) for each in peers(path, rules))
            own = psnr(restored, old.clean, old.region)
            print(f"| {name} | {mark} | {own:.2f} | {best:.2f} | {own - best:+.2f} |", flush=True)
            if save is not None:
                save.mkdir(parents=True, exist_ok=True)
                Image.fromarray(restored).save(save / f"{name}_{mark.replace(', ', '_')}.png")


def print_tables(count: int | None = None, threads: int | None = None, save: Path | None = None) -> None:
    print("\n### Marks of people on old photographs\n")
    mask_table(count or len(PICTURES), threads, save)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, metavar="N", help="pictures; default: all five")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all processors")
    parser.add_argument("--save", type=Path, metavar="DIR", help="also write the restored pictures there")
    given = parser.parse_args()
    print_tables(given.count, given.threads, given.save)


if __name__ == "__main__":
    main()
