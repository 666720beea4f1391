"""Learning a prior here and in PyTorch: ``python benchmarks/prior_torch.py [--steps N]``. Needs PyTorch.

The same start, pieces, loss, clipping, rates and optimizer; convolutions and gradients of this package here, PyTorch's
there, both in float32. Prints both losses. They part by rounding, which learning amplifies step by step.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from prior_rule import read_photographs

from csc_cogd.engine import Engine
from csc_cogd.unrolled.network import Network, Shape
from csc_cogd.unrolled.photographs import Photographs
from csc_cogd.unrolled.pieces import Piece
from csc_cogd.unrolled.training import Recipe, draw_piece, train

SHAPE = Shape(n_filters=32, n_iter=4)


class Twin:
    """The network in PyTorch."""

    def __init__(self, network: Network):
        weights = network.weights
        self.A, self.B, self.D, self.t0, self.t1 = self.parameters = [
            torch.tensor(array, requires_grad=True) for array in (weights.A, weights.B, weights.D, weights.t0, weights.t1)
        ]

    def loss(self, piece: Piece) -> Any:
        """Return ``weight * mean((x - clean)^2)``."""
        noisy, clean = (torch.tensor(array - piece.mean)[None] for array in (piece.noisy, piece.clean))
        (H, W), s, P = noisy.shape[2:], SHAPE.stride, SHAPE.size
        first, filters = (P - s) // 2, (-1, SHAPE.channels, P, P)
        places = [-(-length // s) for length in (H, W)]
        after = [(n - 1) * s + P - first - length for n, length in zip(places, (H, W), strict=True)]
        around = (first, after[1], first, after[0])
        image, mask = F.pad(noisy, around), F.pad(torch.ones_like(noisy), around)
        codes = torch.zeros(1, SHAPE.n_filters, *places)
        for k in range(SHAPE.n_iter):
            residual = -image
            if k:
                residual = mask * (F.conv_transpose2d(codes, self.B[k - 1].reshape(filters), stride=s) - image)
            codes = codes - F.conv2d(residual, self.A[k].reshape(filters), stride=s)
            threshold = (self.t0[k] + self.t1[k] * float(piece.sigma))[None, :, None, None]
            codes = torch.sign(codes) * torch.relu(abs(codes) - threshold)
        estimate = F.conv_transpose2d(codes, self.D.reshape(filters), stride=s)[:, :, first : first + H, first : first + W]
        return piece.weight * ((estimate - clean) ** 2).mean()

    def project(self) -> None:
        with torch.no_grad():
            for filters in (self.A, self.B, self.D):
                filters /= filters.norm(dim=-1, keepdim=True).clamp(min=1)
            for thresholds in (self.t0, self.t1):
                thresholds.clamp_(min=0)


def learn_by_torch(photographs: Photographs, recipe: Recipe) -> list[float]:
    """Return the loss of every step."""
    twin, losses = Twin(Network.random(SHAPE, np.random.default_rng(recipe.seed))), []
    optimizer = torch.optim.Adam(twin.parameters)
    for step in range(recipe.steps or 0):
        rng = np.random.default_rng((recipe.seed, step))
        pieces = [draw_piece(photographs, recipe, rng) for _ in range(recipe.batch_size)]
        loss = sum(twin.loss(piece) for piece in pieces) / recipe.batch_size
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(twin.parameters, recipe.clip)
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, recipe.done(step, 0))
        optimizer.step()
        twin.project()
        losses.append(float(loss.detach()))
    return losses


def print_curves(steps: int) -> None:
    torch.set_num_threads(1)
    photographs = Photographs([planes[0] for planes in read_photographs()], 1, 64)
    recipe = Recipe(steps=steps, batch_size=4)
    network = Network.random(SHAPE, np.random.default_rng(recipe.seed))
    here = train(network, photographs, recipe, Engine(device="cpu", threads=1).backend).losses
    there = learn_by_torch(photographs, recipe)
    print("| step | loss here | by PyTorch | relative difference |\n| --- | --- | --- | --- |")
    for step in sorted({*np.unique(np.geomspace(1, steps, 12).astype(int))}):
        ours, theirs = here[step - 1], there[step - 1]
        print(f"| {step} | {ours:.7f} | {theirs:.7f} | {abs(ours - theirs) / theirs:.1e} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=99, metavar="N", help="less than 100: losses are kept so long")
    print_curves(parser.parse_args().steps)
