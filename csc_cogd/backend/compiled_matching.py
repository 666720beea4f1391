"""Similar patches found, compiled by Numba: the kernel `match_patches` of `patches`."""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.compiled import compile_kernel, compile_part
from csc_cogd.backend.simd_lanes import LANES, ROWS, squared_distances

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
