"""Channels that are the same at every pixel of every image, whose contribution can be moved into a bias."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.backend import to_numpy
from csc_cogd.nn.functions.shortcut import sources_of
from csc_cogd.nn.tensor import Tensor
from csc_cogd.nn.tracing import Trace


def constant_channels(traced: Trace) -> dict[Tensor, np.ndarray]:
    """Return the values of constant channels in inference, for the image and every result.

    Where zeros are padded, a channel is constant only if it is zero.

    Returns
    -------
    dict of Tensor to (C,) float64 array
        NaN for channels that aren't constant.
    """
    found = {traced.image: np.full(traced.image.shape[1], np.nan)}
    for result in traced.results:
        found[result] = _constants(result, [found[parent] for parent in result.parents if parent in found])
    return found


def _constants(result: Tensor, inputs: list[np.ndarray]) -> np.ndarray:
    name, settings = result.made_by
    arrays = [np.float64(to_numpy(parent.array)) for parent in result.parents[1:] if isinstance(parent, Tensor)]
    x, unknown = inputs[0], np.full(result.shape[1], np.nan)
    match name:
        case "relu":
            return np.maximum(x, 0)
        case "relu6":
            return np.clip(x, 0, 6)
        case "multiply":
            return x * settings["factor"]
        case "add":
            return x + inputs[1]
        case "clip":
            return np.clip(x, settings["low"], settings["high"])
        case "fake_quantize":
            rounded = np.rint(x / settings["scale"]) + settings["zero_point"]
            return (np.clip(rounded, settings["low"], settings["high"]) - settings["zero_point"]) * settings["scale"]
        case "select":
            channels = settings["channels"]
            return x if channels is None else np.where(channels < 0, 0, x[channels])
        case "flatten":
            return np.repeat(x, len(unknown) // len(x))
        case "concatenate":
            return np.concatenate(inputs)
        case "max_pool2d" | "avg_pool2d" | "global_avg_pool2d" | "upsample":
            return x
        case "soft_mask":
            return _times(x, arrays[0])
        case "batch_norm":
            mean, variance = (np.float64(to_numpy(statistic)) for statistic in settings["statistics"])
            scale = arrays[0] / np.sqrt(variance + settings["epsilon"])
            return _times(x - mean, scale) + arrays[1]
        case "subsample_and_pad":
            sources = sources_of(settings["sources"], len(x), len(unknown))
            return np.where(sources < 0, 0, x[sources])
        case "conv2d" if settings["groups"] == len(x) == len(unknown):
            padded = x if settings["padding"] == (0, 0) else np.where(x == 0, 0, np.nan)
            kernels = arrays[0].reshape(len(x), -1)
            products = np.where(kernels.any(axis=1), padded * kernels.sum(axis=1), 0)
            return products + (arrays[1] if len(arrays) > 1 else 0)
    return unknown


def _times(x: np.ndarray, factors: Any) -> np.ndarray:
    """Return a product in which 0 times NaN is 0."""
    return np.where(factors == 0, 0, x * factors)
