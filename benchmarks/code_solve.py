"""An iteration of the code solve against SPORCO and against the floor: ``python benchmarks/code_solve.py``.

Same problem, same filters, float32, the same number of threads on both sides, one run. Printed per case:

- milliseconds per iteration of our ADMM, of SPORCO's ADMM, and of the floor: one forward and one inverse real FFT of the K
  maps, one map at a time with a reused plan; and what the last number of threads gains over the first;
- peak memory of a whole solve by either of our solvers in a process of its own, less what the process held before, in
  arrays of the codes' size.

SPORCO solves the circular problem, so ours is given the same boundary; the last column is ours with the free boundary that
the commands use. How long it takes to the optimum: ``benchmarks/convergence.py``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

CASES = {
    "100 of 11 x 11 on 256 x 256": (100, 11, 256),
    "64 of 8 x 8 on 512 x 512": (64, 8, 512),
}
LMBDA = 0.01
ITERATIONS, ROUNDS = 20, 5


def problem(n_filters: int, size: int, pixels: int, masked: bool):
    """Filters from photographs, a photograph without its local mean, and the weights."""
    from scipy.ndimage import gaussian_filter
    from skimage.data import astronaut, camera

    generator = np.random.default_rng(0)
    source = astronaut().mean(axis=2) / 255
    filters = pieces(source - gaussian_filter(source, 4), n_filters, size, generator)
    offset = (512 - pixels) // 2
    image = camera()[offset : offset + pixels, offset : offset + pixels] / 255
    image = (image - gaussian_filter(image, 4)).astype(np.float32)
    weights = (generator.random(image.shape) < 0.5).astype(np.float32) if masked else np.ones_like(image)
    return filters, image, weights


def pieces(source: np.ndarray, number: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Pieces (number, ..., size, size) of an image (..., H, W) that have some contrast, of mean zero and unit norm."""
    found: list[np.ndarray] = []
    while len(found) < number:
        top, left = generator.integers(0, 512 - size, 2)
        patch = source[..., top : top + size, left : left + size]
        if patch.std() >= 0.02:
            patch = patch - patch.mean(axis=(-2, -1), keepdims=True)
            found.append(patch / np.linalg.norm(patch))
    return np.array(found, np.float32)


def floor(n_filters: int, pixels: int, threads: int) -> float:
    """Seconds for one forward and one inverse FFT of the maps."""
    from csc_cogd.backend import get_backend

    backend = get_backend(threads=threads)
    workspaces = backend.workspaces((1, 1, pixels, pixels))

    def work(workspace, task):
        for _ in range(task):
            workspace.forward()
            workspace.inverse()
            workspace.real[0, 0, 0, 0] = 0  # unnormalised: keep the values finite

    share = [n_filters // (4 * threads)] * (4 * threads)
    for _ in range(threads):
        workspace = workspaces.get()
        workspace.real[...] = 0
        workspaces.put(workspace)
    start = time.perf_counter()
    backend.run(work, share, workspaces)
    return (time.perf_counter() - start) * n_filters / sum(share)


def ours(filters, image, weights, threads, boundary="circular") -> float:
    """Seconds per iteration, the median."""
    from csc_cogd import Dictionary, sparse_code

    run = {"lmbda": LMBDA, "weights": weights[None], "tol": 0, "threads": threads, "boundary": boundary, "solver": "admm"}
    seconds = [
        record.seconds for record in sparse_code(image[None], Dictionary(filters), max_iter=ITERATIONS, **run).history
    ]
    return float(np.median(np.diff(seconds)))


class Sporco:
    """SPORCO's ADMM, an iteration at a time: ConvBPDN with automatic penalty, or ConvBPDNMaskDcpl."""

    def __init__(self, filters, image, weights, masked):
        from sporco.admm import cbpdn

        kind = cbpdn.ConvBPDNMaskDcpl if masked else cbpdn.ConvBPDN
        options = {"MaxMainIter": 1, "RelStopTol": 1e-12, "DataType": np.float32}
        if not masked:
            options["AutoRho"] = {"Enabled": True}
        arguments = (np.moveaxis(filters, 0, -1), image, LMBDA, *((weights,) if masked else ()))
        self.solver = kind(*arguments, kind.Options(options))

    def iteration(self) -> float:
        start = time.perf_counter()
        self.solver.solve()
        return time.perf_counter() - start


def peak_memory(case: tuple[int, int, int], solver: str) -> float:
    """Peak memory of a solve in a process of its own, in arrays of the codes' size, its result included."""
    program = f"""
import re, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from code_solve import LMBDA, problem
from csc_cogd import Dictionary, sparse_code
filters, image, weights = problem(*{case}, True)
run = dict(lmbda=LMBDA, weights=weights[None], max_iter=40, threads=1, solver={solver!r})
sparse_code(image[None, :64, :64], Dictionary(filters), **run | dict(weights=weights[None, :64, :64]))  # compile
held = int(re.search(r"VmRSS:\\s*(\\d+)", open("/proc/self/status").read())[1])
result = sparse_code(image[None], Dictionary(filters), **run)
peak = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
print((peak - held) * 1024 / result.codes.nbytes)
"""
    return float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)


def limit_threads(threads: int) -> None:
    """On the peers' side."""
    import pyfftw
    import sporco.fft
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)
    pyfftw.config.NUM_THREADS = sporco.fft.pyfftw_threads = threads


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="on both sides (default 1 2)")
    arguments = parser.parse_args()
    print(f"float32, lambda {LMBDA}; the shortest of {ROUNDS} rounds, in turns\n")
    print(
        "| filters, image | mask | threads | ours | SPORCO | floor | SPORCO / ours | ours / floor | gain by threads | free |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, case in CASES.items():
        for masked in (False, True):
            filters, image, weights = problem(*case, masked)
            best = {threads: np.full(4, np.inf) for threads in arguments.threads}
            for _ in range(ROUNDS):
                for threads in arguments.threads:
                    limit_threads(threads)
                    peer = Sporco(filters, image, weights, masked)
                    figures = [
                        ours(filters, image, weights, threads),
                        float(np.median([peer.iteration() for _ in range(4)])),
                        min(floor(case[0], case[2], threads) for _ in range(3)),
                        ours(filters, image, weights, threads, "free"),
                    ]
                    best[threads] = np.minimum(best[threads], 1e3 * np.array(figures))
            for threads, (mine, theirs, bound, free) in best.items():
                gain = best[arguments.threads[0]][0] / mine
                ratios = f"{theirs / mine:.1f} x | {mine / bound:.2f} | {gain:.2f} x"
                times = f"{mine:.1f} ms | {theirs:.0f} ms | {bound:.1f} ms"
                print(
                    f"| {name} | {'yes' if masked else 'no'} | {threads} | {times} | {ratios} | {free:.1f} ms |", flush=True
                )
    print("\n| filters, image, free boundary | peak memory of ADMM | of coordinate descent |")
    print("| --- | --- | --- |")
    for name, case in CASES.items():
        figures = [f"{peak_memory(case, solver):.1f} arrays of the codes' size" for solver in ("admm", "coordinate descent")]
        print(f"| {name} | {' | '.join(figures)} |", flush=True)


if __name__ == "__main__":
    main()
