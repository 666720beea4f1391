"""What cleaning a large scan takes: ``python benchmarks/clean_large.py [--size H W] [--options ...]``.

``csc-cogd clean`` in a process of its own, on a mosaic of photographs of 24 megapixels, in 16 bits, with a quarter of the
usual damage: seconds of the clock and of the processors, and the peak of the memory.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from film import damage
from large import mosaic

SIZE = (4000, 6000)
AMOUNT = 0.25


class Run(NamedTuple):
    """What a command took: seconds, and bytes at most; and what it printed to stderr."""

    clock: float
    processors: float
    peak: int
    text: str


def write_scan(path: Path, height: int, width: int) -> None:
    picture = mosaic(height, width, 0).astype(np.float32)
    picture /= 255
    damaged = damage(picture, 2, amount=AMOUNT).damaged
    tifffile.imwrite(path, np.rint(np.clip(damaged, 0, 1) * 65535).astype(np.uint16), photometric="rgb")


def measured(command: list[str]) -> Run:
    with tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(command, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        clock = time.perf_counter() - started
        log.seek(0)
        text = log.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{text}")
    return Run(clock, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, text)


def print_tables(count: int | None = None, size: tuple[int, int] = SIZE, options: str = "") -> None:
    del count  # there is one picture
    with tempfile.TemporaryDirectory() as folder:
        scan, out = Path(folder) / "scan.tif", Path(folder) / "cleaned.tif"
        write_scan(scan, *size)
        program = [sys.executable, "-m", "csc_cogd", "clean", str(scan), *options.split()]
        runs = {"found": measured([*program, "--dry-run"]), "cleaned": measured([*program, "-o", str(out)])}
    found = re.search(r"\S+% of the area", runs["found"].text)
    print(f"\n### A scan of {size[0] * size[1] / 1e6:.0f} megapixels, {found[0] if found else 'nothing'} found\n")
    print("| | seconds | of processors | peak GB |\n| --- | --- | --- | --- |")
    for name, run in runs.items():
        print(f"| {name} | {run.clock:.0f} | {run.processors:.0f} | {run.peak / 1e9:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=SIZE, metavar=("H", "W"))
    parser.add_argument("--options", default="", help="for csc-cogd clean, such as '--fast'")
    given = parser.parse_args()
    print_tables(size=tuple(given.size), options=given.options)


if __name__ == "__main__":
    main()
