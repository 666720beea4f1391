"""Thousands of damaged and hostile files, read and written: ``python benchmarks/fuzz.py``.

Files of every kind are changed at random, by changes that know their parts, too: 500 of every image format, and 200
dictionaries, codes, checkpoints, records of batches, files of settings and of weights. Each must be used, or refused in one
line, within 30 seconds and 2 GB of memory, and print nothing. All else is a fault, and makes the exit code 1. Linux only.

The same seed gives the same files. ``--kinds K --only N`` repeats one, and ``--keep DIR`` keeps those with faults.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from csc_cogd import CscCogdError

sys.path.insert(0, str(Path(__file__).parent))
from mutations import mutated
from specimens import IMAGE_KINDS, KINDS, Specimen, specimens

ROOM = 2 * 2**30  # bytes that a file may take, beyond what the process has
PATIENCE = 30.0  # seconds that a file may take
START = 600.0  # and that a process may take until it is ready: kernels may have to be compiled
LEAK = 2**28  # bytes that a process may have grown by after all of its files
FAULTS = ("traceback", "signal", "hang", "memory", "printed")


class Outcome(NamedTuple):
    """What became of a file: "used", "refused" or one of FAULTS; how that showed, and the memory that it took in bytes."""

    what: str
    detail: str = ""
    seconds: float = 0.0
    memory: int = 0


class Summary(NamedTuple):
    """Outcomes by what they are, the most seconds and memory that a file took, and by how much the process has grown."""

    kind: str
    counts: Counter[str]
    seconds: float
    memory: int
    growth: int

    @property
    def faults(self) -> int:
        return sum(self.counts[fault] for fault in FAULTS) + (self.growth > LEAK)


def fuzz(
    kind: str, numbers: Iterable[int], *, seed: int = 0, keep: Path | None = None, say: Callable[[str], Any] = print,
    specimens: Callable[[str], list[Specimen]] = specimens, patience: float = PATIENCE, room: int = ROOM,
) -> Summary:  # fmt: skip
    """Use the changed files of these numbers, by processes of which each does as many as it survives."""
    counts, seconds, memory, growth = Counter[str](), 0.0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        worker = _Worker(kind, seed, Path(folder), specimens, room)
        try:
            for outcome in worker.refused:
                say(f"{kind}, a whole file: {outcome}")
                counts["traceback"] += 1
            for number in numbers:
                if worker.is_lost:
                    worker.kill()
                    worker = _Worker(kind, seed, Path(folder), specimens, room)
                outcome = worker.use(number, patience)
                counts[outcome.what] += 1
                seconds, memory = max(seconds, outcome.seconds), max(memory, outcome.memory)
                if outcome.what in FAULTS:
                    say(f"{kind}, file {number}: {outcome.what}: {outcome.detail.strip()}")
                    for path in Path(folder).glob("file.*") if keep else ():
                        shutil.copy(path, keep / f"{kind}-{number}{path.suffix}")  # type: ignore[operator]
            growth = worker.end()
        finally:
            worker.kill()
    return Summary(kind, counts, seconds, memory, growth)


class _Worker:
    """A process that uses one file after the other, and what it said of whole ones."""

    def __init__(self, kind: str, seed: int, folder: Path, specimens: Callable[[str], list[Specimen]], room: int):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, kind, seed, folder, specimens, room), daemon=True)
        self.process.start()
        theirs.close()
        assert self.connection.poll(START), f"{kind}: no process became ready"
        self.refused: list[str] = self.connection.recv()
        self.is_lost = False
        """Whether it has ended, hangs, or may be short of memory from now on."""

    def use(self, number: int, patience: float) -> Outcome:
        outcome = self._use(number, patience)
        self.is_lost = outcome.what in ("signal", "hang", "memory")
        return outcome

    def _use(self, number: int, patience: float) -> Outcome:
        started = time.perf_counter()
        self.connection.send(number)
        if not self.connection.poll(patience):
            return Outcome("hang", f"more than {patience:g} s", patience)
        try:
            return self.connection.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode or 0
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Outcome("signal", how, time.perf_counter() - started)

    def end(self) -> int:
        """The bytes by which it has grown."""
        if self.is_lost:
            return 0
        self.connection.send(None)
        return self.connection.recv()

    def kill(self) -> None:
        self.connection.close()
        self.process.kill()
        self.process.join()


def serve(
    connection: Connection, kind: str, seed: int, folder: Path, specimens: Callable[[str], list[Specimen]], room: int
) -> None:
    """Use files whose numbers come through a pipe, and tell what became of them."""
    warnings.simplefilter("ignore")
    whole = specimens(kind)
    first = [use(specimen.content, specimen, folder, room) for specimen in whole]
    connection.send([str(outcome) for outcome in first if outcome.what != "used"])
    mapped, before = _kilobytes("VmSize"), _kilobytes("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (1024 * mapped + room, resource.RLIM_INFINITY))
    while (number := connection.recv()) is not None:
        specimen = whole[number % len(whole)]
        rng = np.random.default_rng((seed, *kind.encode(), number))
        connection.send(use(mutated(rng, specimen.content, specimen.form), specimen, folder, room))
    connection.send(1024 * (_kilobytes("VmRSS") - before))


def use(content: bytes, specimen: Specimen, folder: Path, room: int) -> Outcome:
    """Do with a file what its specimen says."""
    for left in folder.glob("file.*"):
        left.unlink()
    path, scratch = folder / f"file{specimen.suffix}", folder / "scratch"
    path.write_bytes(content)
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    scratch.mkdir()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here on
    before, started = _kilobytes("VmRSS"), time.perf_counter()
    with tempfile.TemporaryFile() as printed:
        kept = [os.dup(stream) for stream in (1, 2)]
        for stream in (1, 2):
            os.dup2(printed.fileno(), stream)
        what, detail = _attempt(specimen, path, scratch)
        for stream, copy in zip((1, 2), kept, strict=True):
            os.dup2(copy, stream)
            os.close(copy)
        seconds, memory = time.perf_counter() - started, 1024 * (_kilobytes("VmHWM") - before)
        printed.seek(0)
        said = printed.read().decode(errors="replace")
    if what in ("used", "refused"):
        if "\n" in detail:
            what = "traceback"
        elif said:
            what, detail = "printed", said
        elif memory > room:
            what, detail = "memory", f"{memory / 1e9:.1f} GB"
    return Outcome(what, detail, seconds, memory)


def _attempt(specimen: Specimen, path: Path, scratch: Path) -> tuple[str, str]:
    try:
        specimen.check(path, scratch)
    except CscCogdError as error:
        return "refused", str(error)
    except MemoryError:
        return "memory", traceback.format_exc()
    except Exception:
        return "traceback", traceback.format_exc()
    return "used", ""


def _kilobytes(name: str) -> int:
    """A figure of this process's memory, as Linux tells it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def rows(summaries: Iterable[Summary]) -> Iterator[str]:
    """A table of what became of the files."""
    yield f"| files | changed | used | refused | {' | '.join(FAULTS)} | grown, MB | most seconds | most memory, MB |"
    yield "| " + " | ".join(["---"] * (len(FAULTS) + 7)) + " |"
    for kind, counts, seconds, memory, growth in summaries:
        numbers = [counts[what] for what in ("used", "refused", *FAULTS)]
        cells = [counts.total(), *numbers, f"{growth / 1e6:.0f}", f"{seconds:.1f}", f"{memory / 1e6:.0f}"]
        yield f"| {kind} | {' | '.join(map(str, cells))} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--count", type=int, help="files of each kind; default: 500 images, 200 others")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, help="the file of this number alone")
    parser.add_argument("--keep", type=Path, help="a folder for files with faults", metavar="DIR")
    arguments = parser.parse_args()
    if arguments.keep:
        arguments.keep.mkdir(parents=True, exist_ok=True)
    summaries = []
    for kind in arguments.kinds:
        numbers = range(arguments.count or (500 if kind in IMAGE_KINDS else 200))
        chosen = numbers if arguments.only is None else [arguments.only]
        summaries.append(fuzz(kind, chosen, seed=arguments.seed, keep=arguments.keep))
        print(f"{kind}: {summaries[-1].faults} faults", file=sys.stderr, flush=True)
    print("\n".join(rows(summaries)))
    return int(any(summary.faults for summary in summaries))


if __name__ == "__main__":
    sys.exit(main())
