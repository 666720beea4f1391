"""Vector instructions inside compiled kernels: a filter's rows against rows of an image.

Numba leaves loops as short as a filter's row scalar, which costs a factor of six. These functions are such loops, written
in LLVM's vectors of `LANES` numbers; every processor has instructions for them, narrower ones use several.
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from csc_cogd.backend.atoms import LANES

FAST = ("reassoc", "contract", "nsz", "arcp")


@intrinsic
def dot_rows(typing_context, filters, start, image, corner, rows, chunks, stride):
    """Sum of the products of `rows` rows of ``chunks * LANES`` filter values, from filters[start] on, with the image's.

    The image's first row begins at image[corner], the next ones every `stride` values. Both arrays are flat.
    """
    number = filters.dtype

    def generate(context, builder, signature, arguments):
        block = _Rows(context, builder, signature, arguments)
        total = cgutils.alloca_once_value(builder, ir.Constant(block.vector, [0.0] * LANES))

        def multiply(filter_at, image_at):
            product = builder.fmul(block.load(filter_at), block.load(image_at), flags=FAST)
            builder.store(builder.fadd(builder.load(total), product, flags=FAST), total)

        block.visit(multiply)
        suffix = f"v{LANES}f{32 if number == types.float32 else 64}"
        add_up = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(block.number, [block.number, block.vector]), f"llvm.vector.reduce.fadd.{suffix}"
        )
        return builder.call(add_up, [ir.Constant(block.number, 0.0), builder.load(total)], fastmath=FAST)

    return number(filters, types.intp, image, *[types.intp] * 4), generate


@intrinsic
def add_rows(typing_context, filters, start, image, corner, rows, chunks, stride, factor):
    """``image += factor * filter``, with the arguments of :func:`dot_rows`."""

    def generate(context, builder, signature, arguments):
        block = _Rows(context, builder, signature, arguments)
        factors = block.broadcast(arguments[7])

        def add(filter_at, image_at):
            change = builder.fmul(block.load(filter_at), factors, flags=FAST)
            block.store(builder.fadd(block.load(image_at), change, flags=FAST), image_at)

        block.visit(add)
        return context.get_dummy_value()

    return types.void(filters, types.intp, image, *[types.intp] * 4, filters.dtype), generate


@intrinsic
def add_weighted_rows(typing_context, filters, start, image, corner, rows, chunks, stride, factor, weights):
    """``image += factor * weights * filter``; the weights lie as the image does."""

    def generate(context, builder, signature, arguments):
        block = _Rows(context, builder, signature, arguments)
        factors = block.broadcast(arguments[7])

        def add(filter_at, image_at, weight_at):
            change = builder.fmul(block.load(filter_at), block.load(weight_at), flags=FAST)
            change = builder.fmul(change, factors, flags=FAST)
            block.store(builder.fadd(block.load(image_at), change, flags=FAST), image_at)

        block.visit(add, block.data[8])
        return context.get_dummy_value()

    return types.void(filters, types.intp, image, *[types.intp] * 4, filters.dtype, weights), generate


@intrinsic
def nonzero_lanes(typing_context, image, corner):
    """Return which of the `LANES` values from image[corner] on aren't zero, as the bits of a number."""

    def generate(context, builder, signature, arguments):
        block = _Rows(context, builder, signature, arguments)
        pointer = builder.bitcast(builder.gep(block.data[0], [arguments[1]]), block.vector.as_pointer())
        different = builder.fcmp_unordered("!=", block.load(pointer), ir.Constant(block.vector, [0.0] * LANES))
        return builder.zext(builder.bitcast(different, ir.IntType(LANES)), ir.IntType(64))

    return types.int64(image, types.intp), generate


class Vectors:
    """Vectors of `lanes` numbers in the flat arrays among a function's arguments."""

    def __init__(self, context, builder, signature, arguments, lanes):
        self.builder, self.arguments, self.lanes = builder, arguments, lanes
        self.data = {
            place: context.make_array(kind)(context, builder, arguments[place]).data
            for place, kind in enumerate(signature.args)
            if isinstance(kind, types.Array)
        }
        self.number = context.get_value_type(signature.args[0].dtype)
        self.vector = ir.VectorType(self.number, lanes)
        self.align = alignment(signature)

    def load(self, pointer):
        return self.builder.load(pointer, align=self.align)

    def store(self, value, pointer):
        self.builder.store(value, pointer, align=self.align)

    def broadcast(self, value):
        one = self.builder.insert_element(ir.Constant(self.vector, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), places)


def alignment(signature):
    """Return the bytes of a number in the first array of a function."""
    return 4 if signature.args[0].dtype == types.float32 else 8


class _Rows(Vectors):
    """The pairs of vectors that the rows of a filter and of an image are made of."""

    def __init__(self, *of_the_function):
        super().__init__(*of_the_function, LANES)

    def visit(self, function, *like_image):
        """Call ``function(filter pointer, image pointer, ...)`` for every pair of vectors, in a compiled loop."""
        builder, arguments = self.builder, self.arguments
        filters, images = self.data[0], (self.data[2], *like_image)
        start, (corner, rows, chunks, stride) = arguments[1], arguments[3:7]
        lanes = ir.Constant(chunks.type, LANES)
        with cgutils.for_range(builder, rows) as row:
            first = builder.add(start, builder.mul(row.index, builder.mul(chunks, lanes)))
            left = builder.add(corner, builder.mul(row.index, stride))
            with cgutils.for_range(builder, chunks) as chunk:
                step = builder.mul(chunk.index, lanes)
                function(self._at(filters, first, step), *(self._at(image, left, step) for image in images))

    def _at(self, data, start, step):
        pointer = self.builder.gep(data, [self.builder.add(start, step)])
        return self.builder.bitcast(pointer, self.vector.as_pointer())
