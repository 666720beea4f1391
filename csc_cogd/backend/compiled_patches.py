"""The kernels of `patches`, compiled by Numba.

Their inner loops run over numbers that lie side by side and don't depend on each other: candidates of a row in
:func:`match_patches`, see :mod:`csc_cogd.backend.compiled_matching`; the systems of :data:`LANES` groups, and of as many
patches, in :func:`estimate_patches`.

A patch is estimated by the inverse J of its group's covariance with the noise added, which is the same for all patches of
the group: what is missing of it differs from the mean by the solution y of ``J_MM y = -J_MK (z_K - m_K)``, a system as
large as what is missing; under noise, what is known of it is ``z_K - noise (J d)_K``, d the differences with y put in.

Arrays are copied in loops, as Numba takes many seconds to compile an assignment to a slice, with its check of shapes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.compiled_matching import match_patches
from csc_cogd.backend.patches import GroupModel
from csc_cogd.backend.simd_lanes import (
    CHUNK,
    COLUMNS,
    LANES,
    ROWS,
    add_chunk,
    copy_chunk,
    divide_by_pivots,
    gather,
    list_false,
    multiply_rows,
    scale_and_add,
    subtract_product,
    subtract_products,
    transpose_block,
)

__all__ = ["estimate_patches", "match_patches"]

APART = 1
"""Vectors more between rows of matrices than these need: a power of two would put all rows in the same places of a cache."""


class Systems(NamedTuple):
    """Room for the matrices of :data:`LANES` systems side by side: flat arrays, rows ``width + APART`` vectors apart.

    Attributes
    ----------
    A, W : (width * (width + APART) * LANES,) arrays
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
    """Patches whose systems are solved together, as soon as there are as many as lanes; all but `corners` are flat.

    Attributes
    ----------
    corners : (LANES, 2) int array
    owners, counts : (LANES,) int arrays
        The group of each patch, and how many of its values are missing.
    places : (LANES * width,) int array
        Which these values are.
    differences : ((LANES + ROWS) * width,) array
        Of the values from the group's mean; those of what is missing are solved for.
    products : ((LANES + ROWS) * width,) array
        Of the group's inverse covariance and the differences.
    """

    corners: np.ndarray
    owners: np.ndarray
    counts: np.ndarray
    places: np.ndarray
    differences: np.ndarray
    products: np.ndarray


class Gaussians(NamedTuple):
    """Of :data:`LANES` groups, in flat arrays.

    Attributes
    ----------
    means : (LANES * width,) array
    inverses : (LANES * D * width,) array
        Of the covariances with the noise added.
    covariances : (LANES * (D + ROWS) * width,) array
        Upper triangles, with the noise added, before they are inverted.
    """

    means: np.ndarray
    inverses: np.ndarray
    covariances: np.ndarray


class Patches(NamedTuple):
    """Planes (P, H, W) in a flat array, the side of the patches that are read from them, and the shape of their matrices.

    Rows of D numbers are `width` apart: there is a column more for a right side, and room for what copies write beyond.
    """

    values: np.ndarray
    P: int
    H: int
    W: int
    size: int
    D: int
    width: int


class Window(NamedTuple):
    """Where in the picture the sums of estimates begin, how many rows they have, and ones for the columns of a patch."""

    top: int
    rows: int
    columns: np.ndarray


@compile_part
def _filled_up(count, by):
    return (count + by - 1) // by * by


@compile_part
def _patches_of(planes, size):
    P, H, W = planes.shape
    D = P * size * size
    width = _filled_up(D + max(1, _filled_up(size, CHUNK) - size), LANES)
    return Patches(planes.reshape(-1), P, H, W, size, D, width)


@compile_part
def _new_systems(width, real):
    signs = np.empty(2 * LANES, real)
    for k in range(LANES):
        signs[k] = 1
        signs[LANES + k] = -1
    room = width * (width + APART) * LANES
    pivots, rows = np.empty(width * LANES, real), np.zeros(width * LANES, real)
    return Systems(np.zeros(room, real), np.zeros(room, real), pivots, signs, rows)


@compile_part
def _new_waiting(width, real):
    corners, places = np.empty((LANES, 2), np.int64), np.zeros(LANES * width, np.int64)
    differences, products = np.zeros((LANES + ROWS) * width, real), np.zeros((LANES + ROWS) * width, real)
    return Waiting(corners, np.zeros(LANES, np.int64), np.zeros(LANES, np.int64), places, differences, products)


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
def _copy_lanes(source, source_at, target, target_at):
    """Copy a vector; places are of vectors."""
    for k in range(0, LANES, CHUNK):
        copy_chunk(source, source_at * LANES + k, target, target_at * LANES + k)


@compile_part
def _factor(systems, count, columns, width, smallest):
    """Replace the first `count` rows of A by Cholesky factors U, ``A = U^T U``, of which further columns are solved for."""
    A, pivots, signs = systems.A, systems.pivots, systems.signs
    for p in range(count):
        for first in range(p // COLUMNS * COLUMNS, columns, COLUMNS):
            at = p * width + first
            if first <= p:
                subtract_products(A, p, width, A, first, width, 1, p, signs, 0, True, A, at)
                divide_by_pivots(A, p * width + p, smallest, at, pivots, p)
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
        _copy_lanes(pivots, p, W, p * width + p)
    for p in range(count):
        for first in range(p // COLUMNS * COLUMNS, count, COLUMNS):
            at, start = p * width + first, max(p, first)
            subtract_products(
                W, p * width + start, 1, W, first * width + start, 1, width, count - start, signs, 1, False, A, at
            )
    for p in range(count):
        for q in range(p):
            _copy_lanes(A, q * width + p, A, p * width + q)


@compile_part
def _fit_gaussian(patches, group, N, model, likes, means, mean_at, C, at):
    """Compute the mean of a group and the upper triangle of its covariance; return what is to be added to the diagonal."""
    D, width = patches.D, patches.width
    vectors, one = width // LANES, likes.dtype.type(1)
    scale_and_add(means, mean_at, 0 * one, means, mean_at, 0 * one, vectors)
    for k in range(N):
        _copy_patch(patches, group[k, 0], group[k, 1], likes, k * width)
        scale_and_add(means, mean_at, one, likes, k * width, one, vectors)
    scale_and_add(means, mean_at, one / N, means, mean_at, 0 * one, vectors)
    root = np.sqrt(one / N)
    for k in range(N):
        scale_and_add(likes, k * width, root, means, mean_at, -root, vectors)
    for d in range(0, D, ROWS):
        for first in range(d // LANES * LANES, D, LANES):
            multiply_rows(likes, d, 1, width, likes, first, width, N, C, at + d * width + first, width)
    trace = 0 * one
    for d in range(D):
        C[at + d * (width + 1)] -= model.pilot_noise
        trace += C[at + d * (width + 1)]
    if trace <= 0:
        C[at : at + D * width] = 0
        return 0 * one
    return model.floor + model.shrinkage * trace / D


@compile_part
def _fit_groups(patches, matches, counts, model, noise, likes, systems, gaussians):
    """Fit Gaussians to as many groups as there are lanes, or fewer; `counts` says how large they are."""
    A, (means, inverses, covariances) = systems.A, gaussians
    D, width = patches.D, patches.width
    step, stride = (D + ROWS) * width, width + APART
    for k in range(LANES):
        if k < len(matches):
            raised = noise + _fit_gaussian(
                patches, matches[k], counts[k], model, likes, means, k * width, covariances, k * step
            )
        else:
            covariances[k * step : (k + 1) * step] = 0
            raised = noise + 1
        for d in range(D):
            covariances[k * step + d * (width + 1)] += raised
    for d in range(D):
        for first in range(d // LANES * LANES, D, LANES):
            transpose_block(covariances, d * width + first, step, A, (d * stride + first) * LANES, LANES)
    _factor(systems, D, D, stride, noise * means.dtype.type(1e-3))
    _invert_factors(systems, D, stride)
    for d in range(D):
        for first in range(0, D, LANES):
            transpose_block(A, (d * stride + first) * LANES, LANES, inverses, d * width + first, D * width)


@compile_part
def _size_of_group(group):
    count = 0
    while count < len(group) and group[count, 0] >= 0:
        count += 1
    return count


@compile_part
def _multiply_inverse(patches, waiting, first, stop, inverses, owner):
    """Multiply the differences of patches of one group by its inverse covariance."""
    differences, products, D, width = waiting.differences, waiting.products, patches.D, patches.width
    for row in range(first, stop, ROWS):
        at = row * width
        for d in range(0, D, LANES):
            multiply_rows(differences, at, width, 1, inverses, owner * D * width + d, width, D, products, at + d, width)


@compile_part
def _solve_waiting(patches, waiting, n_waiting, systems, inverses, smallest):
    """Put in by how much what is missing differs from the mean."""
    owners, counts, places, differences = waiting.owners, waiting.counts, waiting.places, waiting.differences
    A, pivots, rows, step = systems.A, systems.pivots, systems.rows, patches.width
    most = 0
    for k in range(n_waiting):
        most = max(most, counts[k])
    width = _filled_up(most + 1, LANES)
    stride = width + APART
    for k in range(LANES):  # where fewer are missing than elsewhere, the system is that of the identity
        counts[k] = counts[k] if k < n_waiting else 0
        for q in range(counts[k], most):
            rows[k * width + q] = 0
    for p in range(most):
        for k in range(LANES):
            at, count = k * width, counts[k]
            if p >= count:
                rows[at + p], rows[at + most] = 1, 0
            else:
                place = places[k * step + p]
                row = (owners[k] * patches.D + place) * step
                gather(inverses, row, places, k * step + p, count - p, rows, at + p)
                rows[at + most] = -waiting.products[k * step + place]
        for first in range(p // LANES * LANES, most + 1, LANES):
            transpose_block(rows, first, width, A, (p * stride + first) * LANES, LANES)
    _factor(systems, most, most + 1, stride, smallest)
    for p in range(most - 1, -1, -1):
        for r in range(p):
            subtract_product(A, r * stride + p, A, p * stride + most, pivots, p, A, r * stride + most)
    for k in range(n_waiting):
        for c in range(counts[k]):
            differences[k * step + places[k * step + c]] = A[(c * stride + most) * LANES + k] * pivots[c * LANES + k]


@compile_part
def _add_estimates(patches, waiting, n_waiting, gaussians, noise, window, total, weight):
    """Add the patches up, now that all their differences are known; without noise, known values are as observed."""
    corners, owners, _, _, differences, products = waiting
    size, width = patches.size, patches.width
    vectors, one, first = width // LANES, noise * 0 + 1, 0
    for k in range(n_waiting if noise > 0 else 0):
        if k + 1 == n_waiting or owners[k + 1] != owners[k]:
            _multiply_inverse(patches, waiting, first, k + 1, gaussians.inverses, owners[k])
            first = k + 1
    for k in range(n_waiting):
        d = k * width
        scale_and_add(differences, d, one, gaussians.means, owners[k] * width, one, vectors)
        if noise > 0:
            scale_and_add(differences, d, one, products, d, -noise, vectors)
        for p in range(patches.P):
            for a in range(size):
                place = (p * window.rows + corners[k, 0] - window.top + a) * patches.W + corners[k, 1]
                if place + _filled_up(size, CHUNK) <= len(total):
                    for b in range(0, size, CHUNK):
                        add_chunk(differences, d + b, window.columns, b, total, place + b)
                        add_chunk(window.columns, b, window.columns, b, weight, place + b)
                else:
                    for b in range(size):
                        total[place + b] += differences[d + b]
                        weight[place + b] += 1
                d += size


@compile_part
def _window_of(top, total, size):
    columns = np.zeros(_filled_up(size, CHUNK), total.dtype)
    for b in range(size):
        columns[b] = 1
    return Window(top, total.shape[1], columns)


@compile_part
def _enter_patch(observed, known, waiting, number, owner, means, i, j):
    """Let a patch wait; return how many of its values are missing."""
    places, differences, size, width = waiting.places, waiting.differences, observed.size, observed.width
    at, one, count, d = number * width, means.dtype.type(1), 0, 0
    _copy_patch(observed, i, j, differences, at)
    scale_and_add(differences, at, one, means, owner * width, -one, width // LANES)
    for p in range(observed.P):
        for a in range(size):
            count += list_false(known, (p * observed.H + i + a) * observed.W + j, size, d, places, at + count)
            d += size
    for c in range(count):
        differences[at + places[at + c]] = 0
    waiting.owners[number], waiting.counts[number] = owner, count
    waiting.corners[number, 0], waiting.corners[number, 1] = i, j
    return count


@compile_kernel
def _estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    patches, observed, known = _patches_of(pilot, model.size), _patches_of(observed, model.size), known.reshape(-1)
    D, width, real, noise = patches.D, patches.width, pilot.dtype, max(model.noise, model.floor)
    likes = np.zeros(matches.shape[1] * width, real)
    systems, waiting = _new_systems(width, real), _new_waiting(width, real)
    gaussians = Gaussians(
        np.zeros(LANES * width, real), np.zeros(LANES * D * width, real), np.zeros(LANES * (D + ROWS) * width, real)
    )
    window, counts = _window_of(top, total, model.size), np.zeros(LANES, np.int64)
    total, weight = total.reshape(-1), weight.reshape(-1)
    added = noise if model.noise > 0 else model.noise
    smallest = real.type(1e-6)  # far less than the inverse of any variance
    for first in range(0, len(matches), LANES):
        groups = matches[first : first + LANES]
        for owner in range(len(groups)):
            counts[owner] = _size_of_group(groups[owner])
        _fit_groups(patches, groups, counts, model, noise, likes, systems, gaussians)
        n_waiting = 0
        for owner in range(len(groups)):
            n_estimated, multiplied = min(counts[owner], model.n_estimated), n_waiting
            for number in range(n_estimated):
                i, j = groups[owner, number, 0], groups[owner, number, 1]
                count = _enter_patch(observed, known, waiting, n_waiting, owner, gaussians.means, i, j)
                n_waiting += count > 0 or model.noise > 0
                if n_waiting == LANES or number == n_estimated - 1:
                    _multiply_inverse(patches, waiting, multiplied, n_waiting, gaussians.inverses, owner)
                    multiplied = n_waiting
                if n_waiting == LANES or (owner == len(groups) - 1 and number == n_estimated - 1):
                    _solve_waiting(patches, waiting, n_waiting, systems, gaussians.inverses, smallest)
                    _add_estimates(patches, waiting, n_waiting, gaussians, added, window, total, weight)
                    n_waiting = multiplied = 0


def estimate_patches(pilot, observed, known, matches, model, top, total, weight):
    size, n_estimated, *variances = model
    model = GroupModel(size, n_estimated, *map(total.dtype.type, variances))
    pilot, observed = (np.ascontiguousarray(planes, total.dtype) for planes in (pilot, observed))
    _estimate_patches(pilot, observed, np.ascontiguousarray(known), matches, model, top, total, weight)
