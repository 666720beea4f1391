"""The kernels of `polyphase`, compiled by Numba."""

from __future__ import annotations

from csc_cogd.backend.compiled import compile_kernel


@compile_kernel
def gather(phases, size, stride, row, height, columns):
    taps, rows, width = columns.shape
    beyond = (size + stride - 1) // stride - 1
    for tap in range(taps):
        c, a, b = tap // size**2, tap // size % size, tap % size
        phase = (c * stride + a % stride) * stride + b % stride
        right = b // stride
        for i in range(rows):
            y = row + i + (row + i) // height * beyond + a // stride
            for j in range(width):
                columns[tap, i, j] = phases[phase, y, right + j]


@compile_kernel
def scatter(columns, size, stride, row, height, phases):
    taps, rows, width = columns.shape
    beyond = (size + stride - 1) // stride - 1
    for tap in range(taps):
        c, a, b = tap // size**2, tap // size % size, tap % size
        phase = (c * stride + a % stride) * stride + b % stride
        right = b // stride
        for i in range(rows):
            y = row + i + (row + i) // height * beyond + a // stride
            for j in range(width):
                phases[phase, y, right + j] += columns[tap, i, j]


@compile_kernel
def shrink(codes, step, t0, t1, sigma, start, out):
    M, n = step.shape
    for m in range(M):
        for j in range(n):
            threshold = t0[m] + t1[m] * sigma[start + j]
            moved = codes[m, start + j] - step[m, j]
            out[m, start + j] = moved - min(max(moved, -threshold), threshold)


@compile_kernel
def shrink_backward(codes, gradient, sigma, t0_gradient, t1_gradient):
    M, n = codes.shape
    zero = gradient.dtype.type(0)
    for m in range(M):
        total = weighted = zero
        for j in range(n):
            code = codes[m, j]
            value = gradient[m, j] if code != zero else zero
            gradient[m, j] = value
            signed = value if code > zero else -value
            total += signed
            weighted += signed * sigma[j]
        t0_gradient[m] -= total
        t1_gradient[m] -= weighted
