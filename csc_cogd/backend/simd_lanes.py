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
def divide_by_pivots(typing_context, A, pivot_at, smallest, row_at, pivots, pivots_at):
    """``pivot = 1 / sqrt(max(A[pivot], smallest))``, by which COLUMNS vectors of A are multiplied; places are of vectors."""

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        _, pivot_at, smallest, row_at, _, pivots_at = arguments
        name = f"llvm.sqrt.v{LANES}f{32 if A.dtype == types.float32 else 64}"
        root = cgutils.get_or_insert_function(builder.module, ir.FunctionType(lanes.vector, [lanes.vector]), name)
        found, least = lanes.load(lanes.at(0, pivot_at)), lanes.broadcast(smallest)
        larger = builder.select(builder.fcmp_ordered(">", found, least), found, least)
        ones = ir.Constant(lanes.vector, [1.0] * LANES)
        pivot = builder.fdiv(ones, builder.call(root, [larger]))
        lanes.store(pivot, lanes.at(4, pivots_at))
        for c in range(COLUMNS):
            place = lanes.at(0, builder.add(row_at, ir.Constant(row_at.type, c)))
            lanes.store(builder.fmul(lanes.load(place), pivot), place)
        return context.get_dummy_value()

    at = types.intp
    return types.void(A, at, A.dtype, at, pivots, at), generate


@intrinsic
def subtract_product(typing_context, left, left_at, right, right_at, scale, scale_at, target, target_at):
    """``target -= left right scale``, of a vector each; places are of vectors."""

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        factors = [lanes.load(lanes.at(k, arguments[k + 1])) for k in (0, 2, 4)]
        product = builder.fmul(builder.fmul(factors[1], factors[2], flags=FAST), factors[0], flags=FAST)
        place = lanes.at(6, arguments[7])
        lanes.store(builder.fsub(lanes.load(place), product, flags=FAST), place)
        return context.get_dummy_value()

    at = types.intp
    return types.void(left, at, right, at, scale, at, target, at), generate


@intrinsic
def multiply_rows(
    typing_context, left, left_at, row_step, term_step, right, right_at, right_step, depth, out, out_at, out_step
):
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
def scale_and_add(typing_context, target, target_at, scale, source, source_at, factor, vectors):
    """``target = scale target + factor source``: so many `vectors` of LANES numbers, from a place on."""

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        _, target_at, scale, _, source_at, factor, vectors = arguments
        scales, factors = lanes.broadcast(scale), lanes.broadcast(factor)
        with cgutils.for_range(builder, vectors) as loop:
            step = builder.mul(loop.index, ir.Constant(target_at.type, LANES))
            place = lanes.pointer(0, builder.add(target_at, step))
            kept = builder.fmul(lanes.load(place), scales, flags=FAST)
            added = builder.fmul(lanes.load(lanes.pointer(3, builder.add(source_at, step))), factors, flags=FAST)
            lanes.store(builder.fadd(kept, added, flags=FAST), place)
        return context.get_dummy_value()

    at = types.intp
    return types.void(target, at, target.dtype, source, at, target.dtype, at), generate


@intrinsic
def copy_chunk(typing_context, source, source_at, target, target_at):
    """Copy CHUNK numbers."""

    def generate(context, builder, signature, arguments):
        numbers = _Lanes(context, builder, signature, arguments, CHUNK)
        numbers.store(numbers.load(numbers.pointer(0, arguments[1])), numbers.pointer(2, arguments[3]))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), generate


@intrinsic
def add_chunk(typing_context, source, source_at, factors, factors_at, target, target_at):
    """``target += factors source``, of CHUNK numbers."""

    def generate(context, builder, signature, arguments):
        numbers = _Lanes(context, builder, signature, arguments, CHUNK)
        _, source_at, _, factors_at, _, target_at = arguments
        source, factors = numbers.load(numbers.pointer(0, source_at)), numbers.load(numbers.pointer(2, factors_at))
        place = numbers.pointer(4, target_at)
        product = builder.fmul(source, factors, flags=FAST)
        numbers.store(builder.fadd(numbers.load(place), product, flags=FAST), place)
        return context.get_dummy_value()

    at = types.intp
    return types.void(source, at, factors, at, target, at), generate


@intrinsic
def gather(typing_context, source, source_at, places, places_at, count, target, target_at):
    """``target[k] = source[places[k]]``, `count` numbers; places, which aren't negative, are counted from `source_at` on."""

    def generate(context, builder, signature, arguments):
        lanes = _Lanes(context, builder, signature, arguments, LANES)
        _, source_at, _, places_at, count, _, target_at = arguments
        with cgutils.for_range(builder, count) as loop:
            place = builder.load(builder.gep(lanes.data[2], [builder.add(places_at, loop.index)]))
            value = builder.load(builder.gep(lanes.data[0], [builder.add(source_at, place)]))
            builder.store(value, builder.gep(lanes.data[5], [builder.add(target_at, loop.index)]))
        return context.get_dummy_value()

    at = types.intp
    return types.void(source, at, places, at, at, target, at), generate


@intrinsic
def list_false(typing_context, flags, flags_at, count, first, places, places_at):
    """Write down which of `count` flags are false, counted from `first` on; return how many."""

    def generate(context, builder, signature, arguments):
        flags, places = (context.make_array(signature.args[k])(context, builder, arguments[k]).data for k in (0, 4))
        _, flags_at, count, first, _, places_at = arguments
        found = cgutils.alloca_once_value(builder, ir.Constant(count.type, 0))
        builder.store(ir.Constant(count.type, 0), found)
        with cgutils.for_range(builder, count) as loop:
            number = builder.load(found)
            builder.store(builder.add(first, loop.index), builder.gep(places, [builder.add(places_at, number)]))
            flag = builder.load(builder.gep(flags, [builder.add(flags_at, loop.index)]))
            false = builder.icmp_unsigned("==", flag, ir.Constant(flag.type, 0))
            builder.store(builder.add(number, builder.zext(false, count.type)), found)
        return builder.load(found)

    at = types.intp
    return at(flags, at, at, at, places, at), generate


class _Lanes(Vectors):
    """Vectors of one number of every system."""

    def pointer(self, argument, place):
        return self.builder.bitcast(self.builder.gep(self.data[argument], [place]), self.vector.as_pointer())

    def shuffle(self, a, b, places):
        return self.builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(places)), places))

    def at(self, argument, index):
        return self.pointer(argument, self.builder.mul(index, ir.Constant(index.type, LANES)))
