"""Soft masks on the channels of blocks, and their training by FISTA."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from csc_cogd.backend import array_module
from csc_cogd.errors import InputError
from csc_cogd.nn.layers import SoftMask
from csc_cogd.nn.module import Module, Parameter

STARTS = ("ones", "uniform", "normal")


def insert_masks(network: Module, *, mask_start: str = "ones", seed: int = 0) -> Module:
    """Return a copy of a network with a soft mask after each block's first convolution, batch norm and ReLU [CoGD, eq. 25].

    Parameters
    ----------
    network : Module
        A network of blocks with a place named ``mask``, as :func:`csc_cogd.nn.build_network` builds them.
    mask_start : {"ones", "uniform", "normal"}
        Initial masks: 1, which changes nothing; U[0, 1), as in the authors' code; N(0, 1) clamped at 0, as in GAL's.
    seed : int
        Seed for random masks.

    Returns
    -------
    Module

    Raises
    ------
    InputError
        If there is no such place, or there is a mask already, or `mask_start` is unknown.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> len(masks_of(insert_masks(build_network("resnet20"))))
    9
    """
    if mask_start not in STARTS:
        raise InputError("mask_start", f"must be one of {', '.join(STARTS)}, got {mask_start!r}")
    masked, rng = copy.deepcopy(network), np.random.default_rng(seed)
    places: list[Any] = [module for _, module in masked.named_modules() if hasattr(module, "mask")]
    if not places:
        raise InputError("network", "must have blocks with a place for a mask", "use one of build_network")
    drawn: dict[str, Callable[[int], np.ndarray]] = {
        "ones": np.ones,
        "uniform": lambda n: rng.uniform(size=n),
        "normal": lambda n: np.maximum(rng.standard_normal(n), 0),
    }
    for block in places:
        if isinstance(block.mask, SoftMask):
            raise InputError("network", "has soft masks already", "use the network without them")
        scale = block.bn1.weight.array
        block.mask = SoftMask(len(scale))
        values = drawn[mask_start](len(scale))
        block.mask.weight.array = array_module(scale).asarray(values.astype(scale.dtype))
    return masked


def masks_of(network: Module) -> dict[str, Parameter]:
    """Return the soft masks of a network by the names of their modules."""
    return {name: module.weight for name, module in network.named_modules() if isinstance(module, SoftMask)}


class SparseMasks:
    """FISTA for soft masks: ``min L(m) + lmbda sum_j m_j, m >= 0``, with adaptive restart.

        m^{k+1} = max(z^k - eta (dL/dz + lmbda), 0)
        t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2
        z^{k+1} = max(m^{k+1} + (t_k - 1) / t_{k+1} (m^{k+1} - m^k), 0)
        t_{k+1} = 1, z^{k+1} = m^{k+1}   where <z^k - m^{k+1}, m^{k+1} - m^k> > 0, all masks together

    A. Beck, M. Teboulle, "A Fast Iterative Shrinkage-Thresholding Algorithm for Linear Inverse Problems", SIAM J. Imaging
    Sciences 2 (2009); the restart: B. O'Donoghue, E. Candes, "Adaptive Restart for Accelerated Gradient Schemes", Found.
    Comput. Math. 15 (2015), section 3.2. Without it, momentum drives almost every mask to zero.

    The network computes with z until :meth:`settle` sets its masks to m.

    Parameters
    ----------
    masks : list of Parameter
    learning_rate : float > 0, eta
    lmbda : float >= 0
        Weight of the masks' l1 norm.
    interval : int
        Batches whose mean gradient is used in a step.
    """

    def __init__(self, masks: list[Parameter], learning_rate: float, lmbda: float, *, interval: int = 1):
        self.masks, self.learning_rate, self.lmbda, self.interval = masks, learning_rate, lmbda, interval
        self.settled = [mask.array for mask in masks]
        self.t = 1.0
        self.restarts = 0
        self._sums: list[Any] = [0] * len(masks)
        self._batches = 0

    def add_gradients(self) -> None:
        """Collect the gradients of the masks, and take a step if there are enough."""
        self._sums = [total + mask.grad for total, mask in zip(self._sums, self.masks, strict=True)]
        self._batches += 1
        for mask in self.masks:
            mask.grad = None
        if self._batches == self.interval:
            self.step()

    def step(self) -> None:
        """Iterate once, by the mean of the gradients since the last iteration."""
        eta, uphill = self.learning_rate, 0.0
        new = []
        for mask, old, total in zip(self.masks, self.settled, self._sums, strict=True):
            z, xp = mask.array, array_module(mask.array)
            m = xp.maximum(z - eta * (total / self._batches + self.lmbda), 0).astype(z.dtype)
            uphill = uphill + ((z - m) * (m - old)).sum()
            new.append(m)
        t = (1 + np.sqrt(1 + 4 * self.t**2)) / 2
        momentum = (self.t - 1) / t
        if float(uphill) > 0:
            t, momentum, self.restarts = 1.0, 0.0, self.restarts + 1
        for mask, m, old in zip(self.masks, new, self.settled, strict=True):
            mask.array = array_module(m).maximum(m + m.dtype.type(momentum) * (m - old), 0)
        self.settled, self.t = new, t
        self._sums, self._batches = [0] * len(new), 0

    def settle(self) -> None:
        """Take a step of the gradients that are left, set the masks to m, and forget the momentum."""
        if self._batches:
            self.step()
        for mask, m in zip(self.masks, self.settled, strict=True):
            mask.array = m
        self.t = 1.0

    def resume(self) -> None:
        """Continue from the current masks, which may have been changed since :meth:`settle`."""
        self.settled = [mask.array for mask in self.masks]
        self.t = 1.0
