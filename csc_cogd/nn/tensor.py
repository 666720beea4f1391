"""A small tape: tensors that remember what they were computed from, and gradients backwards through it.

A differentiable function computes on plain arrays and hands its result to :func:`record`, with the tensors it came from and
the function that turns a gradient of the result into gradients of these:

    def double(x):
        (array,) = arrays_of(x)
        return record(2 * array, (x,), lambda dy: (2 * dy,), Operation("double"))

The :class:`Operation` is for those who read the tape: the cost of a network, its pruning, its export.

Arrays are NumPy's or CuPy's; nothing here depends on which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from csc_cogd.backend import array_module, as_array, kernels_for, on_gpu
from csc_cogd.errors import InputError

Backward = Callable[[Any], tuple[Any, ...]]
"""Takes the gradient of a result, and returns that of each of its parents; None where a parent needs none."""


class Operation(NamedTuple):
    """The function that computed a tensor from its parents, and the other arguments of that function."""

    name: str
    settings: Mapping[str, Any] = MappingProxyType({})


Taped = Any
"""A :class:`Record` or a leaf, a :class:`Tensor`: both have `parents`, `made_by`, `shape` and `requires_grad`."""

LEAF = Operation("", {})  # and no read-only mapping, which could not be copied
"""The operation of a leaf, a tensor that wasn't computed from others."""


_recording: ContextVar[bool] = ContextVar("recording", default=True)


class Record:
    """What is on the tape of a tensor that was computed: all but its array, which is freed once nobody needs it.

    A record and its tensor are equal to each other, as keys, too.

    Attributes
    ----------
    parents : tuple of Record and Tensor
        Records of what was computed, and the leaves themselves.
    made_by : Operation
    shape : tuple of int
    dtype : dtype
    requires_grad : bool
    """

    __slots__ = ("backward", "dtype", "made_by", "parents", "requires_grad", "shape")

    def __init__(
        self, array: Any, parents: tuple[Taped, ...], backward: Backward | None, made_by: Operation
    ):  # fmt: skip
        self.shape, self.dtype, self.requires_grad = array.shape, array.dtype, True
        self.parents, self.backward, self.made_by = parents, backward, made_by

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is (other.on_tape if isinstance(other, Tensor) else other)


class Tensor:
    """An array, and what it was computed from.

    Parameters
    ----------
    array : float32 or float64 array of NumPy or CuPy
        Of any shape; kept, not copied.
    requires_grad : bool
        Whether :meth:`backward` leaves a gradient in `grad`.

    Attributes
    ----------
    array : array
    requires_grad : bool
    grad : array or None
        Sum of the gradients since it was last set to None; of the array's shape, never changed in place.
    parents : tuple of Record and Tensor
        What it was computed from; empty for leaves.
    made_by : Operation
        What computed it from them; without a name for leaves.

    Raises
    ------
    InputError
        If the array has another dtype.

    Examples
    --------
    >>> x = Tensor(np.array([1.0, 2.0]), requires_grad=True)
    >>> (x * 3.0 + x).backward(np.ones(2))
    >>> x.grad
    array([4., 4.])
    """

    __slots__ = ("_record", "array", "grad", "requires_grad")

    def __init__(self, array: Any, requires_grad: bool = False):
        self.array = as_array(array)
        if self.array.dtype not in (np.float32, np.float64):
            raise InputError("array", f"must be float32 or float64, got {self.array.dtype}", "use array.astype('float32')")
        self.requires_grad = requires_grad
        self.grad: Any = None
        self._record: Record | None = None

    @property
    def on_tape(self) -> Tensor | Record:
        """The record of what was computed, or the leaf itself."""
        return self if self._record is None else self._record

    @property
    def parents(self) -> tuple[Taped, ...]:
        """The records and leaves that it was computed from."""
        return () if self._record is None else self._record.parents

    @property
    def made_by(self) -> Operation:
        """The operation that computed it."""
        return LEAF if self._record is None else self._record.made_by

    def __hash__(self) -> int:
        return id(self.on_tape)

    def __eq__(self, other: object) -> bool:
        return self.on_tape is (other.on_tape if isinstance(other, Tensor) else other)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the array."""
        return self.array.dtype

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.array!r}, requires_grad={self.requires_grad})"

    def __float__(self) -> float:
        return float(self.array)

    def __add__(self, other: Tensor) -> Tensor:
        """Return the sum of two tensors of the same shape."""
        a, b = arrays_of(self, other)
        if a.shape != b.shape:
            raise InputError("other", f"must be of shape {a.shape} to be added, as nothing is broadcast, got {b.shape}")
        return record(_sum(a, b), (self, other), lambda dy: (dy, dy), Operation("add"))

    def __mul__(self, factor: float) -> Tensor:
        """Return the tensor times a number."""
        factor = float(factor)
        return record(self.array * factor, (self,), lambda dy: (dy * factor,), Operation("multiply", {"factor": factor}))

    __rmul__ = __mul__

    def backward(self, gradient: Any = None, *, release: bool = False) -> None:
        """Add the gradient of this tensor, times `gradient`, to `grad` of every leaf that requires it.

        Parameters
        ----------
        gradient : array of this tensor's shape and dtype, optional
            Default: 1, for a loss, which is a scalar.
        release : bool
            Whether to forget on the way how tensors were computed, and what was kept for that, which frees memory; then
            there is no second time.

        Raises
        ------
        InputError
            If there is nothing to differentiate, or `gradient` has another shape or dtype.
        """
        if not self.requires_grad:
            raise InputError("", "this tensor was computed from none that requires a gradient, or within no_grad()")
        if gradient is None and self.shape == ():
            gradient = array_module(self.array).ones_like(self.array)
        if (getattr(gradient, "shape", None), getattr(gradient, "dtype", None)) != (self.shape, self.dtype):
            raise InputError("gradient", f"must be an array of shape {self.shape} and {self.dtype}, as the tensor is")
        gradients, order = {self.on_tape: gradient}, history(self)
        while order:
            one = order.pop()
            dy = gradients.pop(one)
            if isinstance(one, Tensor):
                one.grad = dy if one.grad is None else _sum(one.grad, dy)
                continue
            if one.backward is None:
                raise InputError("", "the way to this tensor was released by an earlier call", "keep it, by {release} False")
            for parent, dx in zip(one.parents, one.backward(dy), strict=True):
                if parent.requires_grad:
                    gradients[parent] = _sum(gradients[parent], dx) if parent in gradients else dx
            if release:
                one.parents, one.backward = (), None


def _sum(a: Any, b: Any) -> Any:
    compiled = kernels_for("channels", a)
    return compiled.add(a, b) if compiled else a + b


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing within a ``with`` statement, which frees memory early; in this thread or task only.

    Examples
    --------
    >>> with no_grad():
    ...     y = Tensor(np.ones(2), requires_grad=True) * 2.0
    >>> y.requires_grad
    False
    """
    token = _recording.set(False)
    try:
        yield
    finally:
        _recording.reset(token)


def arrays_of(*tensors: Tensor | None) -> list[Any]:
    """Return the arrays of tensors that are used together, and None for None.

    Raises
    ------
    InputError
        If one isn't a tensor, or their dtypes or devices differ.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    for tensor in given:
        if not isinstance(tensor, Tensor):
            raise InputError("tensors", f"must be Tensors, got {type(tensor).__name__}")
        if tensor.dtype != given[0].dtype:
            raise InputError("tensors", f"must be of one dtype, got {given[0].dtype} and {tensor.dtype}", "convert one")
        if on_gpu(tensor.array) != on_gpu(given[0].array):
            raise InputError("tensors", "must be on one device, but only some are on a GPU", "move them by Module.to")
    return [None if tensor is None else tensor.array for tensor in tensors]


def record(array: Any, parents: tuple[Tensor, ...], backward: Backward, made_by: Operation) -> Tensor:
    """Return a tensor of what was computed from `parents`, on the tape if any of them requires a gradient."""
    result = Tensor(array)
    if _recording.get() and any(parent.requires_grad for parent in parents):
        result.requires_grad = True
        result._record = Record(result.array, tuple(parent.on_tape for parent in parents), backward, made_by)
    return result


def history(tensor: Tensor) -> list[Taped]:
    """Return the records and leaves that a tensor comes from and that require a gradient, parents first, itself last."""
    order: list[Taped] = []
    seen = {tensor.on_tape}
    stack = [(tensor.on_tape, iter(tensor.parents))]
    while stack:  # not by recursion: deep networks would exceed its limit
        current, parents = stack[-1]
        parent = next((parent for parent in parents if parent.requires_grad and parent not in seen), None)
        if parent is None:
            order.append(current)
            stack.pop()
        else:
            seen.add(parent)
            stack.append((parent, iter(parent.parents)))
    return order
