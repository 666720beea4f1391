"""Kernels of exemplar filling, in plain NumPy: the reference that every faster variant must agree with.

Images come as planes (P, H, W); a patch is what stands in a window of size x size pixels, and its corner the window's upper
left pixel. Targets are the patches that are to be filled, sources those that are known.
"""

from __future__ import annotations

import numpy as np


def search_sources(
    guide: np.ndarray,
    targets: np.ndarray,
    numbers: np.ndarray,
    usable: np.ndarray,
    size: int,
    backward: bool,
    jumps: np.ndarray,
    sources: np.ndarray,
    distances: np.ndarray,
) -> None:
    """Improve the source of every target: a sweep of PatchMatch [Barnes et al. 2009, section 3.2].

    What the neighbors that came before have found, moved along, is tried first, then places around the best one.

    Parameters
    ----------
    guide : (P, H, W) array
    targets : (n, 2) int array
        Corners, row by row.
    numbers : (H - size + 1, W - size + 1) int array
        The number of the target with a corner, or -1.
    usable : (H - size + 1, W - size + 1) bool array
        Which patches may be sources.
    size : int
    backward : bool
        Go from the last target to the first, and look at the neighbors below and to the right.
    jumps : (n, k, 2) int array
        How far from the best source each further one is that is tried, in rows and columns.
    sources : (n, 2) int array, updated
        Corners of usable patches.
    distances : (n,) array, updated
        Sums of squared differences between targets and sources.
    """
    side = 1 if backward else -1
    order = range(len(targets))
    for n in reversed(order) if backward else order:
        i, j = targets[n]
        for down, right in ((side, 0), (0, side)):
            neighbor = numbers[i + down, j + right] if _inside(i + down, j + right, numbers) else -1
            if neighbor >= 0:
                _try_source(guide, n, targets, usable, size, sources[neighbor] - (down, right), sources, distances)
        for jump in jumps[n]:
            _try_source(guide, n, targets, usable, size, sources[n] + jump, sources, distances)


def measure_sources(guide: np.ndarray, targets: np.ndarray, size: int, sources: np.ndarray, distances: np.ndarray) -> None:
    """Write the sum of squared differences between every target and its source into `distances`."""
    for n, (target, source) in enumerate(zip(targets, sources, strict=True)):
        distances[n] = ((_patch(guide, target, size) - _patch(guide, source, size)) ** 2).sum()


def vote_sources(
    planes: np.ndarray,
    targets: np.ndarray,
    sources: np.ndarray,
    weights: np.ndarray,
    size: int,
    total: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Add every source, by its weight, to where its target is: to `total` (P, H, W), and the weights to `weight` (H, W)."""
    for target, source, by in zip(targets, sources, weights, strict=True):
        (i, j) = target
        total[:, i : i + size, j : j + size] += by * _patch(planes, source, size)
        weight[i : i + size, j : j + size] += by


def _try_source(
    guide: np.ndarray, n: int, targets: np.ndarray, usable: np.ndarray, size: int, source: np.ndarray, sources: np.ndarray,
    distances: np.ndarray,
) -> None:  # fmt: skip
    if _inside(source[0], source[1], usable) and usable[tuple(source)]:
        distance = ((_patch(guide, targets[n], size) - _patch(guide, source, size)) ** 2).sum()
        if distance < distances[n]:
            sources[n], distances[n] = source, distance


def _patch(planes: np.ndarray, corner: np.ndarray, size: int) -> np.ndarray:
    i, j = corner
    return planes[:, i : i + size, j : j + size]


def _inside(i: int, j: int, array: np.ndarray) -> bool:
    return 0 <= i < array.shape[0] and 0 <= j < array.shape[1]
