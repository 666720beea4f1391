"""CoGD's rule in learning a prior: ``python benchmarks/prior_rule.py [--steps N] [--seeds N] [--eta E...]``.

An unrolled coder is bilinear in its codes and its dictionary. As in pruning [CoGD, eqs. 27 and 28], a filter has a scale,
how active its code is, ``a_m = mean |z_m|``, and a partner, the filter d_m of the dictionary. Every hundred steps,

    c_m     = sum_i <dL/dd_mi, dd_mi/da_m> / a_m,    dd_mi/da_m ~ Delta d_mi / Delta a_m
    A_km   <- A_km + beta_m A_km^t, all iterations k   where a_m is small and d_m large,

as codes scale with the analysis filters A that make them. Activity and gradient are those of pieces drawn once. The same
seeds learn with and without it, on the photographs of ``$CSC_COGD_DATA/photos`` but the last four, on which the PSNR is
taken.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import numpy as np

from csc_cogd.cogd.rule import CogradientRule
from csc_cogd.engine import Engine
from csc_cogd.imagefiles import read_image
from csc_cogd.unrolled.network import Network, Shape
from csc_cogd.unrolled.photographs import Photographs, as_planes, reduced
from csc_cogd.unrolled.pieces import Piece, white_piece
from csc_cogd.unrolled.training import LearningProgress, Recipe, pieces_gradient, train

SHAPE = Shape(n_filters=32, n_iter=4)
HELD_OUT, PIECES = 4, 8


class Backtracking:
    """The rule, as a callback of learning.

    Parameters
    ----------
    rule : CogradientRule
    network : Network
        Which learns.
    pieces : list of Piece
    """

    def __init__(self, rule: CogradientRule, network: Network, pieces: list[Piece]):
        self.rule, self.network, self.pieces = rule, network, pieces
        self.backtracked = 0
        self._begin()

    def _begin(self) -> None:
        weights = self.network.weights
        self._activity, self._A, self._D = activity(self.network, self.pieces), weights.A.copy(), weights.D.copy()

    def __call__(self, progress: LearningProgress) -> None:
        rule, weights = self.rule, self.network.weights
        now = activity(self.network, self.pieces)
        where = rule.asynchronous(now, rule.norms(weights.D, axis=1))
        ratio = rule.difference_ratio(weights.D - self._D, (now - self._activity)[:, None])
        inner = (gradient_of_dictionary(self.network, self.pieces) * ratio).sum(axis=1) / np.maximum(self._activity, 1e-12)
        backtracked, statistics = rule.backtrack(
            weights.A, self._A, inner[:, None].astype(np.float32), where[:, None] & (self._activity > 0)[:, None]
        )
        weights.A[...] = backtracked
        self.backtracked += statistics.backtracked // weights.A[:, 0].size
        self.network.weights.project()
        self._begin()


def activity(network: Network, pieces: list[Piece]) -> np.ndarray:
    """Return the mean absolute code of each filter, (M,)."""
    total = np.zeros(network.shape.n_filters)
    for piece in pieces:
        image, mask = network.to_phases(piece.noisy - piece.mean), network.to_phases(np.ones_like(piece.noisy))
        size = network.code_shape(image)
        codes = network.encode(image, mask, np.full(size[0] * size[1], piece.sigma, image.dtype))
        total += abs(codes).mean(axis=1, dtype=np.float64)
    return total / len(pieces)


def gradient_of_dictionary(network: Network, pieces: list[Piece]) -> np.ndarray:
    """Return the mean gradient of the loss, (M, C P^2)."""
    total = sum(pieces_gradient(network, [piece])[1] for piece in pieces) / len(pieces)
    return Network(network.shape, total).weights.D


def learn(photographs: Photographs, held_out: list[np.ndarray], steps: int, seed: int, eta: float) -> tuple[float, ...]:
    """Return the last loss, the PSNR at three levels of noise, dead filters, and how many filters were backtracked."""
    recipe, losses = Recipe(steps=steps, batch_size=4, seed=seed), []
    network = Network.random(SHAPE, np.random.default_rng(seed))
    rng = np.random.default_rng((seed, 1))
    pieces = [white_piece(*photographs.draw(rng), recipe.sigma_range, rng) for _ in range(PIECES)]
    rule = Backtracking(CogradientRule(eta=eta), network, pieces)

    def look(progress: LearningProgress) -> None:
        losses.append(progress.loss)
        rule(progress)

    state = train(network, photographs, recipe, Engine(device="cpu", threads=1).backend, held_out=held_out, callback=look)
    dead = np.count_nonzero(activity(network, pieces) == 0)
    return float(np.mean(losses[-5:])), *state.psnr, dead, rule.backtracked


def read_photographs() -> list[np.ndarray]:
    """Return the photographs, gray planes (1, H, W) at about half their size, in which noise can't be seen."""
    paths = sorted((Path(os.environ["CSC_COGD_DATA"]) / "photos").glob("*.jpg"))
    pictures = []
    for path in paths:
        planes = as_planes(read_image(path).colors, 1)
        pictures.append(reduced(planes, min(0.5, 1280 / max(planes.shape))))
    return pictures


def print_table(steps: int, seeds: int, etas: list[float]) -> None:
    pictures = read_photographs()
    photographs = Photographs([planes[0] for planes in pictures[:-HELD_OUT]], 1, 64)
    held_out = [planes[:, :256, :256].astype(np.float32) / 255 for planes in pictures[-HELD_OUT:]]
    print(f"{SHAPE.n_filters} filters, {SHAPE.n_iter} iterations, {steps} steps, mean and spread of {seeds} seeds\n")
    print("| rule | loss | PSNR at sigma 15 / 25 / 50, dB | dead filters | filters backtracked |")
    print("| --- | --- | --- | --- | --- |")
    for eta in etas:
        runs = np.array([learn(photographs, held_out, steps, seed, eta) for seed in range(seeds)])
        mean, spread = runs.mean(axis=0), runs.std(axis=0, ddof=1) if seeds > 1 else np.zeros(runs.shape[1])
        digits = (5, 2, 2, 2, 1, 0)
        figures = [f"{m:.{d}f} ± {s:.{d}f}" for m, s, d in zip(mean, spread, digits, strict=True)]
        name = f"eta {eta:g}" if eta else "none"
        print(f"| {name} | {figures[0]} | {' / '.join(figures[1:4])} | {figures[4]} | {figures[5]} |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1500, metavar="N")
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--eta", type=float, nargs="*", default=[0.0, 0.1, 1.0], metavar="E", help="0: without the rule")
    arguments = parser.parse_args()
    print_table(arguments.steps, arguments.seeds, arguments.eta)
