"""Memory and time of fine-tuning ResNet-50 on a folder of photographs: ``python benchmarks/fine_tuning.py``.

A folder of JPEGs in three classes is made, of 400 x 300 pixels each, and weights of ResNet-50 for 1000 classes; then
``csc-cogd train FOLDER --weights resnet50.safetensors`` runs, a process of its own, for an epoch of batches of 32 images of
224 x 224, once with all layers trained, and once with those up to ``layer3`` frozen. Printed is the peak of its resident
memory, the kernels and the interpreter included, and its processor time. It fails if one needs more than 4 GB.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from csc_cogd.nn import build_network
from csc_cogd.nn.saving import save_network

LIMIT = 4e9
ABOUT = {"norm_mean": [0.485, 0.456, 0.406], "norm_std": [0.229, 0.224, 0.225]}


def make_images(folder: Path, batches: int, batch: int) -> None:
    """Photographs in all but content: colored textures that compress as these do."""
    rng = np.random.default_rng(0)
    for part, count in (("train", batches * batch), ("test", batch)):
        for number in range(count):
            place = folder / part / "abc"[number % 3]
            place.mkdir(parents=True, exist_ok=True)
            coarse = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8))
            coarse.resize((400, 300), Image.Resampling.BICUBIC).save(place / f"{number}.jpg", quality=90)


def run(*arguments: str) -> tuple[float, float]:
    """Peak of resident memory in bytes, and processor seconds, of a process."""
    child = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-m", "csc_cogd", *arguments])
    _, status, used = os.wait4(child, 0)
    if status:
        sys.exit(f"csc-cogd {' '.join(arguments)} failed")
    return used.ru_maxrss * 1024, used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, default=2, help="of an epoch (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    peaks = []
    with tempfile.TemporaryDirectory() as folder:
        images, weights = Path(folder) / "images", Path(folder) / "resnet50.safetensors"
        make_images(images, options.batches, options.batch)
        save_network(build_network("resnet50", 1000), weights, "resnet50", metadata=ABOUT)
        print("| trained | peak memory | processor seconds a batch |")
        print("| --- | --- | --- |")
        for name, more in {"all layers": (), "after layer3": ("--freeze", "layer3")}.items():
            peak, seconds = run(
                "train", str(images), "-o", str(Path(folder) / f"{len(peaks)}.safetensors"), "--weights", str(weights),
                "--image-size", "224", "--batch-size", str(options.batch), "--epochs", "1", "--learning-rate", "0.001",
                "--threads", str(options.threads), "-q", *more,
            )  # fmt: skip
            print(f"| {name} | {peak / 1e9:.2f} GB | {seconds / options.batches:.0f} |", flush=True)
            peaks.append(peak)
    if max(peaks) > LIMIT:
        sys.exit(f"above {LIMIT / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
