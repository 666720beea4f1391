"""Where the holes are: what is missing that is neither scattered nor in thin lines, taken apart by its width.

What is missing in one piece, as where a brush went over scratches and a torn corner, isn't one hole: the corner is one, and
wide lines are cut into pieces that overlap, each of which is filled as what is around it asks for.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_cdt, find_objects, label
from scipy.spatial import KDTree

from csc_cogd.restore.extents import Window, clusters, shared_plane, widened, within

DEEP = 4
"""Pixels from the next known one, from which what is missing is a hole."""
WIDTHS, SLIVERS = (13, 7, DEEP), 4
"""Pixels from the next known one, from which what is missing is a part by itself, the deepest first; with what is less deep
within so many pixels of it."""
THIN, LONG = 6, 6.0
"""Pixels from the next known one, up to which a part that isn't cut is no hole if it is of a line: if there is so many times
a square as wide."""
MOSTLY_KNOWN = 0.5
"""Of the pixels around a hole: among scattered ones, the stages do better."""
WIDE, DEEPEST = 7.6, 12
"""Mean width in pixels from which lines are cut, and pixels from the next known one up to which they are."""
PIECE, OVERLAP, ROUNDS, FEWEST = 16, 4, 4, 3
"""Pieces are about as long as wide, but so many pixels at least; reach so far into those beside them; settle in so many
rounds; and are so many, or none."""
RIM = 3
"""Width of the rim that is hidden with a hole, to try how well it is filled."""
CONTEXT, CONTEXT_OF_PIECE = 48, 32
"""Pixels around a hole that tell of it."""
LARGEST = 1 << 21
"""Pixels of a hole's window at most."""
_SQUARE = np.ones((3, 3), bool)


class Hole(NamedTuple):
    """A hole.

    Attributes
    ----------
    channels : slice
        Of which channels it is.
    rows, columns : slices
        Where it is, with its context.
    shares : (h, w) array
        How much its fill counts there: 1 in its pixels, 0 elsewhere, and in between where pieces overlap, so that they add
        up to 1.
    part : int
        Its number, which the pieces of a line have in common.
    piece : bool
        Whether it is one.
    """

    channels: slice
    rows: slice
    columns: slice
    shares: np.ndarray
    part: int
    piece: bool

    @property
    def window(self) -> Window:
        return self.rows, self.columns

    @property
    def pixels(self) -> np.ndarray:
        """Which pixels of the window it is, (h, w) bool."""
        return np.asarray(self.shares > 0)

    @property
    def wide(self) -> np.ndarray:
        """The hole with its rim, (h, w) bool."""
        return binary_dilation(self.pixels, _SQUARE, iterations=RIM)


def find_holes(missing: np.ndarray) -> list[Hole]:
    """Return the holes in what is missing (C, H, W): deep, no thin lines, and mostly surrounded by known pixels.

    Where channels miss the same pixels, holes are those of all of them.
    """
    C, shared = len(missing), shared_plane(missing)
    if shared is not None:
        return list(_holes_of(slice(0, C), shared))
    return [hole for c in range(C) for hole in _holes_of(slice(c, c + 1), missing[c])]


def count_holes(holes: list[Hole]) -> int:
    """Return how many there are, those that are cut into pieces as one."""
    return len({(hole.channels.start, hole.part) for hole in holes})


def _holes_of(channels: slice, missing: np.ndarray) -> Iterator[Hole]:
    for number, (place, part, depth) in enumerate(_deep_parts(missing)):
        deepest = int(depth[part].max())
        window = widened(place, CONTEXT, missing.shape)
        gone, pixels = missing[window], np.zeros(missing[window].shape, bool)
        pixels[within(place, window)] = part
        ring = binary_dilation(pixels, _SQUARE, iterations=RIM) & ~pixels
        if not ring.any() or (~gone[ring]).mean() < MOSTLY_KNOWN:
            continue
        width = 4 * depth[part].mean() - 2  # if it is a line
        cut = width >= WIDE and deepest <= DEEPEST
        pieces = _pieces(pixels, 2 * deepest - 1) if cut else [_whole(pixels)]
        cut = len(pieces) > 1
        if not cut and _in_line(pixels, gone, deepest):
            continue
        for box, shares in pieces:
            inner = widened(box, CONTEXT_OF_PIECE if cut else CONTEXT, gone.shape)
            rows, columns = _moved(inner, window)
            hole = Hole(channels, rows, columns, np.zeros(gone[inner].shape), number, cut)
            hole.shares[within(box, inner)] = shares
            wide = hole.wide
            if wide.size <= LARGEST and (~gone[inner] & ~wide).any():
                yield hole


def _moved(inner: Window, outer: Window) -> Window:
    """Return where a window of a window is."""
    (rows, columns), (top, left) = inner, (outer[0].start, outer[1].start)
    return slice(top + rows.start, top + rows.stop), slice(left + columns.start, left + columns.stop)


def _deep_parts(missing: np.ndarray) -> Iterator[tuple[Window, np.ndarray, np.ndarray]]:
    """Yield where the parts are of what is missing (H, W) that are deep, which of its pixels, and the depths there."""
    for window in clusters(missing):
        (rows, columns), left = window, missing[window]
        depth = distance_transform_cdt(np.pad(missing[widened(window, 1, missing.shape)], 1, "edge"), "chessboard")
        depth = depth[1 + (rows.start > 0) :, 1 + (columns.start > 0) :][: left.shape[0], : left.shape[1]]
        for least in WIDTHS:
            deep = left & (depth >= least)
            if not deep.any():
                continue
            reach = least - 1 + (SLIVERS if least > DEEP else 0)
            numbers, _ = label(binary_dilation(deep, _SQUARE, iterations=reach, mask=left), _SQUARE)
            for number, box in enumerate(find_objects(numbers), 1):
                yield _moved(box, window), numbers[box] == number, depth[box]
            left = left & (numbers == 0)


def _pieces(part: np.ndarray, width: int) -> list[tuple[Window, np.ndarray]]:
    """Return where the pieces of a line (h, w) are, and how much each counts in the pixels there; one, if it isn't long.

    A piece is what is nearest to its middle; the middles, first as far from each other as can be, move there (k-means).
    """
    places = np.argwhere(part)
    count = round(len(places) / (width * max(width, PIECE)))
    if count < FEWEST:
        return [_whole(part)]
    middles, distances = places[:1], ((places - places[0]) ** 2).sum(axis=1)
    for _ in range(count - 1):
        middles = np.vstack([middles, places[distances.argmax()]])
        distances = np.minimum(distances, ((places - middles[-1]) ** 2).sum(axis=1))
    for _ in range(ROUNDS):
        nearest = KDTree(middles).query(places)[1]
        middles = np.array([places[nearest == number].mean(axis=0) for number in np.unique(nearest)])
    numbers, total = np.zeros(part.shape, int), np.zeros(part.shape)
    numbers[part] = KDTree(middles).query(places)[1] + 1
    pieces = []
    for number, own in enumerate(find_objects(numbers), 1):
        if own is None:  # a middle that is nowhere the nearest
            continue
        box = widened(own, OVERLAP, part.shape)
        shares = _overlapping(numbers[box] == number, part[box])
        total[box] += shares
        pieces.append((box, shares))
    return [(box, shares / np.where(part[box], total[box], 1)) for box, shares in pieces]


def _whole(part: np.ndarray) -> tuple[Window, np.ndarray]:
    (box,) = find_objects(part.astype(np.int8))
    return box, part[box].astype(float)


def _overlapping(own: np.ndarray, part: np.ndarray) -> np.ndarray:
    """Return how much a piece counts: 1 in its own pixels, and ever less in those of the part around them."""
    shares, reached = own.astype(float), own
    for step in range(1, OVERLAP + 1):
        wider = binary_dilation(reached, _SQUARE, mask=part)
        shares[wider & ~reached] = 1 - step / (OVERLAP + 1)
        reached = wider
    return shares


def _in_line(hole: np.ndarray, missing: np.ndarray, depth: int) -> bool:
    """Whether a hole is a piece of a thin line, as scratches are, by what is missing in its window."""
    if depth > THIN:
        return False
    numbers, _ = label(missing, _SQUARE)
    return bool(np.count_nonzero(numbers == numbers[hole][0]) > LONG * (2 * depth - 1) ** 2)


def pieces_beside(holes: list[Hole], most: int) -> list[list[int]]:
    """Return the numbers of the pieces of the same line beside each hole: the nearest ones, if it is a piece."""
    parts: dict[tuple[int, int], list[int]] = {}
    for number, hole in enumerate(holes):
        if hole.piece:
            parts.setdefault((hole.channels.start, hole.part), []).append(number)
    found: list[list[int]] = [[] for _ in holes]
    for numbers in parts.values():
        middles = np.array([_middle(holes[number]) for number in numbers])
        for number, distances in zip(numbers, ((middles[:, None] - middles) ** 2).sum(axis=2), strict=True):
            found[number] = [numbers[other] for other in distances.argsort(kind="stable")[1 : most + 1]]
    return found


def _middle(hole: Hole) -> list[float]:
    return [part.start + float(at.mean()) for part, at in zip(hole.window, np.nonzero(hole.shares), strict=True)]


def with_rims(holes: list[Hole], shape: tuple[int, ...]) -> np.ndarray:
    """Return the holes with their rims, of a shape (C, H, W)."""
    wide = np.zeros(shape, bool)
    for hole in holes:
        wide[hole.channels, *hole.window] |= hole.wide
    return wide
