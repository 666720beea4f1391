"""How much planted damage is found, and how much that isn't damage: ``python benchmarks/detection.py``.

Into photographs that scikit-image brings along, and into a sky with stars, one pixel in a thousand is made hot or dead by
10 to 100 % of the range, and six columns are set to a value or shifted, whole or in part. Beside `detect_damage`, the
common practice: pixels that differ from the median of 3 x 3 by more than ten of the image's usual differences, or by more
than a quarter of the range; neither knows columns. Damage that changes a pixel by less than 10 % of the range, as where it
was bright before, doesn't count. Last, damage in ever longer stacks of one sensor, where it is weak beside the noise.

Prints, for pixels, precision and recall in percent, and false alarms for 100,000 pixels of the undamaged picture.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import skimage.data
from scipy.ndimage import median_filter

from csc_cogd import detect_damage

PICTURES = ("camera", "coins", "moon", "brick", "grass", "gravel", "cell", "clock", "page")
RANGE = 255.0


def pictures() -> dict[str, np.ndarray]:
    found = {name: getattr(skimage.data, name)() for name in PICTURES}
    found |= {"hubble": skimage.data.hubble_deep_field()[..., 1], "astronaut": skimage.data.astronaut()[..., 1]}
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:512, :512]
    light = np.full((512, 512), 20.0)
    for row, column, strength in zip(*generator.random((2, 200)) * 512, 10 ** generator.uniform(0.5, 3, 200), strict=True):
        light += strength * np.exp(-4 * np.log(2) * ((rows - row) ** 2 + (columns - column) ** 2) / 1.8**2)
    return found | {"stars, FWHM 1.8": np.clip(generator.poisson(light), 0, 255).astype(np.uint8)}


def plant_pixels(image: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The damaged picture, and which pixels were changed by a tenth of the range at least."""
    spoilt = generator.random(image.shape) < 0.001
    change = generator.uniform(0.1, 1, image.shape) * generator.choice([-1, 1], image.shape) * RANGE
    damaged = np.where(spoilt, np.clip(image + change, 0, RANGE), image).astype(image.dtype)
    return damaged, abs(damaged - image.astype(float)) >= 0.1 * RANGE


def plant_columns(image: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, set[int]]:
    H, W = image.shape
    places = generator.choice(np.arange(8, W - 8, 8), 6, replace=False)
    damaged = image.astype(float)
    for number, x in enumerate(places):
        start = 0 if number % 2 else int(generator.integers(0, H // 2))
        part = damaged[start:, x]
        part[:] = (0, RANGE, part + 15, part + 15, part - 15, part - 15)[number]
    return np.clip(damaged, 0, RANGE).astype(image.dtype), {int(x) for x in places}


def by_median(image: np.ndarray, least: float | None) -> np.ndarray:
    difference = abs(image - median_filter(image.astype(float), 3))
    if least is None:
        least = 10 * max(float(np.median(difference)) / 0.6745, 1.0)
    return difference > least


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "detect_damage": lambda image: detect_damage(image, kinds=["pixels"]).mask,
    "median, 10 usual": lambda image: by_median(image, None),
    "median, range / 4": lambda image: by_median(image, RANGE / 4),
}


def print_pictures() -> None:
    print(f"| picture | {' | '.join(METHODS)} | columns found, of 6; others | alarms in the picture: columns, rows |")
    print("| --- |" + " --- |" * (len(METHODS) + 2))
    for name, image in pictures().items():
        damaged, truth = plant_pixels(image, np.random.default_rng(1))
        cells = []
        for method in METHODS.values():
            found, alarms = method(damaged), method(image).sum() / image.size * 1e5
            spoilt = damaged != image
            precision = (found & spoilt).sum() / max(found.sum(), 1)
            recall = (found & truth).sum() / max(truth.sum(), 1)
            cells.append(f"{precision:.0%}, {recall:.0%}; {alarms:.1f}")
        with_columns, places = plant_columns(image, np.random.default_rng(2))
        columns = {line.index for line in detect_damage(with_columns, kinds=["columns"]).columns}
        clean = detect_damage(image, kinds=["columns", "rows"])
        cells += [f"{len(columns & places)}; {len(columns - places)}", f"{len(clean.columns)}, {len(clean.rows)}"]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def print_stacks() -> None:
    """Hot pixels of three standard deviations of one frame's noise; in each frame, cosmic rays in one pixel of a thousand.

    In a single frame, a ray in one pixel can't be told from a hot pixel.
    """
    print("\n| frames | found | false alarms for 100,000 pixels |\n| --- | --- | --- |")
    for n_frames in (1, 2, 4, 8, 16, 32):
        generator = np.random.default_rng(3)
        hot = generator.random((512, 512)) < 0.001
        stack = generator.normal(100, 10, (n_frames, *hot.shape)) + 30 * hot
        rays = generator.random(stack.shape) < 0.001
        stack[rays] += 1000
        mask = detect_damage(
            stack if n_frames > 1 else stack[0], stack_axis=0 if n_frames > 1 else None, kinds=["pixels"]
        ).mask
        wrong = mask & ~hot
        print(f"| {n_frames} | {mask[hot].mean():.0%} | {wrong.sum() / mask.size * 1e5:.1f} |", flush=True)


if __name__ == "__main__":
    print("precision, recall; false alarms for 100,000 pixels of the undamaged picture\n")
    print_pictures()
    print_stacks()
