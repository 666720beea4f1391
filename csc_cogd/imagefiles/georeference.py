"""Where the pixels of a GeoTIFF lie on the earth, for a finer or coarser grid over the same ground [GeoTIFF 1.1, 7.1]."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

import numpy as np

from csc_cogd.imagefiles.exif import Tag

_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION, _KEYS = 33550, 33922, 34264, 34735
_OTHERS = {33920: "Intergraph's matrix", 50844: "the rational polynomial coefficients"}  # what isn't converted
_DOUBLE = 12
_RASTER_TYPE, _PIXEL_IS_POINT = 1025, 2


def regridded(tags: Iterable[Tag], order: str, across: Fraction, down: Fraction) -> tuple[list[Tag], list[str]]:
    """Return tags for a grid of so many times more columns and rows, and in words what is left out of them.

    Pixel coordinates count from the outer corner of the first pixel, or from its middle where the tags say so.
    """
    tags, kept, lost = list(tags), list[Tag](), list[str]()
    finer = np.array([float(across), float(down)])
    shift = (finer - 1) / 2 if _is_point(tags, order) else np.zeros(2)
    for tag in tags:
        if tag.code in _OTHERS:
            lost.append(_OTHERS[tag.code])
        elif tag.code not in (_PIXEL_SCALE, _TIEPOINTS, _TRANSFORMATION):
            kept.append(tag)
        elif (values := _scaled(tag, order, finer, shift)) is None:
            lost.append("a damaged georeference")
        else:
            kept.append(replace(tag, value=struct.pack(f"{order}{values.size}d", *values.ravel())))
    return kept, lost


def _scaled(tag: Tag, order: str, finer: np.ndarray, shift: np.ndarray) -> np.ndarray | None:
    size = {_PIXEL_SCALE: 3, _TIEPOINTS: 6, _TRANSFORMATION: 16}[tag.code]
    if tag.type != _DOUBLE or tag.count % size or (tag.count > size and tag.code != _TIEPOINTS):
        return None
    values = np.array(struct.unpack(f"{order}{tag.count}d", tag.value))
    if tag.code == _PIXEL_SCALE:
        values[:2] /= finer
    elif tag.code == _TIEPOINTS:
        values = values.reshape(-1, 6)
        values[:, :2] = values[:, :2] * finer + shift
    else:
        to_coarse = np.diag([*(1 / finer), 1, 1])
        to_coarse[:2, 3] = -shift / finer
        values = values.reshape(4, 4) @ to_coarse
    return values


def _is_point(tags: Iterable[Tag], order: str) -> bool:
    """Return whether a pixel's coordinates are those of its middle."""
    keys = next((tag.integers(order) for tag in tags if tag.code == _KEYS), ())
    return any(keys[at : at + 4] == (_RASTER_TYPE, 0, 1, _PIXEL_IS_POINT) for at in range(4, len(keys), 4))
