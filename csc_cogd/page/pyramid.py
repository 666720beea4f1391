"""A picture for the eye in many sizes, handed out in tiles."""

from __future__ import annotations

import io

import numpy as np

from csc_cogd.errors import InputError
from csc_cogd.locks import importing

TILE = 256  # pixels, the side of a tile
BAND = 512  # rows that are reduced at a time


class Pyramid:
    """A picture at full size, and halved until it fits into a tile.

    Parameters
    ----------
    pixels : (H, W) or (H, W, 3) uint8 array
        Not copied; :meth:`put` changes it.
    """

    def __init__(self, pixels: np.ndarray):
        self.levels = [pixels]
        while max(self.levels[-1].shape[:2]) > TILE:
            self.levels.append(_halved(self.levels[-1]))

    def tile(self, level: int, row: int, column: int) -> bytes:
        """Return a tile as PNG; those at the picture's end are smaller.

        Raises
        ------
        InputError
            If there is no such tile.
        """
        picture = self.levels[level] if 0 <= level < len(self.levels) else np.empty((0, 0))
        part = picture[row * TILE : (row + 1) * TILE, column * TILE : (column + 1) * TILE]
        if min(row, column) < 0 or 0 in part.shape:
            raise InputError("", f"there is no tile {row}, {column} at level {level}")
        return to_png(part)

    def put(self, top: int, left: int, pixels: np.ndarray) -> None:
        """Replace the part of the picture that begins at `top` and `left`, at every size."""
        bottom, right = top + pixels.shape[0], left + pixels.shape[1]
        self.levels[0][top:bottom, left:right] = pixels
        for finer, coarser in zip(self.levels, self.levels[1:], strict=False):
            top, left, bottom, right = top // 2, left // 2, -(-bottom // 2), -(-right // 2)
            coarser[top:bottom, left:right] = _halved(finer[2 * top : 2 * bottom, 2 * left : 2 * right])


def thumbnail(pixels: np.ndarray, longest: int) -> bytes:
    """Return a uint8 picture as PNG, reduced so that no side is longer."""
    factor = -(-max(pixels.shape[:2]) // longest)
    return to_png(_reduced(pixels, factor) if factor > 1 else pixels)


def to_png(pixels: np.ndarray) -> bytes:
    """Return a uint8 picture as PNG, made quickly."""
    stream = io.BytesIO()
    with importing:
        from PIL import Image
    Image.fromarray(np.ascontiguousarray(pixels)).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def _halved(pixels: np.ndarray) -> np.ndarray:
    return _reduced(pixels, 2)


def _reduced(pixels: np.ndarray, factor: int) -> np.ndarray:
    """Return means over squares, band by band: Pillow's copies of a large picture take much memory."""
    with importing:
        from PIL import Image
    step = factor * max(BAND // factor, 1)
    bands = (np.ascontiguousarray(pixels[top : top + step]) for top in range(0, len(pixels), step))
    return np.concatenate([np.array(Image.fromarray(band).reduce(factor)) for band in bands])
