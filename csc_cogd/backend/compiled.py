"""The kernels of `kernels`, compiled by Numba: one pass over a map, no temporaries, no interpreter lock held.

The order of the sums differs from the reference, so the results agree to rounding, not bit for bit.
"""

from __future__ import annotations

import numba
import numpy as np
from numba.core.compiler_lock import global_compiler_lock

from csc_cogd.locks import kept_across_forks

_FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
kept_across_forks(global_compiler_lock)  # kernels are compiled when they are called first, which can take a minute


def compile_kernel(function, forceinline=False):
    """Compile on first use, once per user where a folder for the cache can be written, else once per process."""

    def compiled(cache):
        return numba.njit(
            function, cache=cache, forceinline=forceinline, nogil=True, error_model="numpy", fastmath=_FASTMATH
        )

    try:
        return compiled(cache=True)
    except RuntimeError:
        return compiled(cache=False)


def compile_part(function):
    """Compile a part of other kernels, which becomes a piece of each of them.

    As a function of its own it would be found by its name, and be another one, with other last bits, in the process that
    compiles the kernels than in those that load them from the cache.
    """
    return compile_kernel(function, forceinline=True)


@compile_kernel
def apply_adjoint(operator, q, out):
    M, B, H, W = out.shape
    R = q.shape[1]
    for m in range(M):
        for b in range(B):
            for i in range(H):
                for j in range(W):
                    out[m, b, i, j] = np.conj(operator[b, 0, i, j]) * q[m, 0, i, j]
                for r in range(1, R):
                    for j in range(W):
                        out[m, b, i, j] += np.conj(operator[b, r, i, j]) * q[m, r, i, j]


@compile_kernel
def accumulate_forward(operator, spectrum, out, add):
    M, B, H, W = spectrum.shape
    R = out.shape[1]
    for m in range(M):
        for r in range(R):
            for b in range(B):
                if add or b > 0:
                    for i in range(H):
                        for j in range(W):
                            out[m, r, i, j] += operator[b, r, i, j] * spectrum[m, b, i, j]
                else:
                    for i in range(H):
                        for j in range(W):
                            out[m, r, i, j] = operator[b, r, i, j] * spectrum[m, b, i, j]


@compile_kernel
def filter_spectrum(kept, response, spectrum):
    M, B, H, W = spectrum.shape
    for m in range(M):
        for b in range(B):
            for i in range(H):
                for j in range(W):
                    spectrum[m, b, i, j] = (spectrum[m, b, i, j] + kept[m, b, i, j]) * response[i, j]


@compile_kernel
def _solve_frequencies(T, Av, Ap, inverse, response, filtered, data_factor, relaxation, scale, q_scale, q):
    M, R, H, W = T.shape
    two = response.dtype.type(2)
    for m in range(M):
        for i in range(H):
            for r in range(R):
                for s in range(R):
                    for j in range(W):
                        Aw = two * Av[m, s, i, j] - Ap[m, s, i, j]
                        if filtered:
                            Aw = response[i, j] * Aw
                        value = inverse[r, s, i, j] * (T[m, s, i, j] - Aw)
                        q[m, r, i, j] = value if s == 0 else q[m, r, i, j] + value
            for r in range(R):
                for j in range(W):
                    fit = T[m, r, i, j] - data_factor * q[m, r, i, j]
                    Ap[m, r, i, j] += relaxation * (fit - Av[m, r, i, j])
                    T[m, r, i, j] = scale * fit
                    q[m, r, i, j] *= q_scale


def solve_frequencies(T, Av, Ap, inverse, response, data_factor, relaxation, scale, q_scale, q):
    real = T.real.dtype.type
    h = np.ones((1, 1), real) if response is None else response
    numbers = real(data_factor), real(relaxation), real(scale), real(q_scale)
    _solve_frequencies(T, Av, Ap, inverse, h, response is not None, *numbers, q)


@compile_part
def _least_squares_row(p, v, x, image, weight, rho, relaxation, total):
    zero = p.dtype.type(0)
    s0 = s1 = s2 = s3 = s4 = s5 = zero
    for j in range(p.size):
        v_old = v[j]
        state = p[j] + relaxation * (x[j] - v_old)
        new = (weight[j] * image[j] + rho * state) / (weight[j] + rho)
        p[j] = state
        v[j] = new
        s0 += (x[j] - new) * (x[j] - new)
        s1 += (new - v_old) * (new - v_old)
        s2 += x[j] * x[j]
        s3 += new * new
        s4 += (state - new) * (state - new)
        s5 += weight[j] * (x[j] - image[j]) * (x[j] - image[j])
    total[0] += s0
    total[1] += s1
    total[2] += s2
    total[3] += s3
    total[4] += s4
    total[5] += s5 / 2


@compile_kernel
def _least_squares_step(p, v, x, image, weight, rho, relaxation, total):
    for i in range(p.shape[0]):
        _least_squares_row(p[i], v[i], x[i], image[i], weight[i], rho, relaxation, total)


def least_squares_step(p, v, x, images, squared_weights, rho, relaxation):
    total, real = np.zeros(6), p.dtype.type
    images, squared_weights = (np.broadcast_to(array, p.shape) for array in (images, squared_weights))
    for at in np.ndindex(p.shape[:2]):
        _least_squares_step(p[at], v[at], x[at], images[at], squared_weights[at], real(rho), real(relaxation), total)
    return total


@compile_part
def _shrink_row(p, x, threshold, low_sign, relaxation, offset, total):
    """Update one row; a non-negative prox has an unreachable lower bound."""
    zero = p.dtype.type(0)
    s0 = s1 = s2 = s4 = s5 = s6 = zero
    count = 0
    kept = p.dtype.type(1) - offset
    for j in range(p.size):
        t = threshold[j]
        low = low_sign * t - (low_sign + p.dtype.type(1)) * p.dtype.type(1e30)
        p_old = p[j]
        u_old = min(max(p_old, low), t)
        v_old = p_old - u_old
        solution = x[j] + offset * (v_old - u_old)
        p_new = p_old + relaxation * (solution - v_old)
        u = min(max(p_new, low), t)
        v = p_new - u
        p[j] = p_new
        x[j] = v - kept * u
        s0 += (solution - v) * (solution - v)
        s1 += (v - v_old) * (v - v_old)
        s2 += t * abs(v)
        count += v != zero
        s4 += solution * solution
        s5 += v * v
        s6 += u * u
    total[0] += s0
    total[1] += s1
    total[2] += s2
    total[3] += count
    total[4] += s4
    total[5] += s5
    total[6] += s6


@compile_kernel
def _shrink(p, x, threshold, low_sign, relaxation, offset, total):
    M, B, H, W = p.shape
    rows, constant = threshold.shape[2] > 1, threshold.shape[3] == 1
    same = np.empty(W, p.dtype)  # a row of one threshold: to choose within the loop would keep it from being vectorized
    for m in range(M):
        for b in range(B):
            for i in range(H):
                t = threshold[m, b, i if rows else 0]
                if constant:
                    if rows or i == 0:
                        same[:] = t[0]
                    t = same
                _shrink_row(p[m, b, i], x[m, b, i], t, low_sign, relaxation, offset, total)


def shrink(p, x, threshold, nonnegative, relaxation, offset):
    total = np.zeros(7)
    real = p.dtype.type
    threshold = _of_each_map(threshold, p)
    # the lower bound is -t, or with low_sign 0 one that no value reaches
    _shrink(p, x, threshold, real(0 if nonnegative else -1), real(relaxation), real(offset), total)
    return total


@compile_kernel
def _threshold_maps(p, threshold, nonnegative):
    M, B, H, W = p.shape
    for m in range(M):
        for b in range(B):
            for i in range(H):
                for j in range(W):
                    t = threshold[m, b, i if threshold.shape[2] > 1 else 0, j if threshold.shape[3] > 1 else 0]
                    value = p[m, b, i, j]
                    if value > t:
                        p[m, b, i, j] = value - t
                    elif value < -t and not nonnegative:
                        p[m, b, i, j] = value + t
                    else:
                        p[m, b, i, j] = 0


def threshold_maps(p, threshold, nonnegative):
    _threshold_maps(p, _of_each_map(threshold, p), nonnegative)


def _of_each_map(threshold, p):
    """Return thresholds (M, B, H, W) or (M, B, 1, 1), contiguous."""
    if threshold.shape[:2] == p.shape[:2] and threshold.flags.c_contiguous:
        return threshold
    return np.ascontiguousarray(np.broadcast_to(threshold, (*p.shape[:2], *threshold.shape[2:])))
