"""How time and memory grow: ``python benchmarks/growth.py [--plot growth.svg]``.

The code solve by either solver, float32, free boundary, a fixed number of iterations, with more and more pixels, filters, or
images; every solve in a process of its own. Printed are seconds, the peak of memory less what the process held before, and
the exponents of the power laws fitted to both (1: in proportion).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

SERIES = {
    "pixels": [(side**2, (64, 8, side, 1)) for side in (256, 512, 1024, 2048, 4096)],
    "filters": [(K, (K, 8, 256, 1)) for K in (25, 50, 100, 200, 400)],
    "images": [(N, (16, 8, 64, N)) for N in (1, 10, 100, 1000)],
}
ITERATIONS = {"admm": 10, "coordinate descent": 6}

PROGRAM = """
import re, sys, time
import numpy as np
sys.path.insert(0, {folder!r})
from code_solve import LMBDA, problem
from csc_cogd import Dictionary, sparse_code
K, size, side, N = {case}
filters, image, _ = problem(K, size, 512, False)
run = dict(lmbda=LMBDA, solver={solver!r}, tol=0, threads={threads})
sparse_code(image[None, :64, :64], Dictionary(filters), max_iter=2, **run)  # compile
tiles = -(-side // 512)
image = np.tile(image, (tiles, tiles))
starts = np.random.default_rng(0).integers(0, len(image) - side + 1, (N, 2))
images = np.stack([image[top : top + side, left : left + side] for top, left in starts])
held = int(re.search(r"VmRSS:\\s*(\\d+)", open("/proc/self/status").read())[1])
started = time.perf_counter()
sparse_code(images, Dictionary(filters), max_iter={iterations}, **run)
seconds = time.perf_counter() - started
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
print(seconds, (peak - held) * 1024)
"""


def measured(case: tuple[int, int, int, int], solver: str, threads: int) -> tuple[float, float] | None:
    """Seconds and bytes of a solve; None where the process failed, as for want of memory."""
    program = PROGRAM.format(
        folder=str(Path(__file__).parent), case=case, solver=solver, threads=threads, iterations=ITERATIONS[solver]
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    if done.returncode:
        print((done.stderr.splitlines() or [f"ended by signal {-done.returncode}"])[-1], file=sys.stderr)
        return None
    seconds, memory = map(float, done.stdout.split())
    return seconds, memory


def exponents(sizes: list[float], figures: list[tuple[float, float]]) -> list[float]:
    """Of power laws through (size, seconds) and (size, bytes), without what is too little to be measured."""
    laws = []
    for values, least in zip(np.array(figures).T, (0.05, 5e6), strict=True):
        kept = values > least
        fitted = np.polyfit(np.log(np.array(sizes)[kept]), np.log(values[kept]), 1) if kept.sum() > 1 else [np.nan]
        laws.append(float(fitted[0]))
    return laws


def plot(curves: dict[tuple[str, str], tuple[list, list]], path: Path) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(SERIES), figsize=(12, 6), squeeze=False)
    for column, series in enumerate(SERIES):
        for row, (label, unit) in enumerate((("seconds", 1.0), ("peak memory in GB", 1e-9))):
            for solver in ITERATIONS:
                sizes, figures = curves.get((series, solver), ([], []))
                axes[row, column].loglog(sizes, [f[row] * unit for f in figures], "o-", label=solver)
            axes[row, column].set(xlabel=series, ylabel=label)
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--limit", type=float, default=8e9, help="bytes that the codes may take (default 8e9)")
    parser.add_argument("--plot", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    print("| what grows | solver | sizes | seconds | peak memory in GB | exponents of time and memory |")
    print("| --- | --- | --- | --- | --- | --- |")
    curves = {}
    for series, cases in SERIES.items():
        for solver in ITERATIONS:
            sizes, figures = [], []
            for size, (K, h, side, N) in cases:
                if 4.0 * N * K * (side + h - 1) ** 2 > arguments.limit:
                    break
                found = measured((K, h, side, N), solver, arguments.threads)
                if found is None:
                    break
                sizes.append(size)
                figures.append(found)
            curves[series, solver] = sizes, figures
            times = ", ".join(f"{seconds:.2g}" for seconds, _ in figures)
            memory = ", ".join(f"{bytes_ / 1e9:.2g}" for _, bytes_ in figures)
            laws = ", ".join(f"{e:.2f}" for e in exponents(sizes, figures)) if len(sizes) > 1 else "-"
            print(f"| {series} | {solver} | {', '.join(map(str, sizes))} | {times} | {memory} | {laws} |", flush=True)
    if arguments.plot:
        plot(curves, arguments.plot)


if __name__ == "__main__":
    main()
