"""What the search for impulses takes for some, and what it leaves: ``python benchmarks/impulses.py``.

Photographs that scikit-image brings along, without any impulse: the share of values that `denoise` changes. The same with
1, 10 and 30 % of the values set at random: PSNR, beside the median of 3 x 3 and of 5 x 5. And skies of 30 stars, with
and without hot pixels: how many stars lose more than 5 % of their light, and how many hot pixels are found.
"""

from __future__ import annotations

import numpy as np
import skimage.data
from scipy.ndimage import median_filter

from csc_cogd import denoise, psnr

PICTURES = ("camera", "coins", "moon", "brick", "grass", "gravel", "cell", "clock", "page")
SKY, HOT = 50.0, 30_000.0


def clean(picture: np.ndarray) -> np.ndarray:
    restored, _ = denoise(picture, noise="impulse", effort="fast", return_report=True)
    return restored


def print_pictures() -> None:
    print("| picture | changed | 1 %: csc-cogd, medians | 10 % | 30 % |")
    print("| --- | --- | --- | --- | --- |")
    for name in PICTURES:
        picture, cells = getattr(skimage.data, name)()[:256, :256], []
        for share in (0.01, 0.1, 0.3):
            generator = np.random.default_rng(0)
            hit = generator.random(picture.shape) < share
            noisy = np.where(hit, generator.integers(0, 256, picture.shape), picture).astype(np.uint8)
            results = clean(noisy), median_filter(noisy, 3), median_filter(noisy, 5)
            cells.append(", ".join(f"{psnr(result, picture, data_range=255):.2f}" for result in results))
        print(f"| {name} | {(clean(picture) != picture).mean():.2%} | {' | '.join(cells)} |", flush=True)


def sky(width: float, generator: np.random.Generator) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """Photon counts, and where the stars are, none within 10 pixels of another."""
    rows, columns = np.mgrid[:160, :160]
    light, stars = np.full((160, 160), SKY), list[tuple[float, float]]()
    while len(stars) < 30:
        row, column = generator.uniform(8, 152, 2)
        if all((row - r) ** 2 + (column - c) ** 2 > 100 for r, c in stars):
            stars.append((row, column))
            distance = (rows - row) ** 2 + (columns - column) ** 2
            light += 10 ** generator.uniform(3, 4.5) * np.exp(-4 * np.log(2) * distance / width**2)
    return generator.poisson(light).astype(float), stars


def print_stars() -> None:
    print("\n| full width at half maximum | stars dimmed, of 30 | the same beside hot pixels | hot pixels found |")
    print("| --- | --- | --- | --- |")
    for width in (1.2, 1.6, 2, 3, 5):
        generator = np.random.default_rng(0)
        picture, stars = sky(width, generator)
        hot = generator.random(picture.shape) < 0.002
        spoilt = np.where(hot, HOT, picture)
        restored = clean(picture), clean(spoilt)
        dimmed = [0, 0]
        for row, column in stars:
            window = np.s_[int(row) - 4 : int(row) + 6, int(column) - 4 : int(column) + 6]
            for number, result in enumerate(restored):
                dimmed[number] += (result - SKY)[window].sum() < 0.95 * (picture - SKY)[window].sum()
        found = (restored[1] != spoilt)[hot].mean()
        print(f"| {width} | {dimmed[0]} | {dimmed[1]} | {found:.0%} |", flush=True)


if __name__ == "__main__":
    print_pictures()
    print_stars()
