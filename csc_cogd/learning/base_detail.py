"""Base/detail decomposition: a smooth base layer of an image, and the detail on it, which is coded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from csc_cogd.backend import Backend, from_gpu, with_mask
from csc_cogd.biharmonic import fill_biharmonic
from csc_cogd.errors import InputError
from csc_cogd.restore.observation import as_pixels, as_planes, check_values, intensity_range
from csc_cogd.restore.stages.base_layer import base_layer


@dataclass(frozen=True, eq=False)
class Decomposition:
    """An image as ``low + (high - low) * (base + detail)``.

    Attributes
    ----------
    base, detail : (C, H, W) arrays of float
        On this scale the image is about in [0, 1]; `detail` is zero where pixels are missing.
    known : (C, H, W) bool array
        False where the image was NaN, or masked by ``numpy.ma``.
    low, high : float
    dtype : dtype
        Of the image.
    channel_axis : int, optional
        Of the image.
    """

    base: np.ndarray
    detail: np.ndarray
    known: np.ndarray
    low: float
    high: float
    dtype: np.dtype
    channel_axis: int | None

    def compose(self, detail: np.ndarray) -> np.ndarray:
        """Return the image with another detail, in its own dtype, range and layout."""
        planes = (self.base + detail) * (self.high - self.low) + self.low
        planes = as_pixels(planes, self.dtype)
        return planes[0] if self.channel_axis is None else np.ascontiguousarray(np.moveaxis(planes, 0, self.channel_axis))


def decompose(images: Sequence[Any], channel_axis: int | None, backend: Backend | None = None) -> list[Decomposition]:
    """Decompose images, each on the scale of its own values; on the backend's device, if it is a GPU.

    Raises
    ------
    InputError
        If there is none, or for one of them, see :meth:`Decomposer.split`; it is the error's `argument`, as ``images[0]``.
    """
    if isinstance(images, np.ndarray) and images.ndim == (2 if channel_axis is None else 3):
        raise InputError("images", f"must be several, got one of shape {images.shape}", "put it into a list, [image]")
    if not len(images):
        raise InputError("images", "must be one or more, got none")
    decomposer, decompositions = Decomposer(channel_axis, backend), []
    for n, image in enumerate(images):
        try:
            decompositions.append(decomposer.split(image))
        except InputError as error:
            name = f"images[{n}]" if error.argument == "image" else error.argument
            raise InputError(name, error.problem, error.fix, error.subject) from None
    return decompositions


@dataclass(frozen=True)
class Decomposer:
    """Splits images into base and detail; `channel_axis` is the axis of their channels, `backend` may be a GPU's."""

    channel_axis: int | None
    backend: Backend | None = None

    def split(self, image: Any) -> Decomposition:
        """Decompose one image.

        Raises
        ------
        InputError
            If it isn't an image, has a channel without any known pixel, or values that can't be computed with.
        """
        image = with_mask(from_gpu(image))
        planes = as_planes(np.ma.getdata(image), self.channel_axis)
        known = ~as_planes(np.ma.getmaskarray(image), self.channel_axis)
        if planes.dtype.kind == "f":
            known &= ~np.isnan(planes)
        if planes.dtype == bool:
            raise InputError("image", "must not be bilevel", "convert it to 8 bits first")
        if not known.any(axis=(1, 2)).all():
            raise InputError("image", "has a channel without any known pixel", "leave it out")
        check_values(planes[known])
        low, high = intensity_range([planes[known]])
        scaled = np.where(known, (np.where(known, planes, 0) - low) / (high - low), 0.0)
        pilot = scaled if known.all() else fill_biharmonic(scaled, ~known, self.backend)
        base = base_layer(pilot, backend=self.backend)
        return Decomposition(base, np.where(known, scaled - base, 0), known, low, high, planes.dtype, self.channel_axis)
