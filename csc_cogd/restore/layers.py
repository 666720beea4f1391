"""Pictures as what is coded: one scale for all, a smooth base layer, and the detail on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.restore.base_layer import base_layer, pilot_estimate
from csc_cogd.restore.damage import as_planes


@dataclass(frozen=True, eq=False)
class Layers:
    """A picture apart: ``low + (high - low) * (base + detail)``.

    Attributes
    ----------
    base, detail : (C, H, W) arrays of float
        The picture is about in [0, 1] on this scale; `detail` is zero where missing.
    known : (C, H, W) bool array
        False where the picture was NaN.
    """

    base: np.ndarray
    detail: np.ndarray
    known: np.ndarray
    low: float
    high: float
    dtype: np.dtype
    channel_axis: int | None

    def picture(self, detail: np.ndarray) -> np.ndarray:
        """The picture with another detail, in its own dtype and layout; integers are rounded and kept in range."""
        planes = (self.base + detail) * (self.high - self.low) + self.low
        if self.dtype.kind in "iu":
            limits = np.iinfo(self.dtype)
            planes = np.clip(np.rint(planes), limits.min, limits.max)
        planes = planes.astype(self.dtype)
        return planes[0] if self.channel_axis is None else np.ascontiguousarray(np.moveaxis(planes, 0, self.channel_axis))


def split_layers(images: Sequence[Any], channel_axis: int | None) -> list[Layers]:
    """Take pictures apart, all on the scale of the values that occur in them.

    Raises
    ------
    InputError
        If one of them isn't a picture, or has no known pixel, or infinite ones.
    """
    planes = [as_planes(image, channel_axis) for image in images]
    if not planes:
        raise InputError("images: there are none")
    known = [~np.isnan(p) if p.dtype.kind == "f" else np.ones(p.shape, bool) for p in planes]
    for n, (p, k) in enumerate(zip(planes, known, strict=True)):
        if p.dtype == bool:
            raise InputError(f"images: image {n} is bilevel: widen it to 8 bits first")
        if not k.any(axis=(1, 2)).all() or not np.isfinite(p[k]).all():
            raise InputError(f"images: image {n} has infinite values, or a channel without any known pixel")
    ranges = np.array([np.quantile(p[k].astype(np.float64), (0.001, 0.999)) for p, k in zip(planes, known, strict=True)])
    low, high = float(ranges[:, 0].min()), float(ranges[:, 1].max())
    if not high > low:
        high = low + max(abs(low), 1.0)
    layers = []
    for p, k in zip(planes, known, strict=True):
        scaled = np.where(k, (np.where(k, p, 0) - low) / (high - low), 0.0)
        base = base_layer(scaled if k.all() else pilot_estimate(scaled, ~k))
        layers.append(Layers(base, np.where(k, scaled - base, 0), k, low, high, p.dtype, channel_axis))
    return layers
