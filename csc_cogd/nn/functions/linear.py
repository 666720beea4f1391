"""Matrix products; on a GPU, as convolutions of images of one pixel, so that they have the precision of convolutions."""

from __future__ import annotations

from typing import Any

from csc_cogd.backend import kernels_for, on_gpu
from csc_cogd.nn.functions.checks import check_shape
from csc_cogd.nn.tensor import Operation, Tensor, arrays_of, record

_PIXELS = (1, 1), (1, 1), (0, 0), 1  # size of results, stride, padding and groups


def linear(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``y = x w^T + bias``.

    Parameters
    ----------
    x : (N, C) tensor
    w : (O, C) tensor
    bias : (O,) tensor, optional

    Returns
    -------
    y : (N, O) tensor
    """
    rows, weights, biases = arrays_of(x, w, bias)
    check_shape("w", weights, "O", "C")
    check_shape("x", rows, "N", w.shape[1])
    if bias is not None:
        check_shape("bias", biases, w.shape[0])
    if on_gpu(rows):
        kernels = kernels_for("convolution", rows)
        y = kernels.conv2d(_as_pixels(rows), _as_pixels(weights), biases, *_PIXELS)[..., 0, 0]
    else:
        y = rows @ weights.T
        y = y if bias is None else y + biases

    def backward(dy: Any) -> tuple[Any, ...]:
        gradients = _gradients(dy, rows, weights)
        return gradients if bias is None else (*gradients, dy.sum(axis=0))

    return record(y, (x, w) if bias is None else (x, w, bias), backward, Operation("linear"))


def _gradients(dy: Any, x: Any, w: Any) -> tuple[Any, Any]:
    if not on_gpu(x):
        return dy @ w, dy.T @ x
    kernels, (x, w, dy) = kernels_for("convolution", x), map(_as_pixels, (x, w, dy))
    dx = kernels.conv2d_images_gradient(dy, w, x.shape, *_PIXELS[1:])
    return dx[..., 0, 0], kernels.conv2d_weights_gradient(dy, x, w, *_PIXELS[1:])[..., 0, 0]


def _as_pixels(matrix: Any) -> Any:
    return matrix[:, :, None, None]
