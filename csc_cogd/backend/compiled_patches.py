"""The kernels of `patches`, compiled by Numba.

Their inner loops run over numbers that lie side by side and don't depend on each other: candidates of a row in
:func:`match_patches`, the systems of :data:`LANES` groups, and of as many patches, in :func:`estimate_patches`.

A patch is estimated by the inverse J of its group's covariance with the noise added, which is the same for all patches of
the group: what is missing of it differs from the mean by the solution y of ``J_MM y = -J_MK (z_K - m_K)``, a system as
large as what is missing; under noise, what is known of it is ``z_K - noise (J d)_K``, d the differences with y put in.

Arrays are copied in loops, as Numba takes many seconds to compile an assignment to a slice, with its check of shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.patches import GroupModel
from csc_cogd.backend.simd_lanes import COLUMNS, LANES, ROWS, squared_distances, subtract_products

CANDIDATES = 3
"""How many times as many patches as are wanted are kept, before the best of them are."""


@compile_part
def _keep_best(distances, places, count, N):
    """Put the N best of `count` candidates, by distance and then place, first; in any order."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        distance, place = distances[middle], places[middle]
        i, j = low, high
        while i <= j:
            while distances[i] < distance or (distances[i] == distance and places[i] < place):
                i += 1
            while distances[j] > distance or (distances[j] == distance and places[j] > place):
                j -= 1
            if i <= j:
                distances[i], distances[j] = distances[j], distances[i]
                places[i], places[j] = places[j], places[i]
                i += 1
                j -= 1
        if j < N - 1:
            low = i
        if i > N - 1:
            high = j


@compile_part
def _sort(distances, places, count):
    for n in range(1, count):
        distance, place = distances[n], places[n]
        k = n
        while k > 0 and (distances[k - 1] > distance or (distances[k - 1] == distance and places[k - 1] > place)):
            distances[k] = distances[k - 1]
            places[k] = places[k - 1]
            k -= 1
        distances[k] = distance
        places[k] = place


@compile_kernel
def match_patches(guide, corners, size, radius, matches):
    P, H, W = guide.shape
    N = matches.shape[1]
    span = 2 * radius + 1
    vectors = (span + LANES - 1) // LANES
    high, wide, room = span + size + ROWS - 2, vectors * LANES + size - 1, CANDIDATES * N + span
    area, block = np.zeros(P * high * wide, guide.dtype), np.empty(ROWS * vectors * LANES, guide.dtype)
    reference, offsets = np.empty(P * size * size, guide.dtype), np.empty(P * size * size, np.int64)
    d = 0
    for p in range(P):
        for a in range(size):
            for b in range(size):
                offsets[d] = (p * high + a) * wide + b
                d += 1
    distances = np.empty(room, guide.dtype)
    places = np.empty(room, np.int64)
    for n in range(len(corners)):
        top, left = max(corners[n, 0] - radius, 0), max(corners[n, 1] - radius, 0)
        rows = min(corners[n, 0] + radius, H - size) - top + 1
        columns = min(corners[n, 1] + radius, W - size) - left + 1
        i0, j0 = corners[n, 0] - top, corners[n, 1] - left
        for p in range(P):
            for i in range(rows + size - 1):
                at = (p * high + i) * wide
                for j in range(columns + size - 1):
                    area[at + j] = guide[p, top + i, left + j]
        for d in range(len(offsets)):
            reference[d] = area[i0 * wide + j0 + offsets[d]]
        count, limit = 0, guide.dtype.type(np.inf)
        for i in range(rows):
            if i % ROWS == 0:
                squared_distances(area, reference, i * wide, wide, len(offsets), offsets, vectors, block)
            row = block[i % ROWS * vectors * LANES :]
            if i == i0:
                row[j0] = -1  # the reference comes first
            for j in range(columns):
                distances[count] = row[j]
                places[count] = i * span + j
                count += not row[j] >= limit
            if count > room - span:
                _keep_best(distances, places, count, N)
                count, limit = N, distances[0]
                for k in range(1, N):
                    limit = max(limit, distances[k])
        if count > N:
            _keep_best(distances, places, count, N)
            count = N
        _sort(distances, places, count)
        for k in range(count):
            matches[n, k, 0] = top + places[k] // span
            matches[n, k, 1] = left + places[k] % span
        matches[n, count:] = -1


class Systems(NamedTuple):
    """Room for the matrices of :data:`LANES` systems side by side; all arrays are flat.

    Attributes
    ----------
    A, W : (rows * rows * LANES,) arrays
        What is factored in place, of which only the upper triangle counts; and the inverse factors.
    pivots : (rows * LANES,) array
        The factors' inverse diagonals.
    signs : (2 * LANES,) array
        1, and -1.
    """

    A: np.ndarray
    W: np.ndarray
    pivots: np.ndarray
    signs: np.ndarray


class Waiting(NamedTuple):
    """Patches whose systems are solved together, as soon as there are as many as lanes.

    Attributes
    ----------
    corners : (LANES, 2) int array
    owners, counts : (LANES,) int arrays
        The group of each patch, and how many of its values are missing.
    places : (LANES, D + 1) int array
        Which these values are; not signed, for signed indices are counted from the end where they are negative.
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
def _filled_up(columns):
    return (columns + COLUMNS - 1) // COLUMNS * COLUMNS


@compile_part
def _new_systems(D, real):
    rows = _filled_up(D + 1)  # with a column more for a right side
    signs = np.empty(2 * LANES, real)
    for k in range(LANES):
        signs[k] = 1
        signs[LANES + k] = -1
    room = rows * rows * LANES
    return Systems(np.zeros(room, real), np.zeros(room, real), np.empty(rows * LANES, real), signs)


@compile_part
def _factor(systems, count, columns, rows, smallest):
    """Replace the first `count` rows of A by Cholesky factors U, ``A = U^T U``, of which further columns are solved for.

    Rows of A are as many vectors apart as `rows` says.
    """
    A, _, pivots, signs = systems
    for p in range(count):
        for first in range(p // COLUMNS * COLUMNS, columns, COLUMNS):
            at = p * rows + first
            if first <= p:
                subtract_products(A, p, rows, A, first, rows, 1, p, signs, 0, True, A, at)
                pivot = (p * rows + p) * LANES
                for k in range(LANES):
                    pivots[p * LANES + k] = 1 / np.sqrt(max(A[pivot + k], smallest))
                for c in range(COLUMNS):
                    for k in range(LANES):
                        A[(at + c) * LANES + k] *= pivots[p * LANES + k]
            else:
                subtract_products(A, p, rows, A, first, rows, 1, p, pivots, p, True, A, at)


@compile_part
def _invert_factors(systems, count, rows):
    """Set A to ``A^-1 = W W^T``, W the inverse of its factors: of the upper triangle, and something below."""
    A, W, pivots, signs = systems
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
                W, p * rows + start, 1, W, first * rows + start, 1, rows, count - start, signs, 1, False, A, at
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
    A = systems.A
    means, inverses = gaussians
    D = means.shape[1]
    rows = _filled_up(D)
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
    _factor(systems, D, D, rows, noise * means.dtype.type(1e-3))
    _invert_factors(systems, D, rows)
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
    A, _, pivots, _ = systems
    D = differences.shape[1]
    most = 0
    for k in range(n_waiting):
        most = max(most, counts[k])
    rows = _filled_up(most + 1)
    for k in range(LANES):
        count = counts[k] if k < n_waiting else 0
        J, place, difference = inverses[owners[k] if k < n_waiting else 0], places[k], differences[k]
        for p in range(count):
            row, at = J[place[p]], p * rows * LANES + k
            for q in range(p, count):
                A[at + q * LANES] = row[place[q]]
            right = A.dtype.type(0)
            for d in range(D):
                right -= row[d] * difference[d]
            A[at + most * LANES] = right
        for p in range(most):
            for q in range(max(p, count), most):
                A[(p * rows + q) * LANES + k] = p == q
            if p >= count:
                A[(p * rows + most) * LANES + k] = 0
    _factor(systems, most, most + 1, rows, smallest)
    for p in range(most - 1, -1, -1):
        solved = (p * rows + most) * LANES
        for k in range(LANES):
            A[solved + k] *= pivots[p * LANES + k]
        for r in range(p):
            for k in range(LANES):
                A[(r * rows + most) * LANES + k] -= A[(r * rows + p) * LANES + k] * A[solved + k]
    for k in range(n_waiting):
        for c in range(counts[k]):
            differences[k, places[k, c]] = A[(c * rows + most) * LANES + k]


@compile_part
def _add_estimates(waiting, n_waiting, gaussians, model, change, top, total, weight):
    """Add the patches up, now that all their differences are known; without noise, known values are as observed."""
    corners, owners, _, _, differences = waiting
    P, size = len(total), model.size
    D = differences.shape[1]
    for k in range(n_waiting):
        mean, J, difference = gaussians.means[owners[k]], gaussians.inverses[owners[k]], differences[k]
        for d in range(D):
            change[d] = mean[d] + difference[d]
        if model.noise > 0:
            noise = max(model.noise, model.floor)
            for e in range(D):
                factor, row = noise * difference[e], J[e]
                for d in range(D):
                    change[d] -= factor * row[d]
        i, j = corners[k]
        d = 0
        for p in range(P):
            for a in range(size):
                for b in range(size):
                    total[p, i - top + a, j + b] += change[d]
                    weight[p, i - top + a, j + b] += 1
                    d += 1


@compile_part
def _enter_patch(waiting, number, owner, mean, observed, known, corner, size):
    """Let a patch wait; return how many of its values are missing."""
    corners, owners, counts, places, differences = waiting
    place, difference = places[number], differences[number]
    i, j = corner
    count = d = 0
    for p in range(len(observed)):
        for a in range(size):
            for b in range(size):
                there = known[p, i + a, j + b]
                value = observed[p, i + a, j + b] - mean[d]
                difference[d] = value if there else 0
                place[count] = d
                count += not there
                d += 1
    owners[number], counts[number] = owner, count
    corners[number, 0], corners[number, 1] = i, j
    return count


@compile_kernel
def _estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    P, size = len(pilot), model.size
    D = P * size * size
    real, noise = pilot.dtype, max(model.noise, model.floor)
    likes, change = np.empty((matches.shape[1], D), real), np.empty(D, real)
    systems = _new_systems(D, real)
    gaussians = Gaussians(np.empty((LANES, D), real), np.empty((LANES, D, D), real))
    corners, owners, counts = np.empty((LANES, 2), np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    waiting = Waiting(corners, owners, counts, np.empty((LANES, D + 1), np.uint64), np.empty((LANES, D), real))
    smallest = real.type(1e-6)  # far less than the inverse of any variance
    for first in range(0, len(matches), LANES):
        groups = matches[first : first + LANES]
        _fit_groups(pilot, groups, model, noise, likes, systems, gaussians)
        n_waiting = 0
        for owner in range(len(groups)):
            n_estimated = min(_size_of_group(groups[owner]), model.n_estimated)
            for number in range(n_estimated):
                mean = gaussians.means[owner]
                count = _enter_patch(waiting, n_waiting, owner, mean, observed, known, groups[owner, number], size)
                n_waiting += count > 0 or model.noise > 0
                last = owner == len(groups) - 1 and number == n_estimated - 1
                if n_waiting == LANES or last:
                    _solve_waiting(waiting, n_waiting, systems, gaussians.inverses, smallest)
                    _add_estimates(waiting, n_waiting, gaussians, model, change, top, total, weight)
                    n_waiting = 0


def estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    size, n_estimated, *variances = model
    model = GroupModel(size, n_estimated, *map(pilot.dtype.type, variances))
    _estimate_patches(pilot, observed, known, matches, model, top, total, weight)
