"""The kernels of `patches`, compiled by Numba.

Their inner loops run over numbers that lie side by side and don't depend on each other: candidates of a row in
:func:`match_patches`, the systems of :data:`LANES` groups, and of as many patches, in :func:`estimate_patches`.

A patch is estimated by the inverse J of its group's covariance with the noise added, which is the same for all patches of
the group: what is missing of it differs from the mean by the solution y of ``J_MM y = -J_MK (z_K - m_K)``, a system as
large as what is missing, and what is known of it is ``z_K - noise (J d)_K``, d the differences with y put in.

Arrays are copied in loops, as Numba takes many seconds to compile an assignment to a slice, with its check of shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.patches import GroupModel
from csc_cogd.backend.simd_lanes import COLUMNS, LANES, subtract_products

WIDTH = 32
"""The multiple to which rows of candidates are filled up."""


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
    _match_patches(guide, corners, size, radius, WIDTH, matches)


class Systems(NamedTuple):
    """Room for the matrices of :data:`LANES` systems side by side; all arrays are flat.

    Attributes
    ----------
    rows : int
        Of a matrix, a multiple of :data:`COLUMNS`.
    A, W : (rows * rows * LANES,) arrays
        What is factored in place, of which only the upper triangle counts; and the inverse factors.
    pivots : ((rows + 2) * LANES,) array
        The factors' inverse diagonals; then 1, and -1.
    """

    rows: int
    A: np.ndarray
    W: np.ndarray
    pivots: np.ndarray


class Waiting(NamedTuple):
    """Patches whose systems are solved together, as soon as there are as many as lanes.

    Attributes
    ----------
    corners : (LANES, 2) int array
    owners, counts : (LANES,) int arrays
        The group of each patch, and how many of its values are missing.
    places : (D, LANES) int array
        Which these values are.
    differences : (LANES, D) array
        Of the values from the group's mean; those of what is missing are solved for.
    """

    corners: np.ndarray
    owners: np.ndarray
    counts: np.ndarray
    places: np.ndarray
    differences: np.ndarray


class Gaussians(NamedTuple):
    """Of :data:`LANES` groups: means (LANES, D), and inverses of the covariances with the noise added (LANES, D, D)."""

    means: np.ndarray
    inverses: np.ndarray


@compile_part
def _new_systems(D, real):
    rows = (D + COLUMNS) // COLUMNS * COLUMNS  # with a column more for a right side
    pivots = np.zeros((rows + 2) * LANES, real)
    for k in range(LANES):
        pivots[rows * LANES + k] = 1
        pivots[(rows + 1) * LANES + k] = -1
    return Systems(rows, np.zeros(rows * rows * LANES, real), np.zeros(rows * rows * LANES, real), pivots)


@compile_part
def _factor(systems, count, columns, smallest):
    """Replace the first `count` rows of A by Cholesky factors U, ``A = U^T U``, of which further columns are solved for."""
    rows, A, _, pivots = systems
    for p in range(count):
        for first in range(p // COLUMNS * COLUMNS, columns, COLUMNS):
            at = p * rows + first
            if first <= p:
                subtract_products(A, p, rows, A, first, rows, 1, p, pivots, rows, True, A, at)
                pivot = (p * rows + p) * LANES
                for k in range(LANES):
                    pivots[p * LANES + k] = 1 / np.sqrt(max(A[pivot + k], smallest))
                for c in range(COLUMNS):
                    for k in range(LANES):
                        A[(at + c) * LANES + k] *= pivots[p * LANES + k]
            else:
                subtract_products(A, p, rows, A, first, rows, 1, p, pivots, p, True, A, at)


@compile_part
def _invert_factors(systems, count):
    """Set A to ``A^-1 = W W^T``, W the inverse of its factors: of the upper triangle, and something below."""
    rows, A, W, pivots = systems
    for p in range(count - 1, -1, -1):
        for first in range(p // COLUMNS * COLUMNS, count, COLUMNS):
            depth = min(first + COLUMNS, count) - p - 1
            at = p * rows + first
            subtract_products(A, p * rows + p + 1, 1, W, (p + 1) * rows + first, rows, 1, depth, pivots, p, False, W, at)
        for k in range(LANES):
            W[(p * rows + p) * LANES + k] = pivots[p * LANES + k]
    for p in range(count):
        for first in range(p // COLUMNS * COLUMNS, count, COLUMNS):
            at, start = p * rows + first, max(p, first)
            subtract_products(
                W, p * rows + start, 1, W, first * rows + start, 1, rows, count - start, pivots, rows + 1, False, A, at
            )


@compile_part
def _fit_gaussian(pilot, group, model, likes, mean):
    """Compute mean and covariance of a group; return the covariance, and what is to be added to its diagonal."""
    P, size = len(pilot), model.size
    D = P * size * size
    N = len(group)
    mean[:] = 0
    for k in range(N):
        d = 0
        for p in range(P):
            for a in range(size):
                for b in range(size):
                    likes[k, d] = pilot[p, group[k, 0] + a, group[k, 1] + b]
                    d += 1
        for d in range(D):
            mean[d] += likes[k, d]
    for d in range(D):
        mean[d] /= N
    for k in range(N):
        for d in range(D):
            likes[k, d] -= mean[d]
    C = np.dot(likes[:N].T, likes[:N])
    each = 1 / mean.dtype.type(N)
    trace = mean.dtype.type(0)
    for d in range(D):
        for e in range(D):
            C[d, e] *= each
        C[d, d] -= model.pilot_noise
        trace += C[d, d]
    if trace <= 0:
        C[:] = 0
        return C, mean.dtype.type(0)
    return C, model.floor + model.shrinkage * trace / D


@compile_part
def _fit_groups(pilot, matches, model, noise, likes, systems, gaussians):
    """Fit Gaussians to as many groups as there are lanes, or fewer."""
    rows, A, _, _ = systems
    means, inverses = gaussians
    D = means.shape[1]
    for k in range(LANES):
        if k < len(matches):
            size_of_group = _size_of_group(matches[k])
            C, raised = _fit_gaussian(pilot, matches[k, :size_of_group], model, likes, means[k])
            for d in range(D):
                for e in range(d, D):
                    A[(d * rows + e) * LANES + k] = C[d, e]
                A[(d * rows + d) * LANES + k] += raised + noise
        else:
            for d in range(D):
                for e in range(d, D):
                    A[(d * rows + e) * LANES + k] = d == e
    _factor(systems, D, D, noise * means.dtype.type(1e-3))
    _invert_factors(systems, D)
    for k in range(len(matches)):
        for d in range(D):
            for e in range(d, D):
                inverses[k, d, e] = inverses[k, e, d] = A[(d * rows + e) * LANES + k]


@compile_part
def _size_of_group(group):
    count = 0
    while count < len(group) and group[count, 0] >= 0:
        count += 1
    return count


@compile_part
def _solve_waiting(waiting, n_waiting, systems, inverses, smallest):
    """Put in by how much what is missing differs from the mean."""
    _, owners, counts, places, differences = waiting
    rows, A, _, pivots = systems
    D = differences.shape[1]
    most = 0
    for k in range(n_waiting):
        most = max(most, counts[k])
    for k in range(LANES):
        count = counts[k] if k < n_waiting else 0
        J = inverses[owners[k] if k < n_waiting else 0]
        for p in range(most):
            if p < count:
                for q in range(p, count):
                    A[(p * rows + q) * LANES + k] = J[places[p, k], places[q, k]]
                right = A.dtype.type(0)
                for d in range(D):
                    right -= J[places[p, k], d] * differences[k, d]
                A[(p * rows + most) * LANES + k] = right
            for q in range(max(p, count), most):
                A[(p * rows + q) * LANES + k] = p == q
            if p >= count:
                A[(p * rows + most) * LANES + k] = 0
    _factor(systems, most, most + 1, smallest)
    for p in range(most - 1, -1, -1):
        solved = (p * rows + most) * LANES
        for q in range(p + 1, most):
            for k in range(LANES):
                A[solved + k] -= A[(p * rows + q) * LANES + k] * A[(q * rows + most) * LANES + k]
        for k in range(LANES):
            A[solved + k] *= pivots[p * LANES + k]
    for k in range(n_waiting):
        for c in range(counts[k]):
            differences[k, places[c, k]] = A[(c * rows + most) * LANES + k]


@compile_part
def _add_estimates(waiting, n_waiting, gaussians, size, noise, change, top, total, weight):
    """Add the patches up, now that all their differences are known."""
    corners, owners, _, _, differences = waiting
    P = len(total)
    D = differences.shape[1]
    for k in range(n_waiting):
        mean, J = gaussians.means[owners[k]], gaussians.inverses[owners[k]]
        for d in range(D):
            change[d] = differences[k, d]
        for e in range(D):
            factor = noise * differences[k, e]
            for d in range(D):
                change[d] -= factor * J[e, d]
        i, j = corners[k]
        d = 0
        for p in range(P):
            for a in range(size):
                for b in range(size):
                    total[p, i - top + a, j + b] += mean[d] + change[d]
                    weight[p, i - top + a, j + b] += 1
                    d += 1


@compile_kernel
def _estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    P, size = len(pilot), model.size
    D = P * size * size
    real, noise = pilot.dtype, max(model.noise, model.floor)
    likes, change = np.empty((matches.shape[1], D), real), np.empty(D, real)
    systems = _new_systems(D, real)
    gaussians = Gaussians(np.empty((LANES, D), real), np.empty((LANES, D, D), real))
    corners, owners, counts = np.empty((LANES, 2), np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    waiting = Waiting(corners, owners, counts, np.empty((D, LANES), np.int64), np.empty((LANES, D), real))
    for first in range(0, len(matches), LANES):
        groups = matches[first : first + LANES]
        _fit_groups(pilot, groups, model, noise, likes, systems, gaussians)
        n_waiting = 0
        for owner in range(len(groups)):
            mean = gaussians.means[owner]
            for number in range(min(_size_of_group(groups[owner]), model.n_estimated)):
                i, j = groups[owner, number]
                count = d = 0
                for p in range(P):
                    for a in range(size):
                        for b in range(size):
                            if known[p, i + a, j + b]:
                                waiting.differences[n_waiting, d] = observed[p, i + a, j + b] - mean[d]
                            else:
                                waiting.differences[n_waiting, d] = 0
                                waiting.places[count, n_waiting] = d
                                count += 1
                            d += 1
                if model.noise == 0 and count == 0:
                    continue
                owners[n_waiting], counts[n_waiting] = owner, count
                corners[n_waiting, 0], corners[n_waiting, 1] = i, j
                n_waiting += 1
                if n_waiting == LANES:
                    _solve_waiting(waiting, n_waiting, systems, gaussians.inverses, real.type(0))
                    _add_estimates(waiting, n_waiting, gaussians, size, noise, change, top, total, weight)
                    n_waiting = 0
        _solve_waiting(waiting, n_waiting, systems, gaussians.inverses, real.type(0))
        _add_estimates(waiting, n_waiting, gaussians, size, noise, change, top, total, weight)


def estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    size, n_estimated, *variances = model
    model = GroupModel(size, n_estimated, *map(pilot.dtype.type, variances))
    _estimate_patches(pilot, observed, known, matches, model, top, total, weight)
