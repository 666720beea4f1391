"""The contact sheet: what was found in a picture, each before and after, the worst first."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_dilation

from csc_cogd.report import pictures
from csc_cogd.report.document import section, text
from csc_cogd.report.entry import Planes

SHOWN = 48
"""Places on a sheet, at most."""
SIDE, LARGEST = 56, 224
"""Pixels of a place's side: at least, and at most, from which it is cut off."""
AROUND = 12
"""Pixels around a component that are shown, too."""

Box = tuple[int, int, int, int]


def contact_sheet(planes: Planes, found: Sequence[tuple[Box, str]]) -> str:
    """Return the section of what was found, nothing where nothing was."""
    if not found:
        return ""
    before, after = (pictures.visible(one)[0] for one in (planes.before, planes.after))
    gone = np.asarray(planes.missing.any(axis=2))
    tones = pictures.tone_range(before, ~gone)
    items = []
    for (top, left, bottom, right), about in found[:SHOWN]:
        place = _place((top, left, bottom, right), gone.shape)
        parts = [
            pictures.picture(_marked(before[place], gone[place], tones), (0.0, 255.0)),
            pictures.picture(after[place], tones),
        ]
        shown = "".join(f'<img src="{part}" alt="{name}">' for part, name in zip(parts, ("before", "after"), strict=True))
        caption = text(f"{about}; x {left:,}, y {top:,}")
        items.append(f"<li><figure><div>{shown}</div><figcaption>{caption}</figcaption></figure></li>")
    more = f" The worst {SHOWN} of {len(found):,} are shown." if len(found) > SHOWN else ""
    note = f'<p class="note">Each before, outlined, and after; the worst first.{more}</p>'
    return section("What was found", f'<ul class="sheet">{"".join(items)}</ul>{note}')


def _place(box: Box, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return a square about a component, or as much of it as is in the picture."""
    side = int(np.clip(max(box[2] - box[0], box[3] - box[1]) + 2 * AROUND, SIDE, LARGEST))
    parts = []
    for first, last, length in zip(box[:2], box[2:], shape, strict=True):
        start = min(max((first + last - side) // 2, 0), max(length - side, 0))
        parts.append(slice(start, start + side))
    return parts[0], parts[1]


def _marked(pixels: np.ndarray, gone: np.ndarray, tones: tuple[float, float]) -> np.ndarray:
    """Return a place in 8 bits, (h, w, 3), with what was found outlined."""
    shown = pictures.to_bytes(pixels, tones)
    colors = np.repeat(shown[..., None], 3, axis=2) if shown.ndim == 2 else shown.copy()
    outline = binary_dilation(gone, np.ones((3, 3), bool), iterations=2) & ~binary_dilation(gone, np.ones((3, 3), bool))
    colors[outline] = pictures.MARK
    return colors
