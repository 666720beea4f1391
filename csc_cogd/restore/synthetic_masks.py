"""Damage made to try things out: masks of random pixels, scratches, text, columns and blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from csc_cogd.locks import importing


def random_mask(shape: tuple[int, int], fraction: float, *, seed: int = 0) -> np.ndarray:
    """Each pixel missing with probability `fraction`; (H, W) bool."""
    return np.random.default_rng(seed).random(shape) < fraction


def scratch_and_text_mask(shape: tuple[int, int], text: str, *, seed: int = 0) -> np.ndarray:
    """Lines of text across the picture and some long scratches, 2 to 5 pixels wide; (H, W) bool."""
    return text_mask(shape, text) | scratch_mask(shape, (2, 2, 3, 3, 4, 5), seed=seed)


def text_mask(shape: tuple[int, int], text: str) -> np.ndarray:
    """Lines that repeat a text across the picture; (H, W) bool."""
    with importing:
        from PIL import Image, ImageDraw, ImageFont

    H, W = shape
    picture = Image.new("L", (W, H))
    draw = ImageDraw.Draw(picture)
    size = max(H // 16, 8)
    font = ImageFont.load_default(size)
    for row, top in enumerate(range(size // 2, H - size, 3 * size)):
        draw.text((-(row % 2) * 2 * size, top), "  ".join([text] * (W // size + 1)), fill=255, font=font)
    return np.asarray(picture) > 127


def scratch_mask(shape: tuple[int, int], widths: Sequence[int], *, seed: int = 0) -> np.ndarray:
    """Straight scratches of these widths between random points; (H, W) bool."""
    with importing:
        from PIL import Image, ImageDraw

    H, W = shape
    generator = np.random.default_rng(seed)
    picture = Image.new("L", (W, H))
    draw = ImageDraw.Draw(picture)
    for width in widths:
        draw.line(list(generator.random(4) * (W, H, W, H)), fill=255, width=width)
    return np.asarray(picture) > 127


def column_mask(shape: tuple[int, int], count: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Bands of `width` whole columns at random places, which can overlap; (H, W) bool."""
    missing = np.zeros(shape, bool)
    for start in np.random.default_rng(seed).integers(0, max(shape[1] - width, 0) + 1, count):
        missing[:, start : start + width] = True
    return missing


def block_mask(shape: tuple[int, int], count: int, width: int, *, seed: int = 0) -> np.ndarray:
    """Squares of `width` pixels at random places, which can overlap; (H, W) bool."""
    generator = np.random.default_rng(seed)
    missing = np.zeros(shape, bool)
    for _ in range(count):
        top, left = (int(generator.integers(0, max(side - width, 0) + 1)) for side in shape)
        missing[top : top + width, left : left + width] = True
    return missing
