"""Speed of the code solve against SPORCO and against the floor: ``python benchmarks/code_solve.py``.

Same problem, same filters, float32, the same number of threads on both sides, one run. Printed per case:

- milliseconds per iteration of ours, of SPORCO's ADMM, and of the floor: one forward and one inverse real FFT of the K maps,
  one map at a time with a reused plan;
- seconds until the objective at the sparse codes is within 0.1 % of the best that anybody reached;
- peak memory of a solve, in arrays of the codes' size.

The objective is computed by one function for both, outside of the time that is counted. SPORCO solves the circular
problem, so ours is given the same boundary; the last column is ours with the free boundary that the commands use.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tracemalloc

THREADS = int(os.environ.get("BENCHMARK_THREADS", "0"))
if THREADS:  # before NumPy is imported: the libraries read these once
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)

import numpy as np  # noqa: E402

CASES = {
    "100 of 11 x 11 on 256 x 256": (100, 11, 256),
    "64 of 8 x 8 on 512 x 512": (64, 8, 512),
}
LMBDA = 0.01
SPORCO_ITERATIONS = 200
CHECKPOINTS = (15, 25, 40, 60, 80, 100, 150, 200, 300)


def problem(n_filters: int, size: int, pixels: int, masked: bool):
    """Filters from photographs, a photograph without its local mean, and the weights."""
    from scipy.ndimage import gaussian_filter
    from skimage.data import astronaut, camera

    generator = np.random.default_rng(0)
    source = astronaut().mean(axis=2) / 255
    source = source - gaussian_filter(source, 4)
    filters = np.empty((n_filters, size, size), np.float32)
    for d in filters:
        patch = np.zeros(1)
        while patch.std() < 0.02:
            top, left = generator.integers(0, 512 - size, 2)
            patch = source[top : top + size, left : left + size]
        d[...] = (patch - patch.mean()) / np.linalg.norm(patch - patch.mean())
    offset = (512 - pixels) // 2
    image = camera()[offset : offset + pixels, offset : offset + pixels] / 255
    image = (image - gaussian_filter(image, 4)).astype(np.float32)
    weights = (generator.random(image.shape) < 0.5).astype(np.float32) if masked else np.ones_like(image)
    return filters, image, weights


def objective(codes, image, filters, weights) -> float:
    """In double precision, on the circular problem; codes (K, H, W)."""
    import scipy.fft

    spectrum = 0
    for x, d in zip(codes, filters, strict=True):
        spectrum = spectrum + scipy.fft.rfft2(x.astype(float)) * scipy.fft.rfft2(d.astype(float), image.shape)
    fit = scipy.fft.irfft2(spectrum, image.shape)
    return 0.5 * float(((weights * (fit - image)) ** 2).sum()) + LMBDA * float(np.abs(codes).sum(dtype=float))


def floor(n_filters: int, pixels: int, threads: int) -> float:
    """Seconds for one forward and one inverse FFT of the maps, the best of several."""
    from csc_cogd.backend import get_backend

    backend = get_backend(threads=threads)
    workspaces = backend.workspaces((1, 1, pixels, pixels))

    def work(workspace, task):
        for _ in range(task):
            workspace.forward()
            workspace.inverse()
            workspace.real[0, 0, 0, 0] = 0  # unnormalised: keep the values finite

    share = [n_filters // (4 * threads)] * (4 * threads)
    times = []
    for _ in range(7):
        for _ in range(threads):
            workspace = workspaces.get()
            workspace.real[...] = 0
            workspaces.put(workspace)
        start = time.perf_counter()
        backend.run(work, share, workspaces)
        times.append((time.perf_counter() - start) * n_filters / sum(share))
    return min(times)


def ours(filters, image, weights, threads, checkpoints, boundary="circular"):
    """(milliseconds per iteration, [(seconds, codes' objective)])."""
    from csc_cogd import Dictionary, sparse_code

    run = {"lmbda": LMBDA, "weights": weights[None], "tol": 0, "threads": threads, "boundary": boundary}
    sparse_code(image[None], Dictionary(filters), max_iter=3, **run)
    curve, per_iteration = [], []
    for iterations in checkpoints if boundary == "circular" else (20,):
        result = sparse_code(image[None], Dictionary(filters), max_iter=iterations, **run)
        seconds = [record.seconds for record in result.history]
        per_iteration.append(np.median(np.diff(seconds)) if len(seconds) > 1 else seconds[0])
        if boundary == "circular":
            curve.append((seconds[-1], objective(result.codes[0], image, filters, weights)))
    return 1e3 * float(np.median(per_iteration)), curve


def sporcos(filters, image, weights, masked, checkpoints):
    """The same of SPORCO's ADMM: ConvBPDN with automatic penalty, or ConvBPDNMaskDcpl."""
    from sporco.admm import cbpdn

    kind = cbpdn.ConvBPDNMaskDcpl if masked else cbpdn.ConvBPDN
    options = {"MaxMainIter": 1, "RelStopTol": 1e-12, "DataType": np.float32}
    if not masked:
        options["AutoRho"] = {"Enabled": True}
    arguments = (np.moveaxis(filters, 0, -1), image, LMBDA, *((weights,) if masked else ()))
    solver = kind(*arguments, kind.Options(options))
    curve, times, spent = [], [], 0.0
    for iteration in range(1, min(SPORCO_ITERATIONS, max(checkpoints)) + 1):
        start = time.perf_counter()
        solver.solve()
        times.append(time.perf_counter() - start)
        spent += times[-1]
        if iteration in checkpoints:
            codes = np.moveaxis(np.asarray(solver.getcoef()).squeeze(), -1, 0)
            curve.append((spent, objective(codes, image, filters, weights)))
    return 1e3 * float(np.median(times)), curve


def reached(curve, best: float) -> float:
    """Seconds until within 0.1 % of `best`; infinite if never."""
    return next((seconds for seconds, value in curve if value <= 1.001 * best), float("inf"))


def peak_memory(filters, image, weights) -> float:
    """Peak memory of a solve, in arrays of the codes' size, its result included."""
    from csc_cogd import Dictionary, sparse_code

    tracemalloc.start()
    result = sparse_code(image[None], Dictionary(filters), lmbda=LMBDA, weights=weights[None], max_iter=3)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / result.codes.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="on both sides (default 1)")
    parser.add_argument("--quick", action="store_true", help="only the time per iteration and the memory")
    arguments = parser.parse_args()
    threads, checkpoints = arguments.threads, (20,) if arguments.quick else CHECKPOINTS
    if threads != THREADS:  # start again with the libraries told
        os.environ["BENCHMARK_THREADS"] = str(threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    import pyfftw

    pyfftw.config.NUM_THREADS = threads
    import sporco.fft

    sporco.fft.pyfftw_threads = threads
    print(f"float32, {threads} thread(s), lambda {LMBDA}")
    print(f"{'case':<28} {'mask':<5} {'ours':>8} {'SPORCO':>9} {'floor':>8} {'SPORCO/ours':>12} {'ours/floor':>11} "
          f"{'to 0.1 %: ours':>15} {'SPORCO':>9} {'ratio':>7} {'memory':>7} {'free boundary':>14}")  # fmt: skip
    for name, (K, size, pixels) in CASES.items():
        for masked in (False, True):
            filters, image, weights = problem(K, size, pixels, masked)
            mine, my_curve = ours(filters, image, weights, threads, checkpoints)
            bound = 1e3 * floor(K, pixels, threads)
            theirs, their_curve = sporcos(filters, image, weights, masked, checkpoints)
            free, _ = ours(filters, image, weights, threads, checkpoints, "free")
            best = min(value for _, value in my_curve + their_curve)
            a, b = reached(my_curve, best), reached(their_curve, best)
            if arguments.quick:
                a = b = float("nan")
            print(f"{name:<28} {'yes' if masked else 'no':<5} {mine:>5.1f} ms {theirs:>6.1f} ms {bound:>5.1f} ms "
                  f"{theirs / mine:>11.1f}x {mine / bound:>10.2f}x {a:>13.2f} s {b:>7.2f} s {b / a:>6.1f}x "
                  f"{peak_memory(filters, image, weights):>7.1f} {free:>11.1f} ms", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
