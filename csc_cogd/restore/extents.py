"""Where the damage is: so that of a large picture of which little is missing, little is looked at or kept more than once.

Masks are (C, H, W), of which all channels may share one plane: such a mask is a view that is no larger than that plane.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_cdt, find_objects, label

GAP = 16
"""Pixels between the damage of two clusters at least, and the side of the squares that they are made of."""
SPARSE = 1 / 8
"""Share of values up to which less memory is taken by their places and themselves than by whole planes."""
_SQUARE = np.ones((3, 3), bool)

Window = tuple[slice, slice]


def shared_plane(missing: np.ndarray) -> np.ndarray | None:
    """Return what is missing (H, W) where all channels (C, H, W) miss the same; None where they don't."""
    if len(missing) == 1 or missing.strides[0] == 0 or all(np.array_equal(plane, missing[0]) for plane in missing[1:]):
        return missing[0]
    return None


def missing_anywhere(missing: np.ndarray) -> np.ndarray:
    """Return where any of the channels (C, H, W) is missing, (H, W)."""
    return missing[0] if missing.strides[0] == 0 or len(missing) == 1 else np.asarray(missing.any(axis=0))


def share_of(missing: np.ndarray) -> float:
    """Return the share of the values (C, H, W) that are missing."""
    planes = missing[:1] if missing.strides[0] == 0 else missing
    return np.count_nonzero(planes) / planes.size


def damaged_blocks(damaged: np.ndarray, side: int) -> np.ndarray:
    """Return which squares of a grid hold damage (H, W), bool: ``ceil(H / side)`` times ``ceil(W / side)``."""
    H, W = damaged.shape
    columns = np.zeros((-(-H // side), -(-W // side) * side), bool)
    for number, top in enumerate(range(0, H, side)):
        np.any(damaged[top : top + side], axis=0, out=columns[number, :W])
    return np.asarray(columns.reshape(len(columns), -1, side).any(axis=2))


def clusters(damaged: np.ndarray) -> list[Window]:
    """Return windows that hold all of the damage (H, W), and more than :data:`GAP` pixels on either side of which is none.

    So what is asked of the neighborhood of missing pixels can be found out window by window.
    """
    grid = damaged_blocks(damaged, GAP)
    while True:
        boxes = find_objects(label(grid, _SQUARE)[0])
        before = np.count_nonzero(grid)
        for box in boxes:
            grid[box] = True
        if np.count_nonzero(grid) == before:
            break
    H, W = damaged.shape
    return [
        (slice(GAP * rows.start, min(GAP * rows.stop, H)), slice(GAP * columns.start, min(GAP * columns.stop, W)))
        for rows, columns in boxes
    ]


def widened(window: Window, by: int, shape: tuple[int, ...]) -> Window:
    """Return a window with so many pixels more on each side, as far as the picture goes."""
    (rows, columns), (H, W) = window, shape
    return (
        slice(max(rows.start - by, 0), min(rows.stop + by, H)), slice(max(columns.start - by, 0), min(columns.stop + by, W)),
    )  # fmt: skip


def within(inner: Window, outer: Window) -> Window:
    """Return where a window is in one that holds it."""
    (rows, columns), (top, left) = inner, (outer[0].start, outer[1].start)
    return slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left)


def greatest_depth(missing: np.ndarray) -> int:
    """Return how far the next known pixel is where it is furthest, for what is missing (C, H, W): by rows and columns."""
    shared = shared_plane(missing)
    depth = 0
    for plane in missing if shared is None else shared[None]:
        for window in clusters(plane):
            around = plane[widened(window, 1, plane.shape)]
            depth = max(depth, int(distance_transform_cdt(around, "chessboard").max()))
    return depth


class SparsePlanes:
    """Planes (C, H, W) that keep the values that are marked, and are read and written window by window.

    What else is written is forgotten, and what else is read is 0.

    Parameters
    ----------
    marked : (C, H, W) bool array
    dtype : dtype of float

    Examples
    --------
    >>> marked = np.zeros((1, 4, 4), bool)
    >>> marked[0, 1, 2] = True
    >>> planes = SparsePlanes(marked, np.dtype(np.float32))
    >>> planes[:, 0:3, 0:4] += 5
    >>> float(planes[:, 1:2, 1:4].sum()), planes.values[0].tolist()
    (5.0, [5.0])
    """

    def __init__(self, marked: np.ndarray, dtype: np.dtype):
        self.shape, self.dtype, self._marked = marked.shape, dtype, marked
        shared = shared_plane(marked)
        planes = marked if shared is None else shared[None]
        places = [np.flatnonzero(plane) for plane in planes]
        self.places = places * (len(marked) // len(places))
        self.values = [np.zeros(len(of_plane), dtype) for of_plane in self.places]

    def __getitem__(self, key: tuple[slice, slice, slice]) -> np.ndarray:
        """Return the values of a window of some channels, (c, h, w)."""
        channels, window = self._resolved(key)
        rows, columns = window
        block = np.zeros((len(channels), rows.stop - rows.start, columns.stop - columns.start), self.dtype)
        for plane, c in zip(block, channels, strict=True):
            inside, numbers = self._inside(c, window)
            plane[inside] = self.values[c][numbers]
        return block

    def __setitem__(self, key: tuple[slice, slice, slice], block: Any) -> None:
        channels, window = self._resolved(key)
        for plane, c in zip(block, channels, strict=True):
            inside, numbers = self._inside(c, window)
            self.values[c][numbers] = plane[inside]

    def _resolved(self, key: tuple[slice, slice, slice]) -> tuple[range, Window]:
        channels, rows, columns = [range(length)[part] for part, length in zip(key, self.shape, strict=True)]
        return channels, (slice(rows.start, rows.stop), slice(columns.start, columns.stop))

    def _inside(self, channel: int, window: Window) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
        """Return where marked values of a channel are in a window, and their numbers among all of them."""
        rows, columns = window
        i, j = np.nonzero(self._marked[channel, rows, columns])
        return (i, j), np.searchsorted(self.places[channel], (i + rows.start) * self.shape[2] + j + columns.start)


def planes_for(marked: np.ndarray, dtype: np.dtype) -> Any:
    """Return planes (C, H, W) of zeros for values that are marked: sparse ones where these are few."""
    return SparsePlanes(marked, dtype) if share_of(marked) <= SPARSE else np.zeros(marked.shape, dtype)
