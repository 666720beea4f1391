"""Thumbnails of a contact sheet: a picture before, with what is missing marked, and after."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from csc_cogd.locks import importing
from csc_cogd.report import pictures
from csc_cogd.storage import write_whole

SIDE = 240  # pixels, the longest
GAP = 2  # pixels between before and after


def write_thumbnail(
    path: Path, before: np.ndarray, missing: np.ndarray | None = None, after: np.ndarray | None = None
) -> None:
    """Write a JPEG of a picture as it was, and beside it, if there is one, the picture after.

    Parameters
    ----------
    path : Path
        Is replaced.
    before, after : (H, W) or (H, W, C) arrays of any real dtype
    missing : bool array, (H, W) or the picture's shape, optional

    Raises
    ------
    InputError
        If it can't be written.
    """
    with importing:
        from PIL import Image

    gone = np.zeros(before.shape[:2], bool)
    if missing is not None:
        gone |= missing if missing.ndim == 2 else missing.any(axis=2)
    shown = [pictures.visible(one if one.ndim == 3 else one[..., None])[0] for one in (before, after) if one is not None]
    tones, factor = pictures.tone_range(shown[0], ~gone), -(-max(gone.shape) // SIDE)
    parts = []
    for pixels in shown:
        image = Image.fromarray(np.ascontiguousarray(pictures.to_bytes(pixels, tones))).reduce(factor)
        parts.append(np.array(image.convert("RGB")))
    parts[0][_any_of(gone, factor)] = pictures.MARK
    gap = np.full((parts[0].shape[0], GAP, 3), 128, np.uint8)
    sheet = np.hstack([parts[0], gap, parts[1]] if len(parts) > 1 else parts)
    stream = io.BytesIO()
    Image.fromarray(sheet).save(stream, "JPEG", quality=82, subsampling=0)
    write_whole(path, stream.getvalue(), overwrite=True, follow_link=False)


def _any_of(gone: np.ndarray, factor: int) -> np.ndarray:
    """Return which squares of `factor` x `factor` pixels have any: a speck is to be seen, however much it is reduced."""
    edges = [np.arange(0, length, factor) for length in gone.shape]
    return np.logical_or.reduceat(np.logical_or.reduceat(gone, edges[0], axis=0), edges[1], axis=1)
