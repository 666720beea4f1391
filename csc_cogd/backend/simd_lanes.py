"""Vector instructions inside compiled kernels: many small systems side by side, a system a lane.

A matrix of numbers is one of vectors then, and its algebra is as if they were numbers. All arrays are flat.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from csc_cogd.backend.simd_rows import FAST, Vectors

LANES = 16
COLUMNS, ROWS = 4, 4
"""Entries, and rows of distances or of a product, that are computed at once: as many sums as stay in registers."""
CHUNK = 8
"""Numbers that are copied at once."""


@intrinsic
def subtract_products(
    typing_context, left, left_at, left_step, right, right_at, right_step, column_step, depth, scale, scale_at, add, out,
    out_at,
):  # fmt: skip
    """``out[c] = scale (add out[c] - sum_r left[r] right[r, c])`` for COLUMNS c, `depth` r, all of them vectors of LANES.

    Arrays are flat, vectors are counted: those of `out` lie side by side, those of `left` are `left_step` apart, those of
    `right` `right_step` by r and `column_step` by c. Without `add`, `out` is only written to.
    """

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        _, left_at, left_step, _, right_at, right_step, column_step, depth, _, scale_at, add, _, out_at = arguments
        zero = ir.Constant(lanes.vector, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(COLUMNS)]
        for total in sums:
            builder.store(zero, total)
        with cgutils.for_range(builder, depth) as loop:
            factor = lanes.load(lanes.at(0, builder.add(left_at, builder.mul(loop.index, left_step))))
            place = builder.add(right_at, builder.mul(loop.index, right_step))
            for total in sums:
                product = builder.fmul(factor, lanes.load(lanes.at(3, place)), flags=FAST)
                builder.store(builder.fadd(builder.load(total), product, flags=FAST), total)
                place = builder.add(place, column_step)
        scale = lanes.load(lanes.at(8, scale_at))
        for c, total in enumerate(sums):
            place = lanes.at(11, builder.add(out_at, ir.Constant(out_at.type, c)))
            start = cgutils.alloca_once_value(builder, zero)
            builder.store(zero, start)
            with builder.if_then(add):
                builder.store(lanes.load(place), start)
            rest = builder.fsub(builder.load(start), builder.load(total), flags=FAST)
            lanes.store(builder.fmul(rest, scale, flags=FAST), place)
        return context.get_dummy_value()

    at = types.intp
    signature = types.void(left, at, at, right, at, at, at, at, scale, at, types.boolean, out, at)
    return signature, generate


@intrinsic
def squared_distances(typing_context, area, reference, first, stride, values, offsets, vectors, out):
    """``out[r, j] = sum_k (area[first + r stride + offsets[k] + j] - reference[k])^2``, k counts `values`.

    That is for ROWS rows r, and as many `vectors` of j.
    """

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        _, _, first, stride, values, _, vectors, _ = arguments
        zero = ir.Constant(lanes.vector, [0.0] * LANES)
        with cgutils.for_range(builder, vectors) as loop:
            start = builder.add(first, builder.mul(loop.index, ir.Constant(first.type, LANES)))
            sums = [cgutils.alloca_once_value(builder, zero) for _ in range(ROWS)]
            for total in sums:
                builder.store(zero, total)
            with cgutils.for_range(builder, values) as term:
                value = lanes.broadcast(builder.load(builder.gep(lanes.data[1], [term.index])))
                place = builder.add(start, builder.load(builder.gep(lanes.data[5], [term.index])))
                for total in sums:
                    difference = builder.fsub(lanes.load(lanes.pointer(0, place)), value, flags=FAST)
                    square = builder.fmul(difference, difference, flags=FAST)
                    builder.store(builder.fadd(builder.load(total), square, flags=FAST), total)
                    place = builder.add(place, stride)
            for r, total in enumerate(sums):
                row = builder.mul(vectors, ir.Constant(vectors.type, r))
                lanes.store(builder.load(total), lanes.at(7, builder.add(row, loop.index)))
        return context.get_dummy_value()

    at = types.intp
    return types.void(area, reference, at, at, at, offsets, at, out), generate


@intrinsic
def multiply_rows(typing_context, left, left_at, row_step, term_step, right, right_at, right_step, depth, out, out_at, out_step):
    """``out[r] = sum_k left[r, k] right[k]``: ROWS rows, and of `right` and `out` the LANES numbers that begin at a place.

    Arrays are flat. Rows of `left` are `row_step` apart and its terms `term_step`; rows of the others are as many numbers
    apart as their steps say.
    """

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        _, left_at, row_step, term_step, _, right_at, right_step, depth, _, out_at, out_step = arguments
        zero = ir.Constant(lanes.vector, [0.0] * LANES)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(ROWS)]
        for total in sums:
            builder.store(zero, total)
        with cgutils.for_range(builder, depth) as loop:
            row = lanes.load(lanes.pointer(4, builder.add(right_at, builder.mul(loop.index, right_step))))
            place = builder.add(left_at, builder.mul(loop.index, term_step))
            for total in sums:
                factor = lanes.broadcast(builder.load(builder.gep(lanes.data[0], [place])))
                product = builder.fmul(factor, row, flags=FAST)
                builder.store(builder.fadd(builder.load(total), product, flags=FAST), total)
                place = builder.add(place, row_step)
        for total in sums:
            lanes.store(builder.load(total), lanes.pointer(8, out_at))
            out_at = builder.add(out_at, out_step)
        return context.get_dummy_value()

    at = types.intp
    return types.void(left, at, at, at, right, at, at, at, out, at, at), generate


@intrinsic
def transpose_block(typing_context, source, source_at, source_step, target, target_at, target_step):
    """``target[c, r] = source[r, c]`` for LANES rows r and columns c; rows are as many numbers apart as the steps say."""

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        _, source_at, source_step, _, target_at, target_step = arguments
        rows = []
        for _ in range(LANES):
            rows.append(lanes.load(lanes.pointer(0, source_at)))
            source_at = builder.add(source_at, source_step)
        half = LANES // 2
        while half:  # swap the off-diagonal quarters of ever smaller blocks
            upper = [lane if not lane & half else LANES + lane - half for lane in range(LANES)]
            lower = [lane + half if not lane & half else LANES + lane for lane in range(LANES)]
            for r in range(LANES):
                if not r & half:
                    pair = rows[r], rows[r + half]
                    rows[r], rows[r + half] = (lanes.shuffle(*pair, places) for places in (upper, lower))
            half //= 2
        for row in rows:
            lanes.store(row, lanes.pointer(3, target_at))
            target_at = builder.add(target_at, target_step)
        return context.get_dummy_value()

    at = types.intp
    return types.void(source, at, at, target, at, at), generate


@intrinsic
def copy_chunk(typing_context, source, source_at, target, target_at):
    """Copy CHUNK numbers."""

    def generate(context, builder, signature, arguments):
        numbers = _Lanes(context, builder, signature, arguments, CHUNK)
        numbers.store(numbers.load(numbers.pointer(0, arguments[1])), numbers.pointer(2, arguments[3]))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), generate


class _Lanes(Vectors):
    """Vectors of one number of every system."""

    def pointer(self, argument, place):
        return self.builder.bitcast(self.builder.gep(self.data[argument], [place]), self.vector.as_pointer())

    def shuffle(self, a, b, places):
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))

    def at(self, argument, index):
        return self.pointer(argument, self.builder.mul(index, ir.Constant(index.type, LANES)))
