"""Groups of similar patches under correlated noise, in plain NumPy: the reference of the compiled kernel."""

from __future__ import annotations

import numpy as np


def estimate_groups(
    pilot: np.ndarray,
    observed: np.ndarray,
    level: np.ndarray,
    matches: np.ndarray,
    noise: np.ndarray,
    floor: float,
    total: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Estimate patches under a Gaussian fitted to their group in `pilot`, and accumulate the estimates in place.

    With the mean m and the covariance C of a group's patches in the pilot, and N the covariance of the noise, a patch z is
    estimated by ``m + C (C + s N)^-1 (z - m)`` [Lebrun, Buades, Morel 2013, eq. 2.16, with N instead of sigma^2 I].

    Parameters
    ----------
    pilot, observed : (H, W) arrays of float
    level : (H, W) array of float > 0
        The variance of the noise relative to `noise`; s is its mean over the group's centers.
    matches : (n, K, 2) int array
        Corners of the patches of each group, -1 from where there are no more.
    noise : (D, D) array
        Covariance of the noise in a patch of D = size^2 values.
    floor : float > 0
        Added to C on its diagonal.
    total, weight : (H, W) arrays, added to
        Sum and number of the estimates of every pixel.
    """
    D = len(noise)
    size = int(np.sqrt(D))
    for group in matches:
        group = group[group[:, 0] >= 0]
        windows = [(slice(i, i + size), slice(j, j + size)) for i, j in group]
        likes, values = (np.array([plane[window].ravel() for window in windows]) for plane in (pilot, observed))
        s = level[group[:, 0] + size // 2, group[:, 1] + size // 2].mean()
        mean = likes.mean(axis=0)
        likes = likes - mean
        C = likes.T @ likes / len(likes) + floor * np.eye(D)
        estimates = mean + (values - mean) @ np.linalg.solve(C + s * noise, C)
        for window, estimate in zip(windows, estimates, strict=True):
            total[window] += estimate.reshape(size, size)
            weight[window] += 1
