"""Kernels on patches, in plain NumPy: the reference that every faster variant must agree with.

Images come as planes (P, H, W); a patch is a window of size x size pixels, as a vector of P * size^2 values. Its
corner is the window's upper left pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


def match_patches(guide: np.ndarray, corners: np.ndarray, size: int, radius: int, matches: np.ndarray) -> None:
    """Find the patches of `guide` most like each reference patch, in a window around it.

    Parameters
    ----------
    guide : (P, H, W) array
    corners : (n, 2) int array
        Of the reference patches.
    size, radius : int
        Corners at most `radius` rows and columns away are compared, by the sum of squared differences.
    matches : (n, N, 2) int array, written to
        Corners of the N most similar ones, best first: the reference itself; -1 where the window holds fewer.
    """
    windows = np.lib.stride_tricks.sliding_window_view(guide, (size, size), axis=(1, 2)).transpose(1, 2, 0, 3, 4)
    matches[...] = -1
    for (i, j), found in zip(corners, matches, strict=True):
        top, left = max(i - radius, 0), max(j - radius, 0)
        candidates = windows[top : i + radius + 1, left : j + radius + 1]
        distances = ((candidates - windows[i, j]) ** 2).sum(axis=(2, 3, 4))
        distances[i - top, j - left] = -1  # the reference comes first
        best = np.argsort(distances, axis=None, kind="stable")[: len(found)]
        rows, columns = np.unravel_index(best, distances.shape)
        found[: len(best)] = np.stack([rows + top, columns + left], axis=1)


class GroupModel(NamedTuple):
    """How the patches of a group are estimated from each other.

    Attributes
    ----------
    size : int
        Side of a patch.
    n_estimated : int
        The first patches of a group are estimated; the others only contribute to its mean and covariance.
    noise, pilot_noise : float
        Variance of the noise in the observed image and, where the pilot isn't clean itself, in the pilot: it is taken off
        the covariance C.
    shrinkage, floor : float
        C is raised by ``floor + shrinkage * trace(C) / D`` on its diagonal.
    """

    size: int
    n_estimated: int
    noise: float
    pilot_noise: float
    shrinkage: float
    floor: float


def estimate_patches(
    pilot: np.ndarray,
    observed: np.ndarray,
    known: np.ndarray,
    matches: np.ndarray,
    model: GroupModel,
    top: int,
    total: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Estimate each patch under a Gaussian fitted to its similar patches in `pilot`, and accumulate the estimates in place.

    With the mean m and the covariance C of a group of similar patches, a patch z of which the values K are observed is
    estimated by its conditional mean

        m + C_K^T (C_KK + noise I)^-1 (z_K - m_K);

    without noise, known values stay as observed.

    Parameters
    ----------
    pilot, observed : (P, H, W) arrays
    known : (P, H, W) bool array
    matches : (n, N, 2) int array
        Corners of the patches of each group, see :func:`match_patches`.
    model : GroupModel
    top : int
        The row of the image with which `total` and `weight` begin.
    total, weight : (P, rows, W) arrays, added to
        Sum and number of the estimates of every pixel. Without noise, patches with nothing missing are passed over.
    """
    size, n_estimated, noise, pilot_noise, shrinkage, floor = model
    shape = (len(pilot), size, size)
    for group in matches:
        group = group[group[:, 0] >= 0]
        windows = [(slice(None), slice(i, i + size), slice(j, j + size)) for i, j in group]
        likes = np.array([pilot[window].ravel() for window in windows])
        mean = likes.mean(axis=0)
        likes = likes - mean
        C = likes.T @ likes / len(likes) - pilot_noise * np.eye(len(mean))
        level = np.trace(C) / len(mean)
        C = np.zeros_like(C) if level <= 0 else C + (floor + shrinkage * level) * np.eye(len(mean))
        for window in windows[:n_estimated]:
            at = known[window].ravel()
            if noise == 0 and at.all():
                continue
            inner = C[np.ix_(at, at)] + max(noise, floor) * np.eye(at.sum())
            estimate = mean + C[:, at] @ np.linalg.solve(inner, observed[window].ravel()[at] - mean[at])
            if noise == 0:
                estimate = np.where(at, observed[window].ravel(), estimate)
            place = (window[0], slice(window[1].start - top, window[1].stop - top), window[2])
            total[place] += estimate.reshape(shape)
            weight[place] += 1
