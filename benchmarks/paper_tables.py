"""Tables 1 and 2 of the paper on its own protocol: ``CSC_COGD_DATA=FOLDER python benchmarks/paper_tables.py``.

Learns 100 filters of 11 x 11 from ten contrast-normalised pictures of 100 x 100, lambda = 1, 20 outer iterations, and
rebuilds the pictures from filters and codes: complete (reconstruction), or 75 % of the pixels (inpainting). Methods:
plain alternation (FFCSC, the rule off) and CoGD with kernels of degree 1, 2 and 3, all from the same filters, seed by
seed. Printed per task and set: PSNR and SSIM by the protocol's metrics (`protocol.py`), mean over the pictures, mean
and standard deviation over the seeds; the same after debiasing, that is least squares on the support of the codes;
objective and CPU seconds; beside them the published figures and the reference runs of the authors' code. Then paired
differences to the rule off.

``--people`` prints another table: the same pictures and masks, restored for people rather than for the paper. ``--csv
FILE`` writes every picture's and every outer iteration's figure.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from people import print_people
from protocol import (
    FILTER_SIZE,
    LMBDA,
    N_FILTERS,
    OUTER,
    PUBLISHED,
    SETS,
    TASKS,
    Cell,
    initial_filters,
    load_cell,
    protocol_psnr,
    protocol_ssim,
    reference_runs,
)

from csc_cogd import CogradientRule, Dictionary, debias, learn_dictionary, reconstruct_images

METHODS: dict[str, tuple[CogradientRule | None, int]] = {  # the rule, and iterations of each phase
    "rule off": (None, 10),
    "CoGD k = 1": (CogradientRule(degree=1), 10),
    "CoGD k = 2": (CogradientRule(degree=2), 10),
    "CoGD k = 3": (CogradientRule(degree=3), 10),
    "rule off, 5 + 5": (None, 5),
}


class Run(NamedTuple):
    """One learning run: figures by picture, objectives by outer iteration."""

    method: str
    seed: int
    psnr: np.ndarray
    ssim: np.ndarray
    psnr_debiased: np.ndarray
    ssim_debiased: np.ndarray
    objectives: list[float]
    cpu_seconds: float
    accepted: int


def run(cell: Cell, method: str, seed: int, outer: int, threads: int | None) -> Run:
    rule, inner = METHODS[method]
    weights = None if cell.observed.all() else cell.observed
    started = time.process_time()
    learned = learn_dictionary(
        cell.images, N_FILTERS, FILTER_SIZE, lmbda=LMBDA, weights=weights, max_iter=outer, code_iterations=inner,
        filter_iterations=inner, tol=0, start=Dictionary(initial_filters(seed)), cogd=rule, threads=threads,
    )  # fmt: skip
    seconds = time.process_time() - started
    figures: list[np.ndarray] = []
    refitted = debias(cell.images, learned.codes, learned.dictionary, weights=weights)
    for codes in (learned.codes, refitted):
        rebuilt = reconstruct_images(codes, learned.dictionary)
        for metric in (protocol_psnr, protocol_ssim):
            figures.append(np.array([metric(a, b) for a, b in zip(rebuilt, cell.images, strict=True)]))
    accepted = sum(bool(r.backtracking and r.backtracking.backtracked and r.backtracking.accepted) for r in learned.history)
    return Run(method, seed, *figures, [record.objective for record in learned.history], seconds, accepted)  # type: ignore[call-arg]


def print_cell(task: str, pictures: str, cell: Cell, runs: list[Run]) -> None:
    print(f"\n### {task.capitalize()}, {pictures}\n")
    print("| method | PSNR | SSIM | PSNR debiased | SSIM debiased | objective | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for degree, (psnr, ssim) in PUBLISHED[task, pictures].items():
        name = f"published, {f'CoGD k = {degree}' if degree else 'FFCSC'}"
        print(f"| {name} | {psnr:.2f} | {ssim:.4f} | | | | |")
    for reference in reference_runs(task, pictures):
        print(
            f"| published code, {reference.name} | {reference.psnr:.2f} | {reference.ssim:.4f} | | | "
            f"{reference.objective:.0f} | {reference.cpu_seconds:.0f} |"
        )
    for method in METHODS:
        chosen = [r for r in runs if r.method == method]
        if not chosen:
            continue
        cells = [
            spread([r.psnr.mean() for r in chosen], 2), spread([r.ssim.mean() for r in chosen], 4),
            spread([r.psnr_debiased.mean() for r in chosen], 2), spread([r.ssim_debiased.mean() for r in chosen], 4),
            spread([r.objectives[-1] for r in chosen], 0), spread([r.cpu_seconds for r in chosen], 0),
        ]  # fmt: skip
        print(f"| ours, {method} | {' | '.join(cells)} |")
    print_pictures(cell, runs)
    print_traces(runs)
    print_differences(runs)


def print_pictures(cell: Cell, runs: list[Run]) -> None:
    """Every picture's PSNR and SSIM, as learned and debiased, over the seeds."""
    methods = list(dict.fromkeys(r.method for r in runs))
    print(f"\n| picture | {' | '.join(methods)} |")
    print("| --- |" + " --- |" * len(methods))
    for n, name in enumerate(cell.names):
        cells = []
        for method in methods:
            chosen = [r for r in runs if r.method == method]
            learned, debiased = (
                f"{spread([psnr[n] for psnr, _ in pairs], 2)} {spread([ssim[n] for _, ssim in pairs], 4)}"
                for pairs in ([(r.psnr, r.ssim) for r in chosen], [(r.psnr_debiased, r.ssim_debiased) for r in chosen])
            )
            cells.append(f"{learned}; debiased {debiased}")
        print(f"| {name} | {' | '.join(cells)} |")


def print_traces(runs: list[Run]) -> None:
    print("\nObjective after each outer iteration, first seed:\n")
    for r in runs:
        if r.seed == runs[0].seed:
            print(f"    {r.method:<16} {' '.join(f'{value:.0f}' for value in r.objectives)}")


def print_differences(runs: list[Run]) -> None:
    """What the rule adds, pairs of the same seed."""
    plain = {r.seed: r for r in runs if r.method == "rule off"}
    if not plain or len(runs) == len(plain):
        return
    print("\n| with the rule less without, same seeds | objective | PSNR | PSNR debiased | iterations | rounds accepted |")
    print("| --- | --- | --- | --- | --- | --- |")
    for method in METHODS:
        pairs = [(r, plain[r.seed]) for r in runs if r.method == method and r.seed in plain]
        if not method.startswith("CoGD") or not pairs:
            continue
        cells = [
            spread([100 * (r.objectives[-1] / p.objectives[-1] - 1) for r, p in pairs], 2) + " %",
            spread([r.psnr.mean() - p.psnr.mean() for r, p in pairs], 2) + " dB",
            spread([r.psnr_debiased.mean() - p.psnr_debiased.mean() for r, p in pairs], 2) + " dB",
            spread([iterations_to(r, p.objectives[-1]) - len(p.objectives) for r, p in pairs], 1),
            f"{sum(r.accepted for r, _ in pairs)} of {sum(len(r.objectives) - 1 for r, _ in pairs)}",
        ]
        print(f"| {method} | {' | '.join(cells)} |")
    sys.stdout.flush()


def iterations_to(r: Run, objective: float) -> int:
    """Outer iterations until the objective is reached; one more than there were if it isn't."""
    return next((n for n, value in enumerate(r.objectives, 1) if value <= objective), len(r.objectives) + 1)


def spread(values: Any, digits: int) -> str:
    values = np.asarray(values, float)
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.{digits}f}"


def write_csv(path: Path, rows: list[tuple[str, str, Cell, Run]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "set", "method", "seed", "figure", "of", "value"])
        for task, pictures, cell, r in rows:
            head = [task, pictures, r.method, r.seed]
            for name in ("psnr", "ssim", "psnr_debiased", "ssim_debiased"):
                writer.writerows([*head, name, *pair] for pair in zip(cell.names, getattr(r, name), strict=True))
            writer.writerows([*head, "objective", n, value] for n, value in enumerate(r.objectives, 1))
            writer.writerow([*head, "cpu_seconds", "", r.cpu_seconds])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", action="store_true", help="the other table: restored for people")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--outer", type=int, default=OUTER)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    if arguments.people:
        print_people(arguments.sets)
        return
    rows = []
    for task in arguments.tasks:
        for pictures in arguments.sets:
            cell = load_cell(task, pictures)
            pairs = [(method, seed) for seed in arguments.seeds for method in arguments.methods]
            runs = [run(cell, *pair, arguments.outer, arguments.threads) for pair in pairs]
            print_cell(task, pictures, cell, runs)
            rows += [(task, pictures, cell, r) for r in runs]
            if arguments.csv:
                write_csv(arguments.csv, rows)


if __name__ == "__main__":
    main()
