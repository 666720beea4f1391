"""The kernels of `patchmatch`, compiled by Numba: a distance is given up as soon as it is larger than the best one."""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.compiled import compile_kernel, compile_part


@compile_part
def _distance(guide, i, j, k, m, size, limit):
    distance = guide.dtype.type(0)
    for p in range(len(guide)):
        for a in range(size):
            for b in range(size):
                difference = guide[p, i + a, j + b] - guide[p, k + a, m + b]
                distance += difference * difference
            if distance >= limit:
                return distance
    return distance


@compile_kernel
def search_sources(guide, targets, numbers, usable, size, backward, jumps, sources, distances):
    H, W = usable.shape
    N, tries = len(targets), jumps.shape[1]
    side = 1 if backward else -1
    for step in range(N):
        n = N - 1 - step if backward else step
        i, j = targets[n, 0], targets[n, 1]
        for t in range(tries + 2):
            if t < 2:
                down, right = (side, 0) if t == 0 else (0, side)
                if not (0 <= i + down < H and 0 <= j + right < W):
                    continue
                neighbor = numbers[i + down, j + right]
                if neighbor < 0:
                    continue
                k, m = sources[neighbor, 0] - down, sources[neighbor, 1] - right
            else:
                k, m = sources[n, 0] + jumps[n, t - 2, 0], sources[n, 1] + jumps[n, t - 2, 1]
            if 0 <= k < H and 0 <= m < W and usable[k, m]:
                distance = _distance(guide, i, j, k, m, size, distances[n])
                if distance < distances[n]:
                    distances[n] = distance
                    sources[n, 0] = k
                    sources[n, 1] = m


@compile_kernel
def measure_sources(guide, targets, size, sources, distances):
    for n in range(len(targets)):
        distances[n] = _distance(
            guide, targets[n, 0], targets[n, 1], sources[n, 0], sources[n, 1], size, guide.dtype.type(np.inf)
        )


@compile_kernel
def vote_sources(planes, targets, sources, weights, size, total, weight):
    for n in range(len(targets)):
        i, j = targets[n, 0], targets[n, 1]
        k, m = sources[n, 0], sources[n, 1]
        by = weights[n]
        for a in range(size):
            for b in range(size):
                for p in range(len(planes)):
                    total[p, i + a, j + b] += by * planes[p, k + a, m + b]
                weight[i + a, j + b] += by
