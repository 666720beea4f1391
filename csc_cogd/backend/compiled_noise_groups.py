"""The kernel of `noise_groups`, compiled by Numba: one factorization for all patches of a group."""

from __future__ import annotations

import numpy as np

from csc_cogd.backend.compiled import compile_kernel


@compile_kernel
def _estimate_groups(pilot, observed, level, matches, noise, floor, total, weight):
    D = len(noise)
    size = int(np.sqrt(D))
    N = matches.shape[1]
    real = pilot.dtype
    likes, values = np.empty((N, D), real), np.empty((N, D), real)
    mean, A = np.empty(D, real), np.empty((D, D), real)
    for n in range(len(matches)):
        count = 0
        while count < N and matches[n, count, 0] >= 0:
            count += 1
        s = real.type(0)
        for k in range(count):
            i, j = matches[n, k]
            s += level[i + size // 2, j + size // 2]
            for a in range(size):
                for b in range(size):
                    likes[k, a * size + b] = pilot[i + a, j + b]
                    values[k, a * size + b] = observed[i + a, j + b]
        s /= real.type(count)
        mean[:] = 0
        for k in range(count):
            for d in range(D):
                mean[d] += likes[k, d]
        for d in range(D):
            mean[d] /= real.type(count)
        for k in range(count):
            for d in range(D):
                likes[k, d] -= mean[d]
                values[k, d] -= mean[d]
        C = np.dot(likes[:count].T, likes[:count])
        for d in range(D):
            for e in range(D):
                C[d, e] /= real.type(count)
            C[d, d] += floor
        for d in range(D):
            for e in range(D):
                A[d, e] = C[d, e] + s * noise[d, e]
        estimates = np.dot(values[:count], np.linalg.solve(A, C))
        for k in range(count):
            i, j = matches[n, k]
            for a in range(size):
                for b in range(size):
                    total[i + a, j + b] += estimates[k, a * size + b] + mean[a * size + b]
                    weight[i + a, j + b] += 1


def estimate_groups(pilot, observed, level, matches, noise, floor, total, weight):
    _estimate_groups(pilot, observed, level, matches, noise, pilot.dtype.type(floor), total, weight)
