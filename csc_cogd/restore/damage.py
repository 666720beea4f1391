"""Which pixels are missing: mask, NaN and masked arrays, united and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from csc_cogd.backend import check_unmasked, with_mask
from csc_cogd.errors import InputError

POLARITIES = ("missing", "valid")


def find_missing(
    image: Any, mask: Any, *, channel_axis: int | None, mask_polarity: str, complete: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return the image as (C, H, W) in its own dtype and which pixels are missing, bool of the same shape.

    With `complete`, it may be none.

    Raises
    ------
    InputError
        If the image isn't one, the mask doesn't fit it, or nothing or everything is missing.
    """
    image = with_mask(image)
    hidden = np.ma.getmaskarray(image) if isinstance(image, np.ma.MaskedArray) else None
    pixels = as_planes(np.ma.getdata(image), channel_axis)
    missing = np.zeros(pixels.shape, bool)
    if hidden is not None:
        missing |= as_planes(hidden, channel_axis)
    if pixels.dtype.kind == "f":
        missing |= np.isnan(pixels)
    if mask is not None:
        missing |= _mask_planes(mask, np.shape(image), pixels.shape, channel_axis, mask_polarity)
    elif mask_polarity != "missing":
        raise InputError(f"mask_polarity: {mask_polarity!r} says how to read a mask, but none is given: leave it out")
    if not (missing.any() or complete):
        raise InputError(_wrong("no pixel is missing", mask))
    if missing.all(axis=(1, 2)).any():
        raise InputError(_wrong("every pixel of a channel is missing", mask))
    check_values(pixels[~missing])
    return pixels, missing


def _wrong(what: str, mask: Any) -> str:
    if mask is None:
        return f"image: {what}: no mask is given, so only NaN means missing"
    return f"mask: {what}: non-zero means missing; if yours means known, use mask_polarity 'valid'"


def check_values(known: np.ndarray, name: str = "image") -> None:
    """Raise InputError, which speaks of `name`, for values that can't be computed with."""
    if not np.isfinite(known).all():
        raise InputError(f"{name}: there are infinite values in it: set them to NaN, which means missing")
    if known.dtype.itemsize == 8 and known.dtype.kind in "iu" and (known > 2**53).any() | (known < -(2**53)).any():
        raise InputError(f"{name}: integers beyond 2**53 can't be computed with: convert the image to another type first")
    if known.dtype.kind == "f" and float(abs(known.astype(np.float64)).max()) > 1e150:
        raise InputError(f"{name}: values beyond 1e150 can't be computed with: scale the image first")


def as_planes(image: Any, channel_axis: int | None, name: str = "image") -> np.ndarray:
    """Return an image as (C, H, W), after checking that it is one, not masked by ``numpy.ma``; errors speak of `name`."""
    check_unmasked(image, name)
    image = np.asarray(image)
    if image.dtype.kind not in "iufb" or image.dtype.itemsize > 8:
        raise InputError(f"{name}: integers or floats of up to 64 bits are needed, not {image.dtype}")
    if 0 in image.shape:
        raise InputError(f"{name}: shape {image.shape} holds no pixel")
    if channel_axis is None:
        if image.ndim != 2:
            raise InputError(
                f"{name}: shape {image.shape} isn't (H, W): for colour, name the channels' axis, channel_axis=-1; for a "
                "stack, that of the frames, stack_axis=0"
            )
        return image[None]
    if image.ndim != 3 or not -3 <= channel_axis < 3:
        raise InputError(f"{name}: shape {image.shape} with channel_axis={channel_axis} isn't an image with channels")
    return np.moveaxis(image, channel_axis, 0)


def _mask_planes(
    mask: Any, image_shape: tuple[int, ...], planes: tuple[int, ...], channel_axis: int | None, polarity: str
) -> np.ndarray:
    if polarity not in POLARITIES:
        raise InputError(f"mask_polarity: {polarity!r} is unknown: choose 'missing' or 'valid'")
    check_unmasked(mask, "mask")
    mask = np.asarray(mask)
    if mask.dtype.kind not in "iufb" or (mask.dtype.kind == "f" and not np.isfinite(mask).all()):
        raise InputError("mask: finite numbers or booleans are needed")
    marked = mask != 0
    if marked.shape == image_shape:
        marked = marked[None] if channel_axis is None else np.moveaxis(marked, channel_axis, 0)
    elif marked.shape == planes[1:]:
        marked = np.broadcast_to(marked, planes)
    else:
        raise InputError(f"mask: shape {mask.shape} fits neither {planes[1:]} nor the image's {image_shape}")
    return marked if polarity == "missing" else ~marked


def random_mask(shape: tuple[int, int], fraction: float, *, seed: int = 0) -> np.ndarray:
    """Each pixel missing with probability `fraction`; (H, W) bool."""
    return np.random.default_rng(seed).random(shape) < fraction


def scratch_and_text_mask(shape: tuple[int, int], text: str, *, seed: int = 0) -> np.ndarray:
    """Lines of text across the picture and some long scratches, 2 to 5 pixels wide; (H, W) bool."""
    return text_mask(shape, text) | scratch_mask(shape, (2, 2, 3, 3, 4, 5), seed=seed)


def text_mask(shape: tuple[int, int], text: str) -> np.ndarray:
    """Lines that repeat a text across the picture; (H, W) bool."""
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
