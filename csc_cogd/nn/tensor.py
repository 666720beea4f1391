"""A small tape: tensors that remember what they were computed from, and gradients backwards through it.

A differentiable function computes on plain arrays and hands its result to :func:`record`, with the tensors it came from and
the function that turns a gradient of the result into gradients of these:

    def double(x):
        (array,) = arrays_of(x)
        return record(2 * array, (x,), lambda dy: (2 * dy,), Operation("double"))

What it says of itself is for those who read the tape: the cost of a network, its pruning, its export.

Arrays are NumPy's or CuPy's, whichever they are; nothing here depends on it.
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
"""From the gradient of a result to that of each of its parents; None where a parent needs none."""


class Operation(NamedTuple):
    """What computed a tensor from its parents."""

    name: str
    """Of the function."""
    settings: Mapping[str, Any] = MappingProxyType({})
    """Its other arguments."""


_recording: ContextVar[bool] = ContextVar("recording", default=True)


class Tensor:
    """An array, and where it came from.

    Parameters
    ----------
    array : float32 or float64 array of NumPy or CuPy, any shape; kept, not copied
    requires_grad : bool
        Whether :meth:`backward` leaves a gradient here, in `grad`.

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

    __slots__ = ("_backward", "array", "grad", "made_by", "parents", "requires_grad")

    def __init__(self, array: Any, requires_grad: bool = False):
        self.array = as_array(array)
        if self.array.dtype not in (np.float32, np.float64):
            raise InputError(f"array: its dtype is {self.array.dtype}: convert it, by array.astype('float32')")
        self.requires_grad = requires_grad
        self.grad: Any = None
        """The sum of the gradients since somebody set it to None; an array of the same shape, never changed in place."""
        self.parents: tuple[Tensor, ...] = ()
        """The tensors that it was computed from; empty for leaves."""
        self.made_by: Operation | None = None
        """What computed it from them; None for leaves."""
        self._backward: Backward | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        """Of the array."""
        return self.array.dtype

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.array!r}, requires_grad={self.requires_grad})"

    def __float__(self) -> float:
        return float(self.array)

    def __add__(self, other: Tensor) -> Tensor:
        """The sum of two tensors of the same shape."""
        a, b = arrays_of(self, other)
        if a.shape != b.shape:
            raise InputError(f"add: shapes {a.shape} and {b.shape} differ: nothing is broadcast here")
        return record(_sum(a, b), (self, other), lambda dy: (dy, dy), Operation("add"))

    def __mul__(self, factor: float) -> Tensor:
        """The tensor times a number."""
        factor = float(factor)
        return record(self.array * factor, (self,), lambda dy: (dy * factor,), Operation("multiply", {"factor": factor}))

    __rmul__ = __mul__

    def backward(self, gradient: Any = None) -> None:
        """Add to `grad` of every leaf that requires it the gradient of this tensor, times `gradient`.

        Parameters
        ----------
        gradient : array of this tensor's shape and dtype; default: 1, for a loss, which is a scalar

        Raises
        ------
        InputError
            If there is nothing to differentiate, or `gradient` has another shape or dtype.
        """
        if not self.requires_grad:
            raise InputError("backward: no tensor that it was computed from requires a gradient, or no_grad() was on")
        if gradient is None and self.shape == ():
            gradient = array_module(self.array).ones_like(self.array)
        if (getattr(gradient, "shape", None), getattr(gradient, "dtype", None)) != (self.shape, self.dtype):
            raise InputError(f"gradient: an array of shape {self.shape} and {self.dtype} is needed, as the tensor is")
        gradients = {self: gradient}
        for tensor in reversed(history(self)):
            dy = gradients.pop(tensor)
            if tensor._backward is None:
                tensor.grad = dy if tensor.grad is None else _sum(tensor.grad, dy)
                continue
            for parent, dx in zip(tensor.parents, tensor._backward(dy), strict=True):
                if parent.requires_grad:
                    gradients[parent] = _sum(gradients[parent], dx) if parent in gradients else dx


def _sum(a: Any, b: Any) -> Any:
    compiled = kernels_for("channels", a)
    return compiled.add(a, b) if compiled else a + b


@contextmanager
def no_grad() -> Iterator[None]:
    """Within it, nothing is recorded, and memory is freed as soon as it can be; for this thread or task only.

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
    """The arrays of tensors that are computed with together, and None for None.

    Raises
    ------
    InputError
        If one isn't a tensor, or their dtypes or devices differ.
    """
    given = [tensor for tensor in tensors if tensor is not None]
    for tensor in given:
        if not isinstance(tensor, Tensor):
            raise InputError(f"tensors: {type(tensor).__name__} is given: make a Tensor of it")
        if tensor.dtype != given[0].dtype:
            raise InputError(f"tensors: dtypes {given[0].dtype} and {tensor.dtype} meet: convert one of them first")
        if on_gpu(tensor.array) != on_gpu(given[0].array):
            raise InputError("tensors: one is on a GPU and another isn't: move them to one device, by Module.to")
    return [None if tensor is None else tensor.array for tensor in tensors]


def record(array: Any, parents: tuple[Tensor, ...], backward: Backward, made_by: Operation) -> Tensor:
    """A tensor of what was computed from `parents`, on the tape if any of them requires a gradient."""
    result = Tensor(array)
    if _recording.get() and any(parent.requires_grad for parent in parents):
        result.requires_grad, result.parents, result._backward, result.made_by = True, parents, backward, made_by
    return result


def history(tensor: Tensor) -> list[Tensor]:
    """A tensor and all on the tape that it was computed from and that requires a gradient, parents first."""
    order: list[Tensor] = []
    seen = {tensor}
    stack = [(tensor, iter(tensor.parents))]
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
