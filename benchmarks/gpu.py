"""The engine on a GPU against a CPU core, SPORCO on the GPU, and the bandwidth: ``python benchmarks/gpu.py``.

Float32, 100 filters of 11 x 11, circular boundary, one run. Printed are:

- milliseconds per iteration of the code solve by ADMM, on the CPU (one thread), by SPORCO's ADMM on the GPU, and ours on the
  GPU; and the share of the bandwidth bound: bytes that any ADMM must move, which are its state read and written once, over
  the time they were moved in, relative to the bandwidth that a large copy on the device reaches;
- how far codes of the two devices are apart after 200 iterations, relative to their norm;
- seconds of learning from many pictures at once.

Needs a GPU, CuPy (``pip install '.[cuda13]'``) and, for the peer, SPORCO with GPUtil.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from code_solve import LMBDA, ours, problem

K, SIZE = 100, 11
CASES = {"256 x 256": (256, 1), "1024 x 1024": (1024, 1), "64 of 1024 x 1024": (1024, 64)}
ITERATIONS = 200


def copy_bandwidth(cupy: Any) -> float:
    """Bytes read and written a second by a copy of 2 GB on the device, the best of ten."""
    source = cupy.zeros(2**29, np.float32)
    target = cupy.empty_like(source)
    return 2 * source.nbytes / min(seconds(cupy, lambda: cupy.copyto(target, source)) for _ in range(10))


def seconds(cupy: Any, function: Callable[[], Any]) -> float:
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record()
    function()
    end.record()
    end.synchronize()
    return 1e-3 * cupy.cuda.get_elapsed_time(begin, end)


def tiled(image: np.ndarray, pixels: int, number: int) -> np.ndarray:
    """Images (number, pixels, pixels) made of a smaller one, each turned otherwise."""
    times = -(-pixels // len(image))
    large = np.tile(image, (times, times))[:pixels, :pixels]
    return np.stack([np.roll(large, 17 * n, axis=n % 2) for n in range(number)]).astype(np.float32)


def on_gpu(cupy: Any, images: np.ndarray, filters: np.ndarray) -> float:
    """Seconds per iteration, with what is measured every ten iterations."""
    from csc_cogd import Dictionary, sparse_code

    run = {"lmbda": LMBDA, "tol": 0, "boundary": "circular", "max_iter": ITERATIONS, "device": "cuda"}
    history = sparse_code(cupy.asarray(images), Dictionary(filters), **run).history
    middle = history[len(history) // 2]
    return (history[-1].seconds - middle.seconds) / (history[-1].iteration - middle.iteration)


def sporco(cupy: Any, image: np.ndarray, filters: np.ndarray) -> float:
    """Seconds per iteration of SPORCO's ADMM with automatic penalty on the GPU; NaN where it doesn't run."""
    try:
        from sporco.cupy.admm import cbpdn

        options = {"MaxMainIter": 20, "RelStopTol": 1e-12, "DataType": np.float32, "AutoRho": {"Enabled": True}}
        dictionary = cupy.asarray(np.moveaxis(filters, 0, -1))
        solver = cbpdn.ConvBPDN(dictionary, cupy.asarray(image), LMBDA, cbpdn.ConvBPDN.Options(options))
        solver.solve()
        return seconds(cupy, solver.solve) / 20
    except Exception as error:  # whatever keeps the peer from running must not hide our figures
        print(f"SPORCO on the GPU doesn't run here: {error}")
        return float("nan")


def distance(image: np.ndarray, filters: np.ndarray) -> float:
    """Of the codes from both devices, relative to their norm."""
    from csc_cogd import Dictionary, sparse_code

    run = {"lmbda": LMBDA, "tol": 0, "max_iter": 200, "solver": "admm"}
    cpu, gpu = (sparse_code(image[None], Dictionary(filters), **run, device=device).codes for device in ("cpu", "cuda"))
    return float(np.linalg.norm(cpu - gpu) / np.linalg.norm(cpu))


def main() -> None:
    from csc_cogd import DeviceError, learn_dictionary
    from csc_cogd.backend.cuda.device import describe_device, open_device

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=100, help="that are learned from, of 512 x 512 (default 100)")
    parser.add_argument("--rounds", type=int, default=20, help="of learning (default 20)")
    arguments = parser.parse_args()
    try:
        name = describe_device(open_device("cuda"))
    except DeviceError as error:
        raise SystemExit(str(error)) from None
    import cupy

    bandwidth = copy_bandwidth(cupy)
    print(f"{name}; a copy moves {bandwidth / 1e9:.0f} GB/s; {K} filters of {SIZE} x {SIZE}, float32, lambda {LMBDA}\n")
    print("| images | one core | SPORCO, GPU | ours, GPU | core / ours | SPORCO / ours | share of the bandwidth bound |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    filters, image, _ = problem(K, SIZE, 256, False)
    for case, (pixels, number) in CASES.items():
        images = tiled(image, pixels, number)
        core = peer = float("nan")
        if number == 1:
            core = ours(filters, images[0], np.ones_like(images[0]), 1)
            peer = sporco(cupy, images[0], filters)
        mine = on_gpu(cupy, images, filters)
        share = 2 * K * images.nbytes / mine / bandwidth
        cells = " | ".join(f"{1e3 * t:.3g} ms" for t in (core, peer, mine))
        print(f"| {case} | {cells} | {core / mine:.0f} x | {peer / mine:.1f} x | {share:.0%} |", flush=True)
    print(f"\ncodes of GPU and CPU: {distance(image, filters):.1e} apart, relative to their norm")
    pictures = tiled(image, 512, arguments.pictures)
    started = time.perf_counter()
    learned = learn_dictionary(
        cupy.asarray(pictures), K, SIZE, lmbda=5 * LMBDA, max_iter=arguments.rounds, tol=0, device="cuda"
    )
    took = time.perf_counter() - started
    print(
        f"learning from {len(pictures)} of 512 x 512, {len(learned.history)} rounds: {took:.0f} s, "
        f"{cupy.get_default_memory_pool().total_bytes() / 1e9:.0f} GB of the GPU's memory"
    )


if __name__ == "__main__":
    main()
