"""Matrix products; on a GPU they are convolutions of images of one pixel, in the precision that convolutions have there."""

from __future__ import annotations

from typing import Any

from csc_cogd.backend import kernels_for, on_gpu
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record

_PIXELS = (1, 1), (1, 1), (0, 0), 1  # size of results, stride, padding and groups


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
    if on_gpu(x):
        kernels = kernels_for("convolution", x)
        return kernels.conv2d(_as_pixels(x), _as_pixels(w), bias, *_PIXELS)[..., 0, 0], (x, w)
    y = x @ w.T
    return (y if bias is None else y + bias), (x, w)


def linear_backward(dy: Any, saved: Any) -> tuple[Any, Any]:
    x, w = saved
    if on_gpu(x):
        kernels, (x, w, dy) = kernels_for("convolution", x), map(_as_pixels, (x, w, dy))
        dx = kernels.conv2d_images_gradient(dy, w, x.shape, *_PIXELS[1:])
        return dx[..., 0, 0], kernels.conv2d_weights_gradient(dy, x, w, *_PIXELS[1:])[..., 0, 0]
    return dy @ w, dy.T @ x


def _as_pixels(matrix: Any) -> Any:
    return matrix[:, :, None, None]
