"""The alpha channel of restored images."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom

from csc_cogd.imagefiles import ImageFile


def with_colours(image: ImageFile, colours: np.ndarray, opaque: np.ndarray | None = None) -> ImageFile:
    """An image with restored colours, perhaps on a finer grid; those of `opaque` pixels, (H, W) bool, are new."""
    pixels = colours.reshape(*colours.shape[:2], -1)
    if image.has_alpha:
        opacity = image.pixels[..., -1]
        if opaque is not None:
            opacity = np.where(opaque, 1 if opacity.dtype.kind == "f" else np.iinfo(opacity.dtype).max, opacity)
        opacity = _resized(opacity.astype(pixels.dtype), colours.shape[0] // image.pixels.shape[0])
        pixels = np.concatenate([pixels, opacity[..., None]], axis=2)
    return image.with_pixels(pixels[..., 0] if image.pixels.ndim == 2 else pixels)


def _resized(opacity: np.ndarray, factor: int) -> np.ndarray:
    """Opacity (H, W) on the finer grid, by linear interpolation, in its own type."""
    if factor == 1:
        return opacity
    finer = zoom(opacity.astype(np.float64), factor, order=1, mode="nearest", grid_mode=True)
    return np.asarray(finer if opacity.dtype.kind == "f" else np.rint(finer)).astype(opacity.dtype)
