"""A batch by one process and by two, and the memory it takes: ``python benchmarks/batch.py``.

Pieces of photographs, 256 x 256 with a scratch or two, are restored by ``csc-cogd inpaint`` with ``--jobs 1`` and with
``--jobs 2``, one thread a process. The ratio of their throughputs can't be more than 2. Memory is what all of a command's
processes hold by themselves (Linux only), sampled while results appear. Both runs must give the same files.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

SIDE = 256


class Sample(NamedTuple):
    """Bytes that the command and its workers hold when so many results are there."""

    results: int
    parent: int
    workers: int


class Run(NamedTuple):
    first: float
    seconds: float
    samples: list[Sample]


def save_images(folder: Path, count: int, seed: int = 0) -> None:
    """``folder/images`` and ``folder/masks``: gray pieces of scikit-image's photographs, mirrored and turned at random."""
    from skimage import data

    rng = np.random.default_rng(seed)
    photos = [data.camera(), data.astronaut()[..., 1], data.coffee()[..., 1], data.chelsea()[..., 1], data.rocket()[..., 1]]
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for number in range(count):
        photo = photos[rng.integers(len(photos))]
        y, x = (rng.integers(0, length - SIDE + 1) for length in photo.shape)
        piece = np.rot90(photo[y : y + SIDE, x : x + SIDE][:: rng.choice([-1, 1])], rng.integers(4))
        Image.fromarray(np.ascontiguousarray(piece)).save(folder / "images" / f"{number:05d}.png")
        mask = Image.new("L", (SIDE, SIDE))
        for _ in range(rng.integers(1, 3)):
            (x, y), angle, length = rng.integers(30, SIDE - 30, 2), 2 * np.pi * rng.random(), rng.uniform(30, 90)
            end = (x + length * np.cos(angle), y + length * np.sin(angle))
            ImageDraw.Draw(mask).line([(int(x), int(y)), end], fill=255, width=int(rng.integers(2, 4)))
        mask.save(folder / "masks" / f"{number:05d}.png")


def measured(folder: Path, output: Path, jobs: int, arguments: list[str]) -> Run:
    """Seconds until the first result and until the end, and samples of memory between them."""
    command = [
        sys.executable, "-m", "csc_cogd", "inpaint", str(folder / "images"), "-m", str(folder / "masks"), "-o", str(output),
        "--device", "cpu", "--jobs", str(jobs), "--threads", "1", "--quiet", *arguments,
    ]  # fmt: skip
    started, first, samples = time.perf_counter(), 0.0, list[Sample]()
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            time.sleep(0.5)
            n_results = sum(not path.name.startswith(".") for path in output.glob("*.png"))
            if n_results and not first:
                first = time.perf_counter() - started
            held = [private_memory(pid) for pid in descendants(process.pid)]
            if n_results and held:
                samples.append(Sample(n_results, held[0], sum(held[1:])))
    if process.returncode:
        raise SystemExit(f"csc-cogd failed: {process.returncode}")
    return Run(first, time.perf_counter() - started, samples)


def descendants(pid: int) -> list[int]:
    """A process, its children, and theirs."""
    found = [pid]
    for process in found:
        for children in Path(f"/proc/{process}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:  # it has ended
                continue
    return found


def private_memory(pid: int) -> int:
    """Bytes that a process holds and shares with nobody: what a forked one has from its parent isn't counted twice."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return 1024 * sum(int(size) for size in re.findall(r"Private_\w+:\s*(\d+) kB", text))


def memory_line(samples: list[Sample], count: int, name: str) -> str:
    """Least, median and most memory in megabytes in the first and the last quarter of the results."""
    text = []
    for low, high in ((0, count / 4), (3 * count / 4, count)):
        sizes = [getattr(sample, name) / 1e6 for sample in samples if low <= sample.results < high] or [0.0]
        text.append(f"{min(sizes):.0f} / {median(sizes):.0f} / {max(sizes):.0f} MB")
    return " | ".join(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000, help="images")
    options, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_images(folder, options.count)
        runs = {jobs: measured(folder, folder / f"out{jobs}", jobs, arguments) for jobs in (1, 2)}
        for path in (folder / "out1").glob("*.png"):
            assert path.read_bytes() == (folder / "out2" / path.name).read_bytes(), f"{path.name} differs"
    print("| processes | seconds | first result after | images/s | ratio (at most 2) |")
    print("| --- | --- | --- | --- | --- |")
    for jobs, run in runs.items():
        speed, ratio = options.count / run.seconds, runs[1].seconds / run.seconds
        print(f"| {jobs} | {run.seconds:.1f} | {run.first:.1f} s | {speed:.2f} | {ratio:.2f} |")
    print("\n| processes | memory of | first quarter: least / median / most | last quarter |\n| --- | --- | --- | --- |")
    for jobs, run in runs.items():
        for part in ("parent", "workers")[:jobs]:
            print(f"| {jobs} | {part} | {memory_line(run.samples, options.count, part)} |")


if __name__ == "__main__":
    main()
