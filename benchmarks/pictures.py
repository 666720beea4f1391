"""The picture in the README, from what the demo writes: ``csc-cogd demo && python benchmarks/readme_picture.py``."""

import sys
from pathlib import Path

import numpy as np

from csc_cogd.imagefiles import ImageFile, read_image, write_image

NAMES = ("random_before", "random_after", "scratches_before", "scratches_after")


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "csc-cogd-demo")
    pictures = [read_image(folder / f"{name}.png").pixels for name in NAMES]
    gap = np.full((len(pictures[0]), 8, 3), 255, np.uint8)
    row = np.hstack([part for picture in pictures for part in (picture, gap)][:-1])
    target = Path(__file__).parents[1] / "docs" / "guide" / "demo.png"
    target.parent.mkdir(exist_ok=True)
    write_image(ImageFile(row, target, "png"), target, overwrite=True)


if __name__ == "__main__":
    main()
