"""Pictures of arrays for display: 8 bits, of limited width, as PNG in a data URI."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from csc_cogd.locks import importing

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST_SIDE = 1600  # pixels; what is longer is shown reduced
MARK = (255, 0, 200)  # missing pixels
DIVERGING = ((33, 102, 172), (146, 197, 222), (247, 247, 247), (244, 165, 130), (178, 24, 43))  # ColorBrewer's RdBu
SEQUENTIAL = ((0, 0, 4), (59, 15, 112), (140, 41, 129), (222, 73, 104), (254, 159, 109), (252, 253, 191))  # magma
CELL, CELLS = 64, 5  # places are looked for on a grid of cells, and are so many of them wide and high
PLACES = 3  # the most


def visible(pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """Return the channels of an (H, W, C) array to show, (H, W, 1) or (H, W, 3), and a sentence if others are left out."""
    channels = pixels.shape[2]
    if channels in (1, 3):
        return pixels, ""
    if channels == 4:
        return pixels[..., :3], "Of the 4 channels, the first three are shown as red, green and blue."
    count = channels - np.isnan(pixels).sum(axis=2, keepdims=True)
    mean = np.nansum(pixels, axis=2, keepdims=True, dtype=np.float64) / np.where(count, count, np.nan)
    return mean, f"The mean of the {channels} channels is shown."


def tone_range(before: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Return the values that are shown as black and as white: 0 and 255 of 8 bits, else what the known pixels, (H, W), span.

    The outermost thousandth at either end is ignored.
    """
    if before.dtype == np.uint8:
        return 0.0, 255.0
    values = some(before[known].ravel()).astype(np.float64)
    values = values[np.isfinite(values)]
    low, high = np.quantile(values, (0.001, 0.999)) if values.size else (0.0, 1.0)
    return float(low), float(high if high > low else low + 1)


def to_bytes(pixels: np.ndarray, tones: tuple[float, float]) -> np.ndarray:
    """Return a (H, W, 1 or 3) array of any type as uint8, (H, W) or (H, W, 3); NaN is black."""
    if pixels.dtype == np.uint8 and tones == (0.0, 255.0):
        picture = pixels
    else:
        low, high = tones
        picture = np.empty(pixels.shape, np.uint8)
        for row, values in zip(picture, pixels, strict=True):  # row by row: the floats of a large picture take much memory
            scaled = (values.astype(np.float64) - low) * (255 / (high - low))
            row[:] = np.clip(np.rint(np.nan_to_num(scaled, nan=0.0)), 0, 255)
    return picture[..., 0] if picture.shape[2] == 1 else picture


def reduction(shape: tuple[int, ...]) -> int:
    """Return the integer that an image's height and width are divided by so that neither is above LONGEST_SIDE."""
    return -(-max(shape[:2]) // LONGEST_SIDE)


def picture(pixels: np.ndarray, tones: tuple[float, float], factor: int = 1) -> str:
    """Return a picture as a data URI."""
    with importing:
        from imageio.v3 import imwrite

    reduced = np.asarray(_image(to_bytes(pixels, tones)).reduce(factor))
    return _data_uri(imwrite("<bytes>", reduced, plugin="pillow", extension=".png"))


def mask_picture(share: np.ndarray, factor: int = 1) -> str:
    """Return a picture of missing pixels, in the color MARK: (H, W) shares of a pixel's channels, from 0 to 1."""
    opacity = _image(np.rint(share * 255).astype(np.uint8)).reduce(factor)
    opacity.putpalette(MARK * 256)
    return _palette_uri(opacity, transparency=bytes(range(256)))


def signed_map(values: np.ndarray, scale: float, factor: int = 1) -> str:
    """Return (H, W) values from -scale to scale in the DIVERGING colors; NaN is transparent."""
    return _colored(values / (2 * scale) + 0.5, DIVERGING, factor)


def error_map(values: np.ndarray, scale: float, factor: int = 1) -> str:
    """Return (H, W) values from 0 to scale in the SEQUENTIAL colors; NaN is transparent."""
    return _colored(values / scale, SEQUENTIAL, factor)


def map_scale(values: np.ndarray) -> float:
    """Return the 99.5th percentile of the values' magnitudes, of those that aren't zero or NaN; 1 if there are none."""
    magnitudes = np.abs(values[np.isfinite(values) & (values != 0)])
    return float(np.quantile(some(magnitudes), 0.995)) if magnitudes.size else 1.0


def tile(filter_: np.ndarray) -> str:
    """Return a filter (C, h, w), stretched to its own range: gray is zero. Of other than 3 channels, the first."""
    channels = np.moveaxis(filter_ if len(filter_) == 3 else filter_[:1], 0, -1)
    largest = float(np.abs(channels).max()) or 1.0
    return picture(channels, (-largest, largest))


def worst_places(damage: np.ndarray) -> list[tuple[slice, slice]]:
    """Return the squares of the (H, W) damage that have most of it, the worst first; they don't overlap."""
    edges = [np.arange(0, length, CELL) for length in damage.shape]
    cells = np.add.reduceat(np.add.reduceat(damage, edges[0], axis=0, dtype=np.float64), edges[1], axis=1)
    size = tuple(min(CELLS, length) for length in cells.shape)
    sums = np.lib.stride_tricks.sliding_window_view(cells, size).sum(axis=(2, 3))
    places = []
    for _ in range(PLACES):
        i, j = (int(k) for k in np.unravel_index(sums.argmax(), sums.shape))
        if not sums[i, j] > 0:
            break
        places.append((slice(i * CELL, (i + size[0]) * CELL), slice(j * CELL, (j + size[1]) * CELL)))
        sums[max(i - size[0] + 1, 0) : i + size[0], max(j - size[1] + 1, 0) : j + size[1]] = -1
    return places


def some(values: np.ndarray) -> np.ndarray:
    """Return about a million of the values, evenly spaced, with about the same quantiles."""
    return values[:: max(values.size >> 20, 1)]


def _palette_uri(image: Image, transparency: bytes | int) -> str:
    """Return a picture with a palette and transparency, a byte for each pixel, which imageio doesn't write."""
    stream = io.BytesIO()
    image.save(stream, "PNG", transparency=transparency)
    return _data_uri(stream.getvalue())


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _image(array: np.ndarray) -> Image:
    with importing:
        from PIL import Image

    return Image.fromarray(np.ascontiguousarray(array))


def _colored(levels: np.ndarray, colors: tuple[tuple[int, int, int], ...], factor: int) -> str:
    """Return (H, W) levels from 0 to 1 as a PNG with a palette, whose last entry is for NaN and transparent."""
    known = np.isfinite(levels).astype(np.float32)
    share = np.asarray(_image(known).reduce(factor))
    mean = np.asarray(_image(np.nan_to_num(levels, nan=0, posinf=0, neginf=0).astype(np.float32)).reduce(factor))
    index = np.full(share.shape, 255, np.uint8)
    there = share > 0
    index[there] = np.rint(np.clip(mean[there] / share[there], 0, 1) * 254)
    image = _image(index)
    places = np.linspace(0, 1, len(colors))
    palette = [np.interp(np.linspace(0, 1, 255), places, channel) for channel in zip(*colors, strict=True)]
    image.putpalette([*np.rint(np.stack(palette, axis=1)).astype(np.uint8).ravel().tolist(), 0, 0, 0])
    return _palette_uri(image, transparency=255)
