"""What the rule of cogradient descent adds to learning: ``python benchmarks/cogradient.py``.

The same engine with and without the rule, from the same filters, on pieces of photographs that scikit-image brings
along, in situations where the rule might help: little data, bad starts, few iterations, strong sparsity, mixed scales.
Per situation and variant, over the seeds: mean and standard deviation of the paired difference in the final objective,
in per cent (less is better), how many seeds ended lower, and outer iterations to the objective at which plain
alternation ended. Controls: the rule with its sign reversed, and a restart of the same size without the rule's
direction, that is the codes drawn back by half of max_beta wherever the asynchrony test says so.

``--beale`` does the same on Beale's function (see ``csc-cogd beale``), from 100 random starting points: mean iterations
until within 0.1 of the minimum, at how many starts earlier and later than without the rule, and mean path length. The
controls draw the sign of beta at random, or leave the asynchrony test out.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np
from paper_tables import spread
from scipy.ndimage import gaussian_filter

from csc_cogd import CogradientRule, Dictionary, learn_dictionary

K, SIZE = 32, 8
RULE = CogradientRule()


class Undirected(CogradientRule):
    """The asynchrony test and the size of a step, without the gradient's direction."""

    def beta(self, inner: Any) -> Any:
        return np.full_like(inner, self.max_beta / 2)


class RandomSign(CogradientRule):
    """The size of beta with a sign from a fixed sequence of random ones."""

    _signs = np.random.default_rng(0).choice([-1, 1], 1000003)

    def beta(self, inner: Any) -> Any:
        drawn = self._signs[int(np.abs(inner).sum() * 1e9) % self._signs.size]
        return drawn * np.abs(super().beta(inner))


VARIANTS: dict[str, CogradientRule] = {
    "k = 1": RULE,
    "k = 2": replace(RULE, degree=2),
    "k = 3": replace(RULE, degree=3),
    "k = 1, eta 1, bound 0.5": replace(RULE, eta=1.0, max_beta=0.5),
    "control: sign reversed": replace(RULE, sign=1),
    "control: no direction": Undirected(),
}


def pieces(seed: int, number: int, size: int) -> np.ndarray:
    """Pieces of photographs without their local mean, standard deviation one."""
    from skimage.data import astronaut, camera, coffee

    generator = np.random.default_rng(seed)
    pictures = [picture.mean(axis=2) if picture.ndim == 3 else picture for picture in (camera(), astronaut(), coffee())]
    found: list[np.ndarray] = []
    while len(found) < number:
        picture = pictures[generator.integers(len(pictures))] / 255
        top, left = (generator.integers(0, length - size) for length in picture.shape)
        piece = picture[top : top + size, left : left + size]
        piece = piece - gaussian_filter(piece, 3)
        if piece.std() > 0.02:
            found.append(piece / piece.std())
    return np.array(found)


def random_start(seed: int) -> Dictionary:
    filters = np.random.default_rng(seed).standard_normal((K, SIZE, SIZE))
    return Dictionary(filters / np.linalg.norm(filters, axis=(1, 2))[:, None, None])


def bad_start(seed: int) -> Dictionary:
    """Filters that are nearly all the same."""
    noise = np.random.default_rng(seed).standard_normal((K, SIZE, SIZE))
    filters = gaussian_filter(np.random.default_rng(seed + 1).standard_normal((SIZE, SIZE)), 1) * 10 + 0.1 * noise
    return Dictionary(filters / np.linalg.norm(filters, axis=(1, 2))[:, None, None])


def situation(name: str, seed: int) -> dict[str, Any]:
    """Arguments of learn_dictionary."""
    images, start = pieces(seed, 4, 48), random_start(seed)
    run: dict[str, Any] = {"images": images, "start": start, "lmbda": 0.5, "max_iter": 20}
    if name == "little data":
        run["images"] = images[:1, :24, :24]
    elif name == "missing pixels":
        run["weights"] = np.random.default_rng(seed).random(images.shape) < 0.5
    elif name == "bad start":
        run["start"] = bad_start(seed)
    elif name == "few iterations":
        run |= {"code_iterations": 2, "filter_iterations": 2}
    elif name == "strong sparsity":
        run["lmbda"] = 2.0
    elif name == "weak sparsity":
        run["lmbda"] = 0.1
    elif name == "mixed scales":
        run["images"] = images * np.array([0.1, 0.3, 1, 3])[:, None, None]
    return run


SITUATIONS = (
    "ordinary", "little data", "missing pixels", "bad start", "few iterations", "strong sparsity", "weak sparsity",
    "mixed scales",
)  # fmt: skip


def learn(run: dict[str, Any], rule: CogradientRule | None, threads: int | None) -> list[float]:
    """Objective after each outer iteration."""
    learned = learn_dictionary(n_filters=K, filter_shape=SIZE, tol=0, cogd=rule, threads=threads, **run)
    return [record.objective for record in learned.history]


def beale() -> None:
    """The same question on two variables."""
    from csc_cogd.cogd.beale import OPTIMIZERS, SparseBeale, beale_rule, descend

    generator = np.random.default_rng(0)
    starts = np.stack([generator.uniform(0.5, 4.5, 100), generator.uniform(-1, 1, 100)], axis=1)
    objective, limit = SparseBeale(), 200
    minimum = objective.minimum()
    print("| optimiser | variant | iterations to 0.1 | earlier, later | path length |")
    print("| --- | --- | --- | --- | --- |")
    for name, optimizer in OPTIMIZERS.items():
        rule = beale_rule(optimizer)
        variants: dict[str, CogradientRule | None] = {"without the rule": None}
        variants |= {f"k = {degree}": beale_rule(optimizer, degree) for degree in (1, 2, 3)}
        variants["control: random sign"] = RandomSign(**vars(rule))
        variants["control: no asynchrony test"] = replace(rule, alpha_sparse=np.inf, alpha_partner=0.0)
        plain: np.ndarray = np.empty(0)
        for variant, chosen in variants.items():
            paths = [descend(objective, start, optimizer, chosen, limit) for start in starts]
            reached = [path.iterations_to(minimum, 0.1) for path in paths]
            needed = np.array([limit + 1 if number is None else number for number in reached])
            plain = needed if chosen is None else plain
            order = f"{(needed < plain).sum()}, {(needed > plain).sum()}"
            length = np.nanmean([path.length for path in paths])
            print(f"| {name} | {variant} | {needed.mean():.1f} | {order} | {length:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--situations", nargs="+", choices=SITUATIONS, default=SITUATIONS)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--beale", action="store_true", help="on Beale's function instead")
    arguments = parser.parse_args()
    if arguments.beale:
        beale()
        return
    print("| situation | variant | objective with the rule less without | seeds lower | outer iterations to plain's end |")
    print("| --- | --- | --- | --- | --- |")
    for name in arguments.situations:
        runs = [situation(name, seed) for seed in range(arguments.seeds)]
        plain = [learn(run, None, arguments.threads) for run in runs]
        for variant, rule in VARIANTS.items():
            found = [learn(run, rule, arguments.threads) for run in runs]
            change = np.array([100 * (with_[-1] / p[-1] - 1) for with_, p in zip(found, plain, strict=True)])
            needed = [
                next((n for n, value in enumerate(with_, 1) if value <= p[-1]), len(p) + 1)
                for with_, p in zip(found, plain, strict=True)
            ]
            lower = f"{(change < 0).sum()} of {len(change)}"
            print(f"| {name} | {variant} | {spread(change, 3)} % | {lower} | {spread(needed, 1)} of 20 |", flush=True)


if __name__ == "__main__":
    main()
