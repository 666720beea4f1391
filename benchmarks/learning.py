"""Speed of learning against SPORCO: ``python benchmarks/learning.py [--threads N]``.

Ten pieces of 100 x 100 from photographs that scikit-image brings along, without their local mean; 100 filters of 11 x
11; float32; the same problem, initial filters and number of threads. SPORCO's ConvBPDNDictLearn (circular boundary, as
ours here) and ConvBPDNMaskDictLearn (half of the pixels) run 100 outer iterations; printed is how long ours takes to
SPORCO's objective at that point, and how far it gets in SPORCO's time. Both objectives are computed by one function, at
feasible filters and the sparse codes, outside of the time that is counted. The floor is one forward and one inverse FFT
of all code maps an iteration.

``--memory`` instead learns online from 100 pictures of 512 x 512 and prints the process's peak memory.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from typing import Any

THREADS = int(os.environ.get("BENCHMARK_THREADS", "0"))
if THREADS:  # before NumPy is imported: the libraries read these once
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)

import numpy as np  # noqa: E402

N_FILTERS, SIZE, PIXELS, N_IMAGES, LMBDA, OUTER = 100, 11, 100, 10, 0.05, 100


def pictures(number: int, size: int) -> np.ndarray:
    """Pieces of photographs less their local mean, float32."""
    import skimage.data
    from scipy.ndimage import gaussian_filter, zoom

    generator = np.random.default_rng(0)
    sources = [skimage.data.camera(), *(getattr(skimage.data, n)().mean(axis=2) for n in ("astronaut", "coffee", "chelsea"))]
    details = []
    for source in sources:
        grown = source / 255 if min(source.shape) >= size else zoom(source / 255, 1.01 * size / min(source.shape), order=1)
        details.append(grown - gaussian_filter(grown, 4))
    found: list[np.ndarray] = []
    while len(found) < number:
        detail = details[len(found) % len(details)]
        top, left = (generator.integers(0, length - size + 1) for length in detail.shape)
        found.append(detail[top : top + size, left : left + size])
    return np.array(found, np.float32)


def initial_filters() -> np.ndarray:
    filters = np.random.default_rng(1).standard_normal((N_FILTERS, SIZE, SIZE)).astype(np.float32)
    return filters / np.linalg.norm(filters, axis=(1, 2))[:, None, None]


def objective(codes: np.ndarray, filters: np.ndarray, images: np.ndarray, weights: np.ndarray) -> float:
    """In double precision, on the circular problem; codes (N, K, H, W)."""
    import scipy.fft

    spectra = scipy.fft.rfft2(filters.astype(float), images.shape[1:])
    total = LMBDA * float(np.abs(codes).sum(dtype=float))
    for x, image, weight in zip(codes, images, weights, strict=True):
        fit = scipy.fft.irfft2((scipy.fft.rfft2(x.astype(float)) * spectra).sum(axis=0), image.shape)
        total += 0.5 * float((weight * (fit - image) ** 2).sum())
    return total


def by_sporco(images: np.ndarray, weights: np.ndarray | None, filters: np.ndarray) -> tuple[float, float, float]:
    """Seconds of 100 outer iterations, processor seconds, and the objective reached."""
    import warnings

    warnings.simplefilter("ignore")
    import pyfftw
    import sporco.fft
    from sporco.dictlrn import cbpdndl, cbpdndlmd

    pyfftw.config.NUM_THREADS = sporco.fft.pyfftw_threads = THREADS

    shared = {"Verbose": False, "MaxMainIter": OUTER}
    stack, start = np.moveaxis(images, 0, -1), np.moveaxis(filters, 0, -1)
    if weights is None:
        options = cbpdndl.ConvBPDNDictLearn.Options(
            shared
            | {"CBPDN": {"rho": 50 * LMBDA + 0.5, "DataType": np.float32}, "CCMOD": {"rho": 10.0, "DataType": np.float32}},
            dmethod="cns",
        )
        solver: Any = cbpdndl.ConvBPDNDictLearn(start, stack, LMBDA, options, dmethod="cns")
    else:
        options = cbpdndlmd.ConvBPDNMaskDictLearn.Options(
            shared
            | {"CBPDN": {"rho": 20 * LMBDA + 0.5, "DataType": np.float32}, "CCMOD": {"rho": 2.0, "DataType": np.float32}},
            dmethod="cns",
        )
        mask = np.moveaxis(weights, 0, -1).reshape(PIXELS, PIXELS, 1, N_IMAGES, 1)
        solver = cbpdndlmd.ConvBPDNMaskDictLearn(start, stack, LMBDA, mask, options, dmethod="cns")
    wall, processor = time.perf_counter(), time.process_time()
    solver.solve()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    learned = np.moveaxis(solver.getdict().squeeze(), -1, 0)
    codes = np.moveaxis(solver.getcoef().squeeze(), (2, 3), (0, 1))  # (N, K, H, W)
    reached = objective(codes, learned, images, np.ones_like(images) if weights is None else weights)
    return wall, processor, reached


def ours(images: np.ndarray, weights: np.ndarray | None, filters: np.ndarray, seconds: float) -> list[tuple[float, float]]:
    """(seconds, objective) after each outer iteration, until `seconds` have passed."""
    from csc_cogd import Dictionary, learn_dictionary

    learned = learn_dictionary(
        images, N_FILTERS, SIZE, lmbda=LMBDA, weights=weights, max_iter=2000, tol=0, start=Dictionary(filters),
        boundary="circular", threads=THREADS, callback=lambda record: record.seconds > seconds,
    )  # fmt: skip
    check = objective(
        learned.codes, learned.dictionary.filters, images, np.ones_like(images) if weights is None else weights
    )
    if abs(check / learned.objective - 1) > 1e-3:
        raise SystemExit(f"the objectives differ: {check} and {learned.objective}")
    return [(record.seconds, record.objective) for record in learned.history]


def floor() -> float:
    """Seconds for one forward and one inverse FFT of all code maps."""
    from csc_cogd.backend import get_backend

    backend = get_backend(threads=THREADS)
    workspaces = backend.workspaces((1, 1, PIXELS, PIXELS))

    def work(workspace: Any, task: int) -> None:
        for _ in range(task):
            workspace.forward()
            workspace.inverse()

    best = np.inf
    for _ in range(5):
        started = time.perf_counter()
        backend.run(work, [N_FILTERS] * N_IMAGES, workspaces)
        best = min(best, time.perf_counter() - started)
    return best


def compare() -> None:
    images, filters = pictures(N_IMAGES, PIXELS), initial_filters()
    print(
        f"{N_IMAGES} images of {PIXELS} x {PIXELS}, {N_FILTERS} filters of {SIZE} x {SIZE}, lambda {LMBDA}, float32, ",
        end="",
    )
    print(f"threads: {THREADS}; floor {1000 * floor():.0f} ms an iteration of either phase\n")
    print("| problem | SPORCO, 100 outer iterations | objective | ours to it | ratio | ours in SPORCO's time |")
    print("| --- | --- | --- | --- | --- | --- |")
    masks = (np.random.default_rng(2).random(images.shape) < 0.5).astype(np.float32)
    for name, weights in (("complete", None), ("half of the pixels", masks)):
        ours(images, weights, filters, 0.0)  # compile
        wall, processor, goal = by_sporco(images, weights, filters)
        trace = ours(images, weights, filters, wall)
        reached = next(((seconds, n) for n, (seconds, value) in enumerate(trace, 1) if value <= goal), None)
        seconds, number = reached if reached else (float("nan"), 0)
        print(
            f"| {name} | {wall:.1f} s ({processor:.1f} s CPU) | {goal:.2f} | {seconds:.1f} s ({number} outer iterations) | "
            f"{wall / seconds:.1f} x | {trace[-1][1]:.2f} |",
            flush=True,
        )


def memory() -> None:
    from csc_cogd import learn_dictionary_online

    images = pictures(100, 512)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    started = time.perf_counter()
    learned = learn_dictionary_online(images, N_FILTERS, SIZE, lmbda=LMBDA, max_iter=50, threads=THREADS)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    ends = [np.mean([record.objective for record in part]) for part in (learned.history[:10], learned.history[-10:])]
    seconds = time.perf_counter() - started
    print(f"100 images of 512 x 512, {N_FILTERS} filters of {SIZE} x {SIZE}: 50 batches in {seconds:.0f} s")
    print(f"mean objective of a batch: first ten {ends[0]:.1f}, last ten {ends[1]:.1f}")
    print(f"peak memory: {peak:.2f} GB, of which {before:.2f} GB before learning")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="on both sides (default 1)")
    parser.add_argument("--memory", action="store_true", help="peak memory of online learning instead")
    arguments = parser.parse_args()
    if arguments.threads != THREADS:  # start again with the libraries told
        os.environ["BENCHMARK_THREADS"] = str(arguments.threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    if arguments.memory:
        memory()
    else:
        compare()


if __name__ == "__main__":
    main()
