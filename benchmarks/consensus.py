"""Consensus learning against learning from all images together: ``CSC_COGD_DATA=FOLDER python benchmarks/consensus.py``.

The paper's pictures (fruit or city, ten of 100 x 100, contrast-normalised; see `protocol`) and its problem: 100 filters of
11 x 11, lambda = 1; circular boundary, float32, the same initial filters and number of threads. Printed are the objective
after as many rounds, with 1, 2 and 4 shards in this process, the seconds a round takes, the bytes that a round sends to
and from a shard, and SPORCO's ConvBPDNDictLearn with its consensus dictionary update (``dmethod="cns"``), as many outer
iterations and as long. All objectives are computed by one function, at feasible filters and 50 more code iterations over
them, so that nothing depends on when a solver looks at its own.

Without ``CSC_COGD_DATA``, it says so and does nothing.
"""

from __future__ import annotations

import argparse
import os
import pickle
import sys
import time
from typing import Any

THREADS = int(os.environ.get("BENCHMARK_THREADS", "0"))
if THREADS:  # before NumPy is imported: the libraries read these once
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)

import numpy as np  # noqa: E402
from protocol import FILTER_SIZE, LMBDA, N_FILTERS, initial_filters, load_cell  # noqa: E402

SETTINGS = {"lmbda": LMBDA, "boundary": "circular"}


class Counting:
    """A mapper in this process that counts the bytes that would travel."""

    def __init__(self) -> None:
        from csc_cogd.csc.consensus import SerialMapper

        self._mapper, self.bytes = SerialMapper(), 0

    def start(self, function: Any, shards: Any, *arguments: Any) -> list[Any]:
        self._number = len(shards)
        return self._mapper.start(function, shards, *arguments)

    def step(self, function: Any, *arguments: Any) -> list[Any]:
        reports = self._mapper.step(function, *arguments)
        self.bytes += self._number * len(pickle.dumps(arguments)) + sum(len(pickle.dumps(report)) for report in reports)
        return reports


def objective(images: np.ndarray, filters: np.ndarray) -> float:
    from csc_cogd import Dictionary, sparse_code

    return sparse_code(images, Dictionary(filters), **SETTINGS, max_iter=50, threads=THREADS).objective


def by_sporco(images: np.ndarray, filters: np.ndarray, rounds: int, seconds: float = np.inf) -> tuple[np.ndarray, int]:
    """Filters after as many outer iterations, or the seconds; and how many these were."""
    import pyfftw
    import sporco.fft
    from sporco.dictlrn import cbpdndl

    pyfftw.config.NUM_THREADS = sporco.fft.pyfftw_threads = THREADS
    end = time.perf_counter() + seconds
    options = cbpdndl.ConvBPDNDictLearn.Options(
        {
            "Verbose": False, "MaxMainIter": rounds, "Callback": lambda solver: time.perf_counter() > end,
            "CBPDN": {"rho": 50 * LMBDA + 0.5, "DataType": np.float32}, "CCMOD": {"rho": 10.0, "DataType": np.float32},
        },
        dmethod="cns",
    )  # fmt: skip
    solver = cbpdndl.ConvBPDNDictLearn(
        np.moveaxis(filters, 0, -1).astype(np.float32), np.moveaxis(images, 0, -1), LMBDA, options, dmethod="cns"
    )
    solver.solve()
    return np.moveaxis(solver.getdict().squeeze(), -1, 0), solver.j


def compare(pictures: str, rounds: int) -> None:
    import warnings

    from csc_cogd import Dictionary, learn_dictionary, learn_dictionary_consensus

    warnings.simplefilter("ignore")  # SPORCO's
    images, filters = load_cell("reconstruction", pictures).images.astype(np.float32), initial_filters(0)
    run = SETTINGS | {"tol": 0, "start": Dictionary(filters), "threads": THREADS}
    learn_dictionary(images, N_FILTERS, FILTER_SIZE, **run, max_iter=1)  # plans and compilers

    def row(name: str, seconds: float, n_rounds: int, found: np.ndarray, travelled: str = "") -> None:
        reached = objective(images, found)
        print(
            f"| {pictures} | {name} | {reached:.1f} | {100 * (reached / best - 1):+.2f} % | {n_rounds} | "
            f"{seconds / n_rounds:.2f} s | {seconds / whole:.2f} | {travelled} |",
            flush=True,
        )

    started = time.perf_counter()
    together = learn_dictionary(images, N_FILTERS, FILTER_SIZE, **run, max_iter=rounds).dictionary.filters
    whole, best = time.perf_counter() - started, objective(images, together)
    row("together", whole, rounds, together)
    for n_shards in (1, 2, 4):
        mapper, started = Counting(), time.perf_counter()
        found = learn_dictionary_consensus(
            np.array_split(images, n_shards), N_FILTERS, FILTER_SIZE, **run, max_iter=rounds, mapper=mapper
        )
        seconds = time.perf_counter() - started
        row(f"{n_shards} shard(s)", seconds, rounds, found.dictionary.filters, f"{mapper.bytes / rounds / n_shards:,.0f}")
    for name, limits in (("as many iterations", (rounds, np.inf)), ("as long as together", (10**6, whole))):
        started = time.perf_counter()
        peer, iterations = by_sporco(images, filters, *limits)
        row(f"SPORCO, {name}", time.perf_counter() - started, iterations, peer)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="on both sides (default 1)")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--pictures", choices=["fruit", "city", "both"], default="both")
    arguments = parser.parse_args()
    if not os.environ.get("CSC_COGD_DATA"):
        print("skipped: CSC_COGD_DATA is unset: it names the folder with fruit_100_100 and city_100_100")
        return
    if arguments.threads != THREADS:  # start again with the libraries told
        os.environ["BENCHMARK_THREADS"] = str(arguments.threads)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    print("| pictures | run | objective | against together | rounds | a round | time ratio | bytes a round and shard |")
    print("|---|---|---|---|---|---|---|---|")
    for pictures in ("fruit", "city") if arguments.pictures == "both" else (arguments.pictures,):
        compare(pictures, arguments.rounds)


if __name__ == "__main__":
    main()
