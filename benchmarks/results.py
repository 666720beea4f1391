"""All benchmarks in one sitting, what they reach beside what was asked: ``python benchmarks/results.py [NAME...]``.

Writes `RESULTS.md` anew after each of them, so that a sitting can be cut off; those that aren't named keep what they had.
What measures time runs alone, the others beside each other, each on a processor of its own. What can't run here says why.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from targets import BENCHMARKS, Benchmark

HERE = Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
HEAD = """# Results

Written by `python benchmarks/results.py`; not by hand. Machines are shared and noisy: compare ratios, not seconds.
"""


def missing(benchmark: Benchmark) -> str:
    """Why it can't run here; empty if it can."""
    for module in {"torch", "torchvision"}.intersection(benchmark.needs):
        if not find_spec(module):
            return f"{module} isn't installed"
    if "data" in benchmark.needs and not os.environ.get("CSC_COGD_DATA"):
        return "CSC_COGD_DATA is unset"
    if "gpu" in benchmark.needs:
        from csc_cogd.backend.selection import choose_device

        device, reason = choose_device()
        return reason if device == "cpu" else ""
    return ""


def run(benchmark: Benchmark) -> str:
    """The section of a benchmark: how it was run, and what it printed. It has the processors that this thread has."""
    command = f"`python benchmarks/{benchmark.command}`"
    if reason := missing(benchmark):
        return f"{command}: not run, {reason}.\n"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *shlex.split(benchmark.command)], cwd=HERE, capture_output=True, text=True)
    held = len(os.sched_getaffinity(0))
    about = f"{date.today()}, {commit()}, {held} of {machine()}, {time.perf_counter() - start:.0f} s"
    if done.returncode:
        return f"{command}: {about}: **failed**, {(done.stderr.strip().splitlines() or ['no message'])[-1]}\n"
    return f"{command}: {about}\n\n{done.stdout.strip()}\n"


def commit() -> str:
    """The commit, and whether anything but the results has changed since."""

    def git(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["git", *arguments], cwd=HERE, capture_output=True, text=True)

    found = git("rev-parse", "--short", "HEAD")
    if found.returncode:
        return f"version {version('csc-cogd')}"
    changed = git("status", "--porcelain", "--", ":/", f":!{RESULTS.name}").stdout
    return f"commit {found.stdout.strip()}{', changed' if changed else ''}"


def machine() -> str:
    """Its processors and memory, and the versions of what computes."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "pyfftw"))
    cores = f"{os.cpu_count()} processors ({model[1] if model else platform.machine()}, {memory:.0f} GiB)"
    return f"{cores}, Python {platform.python_version()}, {libraries}"


def summary(sections: dict[str, str]) -> Iterator[str]:
    """Every target, as a table."""
    yield "| benchmark | figure | asked | reached | |\n| --- | --- | --- | --- | --- |"
    for name, benchmark in BENCHMARKS.items():
        printed = sections.get(name, "")
        for target in benchmark.targets:
            figures = target.figures(printed)
            reached = ", ".join(f"{figure:.4g}" for figure in figures) or "not run"
            if len(figures) > 12:
                reached = f"{min(figures):.4g} to {max(figures):.4g}, {len(figures)} figures"
            verdict = "" if not figures else "met" if target.met(printed) else "**missed**"
            yield f"| {name} | {target.what} | {target.asked} | {reached} | {verdict} |"


def read() -> dict[str, str]:
    """The sections of the last run, by their names."""
    text = RESULTS.read_text() if RESULTS.exists() else ""
    parts = re.split(r"^## (.*)\n\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def write(sections: dict[str, str]) -> None:
    known = [f"## {name}\n\n{sections[name].rstrip()}\n" for name in BENCHMARKS if name in sections]
    unfinished = RESULTS.with_suffix(".tmp")
    unfinished.write_text("\n".join([HEAD, *summary(sections), "", *known]))
    unfinished.replace(RESULTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: all. {'; '.join(BENCHMARKS)}".replace("%", "%%"))
    names = parser.parse_args().names or list(BENCHMARKS)
    if unknown := [name for name in names if name not in BENCHMARKS]:
        parser.error(f"unknown: {', '.join(unknown)}; choose from {'; '.join(BENCHMARKS)}")
    sections, processors = read(), os.sched_getaffinity(0)

    def finish(name: str) -> None:
        sections[name] = run(BENCHMARKS[name])
        write(sections)
        print(f"{name}: {sections[name].splitlines()[0]}", flush=True)

    for name in names:
        if BENCHMARKS[name].alone:
            finish(name)
    free = iter(processors)
    with ThreadPoolExecutor(len(processors), initializer=lambda: os.sched_setaffinity(0, {next(free)})) as pool:
        list(pool.map(finish, [name for name in names if not BENCHMARKS[name].alone]))


if __name__ == "__main__":
    main()
