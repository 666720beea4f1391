"""The engine on a GPU against a CPU core, SPORCO on the GPU, and the bandwidth: ``python benchmarks/gpu.py``.

Float32, 100 filters of 11 x 11, circular boundary, one run. Each part prints a line as soon as it is measured, ends after
`--limit` seconds, and can be chosen by `--parts`:

code        milliseconds per iteration of one image, by our ADMM on the GPU, by SPORCO's ADMM and its PGM (FISTA) on the GPU,
            and by our ADMM on one core
graphs      256 x 256 with iterations replayed as CUDA graphs, and with every kernel launched
batch       64 images of 1024 x 1024 at once
agreement   how far codes of the two devices are apart after 200 iterations, relative to their norm
learning    seconds of learning from 100 pictures of 512 x 512 at once, and the memory that it takes

The share of the bandwidth bound is that of bytes that any ADMM must move, its state read and written once, over the time
they were moved in, in the bandwidth that a large copy on the device reaches.

Needs a GPU, CuPy (``pip install '.[cuda13]'``) and, for the peer, SPORCO with GPUtil. Not run on a card yet.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from code_solve import LMBDA, problem

K, SIZE = 100, 11
SMALL, SIDES, BATCH = 256, (256, 1024), (64, 1024)
ITERATIONS, PEERS_ITERATIONS = 200, 20
COPIED = 2**31  # bytes
PATIENCE = 20.0  # seconds for a CPU core, of which a few iterations tell enough
GRAPHS = "CSC_COGD_CUDA_GRAPHS"


class Setup(NamedTuple):
    """What all parts use."""

    cupy: Any
    bandwidth: float
    filters: np.ndarray
    image: np.ndarray
    pictures: int
    rounds: int
    limit: float


def main() -> None:
    from csc_cogd import DeviceError
    from csc_cogd.backend import get_backend
    from csc_cogd.backend.cuda.device import describe_device

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="default: all")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each part (default 120)")
    parser.add_argument("--pictures", type=int, default=100, help="that are learned from, of 512 x 512 (default 100)")
    parser.add_argument("--rounds", type=int, default=20, help="of learning (default 20)")
    arguments = parser.parse_args()
    try:
        name = describe_device(get_backend("cuda").device)
    except DeviceError as error:
        raise SystemExit(str(error)) from None
    import cupy

    filters, image, _ = problem(K, SIZE, SMALL, False)
    bandwidth = copy_bandwidth(cupy)
    print(f"{name}; a copy moves {bandwidth / 1e9:.0f} GB/s; {K} filters of {SIZE} x {SIZE}, float32, lambda {LMBDA}")
    setup = Setup(cupy, bandwidth, filters, image, arguments.pictures, arguments.rounds, arguments.limit)
    for part in arguments.parts:
        print(f"\n{part}", flush=True)
        try:
            with limited(arguments.limit):
                PARTS[part](setup)
        except Exception as error:  # no part must hide the others' figures
            print(f"- stopped: {type(error).__name__}: {error}", flush=True)
        cupy.get_default_memory_pool().free_all_blocks()


# -- parts -------------------------------------------------------------------------------------------------------------


def code(setup: Setup) -> None:
    for side in SIDES:
        image = tiled(setup.image, side, 1)
        mine = on_gpu(setup, image)
        tell(f"{side} x {side}, ours on the GPU", mine, share(setup, image, mine))
        for name in ("ADMM", "PGM"):
            try:
                peer = sporco(setup.cupy, name, image[0], setup.filters)
            except Exception as error:  # whatever keeps the peer from running
                print(f"- SPORCO's {name} doesn't run here: {type(error).__name__}: {error}", flush=True)
                continue
            tell(f"{side} x {side}, SPORCO's {name} on the GPU", peer, f"{peer / mine:.1f} x ours")
        core = per_iteration(image, setup.filters, PATIENCE, device="cpu", threads=1)
        tell(f"{side} x {side}, ours on one core", core, f"{core / mine:.0f} x ours on the GPU")


def graphs(setup: Setup) -> None:
    image, before = setup.image[None], os.environ.get(GRAPHS)
    for solver in ("admm", "fista"):
        took = {}
        for value in ("on", "off"):
            os.environ[GRAPHS] = value
            try:
                took[value] = on_gpu(setup, image, solver)
            finally:
                os.environ.pop(GRAPHS) if before is None else os.environ.update({GRAPHS: before})
        gain = f"{took['off'] / took['on']:.2f} x"
        tell(f"{SMALL} x {SMALL}, {solver}, graphs", took["on"], f"{1e3 * took['off']:.3g} ms without: {gain}")


def batch(setup: Setup) -> None:
    number, side = BATCH
    images = tiled(setup.image, side, number)
    mine = on_gpu(setup, images)
    tell(f"{number} of {side} x {side}", mine, share(setup, images, mine))


def agreement(setup: Setup) -> None:
    from csc_cogd import Dictionary, sparse_code

    run = {"lmbda": LMBDA, "tol": 0, "max_iter": ITERATIONS, "solver": "admm"}
    images, dictionary = setup.image[None], Dictionary(setup.filters)
    cpu, gpu = (sparse_code(images, dictionary, **run, device=device).codes for device in ("cpu", "cuda"))
    distance = float(np.linalg.norm(cpu - gpu) / np.linalg.norm(cpu))
    print(f"- codes of GPU and CPU: {distance:.1e} apart, relative to their norm", flush=True)


def learning(setup: Setup) -> None:
    from csc_cogd import learn_dictionary

    pictures = setup.cupy.asarray(tiled(setup.image, 2 * SMALL, setup.pictures))
    started = time.perf_counter()
    learned = learn_dictionary(
        pictures, K, SIZE, lmbda=5 * LMBDA, max_iter=setup.rounds, tol=0, device="cuda",
        callback=lambda record: time.perf_counter() - started > 0.8 * setup.limit,
    )  # fmt: skip
    memory = setup.cupy.get_default_memory_pool().total_bytes() / 1e9
    rounds = len(learned.history)
    took = learned.history[-1].seconds
    print(
        f"- {len(pictures)} pictures, {rounds} rounds: {took:.0f} s, {took / rounds:.2f} s a round, {memory:.0f} GB",
        flush=True,
    )


PARTS: dict[str, Callable[[Setup], None]] = {
    "code": code, "graphs": graphs, "batch": batch, "agreement": agreement, "learning": learning,
}  # fmt: skip


# -- measuring ---------------------------------------------------------------------------------------------------------


def tell(what: str, took: float, more: str) -> None:
    print(f"- {what}: {1e3 * took:.3g} ms an iteration, {more}", flush=True)


def share(setup: Setup, images: np.ndarray, took: float) -> str:
    return f"{2 * K * images.nbytes / took / setup.bandwidth:.0%} of the bandwidth bound"


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise a TimeoutError after so long; work that the GPU has been given already is waited for."""

    def late(number: int, frame: Any) -> None:
        raise TimeoutError(f"it took more than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def copy_bandwidth(cupy: Any) -> float:
    """Bytes read and written a second by a large copy on the device, the best of ten."""
    source = cupy.zeros(COPIED // 4, np.float32)
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


def on_gpu(setup: Setup, images: np.ndarray, solver: str = "admm") -> float:
    """Seconds per iteration, with what is measured every ten iterations."""
    return per_iteration(setup.cupy.asarray(images), setup.filters, setup.limit / 4, device="cuda", solver=solver)


def per_iteration(images: Any, filters: np.ndarray, patience: float, solver: str = "admm", **settings: Any) -> float:
    """Seconds per iteration in the second half of a run, which ends early where patience does."""
    from csc_cogd import Dictionary, sparse_code

    started = time.perf_counter()
    history = sparse_code(
        images, Dictionary(filters), lmbda=LMBDA, tol=0, boundary="circular", max_iter=ITERATIONS, solver=solver,
        callback=lambda record: record.iteration > 2 and time.perf_counter() - started > patience, **settings,
    ).history  # fmt: skip
    middle = history[(len(history) - 1) // 2]
    return (history[-1].seconds - middle.seconds) / (history[-1].iteration - middle.iteration)


def sporco(cupy: Any, name: str, image: np.ndarray, filters: np.ndarray) -> float:
    """Seconds per iteration of SPORCO's ADMM, with automatic penalty, or its PGM on the GPU."""
    options: dict[str, Any] = {"MaxMainIter": PEERS_ITERATIONS, "RelStopTol": 1e-12, "DataType": np.float32}
    if name == "ADMM":
        from sporco.cupy.admm import cbpdn

        options["AutoRho"] = {"Enabled": True}
    else:
        from sporco.cupy.pgm import cbpdn

        options["L"] = 500.0
    kind = cbpdn.ConvBPDN
    dictionary = cupy.asarray(np.ascontiguousarray(np.moveaxis(filters, 0, -1)))
    solver = kind(dictionary, cupy.asarray(image), LMBDA, kind.Options(options))
    solver.solve()
    return seconds(cupy, solver.solve) / PEERS_ITERATIONS


if __name__ == "__main__":
    main()
