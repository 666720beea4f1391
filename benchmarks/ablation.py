"""What each ingredient of restoration adds: ``python benchmarks/ablation.py [FOLDER...] [--task denoise]``.

Gray pictures, damages and protocol of ``restoration.py``, by default 256 x 256 pieces. Every row is `inpaint` or `denoise`
at its default effort, but for what its name says. Prints for each damage the mean gain in dB over biharmonic, or over the
noisy picture; then over all damages and pictures the difference to the default, mean, worst and best, and the seconds a
picture. The refinement alone goes without the check against biharmonic.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import numpy as np
from peers import Damaged, biharmonic
from restoration import SEED, TASKS, choose, pictures_for, write_csv
from restoration import restore as restore_by

from csc_cogd import Engine, Solve, Tiling
from csc_cogd.restore.noise import Gaussian
from csc_cogd.restore.observation import Observation, intensity_range
from csc_cogd.restore.problem import Problem
from csc_cogd.restore.restore import restore
from csc_cogd.restore.settings import Effort, choose_effort
from csc_cogd.restore.stages import nonlocal_bayes

ENGINE = Engine()
DAMAGES = {
    "inpaint": ["25 % random", "50 % random", "75 % random", "90 % random", "scratches and text"],
    "denoise": list(TASKS["denoise"]),
}


class Variant(NamedTuple):
    """Settings other than the default: the effort's, or a constant of the refinement."""

    effort: Callable[[Effort], Effort] = lambda effort: effort
    constants: Callable[[], AbstractContextManager] = nullcontext

    def __call__(self, damaged: Damaged) -> np.ndarray:
        pixels, missing = _planes(damaged)
        effort = self.effort(choose_effort(Solve(), missing, damaged.sigma / _units(pixels, missing)[1]))
        problem = Problem(Observation(pixels, missing), noise=Gaussian(damaged.sigma or None), keep_known=not damaged.sigma)
        with self.constants(), mock.patch("csc_cogd.restore.group.choose_effort", return_value=effort):
            restored, _ = restore(problem, Solve(), Tiling(), ENGINE)
        return restored[0]


def uncoded(damaged: Damaged) -> np.ndarray:
    """The refinement alone, from biharmonic interpolation or from the noisy picture."""
    pixels, missing = _planes(damaged)
    low, units = _units(pixels, missing)
    noise = damaged.sigma / units
    effort = choose_effort(Solve(), missing, noise)
    pilot = pixels if damaged.mask is None else biharmonic(damaged)[None]
    observed, start = ((planes - low) / units for planes in (pixels, pilot))
    backend = ENGINE.backend
    refined = nonlocal_bayes.refine(start, observed, ~missing, effort.patches, effort.passes, backend, noise=noise)
    return refined[0] * units + low


def _planes(damaged: Damaged) -> tuple[np.ndarray, np.ndarray]:
    missing = np.zeros(damaged.pixels.shape, bool) if damaged.mask is None else damaged.mask
    return damaged.pixels[None], missing[None]


def _units(pixels: np.ndarray, missing: np.ndarray) -> tuple[float, float]:
    """Zero and one of the scale that pictures are restored on."""
    low, high = intensity_range([pixels[~missing]])
    return low, high - low


def iterations(factor: float) -> Variant:
    return Variant(lambda e: replace(e, max_iter=round(factor * e.max_iter)))


def passes(factor: float) -> Variant:
    return Variant(lambda e: replace(e, passes=round(factor * e.passes)))


def patches(**settings) -> Variant:
    return Variant(lambda e: replace(e, patches=replace(e.patches, **settings)))


DEFAULT = "default"
SHARED: dict[str, Callable[[Damaged], np.ndarray]] = {
    DEFAULT: Variant(),
    "code not refined": passes(0),
    "half the code iterations": iterations(0.5),
    "3 x the code iterations": iterations(3),
    "10 x the code iterations": iterations(10),
    "dictionary adapted": Variant(lambda e: replace(e, learn=True)),
    "half the passes": passes(0.5),
    "twice the passes": passes(2),
    **{f"patches of {size} x {size}": patches(size=size) for size in (5, 6, 8)},
}
ROWS: dict[str, dict[str, Callable[[Damaged], np.ndarray]]] = {
    "inpaint": {"biharmonic": biharmonic, "biharmonic refined": uncoded}
    | SHARED
    | {
        "without over-relaxation": Variant(constants=lambda: mock.patch.object(nonlocal_bayes, "RELAXATION", 1.0)),
        "without the check against biharmonic": Variant(lambda e: replace(e, check=False)),
    },
    "denoise": {"noisy": lambda damaged: damaged.pixels, "noisy refined": uncoded} | SHARED,
}


def print_table(damages: list[str], rows: list[dict]) -> None:
    methods = list(dict.fromkeys(row["method"] for row in rows))
    values = {m: np.array([row["psnr"] for row in rows if row["method"] == m]) for m in methods}
    kinds = np.array([row["damage"] for row in rows if row["method"] == methods[0]])
    print(f"\n| gain over {methods[0]} | {' | '.join(damages)} | all | less the default: mean, worst, best | seconds |")
    print(f"| --- |{' --- |' * len(damages)} --- | --- | --- |")
    for method in methods:
        gain, difference = values[method] - values[methods[0]], values[method] - values[DEFAULT]
        seconds = np.mean([row["seconds"] for row in rows if row["method"] == method])
        cells = [f"{gain[kinds == kind].mean():+.2f}" for kind in damages] + [f"{gain.mean():+.2f}"]
        cells.append(f"{difference.mean():+.2f}, {difference.min():+.2f}, {difference.max():+.2f}")
        print(f"| {method} | {' | '.join(cells)} | {seconds:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--task", choices=ROWS, default="inpaint")
    parser.add_argument("--size", type=int, default=256, help="side of the pieces, from the middle; 0: whole pictures")
    parser.add_argument("--pictures", help="which, by name, with commas; default: all")
    parser.add_argument("--damages", help="which, by name, with commas")
    parser.add_argument("--rows", help="which, by name, with commas; the first one and the default always")
    parser.add_argument("--csv", type=Path, metavar="FILE")
    arguments = parser.parse_args()
    task, known = arguments.task, ROWS[arguments.task]
    damages = choose(parser, arguments.damages, list(TASKS[task]), DAMAGES[task], "damages")
    names = choose(parser, arguments.rows, list(known), list(known), "rows")
    names = list(dict.fromkeys([next(iter(known)), DEFAULT, *names]))
    pictures = dict(pictures_for(arguments.folders, arguments.size, False))
    chosen = choose(parser, arguments.pictures, list(pictures), list(pictures), "pictures")

    rows = []
    for kind in damages:
        for picture in chosen:
            damaged = TASKS[task][kind](pictures[picture], SEED)
            for name in names:
                figures = restore_by(known[name], damaged, pictures[picture])
                rows.append({"task": task, "damage": kind, "picture": picture, "method": name} | figures)
                print(
                    f"{kind}, {picture}, {name}: {figures['psnr']:.2f} dB, {figures['seconds']:.1f} s",
                    file=sys.stderr,
                    flush=True,
                )
            if arguments.csv:
                write_csv(arguments.csv, rows)
    print_table(damages, rows)


if __name__ == "__main__":
    main()
