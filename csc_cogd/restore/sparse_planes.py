"""Planes of which few values are of interest: those that were missing, of a large picture of which little was."""

from __future__ import annotations

from typing import Any

import numpy as np

from csc_cogd.restore.extents import Window, share_of, shared_plane

SPARSE = 1 / 8
"""Share of values up to which less memory is taken by their places and themselves than by whole planes."""


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
