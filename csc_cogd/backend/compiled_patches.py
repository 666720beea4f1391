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
from csc_cogd.backend.simd_lanes import (
    CHUNK,
    COLUMNS,
    LANES,
    ROWS,
    copy_chunk,
    multiply_rows,
    squared_distances,
    subtract_products,
    transpose_block,
)

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
    """Room for the matrices of :data:`LANES` systems side by side; all arrays are flat, and rows `width` vectors apart.

    Attributes
    ----------
    A, W : (width * width * LANES,) arrays
        What is factored in place, of which only the upper triangle counts; and the inverse factors.
    pivots : (width * LANES,) array
        The factors' inverse diagonals.
    signs : (2 * LANES,) array
        1, and -1.
    rows : (LANES * width,) array
        A row of each system, before they are laid side by side.
    """

    A: np.ndarray
    W: np.ndarray
    pivots: np.ndarray
    signs: np.ndarray
    rows: np.ndarray


class Waiting(NamedTuple):
    """Patches whose systems are solved together, as soon as there are as many as lanes.

    Attributes
    ----------
    corners : (LANES, 2) int array
    owners, counts : (LANES,) int arrays
        The group of each patch, and how many of its values are missing.
    places : (LANES, D + 1) int array
        Which these values are; not signed, for signed indices are counted from the end where they are negative.
    differences : (LANES + ROWS, width) array
        Of the values from the group's mean; those of what is missing are solved for.
    products : (LANES + ROWS, width) array
        Of the group's inverse covariance and the differences.
    """

    corners: np.ndarray
    owners: np.ndarray
    counts: np.ndarray
    places: np.ndarray
    differences: np.ndarray
    products: np.ndarray


class Gaussians(NamedTuple):
    """Of :data:`LANES` groups: means (LANES, width), and inverses (LANES, D, width) of the covariances with the noise added.

    Attributes
    ----------
    covariances : (LANES, D + ROWS, width) array
        Upper triangles, with the noise added, before they are inverted.
    """

    means: np.ndarray
    inverses: np.ndarray
    covariances: np.ndarray


class Patches(NamedTuple):
    """Planes (P, H, W) in a flat array, and the side of the patches that are read from them."""

    values: np.ndarray
    P: int
    H: int
    W: int
    size: int


@compile_part
def _filled_up(count, by):
    return (count + by - 1) // by * by


@compile_part
def _width_of(D, size):
    """Return how far apart rows are: with a column more than D for a right side, and room for what copies write beyond."""
    return _filled_up(D + max(1, _filled_up(size, CHUNK) - size), LANES)


@compile_part
def _new_systems(width, real):
    signs = np.empty(2 * LANES, real)
    for k in range(LANES):
        signs[k] = 1
        signs[LANES + k] = -1
    room = width * width * LANES
    return Systems(np.zeros(room, real), np.zeros(room, real), np.empty(width * LANES, real), signs, np.zeros(LANES * width, real))


@compile_part
def _copy_patch(patches, i, j, out, at):
    """Copy a patch to a flat array, from a place on; what lies behind it may be overwritten."""
    values, size = patches.values, patches.size
    for p in range(patches.P):
        for a in range(size):
            place = (p * patches.H + i + a) * patches.W + j
            if place + _filled_up(size, CHUNK) <= len(values):
                for b in range(0, size, CHUNK):
                    copy_chunk(values, place + b, out, at + b)
            else:
                for b in range(size):
                    out[at + b] = values[place + b]
            at += size


@compile_part
def _factor(systems, count, columns, width, smallest):
    """Replace the first `count` rows of A by Cholesky factors U, ``A = U^T U``, of which further columns are solved for."""
    A, pivots, signs = systems.A, systems.pivots, systems.signs
    for p in range(count):
        for first in range(p // COLUMNS * COLUMNS, columns, COLUMNS):
            at = p * width + first
            if first <= p:
                subtract_products(A, p, width, A, first, width, 1, p, signs, 0, True, A, at)
                pivot = (p * width + p) * LANES
                for k in range(LANES):
                    pivots[p * LANES + k] = 1 / np.sqrt(max(A[pivot + k], smallest))
                for c in range(COLUMNS):
                    for k in range(LANES):
                        A[(at + c) * LANES + k] *= pivots[p * LANES + k]
            else:
                subtract_products(A, p, width, A, first, width, 1, p, pivots, p, True, A, at)


@compile_part
def _invert_factors(systems, count, width):
    """Set A to ``A^-1 = W W^T``, W the inverse of its factors."""
    A, W, pivots, signs = systems.A, systems.W, systems.pivots, systems.signs
    for p in range(count - 1, -1, -1):
        for first in range(p // COLUMNS * COLUMNS, count, COLUMNS):
            depth = min(first + COLUMNS, count) - p - 1
            at = p * width + first
            subtract_products(A, p * width + p + 1, 1, W, (p + 1) * width + first, width, 1, depth, pivots, p, False, W, at)
        for k in range(LANES):
            W[(p * width + p) * LANES + k] = pivots[p * LANES + k]
    for p in range(count):
        for first in range(p // COLUMNS * COLUMNS, count, COLUMNS):
            at, start = p * width + first, max(p, first)
            subtract_products(
                W, p * width + start, 1, W, first * width + start, 1, width, count - start, signs, 1, False, A, at
            )
    for p in range(count):
        for q in range(p):
            for k in range(LANES):
                A[(p * width + q) * LANES + k] = A[(q * width + p) * LANES + k]


@compile_part
def _fit_gaussian(patches, group, model, likes, mean, C):
    """Compute the mean and the upper triangle of the covariance C of a group; return what is to be added to its diagonal."""
    N, width = len(group), len(mean)
    D = patches.P * patches.size**2
    real = mean.dtype.type
    flat = likes.reshape(-1)
    for k in range(N):
        _copy_patch(patches, group[k, 0], group[k, 1], flat, k * width)
    mean[:] = 0
    for k in range(N):
        for d in range(width):
            mean[d] += likes[k, d]
    for d in range(width):
        mean[d] /= real(N)
    root = np.sqrt(1 / real(N))
    for k in range(N):
        for d in range(width):
            likes[k, d] = (likes[k, d] - mean[d]) * root
    for d in range(0, D, ROWS):
        for first in range(d // LANES * LANES, D, LANES):
            multiply_rows(flat, d, 1, width, flat, first, width, N, C.reshape(-1), d * width + first, width)
    trace = real(0)
    for d in range(D):
        C[d, d] -= model.pilot_noise
        trace += C[d, d]
    if trace <= 0:
        C[:] = 0
        return real(0)
    return model.floor + model.shrinkage * trace / D


@compile_part
def _fit_groups(patches, matches, model, noise, likes, systems, gaussians):
    """Fit Gaussians to as many groups as there are lanes, or fewer."""
    A = systems.A
    means, inverses, covariances = gaussians
    D, width = inverses.shape[1:]
    for k in range(LANES):
        C = covariances[k]
        if k < len(matches):
            raised = noise + _fit_gaussian(patches, matches[k, : _size_of_group(matches[k])], model, likes, means[k], C)
        else:
            C[:] = 0
            raised = noise + 1
        for d in range(D):
            C[d, d] += raised
    flat, step = covariances.reshape(-1), covariances.shape[1] * width
    for d in range(D):
        for first in range(d // LANES * LANES, D, LANES):
            transpose_block(flat, d * width + first, step, A, (d * width + first) * LANES, LANES)
    _factor(systems, D, D, width, noise * means.dtype.type(1e-3))
    _invert_factors(systems, D, width)
    flat = inverses.reshape(-1)
    for d in range(D):
        for first in range(0, D, LANES):
            transpose_block(A, (d * width + first) * LANES, LANES, flat, d * width + first, D * width)


@compile_part
def _size_of_group(group):
    count = 0
    while count < len(group) and group[count, 0] >= 0:
        count += 1
    return count


@compile_part
def _multiply_inverses(waiting, first, stop, inverse):
    """Multiply the differences of patches of one group by its inverse covariance."""
    differences, products = waiting.differences, waiting.products
    D, width = inverse.shape
    for row in range(first, stop, ROWS):
        for d in range(0, D, LANES):
            multiply_rows(
                differences.reshape(-1), row * width, width, 1, inverse.reshape(-1), d, width, D,
                products.reshape(-1), row * width + d, width,
            )  # fmt: skip


@compile_part
def _solve_waiting(waiting, n_waiting, systems, inverses, smallest):
    """Put in by how much what is missing differs from the mean."""
    owners, counts, places, products = waiting.owners, waiting.counts, waiting.places, waiting.products
    A, pivots, rows = systems.A, systems.pivots, systems.rows
    most = 0
    for k in range(n_waiting):
        most = max(most, counts[k])
    width = _filled_up(most + 1, LANES)
    for p in range(most):
        for k in range(LANES):
            at, count, place = k * width, counts[k] if k < n_waiting else 0, places[k]
            for q in range(max(p, count), most):
                rows[at + q] = p == q
            rows[at + most] = 0
            if p < count:
                row = inverses[owners[k], place[p]]
                for q in range(p, count):
                    rows[at + q] = row[place[q]]
                rows[at + most] = -products[k, place[p]]
        for first in range(p // LANES * LANES, most + 1, LANES):
            transpose_block(rows, first, width, A, (p * width + first) * LANES, LANES)
    _factor(systems, most, most + 1, width, smallest)
    for p in range(most - 1, -1, -1):
        solved = (p * width + most) * LANES
        for k in range(LANES):
            A[solved + k] *= pivots[p * LANES + k]
        for r in range(p):
            for k in range(LANES):
                A[(r * width + most) * LANES + k] -= A[(r * width + p) * LANES + k] * A[solved + k]
    for k in range(n_waiting):
        for c in range(counts[k]):
            waiting.differences[k, places[k, c]] = A[(c * width + most) * LANES + k]


@compile_part
def _add_estimates(waiting, n_waiting, gaussians, model, top, total, weight):
    """Add the patches up, now that all their differences are known; without noise, known values are as observed."""
    corners, owners, _, _, differences, products = waiting
    P, size = len(total), model.size
    first = 0
    for k in range(n_waiting if model.noise > 0 else 0):
        if k + 1 == n_waiting or owners[k + 1] != owners[k]:
            _multiply_inverses(waiting, first, k + 1, gaussians.inverses[owners[k]])
            first = k + 1
    noise = max(model.noise, model.floor) if model.noise > 0 else model.noise
    for k in range(n_waiting):
        mean, difference, product = gaussians.means[owners[k]], differences[k], products[k]
        i, j = corners[k]
        d = 0
        for p in range(P):
            for a in range(size):
                for b in range(size):
                    total[p, i - top + a, j + b] += mean[d] + difference[d] - noise * product[d]
                    weight[p, i - top + a, j + b] += 1
                    d += 1


@compile_part
def _enter_patch(waiting, number, owner, mean, observed, known, corner):
    """Let a patch wait; return how many of its values are missing."""
    places, difference, size = waiting.places[number], waiting.differences[number], observed.size
    width = len(mean)
    i, j = corner
    _copy_patch(observed, i, j, waiting.differences.reshape(-1), number * width)
    count = d = 0
    for p in range(observed.P):
        for a in range(size):
            for b in range(size):
                there = known[p, i + a, j + b]
                difference[d] = difference[d] - mean[d] if there else 0
                places[count] = d
                count += not there
                d += 1
    waiting.owners[number], waiting.counts[number] = owner, count
    waiting.corners[number, 0], waiting.corners[number, 1] = i, j
    return count


@compile_kernel
def _estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    P, H, W = pilot.shape
    D, width = P * model.size**2, _width_of(P * model.size**2, model.size)
    real, noise = pilot.dtype, max(model.noise, model.floor)
    patches = Patches(pilot.reshape(-1), P, H, W, model.size)
    observed = Patches(observed.reshape(-1), P, H, W, model.size)
    likes = np.zeros((matches.shape[1], width), real)
    systems = _new_systems(width, real)
    gaussians = Gaussians(
        np.empty((LANES, width), real), np.zeros((LANES, D, width), real), np.zeros((LANES, D + ROWS, width), real)
    )
    corners, owners, counts = np.empty((LANES, 2), np.int64), np.zeros(LANES, np.int64), np.zeros(LANES, np.int64)
    differences, products = np.zeros((LANES + ROWS, width), real), np.zeros((LANES + ROWS, width), real)
    waiting = Waiting(corners, owners, counts, np.empty((LANES, D + 1), np.uint64), differences, products)
    smallest = real.type(1e-6)  # far less than the inverse of any variance
    for first in range(0, len(matches), LANES):
        groups = matches[first : first + LANES]
        _fit_groups(patches, groups, model, noise, likes, systems, gaussians)
        n_waiting = 0
        for owner in range(len(groups)):
            n_estimated, multiplied = min(_size_of_group(groups[owner]), model.n_estimated), n_waiting
            for number in range(n_estimated):
                mean = gaussians.means[owner]
                count = _enter_patch(waiting, n_waiting, owner, mean, observed, known, groups[owner, number])
                n_waiting += count > 0 or model.noise > 0
                if n_waiting == LANES or number == n_estimated - 1:
                    _multiply_inverses(waiting, multiplied, n_waiting, gaussians.inverses[owner])
                    multiplied = n_waiting
                if n_waiting == LANES or (owner == len(groups) - 1 and number == n_estimated - 1):
                    _solve_waiting(waiting, n_waiting, systems, gaussians.inverses, smallest)
                    _add_estimates(waiting, n_waiting, gaussians, model, top, total, weight)
                    n_waiting = multiplied = 0


def estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    size, n_estimated, *variances = model
    model = GroupModel(size, n_estimated, *map(pilot.dtype.type, variances))
    pilot, observed = (np.ascontiguousarray(planes, total.dtype) for planes in (pilot, observed))
    _estimate_patches(pilot, observed, known, matches, model, top, total, weight)
