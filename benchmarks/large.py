"""A large photograph with a little damage: time, peak memory, and what was predicted: ``python benchmarks/large.py``.

Each run is ``csc-cogd inpaint`` in a process of its own, on a mosaic of photographs with scratches of 3 to 8 pixels that
cover `--damage` of it; the same damage in a quarter of the picture, and half of the damage, show what time follows. The
floor is the time that reading and writing the files takes.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from restoration import pictures_for

from csc_cogd import psnr


def mosaic(height: int, width: int, seed: int) -> np.ndarray:
    """Photographs side by side, mirrored and turned at random, (height, width, 3) uint8."""
    generator = np.random.default_rng(seed)
    pictures = [picture for _, picture in pictures_for([], 512, True)]
    result = np.empty((height, width, 3), np.uint8)
    for top in range(0, height, 512):
        for left in range(0, width, 512):
            picture = pictures[generator.integers(len(pictures))]
            picture = np.rot90(picture[:: generator.choice([-1, 1])], generator.integers(4))
            place = result[top : top + 512, left : left + 512]
            reach = [np.arange(n) % have for n, have in zip(place.shape, picture.shape, strict=False)]
            place[:] = picture[np.ix_(*reach)]
    return result


def scratches(height: int, width: int, share: float, seed: int) -> np.ndarray:
    """Straight scratches until `share` of the pixels is gone, (height, width) bool."""
    generator = np.random.default_rng(seed)
    canvas = Image.new("L", (width, height))
    draw, gone = ImageDraw.Draw(canvas), 0.0
    while gone < share:
        for _ in range(10):
            x, y, angle = generator.random(3) * (width, height, np.pi)
            length, thickness = generator.uniform(100, 1500), int(generator.integers(3, 9))
            end = (x + length * np.cos(angle), y + length * np.sin(angle))
            draw.line([(x, y), end], fill=255, width=thickness)
        gone = float((np.asarray(canvas) > 0).mean())
    return np.asarray(canvas) > 0


def measured(command: list[str]) -> tuple[float, int, str]:
    """Seconds, peak bytes of resident memory (Linux only), and what a command printed to stderr."""
    started, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(command, stderr=log) as process:
        status = Path(f"/proc/{process.pid}/status")
        while process.poll() is None:
            found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
            peak = int(found[1]) * 1024 if found else peak
            time.sleep(0.1)
        seconds = time.perf_counter() - started
        log.seek(0)
        text = log.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{text}")
    return seconds, peak, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(4000, 6000), metavar=("H", "W"))
    parser.add_argument("--damage", type=float, default=0.02, help="share of the pixels")
    parser.add_argument("--options", default="", help="for csc-cogd inpaint, such as '--fast'")
    arguments = parser.parse_args()
    (H, W), damage = arguments.size, arguments.damage
    print(
        "| picture | damage | seconds | peak GB | predicted GB | reading and writing | PSNR where missing, before, after |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for h, w, share in ((H, W, damage), (H, W, damage / 2), (H // 2, W // 2, damage)):
        picture, mask = mosaic(h, w, 0), scratches(h, w, share, 0)
        with tempfile.TemporaryDirectory() as folder:
            scratched, out, marked = (Path(folder) / name for name in ("picture.png", "restored.png", "mask.png"))
            Image.fromarray(np.where(mask[..., None], 255, picture).astype(np.uint8)).save(scratched, compress_level=1)
            Image.fromarray(mask.astype(np.uint8) * 255).save(marked)
            program = [sys.executable, "-m", "csc_cogd", "inpaint", str(scratched), "-o", str(out), "-v"]
            command = [*program, "-m", str(marked), *arguments.options.split()]
            _, _, plan = measured([*command, "--dry-run"])
            seconds, peak, _ = measured(command)
            started = time.perf_counter()
            Image.fromarray(np.asarray(Image.open(scratched))).save(Path(folder) / "copy.png")
            copying = time.perf_counter() - started
            with Image.open(out) as image:
                restored = np.asarray(image)
            if (restored[~mask] != picture[~mask]).any():
                raise SystemExit("a known pixel was changed")
        where = np.broadcast_to(mask[..., None], picture.shape)
        white = psnr(np.full_like(picture, 255), picture, data_range=255, where=where)
        better = psnr(restored, picture, data_range=255, where=where)
        predicted = re.search(r"in ([\d.]+) GB at most", plan)
        tiles = re.search(r"\d+ tiles? of \d+ x \d+", plan)
        assert predicted is not None
        assert tiles is not None
        memory = f"{peak / 1e9:.2f} | {predicted[1]}"
        quality = f"{white:.2f}, {better:.2f}"
        row = f"| {w} x {h}, {tiles[0]} | {mask.mean():.1%} | {seconds:.0f} | {memory} | {copying:.1f} | {quality} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
