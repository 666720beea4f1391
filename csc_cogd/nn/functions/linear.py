"""Matrix products."""

from __future__ import annotations

from typing import Any

from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y = x w^T + bias``.

    Parameters
    ----------
    x : (N, C) tensor
    w : (O, C) tensor
    bias : (O,) tensor, optional

    Returns
    -------
    y : (N, O) tensor
    """
    arrays = arrays_of(x, w, bias)
    check_shape("w", arrays[1], "O C")
    check_shape("x", arrays[0], "N C", C=w.shape[1])
    if bias is not None:
        check_shape("bias", arrays[2], "O", O=w.shape[0])
    y, saved = linear_forward(*arrays)

    def backward(dy: Any) -> tuple[Any, ...]:
        gradients = linear_backward(dy, saved)
        return gradients if bias is None else (*gradients, dy.sum(axis=0))

    return record(y, (x, w) if bias is None else (x, w, bias), backward, Operation("linear"))


def linear_forward(x: Any, w: Any, bias: Any) -> tuple[Any, Any]:
    y = x @ w.T
    return (y if bias is None else y + bias), (x, w)


def linear_backward(dy: Any, saved: Any) -> tuple[Any, Any]:
    x, w = saved
    return dy @ w, dy.T @ x
