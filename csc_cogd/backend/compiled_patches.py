"""The kernels of `patches`, compiled by Numba."""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.compiled import compile_kernel


@compile_kernel
def match_patches(guide, corners, size, radius, matches):
    P, H, W = guide.shape
    N = matches.shape[1]
    distances = np.empty(N, guide.dtype)
    for n in range(len(corners)):
        i0, j0 = corners[n]
        matches[n] = -1
        matches[n, 0] = corners[n]  # the reference comes first
        distances[0] = -1
        count = 1
        for i in range(max(i0 - radius, 0), min(i0 + radius, H - size) + 1):
            for j in range(max(j0 - radius, 0), min(j0 + radius, W - size) + 1):
                if i == i0 and j == j0:
                    continue
                limit = distances[N - 1] if count == N else np.inf
                distance = guide.dtype.type(0)
                for p in range(P):
                    for a in range(size):
                        for b in range(size):
                            difference = guide[p, i + a, j + b] - guide[p, i0 + a, j0 + b]
                            distance += difference * difference
                        if distance >= limit:
                            break
                    if distance >= limit:
                        break
                if distance >= limit:
                    continue
                count = min(count + 1, N)
                k = count - 1
                while distances[k - 1] > distance:
                    distances[k] = distances[k - 1]
                    matches[n, k] = matches[n, k - 1]
                    k -= 1
                distances[k] = distance
                matches[n, k, 0] = i
                matches[n, k, 1] = j


@compile_kernel
def _factor(C, places, count, noise, L):
    """Cholesky factor of the covariance of the first `count` of `places`, with noise on the diagonal."""
    for p in range(count):
        for q in range(p + 1):
            entry = C[places[p], places[q]]
            if p == q:
                entry += noise
            for r in range(q):
                entry -= L[p, r] * L[q, r]
            if p == q:
                L[p, p] = np.sqrt(max(entry, noise * C.dtype.type(1e-3)))
            else:
                L[p, q] = entry / L[q, q]


@compile_kernel
def _solve(L, count, x):
    """Solve with the factor, in place."""
    for p in range(count):
        entry = x[p]
        for r in range(p):
            entry -= L[p, r] * x[r]
        x[p] = entry / L[p, p]
    for p in range(count - 1, -1, -1):
        entry = x[p] / L[p, p]
        x[p] = entry
        for r in range(p):
            x[r] -= L[p, r] * entry


@compile_kernel
def _covariance(pilot, group, size, pilot_noise, shrinkage, floor, likes, mean):
    """Mean, written to `mean`, and regularised covariance of a group."""
    P = len(pilot)
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
        C[d, d] -= pilot_noise
        trace += C[d, d]
    if trace <= 0:
        C[:] = 0
    else:
        for d in range(D):
            C[d, d] += floor + shrinkage * trace / D
    return C


@compile_kernel
def _estimate_patches(
    pilot, observed, known, matches, size, solved, noise, pilot_noise, shrinkage, floor, top, total, weight
):
    P = len(pilot)
    D = P * size * size
    N = matches.shape[1]
    likes = np.empty((N, D), pilot.dtype)
    mean = np.empty(D, pilot.dtype)
    L = np.empty((D, D), pilot.dtype)
    x = np.empty(D, pilot.dtype)
    places = np.empty(D, np.int64)
    factored = np.empty(D, np.int64)
    for n in range(len(matches)):
        size_of_group = 0
        while size_of_group < N and matches[n, size_of_group, 0] >= 0:
            size_of_group += 1
        group = matches[n, :size_of_group]
        C = _covariance(pilot, group, size, pilot_noise, shrinkage, floor, likes, mean)
        factored_count = -1
        for k in range(min(size_of_group, solved)):
            i, j = group[k]
            count = d = 0
            for p in range(P):
                for a in range(size):
                    for b in range(size):
                        if known[p, i + a, j + b]:
                            places[count] = d
                            x[count] = observed[p, i + a, j + b] - mean[d]
                            count += 1
                        d += 1
            if noise == 0 and count == D:
                continue
            same = count == factored_count
            for c in range(count if same else 0):
                same = same and places[c] == factored[c]
            if not same:  # patches with the same places observed share the factor
                _factor(C, places, count, max(noise, floor), L)
                factored[:count] = places[:count]
                factored_count = count
            _solve(L, count, x)
            d = 0
            for p in range(P):
                for a in range(size):
                    for b in range(size):
                        value = mean[d]
                        for c in range(count):
                            value += C[d, places[c]] * x[c]
                        total[p, i - top + a, j + b] += value
                        weight[p, i - top + a, j + b] += 1
                        d += 1


def estimate_patches(
    pilot, observed, known, matches, size, solved, noise, pilot_noise, shrinkage, floor, top, total, weight
):
    real = pilot.dtype.type
    _estimate_patches(
        pilot, observed, known, matches, size, solved,
        real(noise), real(pilot_noise), real(shrinkage), real(floor), top, total, weight,
    )  # fmt: skip
