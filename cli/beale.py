"""``csc-cogd beale``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from csc_cogd.cli.console import echo
from csc_cogd.cli.option_types import PATH
from csc_cogd.cli.options import options
from csc_cogd.cli.plots import check_plot, save_plot

if TYPE_CHECKING:
    import numpy as np

    from csc_cogd.cogd.beale import Descent

_TOLERANCE = 0.1


@click.command("beale")
@click.option(
    "--start", "starts", type=click.FloatRange(-10, 10), nargs=2, multiple=True, metavar="X1 X2",
    help="Where to start; repeat it for more points. Default: eight points around the minimum.",
)  # fmt: skip
@click.option(
    "--iterations", type=click.IntRange(min=1), default=200, metavar="N", show_default=True,
    help="Iterations of each method.",
)  # fmt: skip
@click.option(
    "--kernel-degree", "degree", type=click.IntRange(1, 9), default=1, metavar="K", show_default=True,
    help="Degree of the rule's kernel: 1 linear, 2 and 3 polynomial.",
)  # fmt: skip
@click.option(
    "--eta", type=click.FloatRange(min=0), default=1.0, metavar="E", show_default=True,
    help="Step size of the rule, as a multiple of the optimizer's learning rate; 0 switches it off.",
)  # fmt: skip
@click.option(
    "--sign", type=click.Choice(["-1", "1"]),
    help="-1 descends along the coupled gradient, 1 pulls x2 back. Default: -1 for odd degrees, 1 for even ones.",
)  # fmt: skip
@click.option("--l1", type=click.FloatRange(0, 1000), default=0.1, metavar="W", show_default=True, help="Weight of |x2|.")
@click.option(
    "--l2", type=click.FloatRange(0, 1000), default=0.01, metavar="W", show_default=True, help="Weight of x1 squared."
)
@click.option("--plot", type=PATH, metavar="FILE", help="Draw the paths over contour lines: .png, .pdf or .svg.")
@options("overwrite", "verbose")
def command(
    starts: tuple[tuple[float, float], ...],
    iterations: int,
    degree: int,
    eta: float,
    sign: str | None,
    l1: float,
    l2: float,
    plot: Path | None,
    overwrite: bool,
    verbose: int,
) -> None:
    """Show the rule of cogradient descent on a problem of two variables: Beale's function, with penalties.

    SGD (learning rate 0.001), Momentum (0.005) and Adam (0.1) go down from several points, each without and with the rule.
    The table gives the mean and the standard deviation over the points, and how many paths came close to the minimum at all;
    with -v, it gives every point's own figures too.

    \b
    Examples:
      csc-cogd beale
      csc-cogd beale --plot paths.svg
      csc-cogd beale --start 3 -0.5 --start 1 1.5 -v
      csc-cogd beale --kernel-degree 2 --eta 0.3 --iterations 50

    \b
    Exit codes: 0 done; 2 wrong usage or input, nothing written.
    """
    from csc_cogd.cogd.beale import STARTS, SparseBeale, compare

    if plot is not None:
        check_plot(plot, overwrite)  # refuse now, not later
    objective = SparseBeale(l1, l2)
    minimum = objective.minimum()
    points = starts or STARTS
    chosen = None if sign is None else int(sign)
    descents = compare(objective, points, degree=degree, eta=eta, sign=chosen, iterations=iterations)

    echo(f"minimum {objective(minimum):.6f} at ({minimum[0]:.4f}, {minimum[1]:.4f}); starting points: {len(points)}")
    heads = ("path length", "final objective", "distance", f"iterations to {_TOLERANCE}", "kept/backtracked")
    echo(f"{'method':<16}" + "".join(f" {head:>21}" for head in heads))
    for method, runs in descents.items():
        echo(_row(method, runs, minimum))
        for point, run in zip(points, runs, strict=True):
            if verbose:
                echo(_row(f"  {point[0]:g}, {point[1]:g}", [run], minimum))
    if plot is not None:
        _draw(plot, objective, descents, minimum, overwrite)
        echo(f"plot: {plot}")


def _row(label: str, runs: list[Descent], minimum: np.ndarray) -> str:
    finals = [run.objectives[-1] for run in runs]
    distances = [run.distances(minimum)[-1] for run in runs]
    reached = [n for run in runs if (n := run.iterations_to(minimum, _TOLERANCE)) is not None]
    backtracked, accepted = (sum(getattr(run, name) for run in runs) for name in ("backtracked", "accepted"))
    cells = [
        _spread([run.length for run in runs], ".2f"), _spread(finals, ".5f"), _spread(distances, ".3f"),
        f"{_spread(reached, '.0f')} ({len(reached)}/{len(runs)})", f"{accepted}/{backtracked}" if backtracked else "-",
    ]  # fmt: skip
    return f"{label:<16}" + "".join(f" {cell:>21}" for cell in cells)


def _spread(values: list[Any], form: str) -> str:
    """Return mean and standard deviation; the mean alone if there is one value."""
    import numpy as np

    if not values:
        return "-"
    if diverged := int((~np.isfinite(values)).sum()):
        return f"{diverged} diverged"
    mean = format(np.mean(values), form)
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):{form}}"


def _draw(plot: Path, objective: Any, descents: dict[str, list[Descent]], minimum: np.ndarray, overwrite: bool) -> None:
    from csc_cogd.report.paths import draw_paths

    paths = {method: [run.path for run in runs] for method, runs in descents.items()}
    plain = [method for method in paths if f"{method} + CoGD" in paths]
    figure = draw_paths(objective, {name: {name: paths[name], "+ CoGD": paths[f"{name} + CoGD"]} for name in plain}, minimum)
    save_plot(figure, plot, overwrite)
