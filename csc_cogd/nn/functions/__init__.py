"""Differentiable functions, each with a pair of plain ones beneath: forward, and backward from what forward saved.

``y, saved = f_forward(x, ...)`` and ``dx, ... = f_backward(dy, saved)`` are stateless and take arrays of NumPy or CuPy,
whose shapes ``f`` has checked; ``f`` takes and returns tensors.
"""

from csc_cogd.nn.functions.activations import relu, relu6, soft_mask
from csc_cogd.nn.functions.convolution import conv2d
from csc_cogd.nn.functions.linear import linear
from csc_cogd.nn.functions.losses import binary_cross_entropy_with_logits, cross_entropy, distillation, mse
from csc_cogd.nn.functions.normalization import Statistics, batch_norm, batch_statistics, moved_statistics
from csc_cogd.nn.functions.pooling import avg_pool2d, global_avg_pool2d, max_pool2d
from csc_cogd.nn.functions.shortcut import subsample_and_pad

__all__ = [
    "Statistics", "avg_pool2d", "batch_norm", "batch_statistics", "binary_cross_entropy_with_logits", "conv2d",
    "cross_entropy", "distillation", "global_avg_pool2d", "linear", "max_pool2d", "moved_statistics", "mse", "relu",
    "relu6", "soft_mask", "subsample_and_pad",
]  # fmt: skip
