"""Pictures as what is coded: on a scale of their own, a smooth base layer, and the detail on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, from_gpu, with_mask
from csc_cogd.errors import InputError
from csc_cogd.restore.observation import as_pixels, as_planes, check_values, intensity_range
from csc_cogd.restore.stages.base_layer import base_layer
from csc_cogd.restore.stages.pilot import pilot_estimate


@dataclass(frozen=True, eq=False)
class Layers:
    """A picture apart: ``low + (high - low) * (base + detail)``.

    Attributes
    ----------
    base, detail : (C, H, W) arrays of float
        The picture is about in [0, 1] on this scale; `detail` is zero where missing.
    known : (C, H, W) bool array
        False where the picture was NaN, or masked by ``numpy.ma``.
    """

    base: np.ndarray
    detail: np.ndarray
    known: np.ndarray
    low: float
    high: float
    dtype: np.dtype
    channel_axis: int | None

    def picture(self, detail: np.ndarray) -> np.ndarray:
        """The picture with another detail, in its own dtype, its range and its layout."""
        planes = (self.base + detail) * (self.high - self.low) + self.low
        planes = as_pixels(planes, self.dtype)
        return planes[0] if self.channel_axis is None else np.ascontiguousarray(np.moveaxis(planes, 0, self.channel_axis))


def split_layers(images: Sequence[Any], channel_axis: int | None, backend: Backend | None = None) -> list[Layers]:
    """Take pictures apart, each on the scale of the values that occur in it; on the backend's device, if it is a GPU.

    Raises
    ------
    InputError
        If one of them isn't a picture, has a channel without any known pixel, or values that can't be computed with.
    """
    if isinstance(images, np.ndarray) and images.ndim == (2 if channel_axis is None else 3):
        raise InputError("images", "must be a sequence of images, got a single one", "put it into a list")
    layers = []
    for n, image in enumerate(images):
        image, name = with_mask(from_gpu(image)), f"images[{n}]"
        p = as_planes(np.ma.getdata(image), channel_axis, name)
        k = ~as_planes(np.ma.getmaskarray(image), channel_axis) if np.ma.is_masked(image) else np.ones(p.shape, bool)
        if p.dtype.kind == "f":
            k &= ~np.isnan(p)
        if p.dtype == bool:
            raise InputError(name, "must not be bilevel", "convert it to 8 bits first")
        if not k.any(axis=(1, 2)).all():
            raise InputError(name, "has a channel without any known pixel", "leave it out")
        check_values(p[k], name)
        low, high = intensity_range([p[k]])
        scaled = np.where(k, (np.where(k, p, 0) - low) / (high - low), 0.0)
        base = base_layer(scaled if k.all() else pilot_estimate(scaled, ~k, backend), backend=backend)
        layers.append(Layers(base, np.where(k, scaled - base, 0), k, low, high, p.dtype, channel_axis))
    if not layers:
        raise InputError("images", "must be one or more, got none")
    return layers
