"""Costs of a network: computed, stored and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter

import numpy as np
from safetensors.numpy import save

from csc_cogd.backend import array_module, to_numpy
from csc_cogd.nn.export.quantize import onnxruntime_seconds
from csc_cogd.nn.flops import count_parameters, flops_by_layer
from csc_cogd.nn.functions.checks import check_positive
from csc_cogd.nn.module import Module
from csc_cogd.nn.tensor import Tensor, no_grad
from csc_cogd.nn.tracing import Shape


@dataclass(frozen=True)
class Cost:
    """The costs of a network, as :func:`measure_costs` measures them.

    Attributes
    ----------
    flops : int
        Multiply-adds for one image.
    parameters : int
        Numbers that are trained.
    file_bytes : int
        Size of the weights as safetensors, without metadata.
    seconds : float
        Median time of the forward pass of a batch.
    onnxruntime_seconds : float or None
        Median time of one image by onnxruntime, from the exported network, with one thread; None where it isn't installed.
    """

    flops: int
    parameters: int
    file_bytes: int
    seconds: float
    onnxruntime_seconds: float | None = None


def measure_costs(
    networks: Sequence[Module], *, image_shape: Shape = (3, 32, 32), batch_size: int = 64, repeats: int = 9
) -> list[Cost]:  # fmt: skip
    """Measure the costs of networks, such as one before and after pruning.

    The forward passes of the networks alternate, after one that isn't counted, so that other load slows all of them down
    alike. They run in inference, on the device and in the dtype of each network, with the threads that BLAS may use.

    Parameters
    ----------
    networks : sequence of Module
    image_shape : (C, H, W)
    batch_size : int >= 1
    repeats : int >= 1
        Passes of each network that are timed.

    Returns
    -------
    list of Cost

    Raises
    ------
    InputError
        If `batch_size` or `repeats` is below 1.

    Examples
    --------
    >>> from csc_cogd.nn import build_network
    >>> (cost,) = measure_costs([build_network("resnet20")], image_shape=(3, 8, 8), batch_size=1, repeats=1)
    >>> cost.parameters
    269722
    """
    check_positive("batch_size", batch_size)
    check_positive("repeats", repeats)
    times: list[list[float]] = [[] for _ in networks]
    for _ in range(repeats + 1):
        for network, taken in zip(networks, times, strict=True):
            taken.append(_seconds(network, (batch_size, *image_shape)))
    return [
        Cost(
            flops=sum(flops_by_layer(network, image_shape=image_shape).values()),
            parameters=count_parameters(network),
            file_bytes=len(save(network.state_dict())),
            seconds=median(taken[1:]),
            onnxruntime_seconds=onnxruntime_seconds(network, image_shape),
        )
        for network, taken in zip(networks, times, strict=True)
    ]


def _seconds(network: Module, shape: tuple[int, ...]) -> float:
    """Time one pass, until its result is in main memory."""
    weight = network.parameters()[0].array
    values = np.random.default_rng(0).standard_normal(shape, np.float32)
    batch = Tensor(array_module(weight).asarray(values.astype(weight.dtype)))
    with no_grad(), network.evaluating():
        start = perf_counter()
        to_numpy(network(batch).array)
        return perf_counter() - start
