"""The kernels of `patches`, compiled by Numba.

Their inner loops run over numbers that lie side by side and don't depend on each other: candidates of a row in
:func:`match_patches`, the systems of :data:`LANES` patches in :func:`estimate_patches`. So the compiler uses vector
instructions, which it couldn't if every system were factored by itself. Arrays are copied in loops, as Numba takes many
seconds to compile an assignment to a slice, with its check of shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.patches import GroupModel

LANES = 32
"""Systems that are solved together, and the multiple to which rows of candidates are filled up."""


class Waiting(NamedTuple):
    """Patches whose systems are solved together, as soon as there are as many as lanes.

    Attributes
    ----------
    corners : (lanes, 2) int array
    owners, counts : (lanes,) int arrays
        The group of each patch, and how many of its values are known.
    places, x : (D, lanes) arrays
        Which these values are, and by how much they differ from the group's mean.
    A : (D, D, lanes) array
        Room for the matrices.
    means, covariances : (lanes + 1, D) and (lanes + 1, D + 1, D + 1) arrays
        Of the groups; the last row and column of a covariance are zero.
    """

    corners: np.ndarray
    owners: np.ndarray
    counts: np.ndarray
    places: np.ndarray
    x: np.ndarray
    A: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


@compile_kernel
def _match_patches(guide, corners, size, radius, lanes, matches):
    P, H, W = guide.shape
    N = matches.shape[1]
    span = 2 * radius + 1
    width = (span + lanes - 1) // lanes * lanes
    area = np.zeros((P, span + size - 1, width + size - 1), guide.dtype)
    row = np.empty(width, guide.dtype)
    distances = np.empty(N, guide.dtype)
    places = np.empty(N, np.int64)
    for n in range(len(corners)):
        top, left = max(corners[n, 0] - radius, 0), max(corners[n, 1] - radius, 0)
        rows = min(corners[n, 0] + radius, H - size) - top + 1
        columns = min(corners[n, 1] + radius, W - size) - left + 1
        i0, j0 = corners[n, 0] - top, corners[n, 1] - left
        for p in range(P):
            for i in range(rows + size - 1):
                for j in range(columns + size - 1):
                    area[p, i, j] = guide[p, top + i, left + j]
        distances[0] = -1  # the reference comes first
        places[0] = i0 * span + j0
        count = 1
        for i in range(rows):
            row[:] = 0
            for p in range(P):
                for a in range(size):
                    for b in range(size):
                        value = area[p, i0 + a, j0 + b]
                        for j in range(width):
                            difference = area[p, i + a, j + b] - value
                            row[j] += difference * difference
            for j in range(columns):
                distance = row[j]
                if (count == N and distance >= distances[N - 1]) or (i == i0 and j == j0):
                    continue
                count = min(count + 1, N)
                k = count - 1
                while distances[k - 1] > distance:
                    distances[k] = distances[k - 1]
                    places[k] = places[k - 1]
                    k -= 1
                distances[k] = distance
                places[k] = i * span + j
        for k in range(count):
            matches[n, k, 0] = top + places[k] // span
            matches[n, k, 1] = left + places[k] % span
        matches[n, count:] = -1


def match_patches(guide, corners, size, radius, matches):
    _match_patches(guide, corners, size, radius, LANES, matches)


@compile_part
def _fit_gaussian(pilot, group, model, likes, mean, covariance):
    """Compute mean and regularized covariance of a group."""
    P, size = len(pilot), model.size
    D = P * size * size
    N = len(group)
    for k in range(N):
        d = 0
        for p in range(P):
            for a in range(size):
                for b in range(size):
                    likes[k, d] = pilot[p, group[k, 0] + a, group[k, 1] + b]
                    d += 1
    mean[:] = 0
    for k in range(N):
        for d in range(D):
            mean[d] += likes[k, d]
    for d in range(D):
        mean[d] /= N
    for k in range(N):
        for d in range(D):
            likes[k, d] -= mean[d]
    C = np.dot(likes[:N].T, likes[:N])
    C /= mean.dtype.type(N)
    trace = mean.dtype.type(0)
    for d in range(D):
        C[d, d] -= model.pilot_noise
        trace += C[d, d]
    if trace <= 0:
        C[:] = 0
    else:
        for d in range(D):
            C[d, d] += model.floor + model.shrinkage * trace / D
    for d in range(D):
        for e in range(D):
            covariance[d, e] = C[d, e]


@compile_part
def _solve_systems(A, x, count, smallest):
    """Solve ``A[:, :, k] x[:, k] = b[:, k]`` for all k at once, by Cholesky factors; x holds b before.

    Only the upper triangles are read, of the first `count` rows, and overwritten.
    """
    lanes = x.shape[1]
    entry = np.empty(lanes, A.dtype)
    for p in range(count):
        for q in range(p, count):
            for k in range(lanes):
                entry[k] = A[p, q, k]
            for r in range(p):
                for k in range(lanes):
                    entry[k] -= A[r, p, k] * A[r, q, k]
            if p == q:
                for k in range(lanes):
                    A[p, p, k] = 1 / np.sqrt(max(entry[k], smallest))
            else:
                for k in range(lanes):
                    A[p, q, k] = entry[k] * A[p, p, k]
    for p in range(count):
        for r in range(p):
            for k in range(lanes):
                x[p, k] -= A[r, p, k] * x[r, k]
        for k in range(lanes):
            x[p, k] *= A[p, p, k]
    for p in range(count - 1, -1, -1):
        for r in range(p + 1, count):
            for k in range(lanes):
                x[p, k] -= A[p, r, k] * x[r, k]
        for k in range(lanes):
            x[p, k] *= A[p, p, k]


@compile_part
def _estimate_waiting(waiting, n_waiting, size, noise, value, top, total, weight):
    """Solve the waiting systems, and add the patches up."""
    corners, owners, counts, places, x, A, means, covariances = waiting
    P = len(total)
    D, lanes = x.shape
    most = 0
    for k in range(n_waiting):
        most = max(most, counts[k])
    for k in range(n_waiting, lanes):
        counts[k] = 0
        owners[k] = 0
    for k in range(lanes):
        for c in range(counts[k], most):
            places[c, k] = D  # where covariances are zero
            x[c, k] = 0
    entries = covariances.ravel()
    row = np.empty(lanes, np.int64)
    for p in range(most):
        for k in range(lanes):
            row[k] = (owners[k] * (D + 1) + places[p, k]) * (D + 1)
        for q in range(p, most):
            for k in range(lanes):
                A[p, q, k] = entries[row[k] + places[q, k]]
        for k in range(lanes):
            A[p, p, k] = A[p, p, k] + noise if p < counts[k] else 1
    _solve_systems(A, x, most, noise * A.dtype.type(1e-3))
    for k in range(n_waiting):
        C = covariances[owners[k]]
        for d in range(D):
            value[d] = means[owners[k], d]
        for c in range(counts[k]):
            for d in range(D):
                value[d] += C[places[c, k], d] * x[c, k]
        i, j = corners[k]
        d = 0
        for p in range(P):
            for a in range(size):
                for b in range(size):
                    total[p, i - top + a, j + b] += value[d]
                    weight[p, i - top + a, j + b] += 1
                    d += 1


@compile_kernel
def _estimate_patches(pilot, observed, known, matches, model, lanes, top, total, weight):
    P, size = len(pilot), model.size
    D = P * size * size
    N = matches.shape[1]
    real, noise = pilot.dtype, max(model.noise, model.floor)
    likes, value = np.empty((N, D), real), np.empty(D, real)
    A, x, places = np.empty((D, D, lanes), real), np.empty((D, lanes), real), np.empty((D, lanes), np.int64)
    corners, owners, counts = np.empty((lanes, 2), np.int64), np.zeros(lanes, np.int64), np.zeros(lanes, np.int64)
    means, covariances = np.empty((lanes + 1, D), real), np.zeros((lanes + 1, D + 1, D + 1), real)
    waiting = Waiting(corners, owners, counts, places, x, A, means, covariances)
    n_waiting = owner = 0
    for n in range(len(matches)):
        size_of_group = 0
        while size_of_group < N and matches[n, size_of_group, 0] >= 0:
            size_of_group += 1
        group = matches[n, :size_of_group]
        mean, covariance = means[owner], covariances[owner]
        _fit_gaussian(pilot, group, model, likes, mean, covariance)
        for k in range(min(size_of_group, model.n_estimated)):
            i, j = group[k]
            count = d = 0
            for p in range(P):
                for a in range(size):
                    for b in range(size):
                        if known[p, i + a, j + b]:
                            places[count, n_waiting] = d
                            x[count, n_waiting] = observed[p, i + a, j + b] - means[owner, d]
                            count += 1
                        d += 1
            if model.noise == 0 and count == D:
                continue
            owners[n_waiting], counts[n_waiting] = owner, count
            corners[n_waiting, 0], corners[n_waiting, 1] = i, j
            n_waiting += 1
            if n_waiting == lanes:
                _estimate_waiting(waiting, n_waiting, size, noise, value, top, total, weight)
                for d in range(D):
                    means[0, d] = means[owner, d]
                    for e in range(D):
                        covariances[0, d, e] = covariances[owner, d, e]
                n_waiting = owner = 0
        if n_waiting and owners[n_waiting - 1] == owner:
            owner += 1
    _estimate_waiting(waiting, n_waiting, size, noise, value, top, total, weight)


def estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    size, n_estimated, *variances = model
    model = GroupModel(size, n_estimated, *map(pilot.dtype.type, variances))
    _estimate_patches(pilot, observed, known, matches, model, LANES, top, total, weight)
