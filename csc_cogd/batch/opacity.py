"""The alpha channel of restored images."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import zoom

from csc_cogd.imagefiles import ImageFile


def with_colours(image: ImageFile, colours: np.ndarray, opaque: bool = False) -> ImageFile:
    """An image with restored colours, perhaps on a finer grid; with `opaque`, what was transparent has colours now."""
    pixels = colours.reshape(*colours.shape[:2], -1)
    if image.has_alpha:
        opacity = image.pixels[..., -1]
        if opaque:
            opacity = np.where(opacity == 0, 1 if opacity.dtype.kind == "f" else np.iinfo(opacity.dtype).max, opacity)
        opacity = _resized(opacity.astype(pixels.dtype), colours.shape[:2])
        pixels = np.concatenate([pixels, opacity[..., None]], axis=2)
    return image.with_pixels(pixels[..., 0] if image.pixels.ndim == 2 else pixels)


def _resized(opacity: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Opacity (H, W) on a finer grid, by linear interpolation, in its own type."""
    if opacity.shape == shape:
        return opacity
    factors = [fine / coarse for fine, coarse in zip(shape, opacity.shape, strict=True)]
    finer = zoom(opacity.astype(np.float64), factors, order=1, mode="nearest", grid_mode=True)
    return np.asarray(finer if opacity.dtype.kind == "f" else np.rint(finer)).astype(opacity.dtype)
