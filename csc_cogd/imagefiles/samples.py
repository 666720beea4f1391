"""Samples of few bits, and indices into a palette, as the pixels that they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np


def looked_up(pixels: np.ndarray, table: tuple[int, ...], bits: int) -> np.ndarray:
    """Return RGB of palette indices, 8 bits where they are enough, else 16; behind it the further samples of such pixels."""
    if pixels.dtype.kind != "u" or bits > 16:
        raise ValueError(f"a palette's indices are of {bits} bits")
    colors = np.array(table, np.uint16).reshape(3, -1).T
    if (colors % 257 == 0).all() or (colors % 256 == 0).all():
        colors = (colors >> 8).astype(np.uint8)
    elif (colors < 256).all():  # by programs that took the table for one of 8 bits
        colors = colors.astype(np.uint8)
    if pixels.ndim == 2:
        return colors[pixels]
    return np.concatenate([colors[pixels[..., 0]], scaled(pixels[..., 1:], bits, colors.dtype)], axis=2)


def scaled(pixels: np.ndarray, bits: int, dtype: Any) -> np.ndarray:
    """Return unsigned samples of so many bits on the scale of another type: its greatest value for theirs."""
    most, white = 2**bits - 1, np.iinfo(dtype).max
    levels = (np.arange(most + 1) * white + most // 2) // most
    return levels.astype(dtype)[pixels]
