"""Vector instructions inside compiled kernels: the small pieces that matrix products are made of.

A tile of results stays in registers while a long sum is added up: 4 times 3 vectors, which with what they are made of is
what the 16 registers of most processors hold. Numba doesn't find this by itself. All arrays are flat.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from csc_cogd.backend.simd_rows import FAST, Vectors, alignment

ROWS, VECTORS = 4, 3
BYTES = 32
"""Size of a vector: 8 numbers of float32, 4 of float64."""


@intrinsic
def multiply_tile(typing_context, weights, weight_at, source, places, offsets, depth, out, out_at, add):
    """``out[r, v] (+)= sum_k weights[k, r] source[offsets[k] + places[v]]``: VECTORS vectors of ROWS rows, side by side."""

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments)
        _, weight_at, _, _, _, depth, _, out_at, add = arguments
        start = [[tile.at(6, out_at, (r * VECTORS + v) * tile.lanes) for v in range(VECTORS)] for r in range(ROWS)]
        zero = ir.Constant(tile.vector, [0.0] * tile.lanes)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(VECTORS)] for _ in range(ROWS)]
        with builder.if_then(add):
            for r in range(ROWS):
                for v in range(VECTORS):
                    builder.store(tile.load(start[r][v]), sums[r][v])
        zero = ir.Constant(depth.type, 0)
        places = [builder.load(tile.number_at(3, zero, v)) for v in range(VECTORS)]
        with cgutils.for_range(builder, depth) as loop:
            offset = builder.load(tile.number_at(4, loop.index, 0))
            weight = builder.add(weight_at, builder.mul(loop.index, ir.Constant(depth.type, ROWS)))
            seen = [tile.load(tile.at(2, builder.add(place, offset), 0)) for place in places]
            for r in range(ROWS):
                factor = tile.broadcast(builder.load(tile.number_at(0, weight, r)))
                for v in range(VECTORS):
                    tile.multiply_add(factor, seen[v], sums[r][v])
        for r in range(ROWS):
            for v in range(VECTORS):
                tile.store(builder.load(sums[r][v]), start[r][v])
        return context.get_dummy_value()

    at = types.intp
    return types.void(weights, at, source, places, offsets, at, out, at, types.boolean), generate


@intrinsic
def correlate_tile(typing_context, a, a_at, stride, source, places, offsets, vectors, out, out_at, out_stride):
    """``out[j, i] += sum_v a[i, v] source[offsets[j] + places[v]]``: `vectors` vectors of ROWS rows, and of VECTORS others.

    Rows of a are `stride` apart; places are those of numbers, of which each vector's first one is looked at.
    """

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments)
        _, a_at, stride, _, _, _, vectors, _, out_at, out_stride = arguments
        zero = ir.Constant(tile.vector, [0.0] * tile.lanes)
        sums = [[cgutils.alloca_once_value(builder, zero) for _ in range(VECTORS)] for _ in range(ROWS)]
        constant = [ir.Constant(stride.type, i) for i in range(ROWS)]
        a_rows = [builder.add(a_at, builder.mul(stride, constant[i])) for i in range(ROWS)]
        offsets = [builder.load(tile.number_at(5, constant[0], j)) for j in range(VECTORS)]
        with cgutils.for_range(builder, vectors) as loop:
            step = builder.mul(loop.index, ir.Constant(stride.type, tile.lanes))
            place = builder.load(tile.number_at(4, step, 0))
            seen = [tile.load(tile.at(3, builder.add(place, offset), 0)) for offset in offsets]
            for i in range(ROWS):
                factor = tile.load(tile.at(0, builder.add(a_rows[i], step), 0))
                for j in range(VECTORS):
                    tile.multiply_add(factor, seen[j], sums[i][j])
        for j in range(VECTORS):
            target = builder.add(out_at, builder.mul(out_stride, constant[j]))
            for i, total in enumerate(tile.add_up([builder.load(sums[i][j]) for i in range(ROWS)])):
                pointer = tile.number_at(7, target, i)
                builder.store(builder.fadd(builder.load(pointer), total, flags=FAST), pointer)
        return context.get_dummy_value()

    at = types.intp
    return types.void(a, at, at, source, places, offsets, at, out, at, at), generate


@intrinsic
def copy_vector(typing_context, source, source_at, target, target_at):
    """Copy a vector of numbers."""

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments)
        _, source_at, _, target_at = arguments
        tile.store(tile.load(tile.at(0, source_at, 0)), tile.at(2, target_at, 0))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), generate


@intrinsic
def copy_half(typing_context, source, source_at, target, target_at):
    """Copy half a vector of numbers."""

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments, BYTES // 2)
        _, source_at, _, target_at = arguments
        tile.store(tile.load(tile.at(0, source_at, 0)), tile.at(2, target_at, 0))
        return context.get_dummy_value()

    return types.void(source, types.intp, target, types.intp), generate


@intrinsic
def add_vector(typing_context, source, source_at, number, target, target_at):
    """Copy a vector of numbers, with a number added to each."""

    def generate(context, builder, signature, arguments):
        tile = _Tile(context, builder, signature, arguments)
        _, source_at, number, _, target_at = arguments
        total = builder.fadd(tile.load(tile.at(0, source_at, 0)), tile.broadcast(number), flags=FAST)
        tile.store(total, tile.at(3, target_at, 0))
        return context.get_dummy_value()

    return types.void(source, types.intp, source.dtype, target, types.intp), generate


class _Tile(Vectors):
    """Vectors of as many numbers as fit into a processor's registers."""

    def __init__(self, context, builder, signature, arguments, size=BYTES):
        super().__init__(context, builder, signature, arguments, size // alignment(signature))

    def number_at(self, argument, index, offset):
        place = self.builder.add(index, ir.Constant(index.type, offset))
        return self.builder.gep(self.data[argument], [place])

    def at(self, argument, index, offset):
        return self.builder.bitcast(self.number_at(argument, index, offset), self.vector.as_pointer())

    def multiply_add(self, a, b, total):
        product = self.builder.fmul(a, b, flags=FAST)
        self.builder.store(self.builder.fadd(self.builder.load(total), product, flags=FAST), total)

    def add_up(self, vectors):
        """Return the sum of each of ROWS vectors, pair by pair, in the same order for all."""
        while vectors[0].type.count > 1:
            half = vectors[0].type.count // 2
            parts = [
                ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(first, first + half))) for first in (0, half)
            ]
            vectors = [
                self.builder.fadd(*(self.builder.shuffle_vector(v, v, part) for part in parts), flags=FAST) for v in vectors
            ]
        return [self.builder.extract_element(v, ir.Constant(ir.IntType(32), 0)) for v in vectors]
